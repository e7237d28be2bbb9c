"""The live picture and the plain lines of a run: readable at 80 and 100 columns, sober without a terminal."""

import io
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from rich.console import Console

from failover.incident import Moments, Outcome, TimelineEntry
from failover.policy import ChangedBy, Revision, TrafficPolicy
from failover.requests import RunStatus
from starter.runs.following import web_link
from starter.runs.lines import Lines
from starter.runs.picture import Picture
from starter.runs.situation import Look, commands, waits_for

NOW = datetime(2026, 11, 25, 15, 0, 0, tzinfo=UTC)

DETAILS: dict[str, Any] = {
    "subject": "chat: bedrock → google",
    "digest": "0123456789ab",
    "steps": ["5 % of bedrock on google → bedrock:66.5,google:23.5,meta:10, hold 5m", "100 % … → google:90,meta:10"],
    "step": 0,
    "distribution": {"bedrock": 66.5, "google": 23.5, "meta": 10},
    "left_seconds": 250.0,
    "stage": "holding",
    "gates": [
        {"name": "google success", "verdict": "pass", "reason": "google success: 99.5 % good of 400 requests, " * 3}
    ],
    "accepted_now": ["abort", "pause"],
    "samples": [{"requests": 100, "failed": failed, "first_tries": {}} for failed in (0, 5, 10)],
}

APPROVAL = {
    "step": "step-2",
    "digest": "0123456789ab",
    "text": "approve step-2?",
    "granted": [],
    "quorum": 2,
    "deadline": "2026-11-25T15:30:00+00:00",
}


def look(at: datetime = NOW, outcome: Outcome | None = None, **details: Any) -> Look:
    timeline = [
        TimelineEntry(at=NOW, step="step-1", text=f"thing {number} happened, at length " * 4) for number in range(60)
    ]
    status = RunStatus(
        procedure="CanaryFailover",
        phase="step-1",
        provider="bedrock",
        outcome=outcome,
        reason="",
        routes=["chat"],
        moments=Moments(decided=NOW - timedelta(seconds=90)),
        timeline=timeline[-50:],
        details={**DETAILS, **details},
    )
    policy = TrafficPolicy(
        route="chat",
        revision=Revision("e", 2),
        distribution={"bedrock": 6650, "google": 2350, "meta": 1000},
        changed_by=ChangedBy(actor="anna"),
        reason="",
        changed_at=NOW,
    )
    return Look(workflow_id="canary/chat", at=at, status=status, timeline=timeline, policies=[policy])


def drawn(width: int, *looks: Look) -> list[str]:
    """The lines of the last picture."""
    console = Console(file=io.StringIO(), width=width, height=30, force_terminal=False)
    picture = Picture("CanaryFailover", console)
    for one in looks[:-1]:
        picture.picture(one)
    with console.capture() as captured:
        console.print(picture.picture(looks[-1]))
    return captured.get().splitlines()


@pytest.mark.parametrize("width", [80, 100])
def test_everything_fits(width: int) -> None:
    """Plan, traffic, errors, gates, what waits and the command for it: whole at both widths, within the screen's height."""
    lines = drawn(width, look(approval=APPROVAL))
    text = "\n".join(lines)
    assert max(map(len, lines)) <= width and len(lines) <= 30
    for words in (
        "canary/chat  CanaryFailover  chat: bedrock → google  plan 0123456789ab",
        " [▶] 5 % of bedrock on google",
        " [ ] 100 %",
        "█ bedrock 66.5 %  ▓ google 23.5 %  ▒ meta 10 %",
        "errors    ▁▅█  10.0 % of 100 requests",
        "gate      pass  google success",
        "waits     approval of step-2, 0 of 2 given",
        "until 15:30:00 UTC, then it counts as rejected",
        "failoverctl approve canary/chat --step step-2 --digest 0123456789ab",
        "total 1m30s",
        "thing 59",
    ):
        assert words in text, text


def test_the_countdown_goes_on_between_two_samples() -> None:
    """A run tells what is left at each sample; the clock here does not stand still until the next. A pause stops it."""
    later = NOW + timedelta(seconds=7)
    assert "next step in 4m10s" in drawn(100, look())[1]
    assert "next step in 4m03s" in drawn(100, look(), look(later))[1]
    assert "next step in 4m10s" in drawn(100, look(), look(later, paused=True))[1]
    assert "next step" not in drawn(100, look(approval=APPROVAL))[1]


def test_a_run_that_asks_people_is_not_told_to_do_what_it_did_before() -> None:
    """Its word is that it waits, not the stage that the question met it in."""
    assert drawn(100, look(stage="starting", approval=APPROVAL))[1].startswith("waiting for people")
    assert drawn(100, look(question="in doubt"))[1].startswith("waiting for people")
    assert drawn(100, look(question="in doubt", paused=True))[1].startswith("paused")


def test_a_paused_run_offers_only_what_it_takes() -> None:
    """While it is paused a question cannot be answered: first the resume; what would be refused is not offered."""
    asking = look(question="in doubt").situation
    assert [line.split()[1] for line in commands("canary/chat", asking)] == ["retry", "advance", "abort"]
    asking = look(question="in doubt", paused=True).situation
    assert [line.split()[1] for line in commands("canary/chat", asking)] == ["resume", "abort"]
    steered = commands("canary/chat", look(stage="waiting for orders", paused=True).situation)
    assert steered == ["failoverctl resume canary/chat", "failoverctl canary --rollback --run canary/chat"]


def test_a_paused_run_that_is_aborted_waits_for_nobody() -> None:
    """It puts back what it found, and would refuse to be resumed."""
    aborted = look(stage="putting back", paused=True)
    assert (waits_for(aborted.situation), commands("canary/chat", aborted.situation)) == ("", [])
    assert drawn(100, aborted)[1].startswith("putting back")


def test_a_link_opens_the_run_that_it_is_printed_for() -> None:
    """The id's slash is encoded once (twice is another id), and the run is named, since its index may be late."""
    assert web_link("http://ui", None, "canary/chat", "01a2") == (
        "http://ui/namespaces/default/workflows/canary%2Fchat/01a2/history"
    )
    assert web_link("http://ui", "mine", "by hand?", None) == "http://ui/namespaces/mine/workflows/by%20hand%3F"


def test_a_run_that_is_over_waits_for_nobody() -> None:
    """Its outcome instead of what it did; no order is offered."""
    text = "\n".join(drawn(100, look(outcome=Outcome.COMPLETED, approval=APPROVAL)))
    assert "COMPLETED" in text and "failoverctl approve" not in text and "▶" not in text


def test_plain_lines_say_everything_once() -> None:
    """No escape sequence, no repetition; the command when something begins to wait."""
    stream = io.StringIO()
    lines = Lines(stream)
    for one in (look(), look(), look(approval=APPROVAL), look(approval=APPROVAL)):
        lines.show(one)
    text = stream.getvalue()
    assert "\x1b" not in text
    assert text.count("step-1: thing 7 happened") == 1
    assert text.count("failoverctl approve canary/chat --step step-2 --digest 0123456789ab") == 1
    again = io.StringIO()
    Lines(again, seen=look().timeline).show(look())
    assert again.getvalue() == ""
