"""Which verdicts start what, when again, and when not."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from failover.config.detection import Detection, Triggers
from failover.health import Condition, Verdict
from failover.triggers import WatchState, after, respond

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SETTINGS = Detection()
USED = {"chat": {"bedrock": 7000, "google": 3000}}
FREED = {"chat": {"bedrock": 0, "google": 10000}}
HEALTHY_GOOGLE = [Verdict(provider="google", condition=Condition.HEALTHY, reason="ok", at=NOW)]
FRESH = WatchState(provider="bedrock")


def verdict(condition: Condition) -> Verdict:
    return Verdict(provider="bedrock", condition=condition, reason="measured", at=NOW)


@pytest.mark.parametrize(
    ("condition", "procedure"),
    [
        (Condition.UNAVAILABLE, "immediate"),
        (Condition.UNUSABLE, "immediate"),
        (Condition.INVALID_ANSWERS, "immediate"),
        (Condition.THROTTLED, "gradual"),
        (Condition.SLOW, "gradual"),
        (Condition.DEGRADED_QUALITY, "canary"),
        (Condition.HEALTHY, None),
        (Condition.BLIND, None),
    ],
)
def test_each_verdict_starts_what_the_table_says(condition: Condition, procedure: str | None) -> None:
    """By default; blind and healthy start nothing."""
    assert respond(verdict(condition), FRESH, USED, [], SETTINGS, NOW).procedure == procedure


def test_blindness_never_fails_over_but_people_are_told() -> None:
    """No data starts nothing; that it is so is said once."""
    response = respond(verdict(Condition.BLIND), FRESH, USED, HEALTHY_GOOGLE, SETTINGS, NOW)
    assert response.procedure is None
    assert response.tell


def test_a_trigger_can_be_switched_off() -> None:
    """`none` starts nothing, and people are still told."""
    off = SETTINGS.model_copy(update={"triggers": Triggers(unavailable="none")})
    response = respond(verdict(Condition.UNAVAILABLE), FRESH, USED, [], off, NOW)
    assert (response.procedure, response.tell) == (None, True)


def test_once_out_of_every_route_nothing_more_is_started() -> None:
    """A provider without traffic needs no failover, and the answer says so."""
    response = respond(verdict(Condition.UNAVAILABLE), FRESH, FREED, HEALTHY_GOOGLE, SETTINGS, NOW)
    assert response.procedure is None
    assert "No route uses bedrock" in response.reason


def test_an_unreadable_policy_does_not_hold_back_the_way_out() -> None:
    """Whether anybody uses it is not known; the run will see."""
    assert respond(verdict(Condition.UNAVAILABLE), FRESH, None, [], SETTINGS, NOW).procedure == "immediate"


def test_the_same_verdict_is_answered_once() -> None:
    """Not every probe starts a run or says the same again."""
    first = respond(verdict(Condition.UNAVAILABLE), FRESH, USED, HEALTHY_GOOGLE, SETTINGS, NOW)
    state = after(FRESH, verdict(Condition.UNAVAILABLE), first, NOW)
    soon = NOW + timedelta(seconds=5)
    again = respond(verdict(Condition.UNAVAILABLE), state, USED, HEALTHY_GOOGLE, SETTINGS, soon)
    assert (again.procedure, again.tell) == (None, False)


def test_traffic_is_not_left_on_a_provider_that_is_down_while_another_is_healthy() -> None:
    """After a while it is tried again, for as long as a route uses it and somebody healthy is there."""
    state = replace(FRESH, condition=Condition.UNAVAILABLE, started_at=NOW)
    later = NOW + SETTINGS.schedule_interval
    down = verdict(Condition.UNAVAILABLE)
    assert respond(down, state, USED, HEALTHY_GOOGLE, SETTINGS, later).procedure == "immediate"
    assert respond(down, state, USED, [], SETTINGS, later).procedure is None
    assert respond(down, state, FREED, HEALTHY_GOOGLE, SETTINGS, later).procedure is None


def test_a_worse_verdict_starts_its_own_procedure() -> None:
    """Throttled first, then down: the change is answered."""
    state = replace(FRESH, condition=Condition.THROTTLED, started_at=NOW)
    assert respond(verdict(Condition.UNAVAILABLE), state, USED, [], SETTINGS, NOW).procedure == "immediate"
