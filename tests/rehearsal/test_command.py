"""`failoverctl rehearse` from the outside: what it prints, writes and returns, and that it touches nothing."""

import json
import re
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from starter.cli import run
from starter.configuration import demo_config
from tests.rehearsal.conftest import SHIPPED

Said = Callable[..., tuple[int, str, str]]


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Said:
    """The command, in an empty directory that is also home."""
    for name in ("TEMPORAL_ADDRESS", "SLACK_BOT_TOKEN", "FAILOVER_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.chdir(home)
    monkeypatch.setenv("HOME", str(home))

    def say(*argv: str) -> tuple[int, str, str]:
        code = run(["rehearse", *argv])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return say


@pytest.fixture
def changed(tmp_path: Path) -> Callable[[Callable[[dict[str, Any]], None]], str]:
    """The demo's configuration with its short waits, changed as told; → its path."""

    def change(how: Callable[[dict[str, Any]], None]) -> str:
        config = yaml.safe_load(demo_config().read_text())
        how(config)
        path = tmp_path / "changed.yaml"
        path.write_text(yaml.safe_dump(config))
        return str(path)

    return change


def test_one_rehearsal_is_told_drawn_and_written(said: Said, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Plot, indicators, timeline within a hundred columns; a page; nothing else on disk, nobody but this machine asked."""
    asked = list[Any]()
    connect = socket.socket.connect

    def noting(self: socket.socket, address: Any) -> None:
        asked.append(address)
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", noting)
    page = tmp_path / "failover.html"
    code, out, _ = said("immediate", "--fault", "hang", "--config", str(SHIPPED), "--output", str(page))
    assert code == 0
    assert "had not ended" not in out and re.search(r"request loss +0\.0 %", out), "known once all requests have ended"
    assert max(map(len, out.splitlines())) <= 100
    for words in ("A prediction: nothing real", "Policy of chat", "Predicted indicators", "COMPLETED", "╳╳╳"):
        assert words in out
    assert " 100 % │" in out
    html = page.read_text()
    assert "<svg" in html
    assert "http" not in html.replace("http://www.w3.org/2000/svg", "")
    assert list((tmp_path / "home").iterdir()) == []
    assert [address for address in asked if address[0] not in ("127.0.0.1", "localhost")] == []


def test_json_says_that_it_predicts(said: Said) -> None:
    code, out, _ = said("canary", "--config", str(SHIPPED), "--answer", "nobody", "--json")
    told = json.loads(out)
    assert (code, told["kind"], told["data"]["prediction"]) == (0, "rehearsal", True)
    assert told["data"]["policies"][-1]["shares"] == "google:90,meta:10,bedrock:0"


@pytest.mark.parametrize(
    ("argv", "complaint"),
    [
        ([], "Name a procedure"),
        (["immediate", "--all"], "Name a procedure"),
        (["--all", "--provider", "meta"], "--all takes every route"),
        (["canary", "--provider", "openai"], "is no provider"),
        (["canary", "--provider", "meta", "--to", "meta"], "who the traffic leaves"),
        (["canary", "--fault-at", "5m"], "name one"),
        (["canary", "--traffic", "many"], "requests a minute"),
        (["canary", "--traffic", "mail=60"], "no route 'mail'"),
        (["canary", "--limit", "soon"], "--limit"),
        (["canary", "--output", "canary.pdf"], ".html"),
    ],
)
def test_what_cannot_be_meant_is_said_before_anything_starts(said: Said, argv: list[str], complaint: str) -> None:
    code, out, err = said(*argv, "--config", str(SHIPPED))
    assert (code, out) == (2, "")
    assert complaint in err


def test_a_script_is_checked_line_by_line(said: Said, tmp_path: Path) -> None:
    script = tmp_path / "script.yaml"
    script.write_text("faults:\n  - provider: bedrock\n    fault: tired\n")
    code, _, err = said("immediate", "--script", str(script), "--config", str(SHIPPED))
    assert code == 2
    assert f"{script}:3: faults.0.fault" in err
    script.write_text("faults:\n  - {provider: openai, fault: hang}\n")
    code, _, err = said("immediate", "--script", str(script), "--config", str(SHIPPED))
    assert (code, "names 'openai'" in err) == (2, True)


def test_all_of_the_shipped_configuration_passes(said: Said) -> None:
    """Every provider lost, every procedure once; in the configuration's order."""
    code, out, err = said("--all", "--config", str(SHIPPED), "--json")
    told = json.loads(out)["data"]
    assert (code, told["passed"], told["findings"]) == (0, True, [])
    assert [(row["what"], row["provider"]) for row in told["rows"]] == [
        *(("lost provider", name) for name in ("bedrock", "google", "meta")),
        *((procedure, "bedrock") for procedure in ("gradual", "canary", "failback")),
        ("emergency", "all of them"),
    ]
    assert "7 of 7" in err


def test_a_change_that_leaves_a_route_without_a_way_out_fails(said: Said, changed: Any) -> None:
    """No chain, capacity too small for what would come, targets nobody meets, a deadline too short; each with its remedy."""

    def change(config: dict[str, Any]) -> None:
        config["routes"]["mail"] = {
            "distribution": {"bedrock": 100},
            "chains": {"bedrock": []},
            "targets": {"response_time": "500ms"},
        }
        config["providers"]["google"]["capacity"] = {"requests_per_minute": 200}
        config["providers"]["meta"]["capacity"] = {"requests_per_minute": 200}
        config["procedures"]["gating"]["ask_deadline"] = "1s"

    code, out, _ = said("--all", "--config", changed(change))
    assert code == 3
    assert max(map(len, out.splitlines())) <= 100
    assert out.count("NOT SAVED") == 2
    told = " ".join(out.split())
    for words in (
        "mail without bedrock: nobody is named to take over from bedrock. → add failover_chains.bedrock, or",
        "chat without bedrock: 480 requests a minute would come to",
        "which declared that it takes 200. → raise providers.",
        "mail: its target of 500 ms (P95) is below what a provider that is well takes (800 ms)",
        "procedures.gating.ask_deadline (1s) ends before procedures.gating.sample_interval (1s) can",
        "must be put right",
    ):
        assert words in told, told
