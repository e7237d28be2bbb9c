"""The demo proves itself: it passes where the product does its work, and fails where it does not."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.timeout(180)


def begin(home: Path, *options: str) -> "subprocess.Popen[str]":
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("FAILOVER_", "TEMPORAL_"))}
    return subprocess.Popen(
        [sys.executable, "-m", "starter", "demo", *options],
        cwd=home,
        env={**environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finished(home: Path, *options: str) -> tuple[int, str, str]:
    demo = begin(home, *options)
    out, err = demo.communicate(timeout=150)
    return demo.returncode, out, err


def unmet(result: dict[str, Any]) -> list[str]:
    return [check["text"] for check in result["checks"] if not check["met"]]


def test_the_default_demo_moves_traffic_and_proves_it(tmp_path: Path) -> None:
    """Exit 0, no first try at the faulty provider since, every target met, a report; the machine's answer alone on stdout."""
    code, out, err = finished(tmp_path, "--json")
    result = json.loads(out)["data"]
    assert (code, unmet(result)) == (0, []), err
    assert [kpi["name"] for kpi in result["kpis"] if not kpi["met"]] == []
    assert len(result["kpis"]) == 7 and len(result["checks"]) == 5
    report = Path(result["report"]).read_text()
    assert "server_error" in report and "failover/bedrock" in report
    assert err.index("Expected: bedrock is found unavailable") < err.index("Now the fault")


def test_without_detection_the_same_demo_fails(tmp_path: Path) -> None:
    """The gateway's retry hides the outage from users; the first tries do not, so the demo says NO."""
    code, out, err = finished(tmp_path, "--without-detection", "--json")
    result = json.loads(out)["data"]
    assert code == 1, err
    assert any("first tries" in text for text in unmet(result))
    assert result["users"]["ok"] == result["users"]["requests"] > 0, "users notice nothing: that is no proof"


def test_a_fault_that_must_move_nothing_moves_nothing(tmp_path: Path) -> None:
    """Throttling is found and told, and the provider goes on serving; sober output, without a colour in it."""
    code, out, err = finished(tmp_path, "--fault", "throttled", "--provider", "google")
    assert code == 0, out + err
    assert "google was found" in out and "throttled" in out and "\x1b" not in out
    assert "The demo went as it should." in out


def test_an_interrupted_demo_is_no_success(tmp_path: Path) -> None:
    """Ctrl-C in the middle: exit 130, no traceback."""
    demo = begin(tmp_path)
    assert demo.stdout is not None
    for line in demo.stdout:
        if "Steady traffic" in line:
            break
    demo.send_signal(signal.SIGINT)
    out, err = demo.communicate(timeout=60)
    assert demo.returncode == 130, out + err
    assert "Traceback" not in err
