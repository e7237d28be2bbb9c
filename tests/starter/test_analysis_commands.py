"""`failoverctl analyze` and `deploys`, on a state directory that a stack has left behind."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from activities.evidence import EvidenceStore
from failover.failure import Failure, FailureKind
from failover.health import Condition, Verdict
from failover.incident import Moments, Outcome, RunRecord, Trigger
from starter.cli import run

NOW = datetime.now(UTC)


def keep(state: Path, run_id: str, minutes: int, **changes: Any) -> None:
    began = NOW - timedelta(minutes=minutes)
    cause = Failure(kind=FailureKind.THROTTLED, provider="bedrock", detail="slow down", code="429")
    record = RunRecord(
        **{
            "procedure": "ImmediateFailover",
            "workflow_id": "failover/bedrock",
            "run_id": run_id,
            "trigger": Trigger.AUTOMATIC,
            "requested_by": "health-check",
            "request_reason": "",
            "provider": "bedrock",
            "verdict": Verdict(
                provider="bedrock", condition=Condition.THROTTLED, reason="too much", at=began, cause=cause
            ),
            "outcome": Outcome.COMPLETED,
            "reason": "",
            "command": None,
            "moments": Moments(first_bad=began, decided=began, closed=began + timedelta(seconds=20)),
            **changes,
        }
    )
    EvidenceStore(state / "incidents").keep(record)


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two failovers and what followed them; nothing runs."""
    for name in ("FAILOVER_STATE", "FAILOVER_CONFIG", "FAILOVER_GATEWAY_URL", "TEMPORAL_ADDRESS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    state = tmp_path / "state"
    keep(state, "aaaa-1", 60)
    keep(state, "bbbb-2", 30)
    keep(state, "cccc-3", 10, procedure="Failback", workflow_id="failback/chat", verdict=None)
    return state


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    capsys.readouterr()
    code = run([*arguments])
    out, err = capsys.readouterr()
    return code, out, err


def test_the_latest_failover_is_meant(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Not what followed it; another is named by its run or its workflow."""
    for arguments, run_id in (
        ([], "bbbb-2"),
        (["--run", "aaaa"], "aaaa-1"),
        (["--run", "failback/chat"], "cccc-3"),
        (["--event", "failover", "--root-cause-analysis", "--include-logs"], "bbbb-2"),
    ):
        code, out, _ = said(capsys, "analyze", f"--state={state}", "--json", *arguments)
        told = json.loads(out)
        assert (code, told["kind"], told["data"]["run_id"]) == (0, "analysis", run_id)


def test_what_is_missing_is_said_to_be(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A record alone: its verdict is the claim, and everything else is not known."""
    code, out, err = said(capsys, "analyze", f"--state={state}", "--include-logs")
    assert code == 0 and "no configuration is known" in err
    assert "bedrock refused requests over its rate limit (429). Evidence: moderate, 45 of 100." in out
    assert "What the logs say: there are none in the state directory" in out
    assert "\x1b" not in out and max(map(len, out.splitlines())) <= 100


def test_claims_for_machines_have_their_strength(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = said(capsys, "analyze", f"--state={state}", "--json")
    [claim] = json.loads(out)["data"]["claims"]
    assert (claim["cause"], claim["points"], claim["strength"]) == ("rate limit of the provider", 45, "moderate")


def test_it_is_written_where_it_is_wanted(state: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = said(capsys, "analyze", f"--state={state}", f"--output={tmp_path / 'made' / 'cause.md'}")
    assert (code, out) == (0, "") and "written to" in err
    assert (tmp_path / "made" / "cause.md").read_text().startswith("# Root cause of failover/bedrock")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--run", "nobody"], "There is no record of a run 'nobody'. On record are: failback/chat, failover/bedrock."),
        (["--run", ""], "There is no record of a run ''."),
        (["--event", "flood"], "Invalid value for '--event'"),
        (["--state", "elsewhere"], "There is no incident in elsewhere/incidents yet"),
    ],
)
def test_what_cannot_be_meant_is_said_at_once(
    state: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], words: str
) -> None:
    code, out, err = said(capsys, "analyze", f"--state={state}", *arguments)
    assert code == 2 and words in " ".join(err.split()) and not out


def test_a_beginning_that_fits_several_runs_is_no_name(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """They are told; a whole id is never in doubt."""
    keep(state, "aaaa-10", 5)
    code, out, err = said(capsys, "analyze", f"--state={state}", "--offline", "--run", "aa")
    assert (code, out) == (2, "")
    assert "--run aa is the beginning of aaaa-10 (failover/bedrock, " in err and ", aaaa-1 (failover/bedrock, " in err
    assert said(capsys, "analyze", f"--state={state}", "--offline", "--run", "aaaa-1")[0] == 0


def test_a_log_is_shown_without_its_secrets(
    state: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also the values of variables that hold secrets here."""
    monkeypatch.setenv("LLAMA_API_KEY", "plain-words-as-a-key")
    at = (NOW - timedelta(minutes=30)).isoformat()
    lines = [
        {"timestamp": at, "level": "error", "event": "bedrock refused plain-words-as-a-key"},
        {"timestamp": at, "level": "info", "event": "bedrock", "prompt": "what a user asked"},
    ]
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "gateway.log").write_text("\n".join(map(json.dumps, lines)))
    _, out, _ = said(capsys, "analyze", f"--state={state}", f"--logs={tmp_path / 'logs'}")
    assert "gateway error: bedrock refused [hidden]" in out
    assert "plain-words" not in out and "what a user asked" not in out


def test_a_deploy_is_noted_listed_and_found(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of the earlier incident; a second time it is known already."""
    at = (NOW - timedelta(minutes=61)).isoformat()
    note = ["deploys", "note", "gateway", "v1.4.2", "--by=ci", f"--at={at}", f"--state={state}"]
    assert [said(capsys, *note)[0] for _ in range(2)] == [0, 0]
    assert "It was noted already: gateway v1.4.2 by ci" in said(capsys, *note)[2]
    _, out, _ = said(capsys, "deploys", "list", f"--state={state}", "--json")
    [deploy] = json.loads(out)["data"]
    assert (deploy["service"], deploy["noted_by"]) == ("gateway", "failoverctl")
    _, out, _ = said(capsys, "analyze", f"--state={state}", "--run=aaaa")
    assert "gateway v1.4.2 by ci was deployed 60 s before the first bad sample." in " ".join(out.split())
    _, out, _ = said(capsys, "analyze", f"--state={state}")
    told = "not a deploy: none was noted in the 15m before the first bad sample; the last before was gateway v1.4.2"
    assert told in " ".join(out.split())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["gateway", "v2", "--at", "yesterday"], "at: Input should be a valid datetime"),
        (["gateway", "v2", "--at", "2999-01-01T00:00:00Z"], "lies in the future"),
        ([" ", "v2"], "service: "),
    ],
)
def test_no_deploy_is_noted_that_cannot_be_meant(
    state: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], words: str
) -> None:
    code, _, err = said(capsys, "deploys", "note", f"--state={state}", *arguments)
    assert code == 2 and words in err
    assert "No deploy was noted" in said(capsys, "deploys", "list", f"--state={state}")[1]
