"""What the on-call reads first: who is needed, what nobody can tell, what is handled; in that order."""

from datetime import UTC, datetime, timedelta

import pytest

from failover.glance import Level, Need, Scene, Waiting, glance, left_to_people
from failover.incident import Moments, Outcome, RouteShift, RunRecord, Trigger
from failover.policy import ChangedBy, Revision, TrafficPolicy

NOW = datetime(2026, 1, 31, 3, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def waiting(run: str = "gradual/chat", need: Need = Need.APPROVAL, minutes: int | None = 5) -> Waiting:
    return Waiting(run=run, need=need, text="approve?", deadline=None if minutes is None else NOW + minutes * MINUTE)


def record(outcome: Outcome = Outcome.NEEDS_HUMAN, *, closed: datetime | None = NOW, **changes: object) -> RunRecord:
    given: dict[str, object] = {
        "procedure": "ImmediateFailover",
        "workflow_id": "failover/bedrock",
        "run_id": "1",
        "trigger": Trigger.AUTOMATIC,
        "requested_by": "",
        "request_reason": "",
        "provider": "bedrock",
        "verdict": None,
        "outcome": outcome,
        "reason": "the gateway refused",
        "command": "failoverctl restore chat",
        "moments": Moments(decided=NOW - MINUTE, closed=closed),
        "routes": [RouteShift(route="chat", before={}, after={}, target=None, revision="e.1")],
    }
    return RunRecord(**(given | changes))  # type: ignore[arg-type]


def policy(route: str, at: datetime) -> TrafficPolicy:
    return TrafficPolicy(
        route=route,
        revision=Revision("e", 1),
        distribution={"bedrock": 10_000},
        changed_by=ChangedBy(actor="olga"),
        reason="",
        changed_at=at,
    )


@pytest.mark.parametrize(
    ("scene", "level", "headline"),
    [
        (Scene(), Level.WELL, "All is well."),
        (Scene(notes=["Automation is on hold"]), Level.WELL, "All is well."),
        (Scene(spared=["bedrock is down"]), Level.HANDLED, "It is handled: users are served."),
        (Scene(open_runs=["failback/chat"]), Level.HANDLED, "It is being handled."),
        (
            Scene(open_runs=["emergency"], troubles=["degraded"]),
            Level.AFFECTED,
            "It is being handled. Users are affected.",
        ),
        (Scene(unknown=["no answer"]), Level.UNKNOWN, "Nobody can tell whether all is well."),
        (Scene(unknown=["no answer"], open_runs=["a"]), Level.UNKNOWN, "Nobody can tell whether all is well."),
        (Scene(troubles=["down"], unattended=["down"]), Level.ACT, "Users are in trouble, and nothing is under way."),
        (
            Scene(troubles=["down"], unattended=["down"], open_runs=["failback/chat"]),
            Level.ACT,
            "Users are in trouble, and no run is at it.",
        ),
        (
            Scene(troubles=["down"], unattended=["down"], runs_known=False, unknown=["Temporal"]),
            Level.ACT,
            "Users are in trouble, and it cannot be told whether anything is under way.",
        ),
        (
            Scene(left_to_people=[record()], troubles=["down"]),
            Level.ACT,
            "failover/bedrock could not finish: a person is needed.",
        ),
        (Scene(waiting=[waiting()], left_to_people=[record()]), Level.ACT, "A decision is needed."),
        (Scene(waiting=[waiting(need=Need.ANSWER)]), Level.ACT, "A run is in doubt."),
        (Scene(waiting=[waiting(need=Need.ORDERS)]), Level.ACT, "A canary waits for orders."),
        (Scene(waiting=[waiting(need=Need.RESUME)]), Level.ACT, "A run is paused."),
    ],
)
def test_the_headline(scene: Scene, level: Level, headline: str) -> None:
    """Whatever else is known stands below it, in sentences."""
    found = glance(scene)
    assert (found.level, found.headline) == (level, headline)
    for sentence in (*scene.troubles, *scene.unknown, *scene.spared, *scene.notes):
        assert sentence in found.why


def test_the_nearest_deadline_is_asked_about_first() -> None:
    """A paused run, which waits for ever, comes last, and that others wait is said."""
    found = glance(
        Scene(
            waiting=[
                waiting("paused", Need.RESUME, None),
                waiting("late", minutes=9),
                waiting("orders", Need.ORDERS, None),
                waiting("soon", Need.ANSWER, 1),
            ]
        )
    )
    assert found.waiting is not None
    assert found.waiting.run == "soon"
    assert found.why == ["3 more runs wait for a person."]


def test_what_was_left_to_people_holds_the_command() -> None:
    """And only trouble that nobody works on asks for a start."""
    found = glance(Scene(left_to_people=[record()]))
    assert (found.command, found.start) == ("failoverctl restore chat", False)
    assert glance(Scene(troubles=["down"], unattended=["down"])).start


@pytest.mark.parametrize(
    ("of", "policies", "stands"),
    [
        (record(), [policy("chat", NOW - MINUTE)], True),
        (record(), [policy("chat", NOW + MINUTE)], False),
        (record(), [policy("search", NOW + MINUTE)], True),
        (record(), [], True),
        (record(routes=[]), [policy("chat", NOW + MINUTE)], True),
        (record(Outcome.COMPLETED), [policy("chat", NOW - MINUTE)], False),
        (record(closed=NOW - timedelta(hours=25)), [], False),
        (record(closed=None), [], False),
    ],
    ids=["untouched", "changed since", "another route", "not known", "no route", "done", "long ago", "open"],
)
def test_a_run_is_held_up_to_people_until_somebody_has_acted(
    of: RunRecord, policies: list[TrafficPolicy], stands: bool
) -> None:
    """By a change of its routes since, or by a day."""
    assert bool(left_to_people([of], policies, NOW + 2 * MINUTE)) is stands
