"""Drills from end to end: passed, failed, interrupted, aborted, stopped."""

from failover.incident import Outcome
from failover.kpis import measure
from tests.drills.conftest import FOUND, Yard, said


async def test_a_drill_passes_and_leaves_nothing_behind(yard: Yard) -> None:
    """Noticed by its own watch, moved by the real failover, put back; nobody else's route or provider is touched."""
    run = await yard.drill()
    result = await run.result()
    assert result.outcome is Outcome.PASSED, await said(run)
    policy = yard.policy()
    assert (policy.distribution, policy.claim, policy.clean) == (FOUND, None, None)
    assert await yard.faults() == []
    record = yard.record(result)
    assert record.is_drill and record.routes[0].target == "google"
    assert {kpi.name: kpi.met for kpi in measure(record)}["request loss"] is True
    assert yard.policy("chat").revision.number == 1
