"""Drills that are due by themselves: filled in by their schedule, skipped in a blackout and under a hold; and what passed."""

from datetime import UTC, datetime, timedelta

import pytest

from activities.drilling import PassedDrills
from failover.automation import Hold
from failover.incident import Outcome
from tests.drills.conftest import CONFIG, FOUND, Yard, said


@pytest.fixture
def settings() -> str:
    """No drill begins, ever."""
    return (
        CONFIG
        + """
  blackouts:
    ever: {start: "2020-01-01T00:00", end: "2100-01-01T00:00", time_zone: Europe/Berlin, why: a freeze}
  schedules:
    weekly: {provider: bedrock, every: 7d}
"""
    )


async def test_a_drill_that_is_due_in_a_blackout_is_skipped_and_says_so(yard: Yard) -> None:
    """It is on record, and nothing was claimed."""
    run = await yard.drill(provider=None, schedule="weekly", trigger="automatic")
    result = await run.result()
    assert result.outcome is Outcome.SKIPPED and "the blackout ever (a freeze)" in result.reason
    assert yard.policy().revision.number == 1 and yard.record(result).is_drill


async def test_a_person_is_told_of_the_blackout_and_may_insist(yard: Yard) -> None:
    refused = await (await yard.drill()).result()
    assert refused.outcome is Outcome.REJECTED and "the blackout ever" in refused.reason
    run = await yard.drill(despite_blackout=True)
    result = await run.result()
    assert result.outcome is Outcome.PASSED, await said(run)
    passed = await PassedDrills(yard.parts.evidence).known()
    assert passed == {"bedrock": result.moments.closed}


async def test_a_drill_that_is_due_under_a_hold_is_skipped(yard: Yard) -> None:
    """A hold stops what nobody asked for, drills too."""
    now = datetime.now(UTC)
    await yard.plane.keep_hold(Hold(by="anna", why="a migration", since=now, until=now + timedelta(hours=1)))
    run = await yard.drill(provider=None, schedule="weekly", despite_blackout=True)
    result = await run.result()
    assert result.outcome is Outcome.SKIPPED and "a migration" in result.reason
    assert yard.policy().distribution == FOUND
