"""What is really wrong goes first: it waits for no drill, finds clean weights, and ends the fault by its own write."""

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest
from temporalio.client import WorkflowFailureError

from failover.health import Condition, Verdict
from failover.incident import Outcome
from failover.policy import Change, ChangedBy
from starter.last_good import last_good
from starter.running import Stack
from starter.settings import Settings
from tests.drills.conftest import CONFIG, FOUND, Yard, said, until_said

LONG = "validate_good_samples: 100, validate_timeout: 60s,"


@pytest.fixture
def settings() -> str:
    """Validation that lasts: the failover that is practised has moved traffic, and is not over."""
    return CONFIG.replace("validate_timeout: 2s,", LONG)


async def moved(yard: Yard) -> None:
    """The drill's failover has moved the route's traffic."""
    async with asyncio.timeout(30):
        while yard.policy().distribution == FOUND:
            await asyncio.sleep(0.02)


async def test_a_real_failover_of_the_provider_goes_on_from_clean_weights(yard: Yard) -> None:
    """The drill ends INTERRUPTED and touches nothing; the fault is gone with the claim."""
    run = await yard.drill()
    await moved(yard)
    assert (yard.policy().clean, len(await yard.faults())) == (FOUND, 1)
    real = await yard.failover("bedrock", target_provider="meta")
    result = await asyncio.wait_for(run.result(), 60)
    assert result.outcome is Outcome.INTERRUPTED and real.id in result.reason, await said(run)
    policy = yard.policy()
    assert policy.distribution == {"bedrock": 0, "google": 2000, "meta": 8000}
    assert (policy.claim, policy.changed_by.workflow_id, await yard.faults()) == (None, real.id, [])
    await real.cancel()


async def test_the_way_out_of_a_provider_that_a_drill_brought_is_what_the_drill_found(yard: Yard) -> None:
    """The drill moved the share to google, which fails for real: its own share there moves on, the drill's goes back."""
    run = await yard.drill()
    await moved(yard)
    real = await yard.failover("google", target_provider="meta")
    assert (await asyncio.wait_for(run.result(), 60)).outcome is Outcome.INTERRUPTED
    assert yard.policy().distribution == {"bedrock": 7000, "google": 0, "meta": 3000}
    await real.cancel()


async def test_a_real_ramp_takes_the_route_from_a_drill(yard: Yard) -> None:
    """It is not refused, as it would be by another ramp's claim, and begins from clean weights."""
    run = await yard.drill()
    await moved(yard)
    ramp = await yard.client.start_workflow(
        "GradualFailover",
        {"route": "practice", "failed_provider": "meta", "phases": [[0, 50, 50]], "settle_seconds": 0},
        id=f"gradual/{yard.queue}",
        task_queue=yard.queue,
    )
    assert (await asyncio.wait_for(run.result(), 60)).outcome is Outcome.INTERRUPTED
    assert any(f"The claim of {run.id} is a drill's" in text for text in await timeline(ramp))
    plan = await ramp.query("plan")
    assert plan["found"]["distribution"] == {"bedrock": 70, "google": 20, "meta": 10}
    await asyncio.wait_for(ramp.result(), 60)


async def timeline(run: Any) -> list[str]:
    entries: list[Mapping[str, str]] = await run.query("timeline")
    return [entry["text"] for entry in entries]


async def test_a_real_outage_ends_the_fault_before_anybody_moves(yard: Yard) -> None:
    """The health check says so: the fault goes at once, and no traffic goes back to who is down."""
    run = await yard.drill()
    await moved(yard)
    down = Verdict(provider="bedrock", condition=Condition.UNAVAILABLE, reason="gone", at=datetime.now(UTC))

    async def keep_saying() -> None:
        while True:
            yard.parts.board.post(Verdict(**{**_fields(down), "at": datetime.now(UTC)}))
            await asyncio.sleep(0.2)

    saying = asyncio.create_task(keep_saying())
    try:
        await until_said(run, "The fault is removed")
        assert await yard.faults() == [] and yard.policy().claim == run.id
        result = await asyncio.wait_for(run.result(), 60)
    finally:
        saying.cancel()
    assert result.outcome is Outcome.INTERRUPTED and "bedrock is really down" in result.reason
    assert yard.policy().distribution["bedrock"] == 0 and yard.policy().claim is None


def _fields(verdict: Verdict) -> dict[str, Any]:
    return {name: getattr(verdict, name) for name in Verdict.__slots__}


async def test_a_change_by_hand_is_left_alone(yard: Yard) -> None:
    """The claim is given back, and what the person set stands."""
    run = await yard.drill()
    await moved(yard)
    mine = {"bedrock": 1000, "google": 0, "meta": 9000}
    change = Change(
        route="practice",
        decided_on=yard.policy().revision,
        key=f"by-hand/{yard.queue}",
        distribution=mine,
        changed_by=ChangedBy(actor="otto"),
        reason="a test",
    )
    await yard.plane.apply([change])
    result = await asyncio.wait_for(run.result(), 60)
    assert result.outcome is Outcome.INTERRUPTED and "otto" in result.reason, await said(run)
    assert (yard.policy().distribution, yard.policy().claim, await yard.faults()) == (mine, None, [])


async def test_breaking_the_glass_writes_what_the_drill_had_found(yard: Yard, tmp_path: Any) -> None:
    """`restore` knows it from the policy alone: without Temporal, without a record."""
    run = await yard.drill()
    await moved(yard)
    stack = Stack(home=tmp_path, state=tmp_path / "elsewhere")
    good = await last_good(Settings(), stack, yard.policy(), None, [])
    assert (good.distribution, run.id in good.why) == (FOUND, True)
    await run.cancel()
    with pytest.raises(WorkflowFailureError):
        await asyncio.wait_for(run.result(), 60)
    assert yard.policy().distribution == FOUND
