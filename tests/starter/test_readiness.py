"""`failoverctl readiness`: what is shown, how wide, and which exit code says it; and what the doctor makes of it."""

import json
import os
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from failover.certificates import renewed
from failover.findings import Health
from failover.readiness import Audit, Check
from starter.cli import run
from starter.configuration import demo_config, load
from starter.console.readiness import sheet_of
from starter.exit_codes import ExitCode
from starter.golden import load_prompt_sets
from starter.parts import readiness_store
from starter.readiness import finding, told
from tests.failover.test_readiness import audit, target
from tests.failover.test_readiness import finding as looked

LOADED = load(demo_config())
NOW = datetime.now(UTC)
DIGEST = load_prompt_sets(LOADED)["chat"].digest


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No stack of whoever runs the tests is found."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith(("FAILOVER_", "TEMPORAL_"))]:
        monkeypatch.delenv(name)


def found(**health: Health) -> Audit:
    """An audit of just now, of the targets that the demo's configuration has."""
    one = replace(target(**health), digest=DIGEST, model="gemini-2.5-pro")
    long = replace(looked(Check.GOLDEN, health.get("golden", Health.OK)), said="wrong: " + "a long word " * 30)
    one = replace(one, found={**one.found, Check.GOLDEN: long})
    return replace(audit(one), at=NOW, finished=NOW, requested_by="anna")


def keep(tmp_path: Path, kept: Audit) -> None:
    store = readiness_store(LOADED.config, tmp_path / "state")
    store.keep(kept, renewed(store.certificates(), kept, timedelta(days=1), {}))


def ask(*words: str) -> int:
    return run(["readiness", *words, "--config", str(demo_config()), "--state", "state"])


def test_nothing_known_is_no_good_news(capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 3, and what to do."""
    assert ask() == ExitCode.NOT_PROVED
    assert "no audit was kept here" in capsys.readouterr().out
    assert ask("certificates") == ExitCode.DONE


def test_a_working_target_for_every_route(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The table fits 100 columns, and the exit code is 0."""
    keep(tmp_path, found(capacity=Health.UNKNOWN))
    assert ask() == ExitCode.DONE
    shown = capsys.readouterr().out
    assert max(map(len, shown.splitlines())) <= 100
    assert "chat    google   ready" in shown and "by anna" in shown
    assert "unknown  chat → google: capacity" in shown and "→ repair it" in shown


def test_a_route_without_a_working_target(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Is said last, and by the exit code; an old audit is said to be one."""
    keep(tmp_path, replace(found(golden=Health.FAILED), finished=NOW - timedelta(days=2)))
    assert ask() == ExitCode.NOT_PROVED
    shown = capsys.readouterr().out
    assert shown.rstrip().endswith("Route chat has no target that is known to work (not ready).")
    assert "older than two intervals of 6h" in shown and max(map(len, shown.splitlines())) <= 100


def test_a_route_whose_only_good_provider_serves_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It cannot take over from itself, and the report, the exit code, the page and the doctor say for whom."""
    alone = replace(found(), successors={"chat": {"google": [], "meta": ["google"]}})
    keep(tmp_path, alone)
    assert ask() == ExitCode.NOT_PROVED
    said = "Route chat has no target that is known to work if google fails (not ready)."
    assert capsys.readouterr().out.rstrip().endswith(said)
    assert ask("--json") == ExitCode.NOT_PROVED
    assert json.loads(capsys.readouterr().out)["data"]["standings"]["chat"]["unprotected"] == ["google"]
    assert sheet_of(alone, []).stranded == ["chat if google fails"]
    store = readiness_store(LOADED.config, tmp_path / "state")
    assert "no working target for chat if google fails" in finding(LOADED, store, NOW).said


def test_json_says_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """For machines and pages: what was found, and what it comes to."""
    keep(tmp_path, found(golden=Health.FAILED))
    assert ask("--json") == ExitCode.NOT_PROVED
    answer = json.loads(capsys.readouterr().out)
    assert answer["kind"] == "readiness"
    data = answer["data"]
    assert data["no_working_target"] == ["chat"]
    assert data["standings"]["chat"] == {
        "standing": "not ready",
        "unprotected": [],
        "targets": {"google": "not ready"},
    }
    assert data["audit"]["targets"][0]["found"]["golden prompts"]["health"] == "failed"
    assert set(told(found())) == {"audit", "score", "standings", "no_working_target"}


def test_certificates_are_shown_as_they_count_now(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Valid, withdrawn, and of prompts that have changed since."""
    keep(tmp_path, found())
    assert ask("certificates") == ExitCode.DONE
    shown = capsys.readouterr().out
    assert "valid" in shown and DIGEST in shown and max(map(len, shown.splitlines())) <= 100
    changed = tmp_path / "changed.yaml"
    changed.write_text(demo_config().read_text() + "readiness: {suite: comprehensive}\n")
    run(["readiness", "certificates", "--config", str(changed), "--state", "state"])
    assert "of other prompts" in " ".join(capsys.readouterr().out.split())
    keep(tmp_path, found(golden=Health.FAILED))
    ask("certificates", "--json")
    (one,) = json.loads(capsys.readouterr().out)["data"]
    assert one["void"].startswith("its certificate was withdrawn: golden prompts")


def test_a_suite_that_is_none_is_said_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Whichever key names it."""
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text(demo_config().read_text() + "readiness: {suite: quikc}\n")
    assert run(["readiness", "certificates", "--config", str(wrong), "--state", "state"]) == ExitCode.USAGE
    assert "readiness.suite is 'quikc', which is no suite; there are comprehensive, quick" in capsys.readouterr().err
    text = demo_config().read_text()
    wrong.write_text(text.replace("meta: 10}", "meta: 10}\n    readiness: {json_schema: {type: object}}"))
    assert run(["readiness", "certificates", "--config", str(wrong), "--state", "state"]) == ExitCode.USAGE
    said = capsys.readouterr().err
    assert "routes.chat.readiness: the suite 'quick' cannot be asked as this route uses models" in said


def test_what_the_doctor_says_of_it(tmp_path: Path) -> None:
    """No audit and an old one are warnings, a stranded route is a failure."""
    store = readiness_store(LOADED.config, tmp_path / "state")
    assert finding(LOADED, store, NOW).health is Health.WARNING
    keep(tmp_path, found())
    assert finding(LOADED, store, NOW).health is Health.OK
    assert "old" in finding(LOADED, store, NOW + timedelta(hours=13)).said
    keep(tmp_path, found(golden=Health.FAILED))
    assert finding(LOADED, store, NOW).health is Health.FAILED
