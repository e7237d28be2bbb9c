"""Drills from end to end: passed, failed, refused, aborted, on a live route, stopped there."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from temporalio.client import WorkflowFailureError
from temporalio.exceptions import ApplicationError

from failover.failure import FailureKind
from failover.health import Condition, Probe, ProbeHistory, Verdict, judge, note
from failover.incident import Outcome
from failover.kpis import measure
from tests.drills.conftest import FOUND, Yard, order, said, until_said


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
    kpis = {kpi.name: kpi for kpi in measure(record)}
    assert all(kpis[name].met for name in ("detection", "execution", "restoration", "total", "request loss"))
    assert record.impact is not None and record.impact.requests > 40
    assert yard.policy("chat").revision.number == 1
    records = [yard.parts.evidence.load(folder) for folder in yard.parts.evidence.list()]
    assert {(one.procedure, one.is_drill) for one in records} == {("FailoverDrill", True), ("ImmediateFailover", True)}
    followed = [
        one async for one in yard.client.list_workflows(f'WorkflowType = "FollowUp" AND TaskQueue = "{yard.queue}"')
    ]
    assert followed == [], "what was made up needs no after-care"
    assert yard.parts.evidence.latest() is None
    assert yard.notifier.messages and all(
        one.drill and "DRILL" in one.text and not one.urgent for one in yard.notifier.messages
    )


async def test_what_a_drill_breaks_condemns_no_provider(yard: Yard) -> None:
    """The real health check counts the same tries, and knows which of them were made up."""
    run = await yard.drill()
    await until_said(run, "Noticed")
    detection, now = yard.config.detection, datetime.now(UTC)
    telemetry = await yard.plane.observe(window=timedelta(seconds=10))
    assert telemetry is not None
    broken = next(one for one in telemetry.of_provider("bedrock") if one.route == "practice")
    assert broken.failures[FailureKind.SERVER_ERROR] == broken.injected[FailureKind.SERVER_ERROR] > 0
    history = note(ProbeHistory(), Probe(provider="bedrock", at=now, latency=timedelta(0)), detection)
    verdict = judge("bedrock", history, {detection.server_errors.window: telemetry}, detection, now)
    assert verdict.condition is Condition.HEALTHY, verdict
    assert (await run.result()).outcome is Outcome.PASSED


async def test_what_nobody_can_take_over_fails_and_is_put_back(yard: Yard) -> None:
    """The targets fail as well: no emergency, no person is called, and the weights are as they were."""
    run = await yard.drill(also=["google", "meta"])
    result = await run.result()
    assert (result.outcome, yard.policy().distribution) == (Outcome.FAILED, FOUND), await said(run)
    assert "did not save the route" in result.reason and "google is unavailable" in result.reason
    assert await yard.faults() == []
    query = f'WorkflowType = "MultiProviderEmergency" AND TaskQueue = "{yard.queue}"'
    assert [one async for one in yard.client.list_workflows(query)] == []


async def test_a_target_that_is_really_down_fails_the_drill(yard: Yard) -> None:
    """It was not known before; the next of the chain is down too, and what was found is put back all the same."""
    run = await yard.drill()
    await until_said(run, "Broken on route practice")
    for name in ("google", "meta"):
        yard.providers[name].fail_with = FailureKind.SERVER_ERROR
    result = await run.result()
    assert (result.outcome, yard.policy().distribution) == (Outcome.FAILED, FOUND), await said(run)
    assert await yard.faults() == []


async def test_nothing_is_broken_where_the_route_is_not_well(yard: Yard) -> None:
    """What follows would be nobody's fault in particular."""
    for provider in yard.providers.values():
        provider.fail_with = FailureKind.SERVER_ERROR
    run = await yard.drill()
    result = await run.result()
    assert result.outcome is Outcome.FAILED and "before anything was broken" in result.reason
    assert not any("Broken on route" in text for text in await said(run))
    assert yard.policy().distribution == FOUND and yard.policy().claim is None


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        ({"route": "chat"}, "is live"),
        ({"route": "chat", "percent": 50}, "live_percent_limit"),
        ({"route": "practice", "percent": 1}, "drilled whole"),
        ({"provider": "nobody"}, "no provider of this deployment"),
        ({"schedule": "nightly"}, "no drill schedule"),
    ],
)
async def test_what_may_not_be_broken_is_refused(request_: dict[str, Any], words: str, yard: Yard) -> None:
    """Before anything is claimed."""
    run = await yard.drill(**request_)
    with pytest.raises(WorkflowFailureError) as failed:
        await run.result()
    assert isinstance(failed.value.cause, ApplicationError) and words in failed.value.cause.message
    assert {yard.policy(route).revision.number for route in ("chat", "practice")} == {1}


async def test_a_provider_that_is_really_down_is_no_time_for_a_drill(yard: Yard) -> None:
    """Nothing is broken on top of it."""
    down = Verdict(provider="google", condition=Condition.UNAVAILABLE, reason="gone", at=datetime.now(UTC))
    yard.parts.board.post(down)
    result = await (await yard.drill()).result()
    assert result.outcome is Outcome.REJECTED and "google is really unavailable" in result.reason
    assert yard.policy().revision.number == 1


async def test_an_id_that_no_claim_could_be_known_by_is_refused(yard: Yard) -> None:
    """By its id everybody knows that a drill's claim may be pre-empted."""
    result = await (await yard.drill(id=f"my-{yard.queue}")).result()
    assert result.outcome is Outcome.REJECTED and "begins with drill/" in result.reason


async def test_a_dry_run_changes_nothing(yard: Yard) -> None:
    """It tells every step, under any id."""
    run = await yard.drill(dry_run=True, id=f"dry-run/{yard.queue}")
    result = await run.result()
    assert result.outcome is Outcome.COMPLETED and result.evidence == ""
    plan = await run.query("plan")
    assert any("every try at bedrock on route practice fails" in step for step in plan["steps"])
    assert yard.policy().revision.number == 1 and not yard.notifier.messages


@pytest.mark.parametrize("moment", ["Users' side before", "Noticed"])
async def test_an_abort_ends_it_and_puts_everything_back(moment: str, yard: Yard) -> None:
    """Before the fault, and in the middle of the failover that is practised."""
    run = await yard.drill()
    await until_said(run, moment)
    answer = await order(run, "abort")
    assert answer.accepted
    result = await run.result()
    assert result.outcome is Outcome.ABORTED, await said(run)
    assert (yard.policy().distribution, yard.policy().claim, await yard.faults()) == (FOUND, None, [])


async def test_a_cancelled_drill_is_clean_too(yard: Yard) -> None:
    """`temporal workflow cancel` is an abort."""
    run = await yard.drill()
    await until_said(run, "Broken on route practice")
    await run.cancel()
    with pytest.raises(WorkflowFailureError):
        await run.result()
    assert (yard.policy().distribution, yard.policy().claim, await yard.faults()) == (FOUND, None, [])


async def test_a_live_route_is_drilled_for_a_few_percent(yard: Yard) -> None:
    """That much of the provider's share moves, and comes back; users lose nothing."""
    async with yard.users("chat"):
        run = await yard.drill(route="chat", percent=5)
        result = await run.result()
    assert result.outcome is Outcome.PASSED, await said(run)
    assert yard.policy("chat").distribution == FOUND and yard.policy("chat").claim is None
    moved = next(text for text in await said(run) if "The failover ended" in text)
    assert "COMPLETED" in moved
    child = yard.client.get_workflow_handle(f"{run.id}/failover")
    shift = (await child.result())["routes"][0]
    assert shift["after"] == {"bedrock": 66.5, "google": 23.5, "meta": 10}


async def test_a_live_drill_stops_at_once_where_users_suffer(yard: Yard) -> None:
    """Whoever should answer in the provider's place fails: the guard ends the drill, and nothing stays broken."""
    async with yard.users("chat"):
        run = await yard.drill(route="chat", percent=5)
        await until_said(run, "Broken on route chat")
        yard.providers["google"].fail_with = yard.providers["meta"].fail_with = FailureKind.SERVER_ERROR
        yard.providers["bedrock"].fail_with = FailureKind.SERVER_ERROR
        await until_said(run, "Stopped:")
        for provider in yard.providers.values():
            provider.fail_with = None
        result = await run.result()
    assert result.outcome is Outcome.FAILED and "the drill stops over" in result.reason
    assert (yard.policy("chat").distribution, yard.policy("chat").claim) == (FOUND, None)
    assert await yard.faults() == []


async def test_a_second_drill_of_the_route_is_refused(yard: Yard) -> None:
    """One writer a route."""
    first = await yard.drill()
    await until_said(first, "Users' side before")
    second = await (await yard.drill(id=f"drill/second-{yard.queue}")).result()
    assert second.outcome is Outcome.REJECTED and f"claimed by {first.id}" in second.reason
    assert (await asyncio.wait_for(first.result(), 60)).outcome is Outcome.PASSED
