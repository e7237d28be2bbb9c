"""Is it handled, and what do I need to do? The worst that is true, whatever else is well."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from failover.health import Condition, Verdict
from failover.policy import ChangedBy, Mode, Revision, TrafficPolicy
from failover.standing import Known, Word, standing
from failover.troubles import RunNow

NOW = datetime(2026, 1, 31, 3, 0, tzinfo=UTC)

FAILOVER = RunNow(workflow_id="failover/bedrock", procedure="ImmediateFailover", phase="verify", provider="bedrock")
EMERGENCY = RunNow(workflow_id="emergency", procedure="MultiProviderEmergency", phase="watch")
CANARY = RunNow(workflow_id="canary/chat", procedure="CanaryFailover", phase="step-2")
ASKING = RunNow(workflow_id="canary/chat", procedure="CanaryFailover", phase="approval", waits_for="approval of step-2")


def verdicts(**conditions: Condition) -> list[Verdict]:
    everybody = {"bedrock": Condition.HEALTHY, "google": Condition.HEALTHY} | conditions
    return [Verdict(provider=name, condition=what, reason="r", at=NOW) for name, what in everybody.items()]


def policy(mode: Mode = Mode.NORMAL, **shares: int) -> TrafficPolicy:
    return TrafficPolicy(
        route="chat",
        revision=Revision(epoch="e", number=1),
        distribution=shares or {"bedrock": 7000, "google": 3000},
        mode=mode,
        changed_by=ChangedBy(actor="a"),
        changed_at=NOW,
        reason="r",
    )


def ended(outcome: str, minutes_ago: float) -> RunNow:
    at = NOW - timedelta(minutes=minutes_ago)
    return RunNow(workflow_id="failover/x", procedure="I", phase="closed", outcome=outcome, closed_at=at)


def known(**changes: Any) -> Known:
    usual: dict[str, Any] = {"providers": verdicts(), "policies": [policy()], "runs": [], "ended": []}
    return Known(**(usual | changes))


DOWN = verdicts(bedrock=Condition.UNAVAILABLE)
MOVED = [policy(bedrock=0, google=10000)]
DEGRADED = [policy(mode=Mode.DEGRADED, google=10000)]


@pytest.mark.parametrize(
    ("now", "word", "why", "do"),
    [
        (known(), Word.WELL, "service is normal", ""),
        (known(held=True), Word.WELL, "Automation is held: nothing starts by itself", ""),
        (known(providers=DOWN, policies=MOVED), Word.HANDLED, "bedrock is down and has no traffic", ""),
        (known(providers=DOWN), Word.ACT, "has 70 % of route chat, and no run is at it", "failover --from bedrock"),
        (known(providers=DOWN, runs=[FAILOVER]), Word.WORKING, "failover/bedrock is at verify", ""),
        (known(providers=DOWN, runs=[EMERGENCY]), Word.WORKING, "emergency is at watch", ""),
        # A ramp that takes users off the same provider is, by whatever name it goes.
        (
            known(providers=DOWN, runs=[replace(CANARY, provider="bedrock")]),
            Word.WORKING,
            "canary/chat is at step-2",
            "",
        ),
        # A run about something else is no help, nor is a drill, nor a watch for a failback.
        (known(providers=DOWN, runs=[replace(FAILOVER, provider="google")]), Word.ACT, "no run is at it", "failover"),
        (
            known(providers=DOWN, runs=[replace(FAILOVER, workflow_id="drill/x/failover")]),
            Word.ACT,
            "no run",
            "failover",
        ),
        (known(providers=DOWN, runs=[replace(FAILOVER, procedure="Failback")]), Word.ACT, "no run", "failover"),
        (known(providers=DOWN, runs=[CANARY]), Word.ACT, "no run is at it", "failover --from bedrock"),
        (known(providers=DOWN, runs=None), Word.UNKNOWN, "whether a run is at it is not known", ""),
        (
            known(policies=DEGRADED),
            Word.ACT,
            "chat is degraded, and no run is at it",
            "failoverctl restore chat --normal",
        ),
        (
            known(providers=verdicts(google=Condition.UNAVAILABLE), policies=DEGRADED),
            Word.ACT,
            "no run is at it",
            "restore",
        ),
        (known(policies=DEGRADED, runs=[EMERGENCY]), Word.WORKING, "degraded; emergency is at watch", ""),
        (known(runs=[CANARY]), Word.WORKING, "canary/chat is at step-2", ""),
        (known(runs=[ASKING]), Word.ACT, "waits for approval of step-2", "failoverctl watch canary/chat"),
        # Whoever waits is said even where nobody who is down can be seen.
        (known(runs=[ASKING], providers=None, missing={"providers": "gone"}), Word.ACT, "waits for approval", "watch"),
        (known(unwatched="no check completes"), Word.ACT, "nobody watches", "failoverctl doctor"),
        # What goes well by itself hides nothing that does not.
        (known(providers=DOWN, runs=[FAILOVER], unwatched="no check"), Word.ACT, "nobody watches", "doctor"),
        (known(ended=[ended("NEEDS_HUMAN", 5)]), Word.ACT, "ended as NEEDS_HUMAN at 02:55:00", "failoverctl report"),
        (known(ended=[ended("COMPLETED", 1), ended("NEEDS_HUMAN", 5)]), Word.WELL, "", ""),
        (known(ended=[ended("NEEDS_HUMAN", 90)]), Word.WELL, "", ""),
        (known(ended=[ended("NEEDS_HUMAN", 5)], runs=[CANARY]), Word.WORKING, "canary/chat", ""),
        (known(providers=None, missing={"providers": "The worker does not answer."}), Word.UNKNOWN, "worker", "doctor"),
        (known(policies=None, missing={"routes": "The gateway is gone."}), Word.UNKNOWN, "gateway", "doctor"),
        (known(providers=[]), Word.UNKNOWN, "Nobody knows how bedrock, google do", "doctor"),
        (known(providers=verdicts(google=Condition.BLIND)), Word.UNKNOWN, "how google does", "doctor"),
        # Who has no traffic may be unknown.
        (known(providers=verdicts(google=Condition.BLIND), policies=[policy(bedrock=10000)]), Word.WELL, "", ""),
    ],
)
def test_the_answer(now: Known, word: Word, why: str, do: str) -> None:
    """A word, a sentence, and what to type."""
    found = standing(now, NOW)
    assert (found.word, why in found.why) == (word, True), found
    assert do in found.do and bool(do) == bool(found.do), found
