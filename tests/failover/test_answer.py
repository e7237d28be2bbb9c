"""Is it handled, and what do I need to do? The worst that is true, whatever else is well; the same at every door."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from failover.answer import Case, Known, RunEnded, Word, answer, left_to_people
from failover.automation import Hold
from failover.errors import FailoverError, TemporalUnavailable, Unavailable
from failover.health import Condition, Verdict
from failover.policy import ChangedBy, Mode, Revision, TrafficPolicy
from failover.troubles import Need, RunNow, Waiting

NOW = datetime(2026, 1, 31, 3, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def run(workflow_id: str, procedure: str, phase: str, **changes: Any) -> RunNow:
    usual = {"started_at": NOW - MINUTE, "told_at": NOW}
    return RunNow(workflow_id=workflow_id, procedure=procedure, phase=phase, **(usual | changes))


def waits(need: Need, what: str, minutes: float | None = None) -> Waiting:
    return Waiting(need=need, what=what, text=f"{what}?", deadline=None if minutes is None else NOW + minutes * MINUTE)


FAILOVER = run("failover/bedrock", "ImmediateFailover", "verify", provider="bedrock")
EMERGENCY = run("emergency", "MultiProviderEmergency", "watch")
CANARY = run("canary/chat", "CanaryFailover", "step-2")
ASKING = replace(CANARY, waits=waits(Need.APPROVAL, "approval of step-2", 5))
ORDERS = replace(CANARY, workflow_id="canary/orders", waits=waits(Need.ORDERS, "orders"))
PAUSED = replace(CANARY, workflow_id="canary/paused", waits=waits(Need.RESUME, "resume"))
JUST_BEGUN = run("failover/bedrock", "ImmediateFailover", "", started_at=NOW - timedelta(seconds=5), told_at=None)
MUTE = replace(FAILOVER, told_at=None)
GONE_QUIET = replace(FAILOVER, told_at=NOW - timedelta(seconds=20))


def verdicts(**conditions: Condition) -> list[Verdict]:
    everybody = {"bedrock": Condition.HEALTHY, "google": Condition.HEALTHY} | conditions
    return [Verdict(provider=name, condition=what, reason="as measured", at=NOW) for name, what in everybody.items()]


def policy(
    mode: Mode = Mode.NORMAL, *, route: str = "chat", by: str = "", changed: float = 60, **shares: int
) -> TrafficPolicy:
    return TrafficPolicy(
        route=route,
        revision=Revision(epoch="e", number=1),
        distribution=shares or {"bedrock": 7000, "google": 3000},
        mode=mode,
        changed_by=ChangedBy(actor="a", workflow_id=by, run_id="1" if by else ""),
        changed_at=NOW - changed * MINUTE,
        reason="r",
    )


def ended(outcome: str, minutes_ago: float = 5, **changes: Any) -> RunEnded:
    usual: dict[str, Any] = {"workflow_id": "failover/x", "run_id": "1", "routes": ["chat"]}
    return RunEnded(outcome=outcome, closed_at=NOW - minutes_ago * MINUTE, **(usual | changes))


TRIED = ended("NEEDS_HUMAN", said="No candidate is left.", command="failoverctl failover --failed-provider x --yes")


def known(**changes: Any) -> Known:
    usual: dict[str, Any] = {
        "verdicts": verdicts(),
        "policies": [policy()],
        "runs": [],
        "ended": [],
        "unwatched": None,
        "hold": None,
    }
    return Known(**(usual | changes))


DOWN = verdicts(bedrock=Condition.UNAVAILABLE)
MOVED = [policy(bedrock=0, google=10000)]
DEGRADED = [policy(Mode.DEGRADED, google=10000)]
HOLD = Hold(by="ada", why="a migration", since=NOW)
GONE = TemporalUnavailable("Temporal does not answer.")
NO_TEMPORAL: dict[str, FailoverError] = {"runs": GONE, "ended": GONE, "unwatched": GONE}
NO_CHECK = "No health check completes (the last one ended 5m ago)"


@pytest.mark.parametrize(
    ("now", "case", "why", "do"),
    [
        (known(), Case.WELL, "service is normal", ""),
        (known(hold=HOLD), Case.WELL, "Automation is held: nothing starts by itself", ""),
        (known(verdicts=DOWN, policies=MOVED, hold=HOLD), Case.SPARED, "no traffic. Automation is held", ""),
        # Nobody is worse off while it cannot be told whether automation is held, or what users were served.
        (known(hold=Unavailable("The gateway is gone."), notes=["Nobody counts."]), Case.WELL, "normal", ""),
        (known(verdicts=DOWN, policies=MOVED), Case.SPARED, "bedrock is down and has no traffic", ""),
        (known(verdicts=DOWN), Case.TROUBLE, "has 70 % of route chat, and no run is at it", "failover --from bedrock"),
        (known(verdicts=DOWN, runs=[FAILOVER]), Case.AFFECTED, "failover/bedrock is at verify", ""),
        (known(verdicts=DOWN, runs=[EMERGENCY]), Case.AFFECTED, "emergency is at watch", ""),
        # A ramp that takes users off the same provider is at it, by whatever name it goes.
        (known(verdicts=DOWN, runs=[replace(CANARY, provider="bedrock")]), Case.AFFECTED, "canary/chat is at", ""),
        # A run about something else is no help, nor is a drill, nor a watch for a failback.
        (known(verdicts=DOWN, runs=[replace(FAILOVER, provider="google")]), Case.TROUBLE, "no run is at it", "--from"),
        (known(verdicts=DOWN, runs=[replace(FAILOVER, workflow_id="drill/x")]), Case.TROUBLE, "no run", "--from"),
        (known(verdicts=DOWN, runs=[replace(FAILOVER, procedure="Failback")]), Case.TROUBLE, "no run", "--from"),
        (known(verdicts=DOWN, runs=[CANARY]), Case.TROUBLE, "no run is at it", "failover --from bedrock"),
        # Without Temporal no run can be started, and a run that nobody hears of moves nothing: by hand, then.
        (known(verdicts=DOWN, **NO_TEMPORAL), Case.UNSEEN, "is not known", "failoverctl restore chat --to google:100"),
        (known(verdicts=DOWN, runs=[MUTE]), Case.UNSEEN, "failover/bedrock, which should be at it, tells", "restore"),
        (known(verdicts=DOWN, runs=[GONE_QUIET]), Case.UNSEEN, "tells nothing", "restore chat --to google:100"),
        (known(verdicts=DOWN, policies=[policy(bedrock=10000)], runs=[MUTE]), Case.UNSEEN, "nothing", "doctor"),
        (known(policies=DEGRADED, **NO_TEMPORAL), Case.UNSEEN, "is not known", "restore chat --normal"),
        (known(verdicts=DOWN, runs=[replace(JUST_BEGUN, provider="bedrock")]), Case.AFFECTED, "its beginning", ""),
        (known(policies=DEGRADED), Case.TROUBLE, "chat is degraded, and no run is at it", "restore chat --normal"),
        (known(verdicts=verdicts(google=Condition.UNAVAILABLE), policies=DEGRADED), Case.TROUBLE, "no run", "restore"),
        (known(policies=DEGRADED, runs=[EMERGENCY]), Case.AFFECTED, "degraded; emergency is at watch", ""),
        (known(runs=[CANARY]), Case.UNDER_WAY, "canary/chat is at step-2", ""),
        (known(runs=[CANARY, EMERGENCY]), Case.UNDER_WAY, "step-2, and 1 more", ""),
        (known(runs=[JUST_BEGUN]), Case.UNDER_WAY, "failover/bedrock is at its beginning", ""),
        (known(runs=[MUTE]), Case.UNKNOWN, "has told nothing of where it stands", "doctor"),
        (known(runs=[GONE_QUIET]), Case.UNKNOWN, "has told nothing since 02:59:40 UTC", "doctor"),
        (known(runs=[ASKING]), Case.WAITING, "waits for approval of step-2", "failoverctl watch canary/chat"),
        # Whoever waits is said even where nobody who is down can be seen.
        (known(runs=[ASKING], verdicts=Unavailable("gone")), Case.WAITING, "waits for approval", "watch"),
        (known(runs=[replace(ASKING, provider="bedrock")], verdicts=DOWN), Case.WAITING, "approval", "watch"),
        # The nearest deadline first; what waits for ever last; and users in trouble before any of them.
        (known(runs=[PAUSED, ORDERS, ASKING]), Case.WAITING, "canary/chat waits for approval", "watch canary/chat"),
        (known(runs=[PAUSED, ORDERS]), Case.WAITING, "canary/orders waits for orders", "watch canary/orders"),
        (known(runs=[ORDERS], verdicts=DOWN), Case.TROUBLE, "no run is at it", "failover --from bedrock"),
        (known(unwatched=NO_CHECK), Case.UNWATCHED, "nobody watches", "failoverctl doctor"),
        # What goes well by itself hides nothing that does not.
        (known(verdicts=DOWN, runs=[FAILOVER], unwatched=NO_CHECK), Case.UNWATCHED, "nobody watches", "doctor"),
        (known(ended=[ended("NEEDS_HUMAN")]), Case.LEFT, "ended as NEEDS_HUMAN at 02:55:00", "failoverctl report"),
        (known(ended=[TRIED]), Case.LEFT, "02:55:00 UTC: No candidate is left.", TRIED.command),
        (known(ended=[TRIED], runs=[CANARY]), Case.LEFT, "No candidate is left", TRIED.command),
        (known(ended=[TRIED], unwatched=NO_CHECK), Case.LEFT, "No candidate is left", TRIED.command),
        # To start again what has failed fails again; another route's trouble is no reason to wait.
        (known(ended=[TRIED], verdicts=DOWN), Case.LEFT, "No candidate is left", TRIED.command),
        (known(ended=[replace(TRIED, routes=["search"])], verdicts=DOWN), Case.TROUBLE, "no run", "--from bedrock"),
        (known(ended=[TRIED], runs=[ASKING]), Case.WAITING, "waits for approval", "watch"),
        (
            known(ended=[ended("TERMINATED", workflow_id="canary/chat")], policies=[policy(by="canary/chat")]),
            Case.LEFT,
            "canary/chat ended as TERMINATED at 02:55:00 UTC: route chat stands as it left it.",
            "failoverctl restore chat",
        ),
        # An earlier run of the same id wrote it: this one ended before it wrote anything.
        (
            known(ended=[ended("FAILED", run_id="2")], policies=[policy(by="failover/x")]),
            Case.WELL,
            "service is normal",
            "",
        ),
        # What is about nobody knows which route is no answer to a trouble that is known.
        (known(ended=[replace(TRIED, routes=[])], verdicts=DOWN), Case.TROUBLE, "no run", "--from bedrock"),
        # That one has not tried to end the trouble: to start it again may well.
        (
            known(ended=[ended("TERMINATED")], policies=[policy(by="failover/x")], verdicts=DOWN),
            Case.TROUBLE,
            "no run is at it",
            "failover --from bedrock",
        ),
        (known(verdicts=Unavailable("The worker is gone.")), Case.UNKNOWN, "The worker is gone", "doctor"),
        (known(policies=Unavailable("The gateway is gone.")), Case.UNKNOWN, "gateway", "doctor"),
        (known(**NO_TEMPORAL), Case.UNKNOWN, "Temporal does not answer", "doctor"),
        (known(ended=GONE), Case.UNKNOWN, "Temporal does not answer", "doctor"),
        (known(verdicts=[]), Case.UNKNOWN, "no verdict about any provider yet", "doctor"),
        (known(verdicts=verdicts()[:1]), Case.UNKNOWN, "how google is: there is no verdict about it", "doctor"),
        (known(verdicts=verdicts(google=Condition.BLIND)), Case.UNKNOWN, "how google is: as measured", "doctor"),
        (known(verdicts=verdicts(google=Condition.BLIND), runs=[FAILOVER]), Case.UNKNOWN, "how google is", "doctor"),
        # Who has no traffic may be unknown.
        (known(verdicts=verdicts(google=Condition.BLIND), policies=[policy(bedrock=10000)]), Case.WELL, "", ""),
    ],
)
def test_the_answer(now: Known, case: Case, why: str, do: str) -> None:
    """What it is about, a sentence, and what to type."""
    found = answer(now, NOW)
    assert (found.case, why in found.why) == (case, True), found
    assert do in found.do and bool(do) == bool(found.do), found


def test_the_word() -> None:
    """Where there is something to type, it is time to act, or nobody knows; else nobody is asked for anything."""
    answers = [answer(now, NOW) for now in _ONE_OF_EACH]
    words = {found.case: found.word for found in answers}
    assert words.keys() == {*Case}
    assert all(bool(found.do) == (found.word in (Word.ACT, Word.UNKNOWN)) for found in answers)
    act = {Case.TROUBLE, Case.UNSEEN, Case.WAITING, Case.LEFT, Case.UNWATCHED}
    assert {case for case, word in words.items() if word is Word.ACT} == act
    assert words[Case.UNKNOWN] is Word.UNKNOWN
    assert words[Case.AFFECTED] is words[Case.UNDER_WAY] is Word.WORKING
    assert (words[Case.SPARED], words[Case.WELL]) == (Word.HANDLED, Word.WELL)


_ONE_OF_EACH = [
    known(verdicts=DOWN),
    known(verdicts=DOWN, **NO_TEMPORAL),
    known(runs=[ASKING]),
    known(ended=[TRIED]),
    known(unwatched=NO_CHECK),
    known(verdicts=[]),
    known(verdicts=DOWN, runs=[FAILOVER]),
    known(runs=[CANARY]),
    known(verdicts=DOWN, policies=MOVED),
    known(),
]


def test_everything_else_that_is_known_is_said_with_it() -> None:
    """Worst first, each once."""
    everything = known(
        verdicts=verdicts(meta=Condition.UNAVAILABLE, cohere=Condition.BLIND, mistral=Condition.SLOW),
        policies=[policy(Mode.DEGRADED), policy(route="search")],
        runs=[PAUSED, ORDERS, ASKING, EMERGENCY],
        ended=[replace(TRIED, routes=["search"])],
        unwatched=NO_CHECK,
        hold=HOLD,
        notes=["Nobody counts."],
    )
    assert answer(everything, NOW).sentences == [
        "2 more runs wait for a person.",
        "Service of route chat is degraded.",
        "failover/x ended as NEEDS_HUMAN at 02:55:00 UTC: No candidate is left.",
        f"{NO_CHECK}.",
        "meta is down, and has no traffic: as measured.",
        f"{HOLD}. Nothing starts by itself.",
        "Nobody counts.",
        "Nobody can tell how cohere is: as measured.",
        "mistral is slow: as measured.",
    ]
    assert answer(known(**NO_TEMPORAL), NOW).sentences == ["Temporal does not answer."]
    assert answer(known(verdicts=Unavailable("The worker is gone.")), NOW).sentences == ["The worker is gone."]
    assert answer(known(verdicts=DOWN, runs=[ORDERS]), NOW).sentences == [
        "1 run waits for a person.",
        "bedrock is down and has 70 % of route chat: as measured.",
    ]


@pytest.mark.parametrize(
    ("of", "policies", "stands"),
    [
        ([ended("NEEDS_HUMAN")], [policy()], True),
        ([ended("NEEDS_HUMAN")], [policy(changed=1)], False),
        ([ended("NEEDS_HUMAN", routes=["chat", "search"])], [policy(changed=1), policy(route="search")], True),
        ([ended("NEEDS_HUMAN", routes=[])], [policy(changed=1)], True),
        ([ended("NEEDS_HUMAN")], [], True),
        ([ended("NEEDS_HUMAN", 23 * 60)], [policy(changed=24 * 60)], True),
        ([ended("NEEDS_HUMAN", 25 * 60)], [policy(changed=26 * 60)], False),
        ([ended("NEEDS_HUMAN"), ended("COMPLETED", 1)], [policy()], False),
        ([ended("COMPLETED"), ended("NEEDS_HUMAN", 1)], [policy()], True),
        ([ended("NEEDS_HUMAN", workflow_id="canary/chat")], [policy()], False),
        ([ended("NEEDS_HUMAN", workflow_id="drill/chat")], [policy()], False),
        ([ended("ROLLED_BACK")], [policy(by="failover/x")], False),
        ([ended("TERMINATED")], [policy(by="failover/x")], True),
        ([ended("TIMED_OUT")], [replace(policy(), claim="failover/x")], True),
        ([ended("FAILED")], [policy(by="failover/x")], True),
        ([ended("FAILED")], [policy(by="somebody/else")], False),
        ([ended("FAILED", routes=[])], [], False),
    ],
    ids=[
        *("untouched", "changed since", "one of two changed", "routes not told", "policies not known"),
        *("within a day", "long ago", "done later", "failed later", "taken up", "a drill"),
        *("by itself", "its own change", "its claim", "broken off", "another's change", "nothing changed"),
    ],
)
def test_a_run_is_held_up_to_people_until_somebody_has_acted(
    of: Sequence[RunEnded], policies: list[TrafficPolicy], stands: bool
) -> None:
    """By a change of its routes since, by another run of its name, or by a day."""
    assert bool(left_to_people(of, [CANARY], policies, NOW)) is stands
