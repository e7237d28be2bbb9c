"""One writer per route: claims, what happens when somebody else changes a route, and runs that end in other ways."""

import asyncio
from datetime import UTC, datetime
from functools import partial
from typing import Any

import pytest
from pydantic import TypeAdapter
from temporalio import workflow
from temporalio.api.workflowservice.v1 import ResetWorkflowExecutionRequest
from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.worker import Worker

from failover.driving import Driving, Verb
from failover.failure import FailureKind
from failover.incident import Moments, Outcome
from failover.policy import Change, ChangedBy
from failover.requests import RunResult
from starter import worker_parts as composition
from tests.workflows.conftest import FOUND, Ramps, Run, ended, order, outcome_of, said, until, until_details
from traffic.memory import MemoryPlane
from workflows.canary_failover import CanaryFailover
from workflows.journal import OUTCOME, PROCEDURE, PROVIDER, ROUTES
from workflows.ramp_state import Carried

MOVED = {"bedrock": 0, "google": 9000, "meta": 1000}


async def step_of(run: Run, number: int) -> None:
    await until_details(run, lambda now: now.get("step") == number and now.get("stage") == "holding")


@pytest.mark.parametrize("number", [0, 1, 2])
@pytest.mark.parametrize("procedure", ["canary", "gradual", "failback"])
async def test_an_immediate_failover_supersedes_a_ramp_at_each_step(
    ramps: Ramps, ramp_plane: MemoryPlane, procedure: str, number: int
) -> None:
    """It never queues behind a ramp; the ramp says by whom and touches nothing more."""
    if procedure == "canary":
        run = await ramps.canary(initial_seconds=60, percents=[50, 75], step_seconds=60)
    elif procedure == "failback":
        ramp_plane.put("chat", MOVED)
        run = await ramps.start("Failback", original_provider="bedrock", percents=[25, 50, 75], step_seconds=60)
    else:
        run = await ramps.gradual(monitor_seconds=60, phases=[[50, 30, 20], [40, 30, 30], [25, 50, 25], [0, 70, 30]])
    for reached in range(number):
        await step_of(run, reached)
        await order(run, "advance")
    await step_of(run, number)
    assert (await ended(await ramps.immediate())).outcome is Outcome.COMPLETED
    after = ramp_plane.policy("chat")
    result = await ended(run)
    assert result.outcome is Outcome.SUPERSEDED
    assert f"immediate-{ramps.task_queue} changed route chat under this run" in result.reason
    assert (ramp_plane.policy("chat"), after.distribution["bedrock"]) == (after, 0)


async def test_a_second_ramp_is_refused_with_the_holders_name(ramps: Ramps, ramp_plane: MemoryPlane) -> None:
    """Whatever id it was started under by hand."""
    first = await ramps.canary(initial_seconds=60)
    await until(first, "Verified")
    second = await ended(await ramps.gradual(id=f"by-hand-{ramps.task_queue}"))
    assert second.outcome is Outcome.REJECTED
    assert f"claimed by {first.id}, which is running" in second.reason
    await order(first, "abort")
    assert (await ended(first)).outcome is Outcome.ABORTED


async def test_of_two_ramps_at_once_one_writes(ramps: Ramps, ramp_plane: MemoryPlane) -> None:
    """Started together under different ids."""
    runs = await asyncio.gather(ramps.canary(id=f"a-{ramps.task_queue}"), ramps.canary(id=f"b-{ramps.task_queue}"))
    outcomes = sorted([(await ended(run)).outcome for run in runs])
    assert outcomes in ([Outcome.COMPLETED, Outcome.REJECTED], [Outcome.COMPLETED, Outcome.SUPERSEDED])
    assert len({change.changed_by.workflow_id for change in ramp_plane.applied}) == 1


async def test_a_claim_of_a_terminated_run_is_stale_at_once(ramps: Ramps, ramp_plane: MemoryPlane) -> None:
    """Terminate leaves the policy as it stands; the next ramp takes the claim over."""
    first = await ramps.canary(initial_seconds=60)
    await until(first, "Verified")
    await first.terminate("by hand")
    assert ramp_plane.policy("chat").claim == first.id
    run = await ramps.canary(id=f"next-{ramps.task_queue}")
    assert (await ended(run)).outcome is Outcome.COMPLETED
    assert f"The claim of {first.id} is stale: no such run is open. Taking it over." in await said(run)


async def test_somebodys_change_by_hand_ends_a_ramp(ramps: Ramps, ramp_plane: MemoryPlane) -> None:
    """Break-glass by another actor: the wedged run's next write would be refused."""
    run = await ramps.canary(initial_seconds=60)
    await until(run, "Verified")
    policy = ramp_plane.policy("chat")
    ramp_plane.write(
        Change(
            route="chat",
            decided_on=policy.revision,
            key="by-hand",
            distribution=FOUND,
            claim="",
            evict_claim=policy.claim,
            changed_by=ChangedBy(actor="carol"),
            reason="break-glass",
        )
    )
    result = await ended(run)
    assert (result.outcome, ramp_plane.policy("chat").key) == (Outcome.SUPERSEDED, "by-hand")
    assert "carol changed route chat" in result.reason


@pytest.mark.parametrize("number", [1, 2, 3])
async def test_an_abort_that_races_a_step_wins(ramps: Ramps, ramp_plane: MemoryPlane, number: int) -> None:
    """Ordered at the moment of a write: the claim's, or that of one of the first two of its three steps."""
    written = at_write(ramp_plane, number)
    run = await ramps.canary(initial_seconds=0, step_seconds=0)
    await asyncio.wait_for(written.wait(), 20)
    answer = await run.execute_update("abort", {"actor": "alice"})
    assert answer["accepted"], answer["said"]
    assert (await outcome_of(run), ramp_plane.distribution("chat")) == (Outcome.ABORTED, FOUND)
    assert ramp_plane.policy("chat").claim is None


def at_write(plane: MemoryPlane, number: int) -> asyncio.Event:
    """Set when that write has come, counted from here."""
    come = asyncio.Event()

    def count(left: int) -> None:
        if left == 1:
            come.set()
        else:
            plane.before_write = partial(count, left - 1)

    plane.before_write = partial(count, number)
    return come


async def test_cancel_ends_canceled_after_the_verified_restore(
    ramps: Ramps, ramp_plane: MemoryPlane, ramp_parts: composition.Parts
) -> None:
    """On a timer as within an activity; outcome and evidence are those of an abort."""
    run = await ramps.canary(initial_seconds=60)
    await until(run, "Verified")
    await run.cancel()
    with pytest.raises(AssertionError, match=r".*"):
        await ended(run)
    described = await run.describe()
    assert described.status is WorkflowExecutionStatus.CANCELED
    assert described.typed_search_attributes[OUTCOME] == "ABORTED"
    assert (ramp_plane.distribution("chat"), ramp_plane.policy("chat").claim) == (FOUND, None)
    kept = ramp_parts.evidence.latest()
    assert kept is not None and (kept.workflow_id, kept.outcome) == (run.id, Outcome.ABORTED)


async def test_a_reset_run_goes_on_and_leaves_no_claim_behind(
    ramps: Ramps, ramp_plane: MemoryPlane, temporal_client: Client
) -> None:
    """It finds its own later write in force, and writes over it."""
    run = await ramps.canary(initial_seconds=0.3, percents=[50, 100], step_seconds=1)
    await step_of(run, 1)
    history = await run.fetch_history()
    verified = [e.event_id for e in history.events if e.HasField("workflow_task_completed_event_attributes")]
    reset = await temporal_client.workflow_service.reset_workflow_execution(
        ResetWorkflowExecutionRequest(
            namespace=temporal_client.namespace,
            workflow_execution={"workflow_id": run.id, "run_id": (await run.describe()).run_id},  # type: ignore[arg-type]
            reason="test",
            workflow_task_finish_event_id=verified[6],
            request_id=run.id,
        )
    )
    assert reset.run_id
    again = later(ramps, run)
    outcome = await outcome_of(again)
    assert outcome is Outcome.COMPLETED
    assert (ramp_plane.distribution("chat"), ramp_plane.policy("chat").claim) == (MOVED, None)


def later(ramps: Ramps, run: Run) -> Run:
    """The run of that id that is open now."""
    handle: Run = ramps.client.get_workflow_handle(run.id, result_type=RunResult)
    return handle


async def test_a_run_that_waits_long_continues_as_new_with_all_it_knows(ramps: Ramps, ramp_plane: MemoryPlane) -> None:
    """Step, snapshot, orders by id, pause and claim go with it; histories stay under 2,000 events."""
    run = await ramps.canary(initial_seconds=60)
    await until(run, "Verified")
    first = (await run.describe()).run_id
    now, notes = later(ramps, run), 0
    assert (await order(run, "pause", id="p1")).accepted
    async with asyncio.timeout(60):
        while (await ramps.client.get_workflow_handle(run.id).describe()).run_id == first:
            await now.signal("note", {"by": "carol", "text": f"note {notes}."})
            notes += 1
            await asyncio.sleep(0.2)
    await until(now, "Continued as a new run")
    kept = [text for text in await said(now) if text.startswith("carol: note ")]
    assert kept == [f"carol: note {number}." for number in range(notes)], "a message was lost on the way"
    assert (await order(now, "pause", id="p1")).accepted
    assert (await until_details(now, lambda found: True))["paused"] is True
    history = await ramps.client.get_workflow_handle(run.id, run_id=first).fetch_history()
    assert len(history.events) < 2000
    found = (await now.describe()).typed_search_attributes
    assert (found[PROCEDURE], found[ROUTES], found[PROVIDER]) == ("CanaryFailover", ["chat"], "bedrock")
    rival = await ended(await ramps.gradual())
    assert (rival.outcome, "claimed by" in rival.reason) == (Outcome.REJECTED, True)
    assert (await order(now, "resume")).accepted
    assert (await order(now, "abort")).accepted
    assert await outcome_of(now) is Outcome.ABORTED
    assert (ramp_plane.distribution("chat"), ramp_plane.policy("chat").claim) == (FOUND, None)


@workflow.defn(name="WentOnElsewhere", sandboxed=False)
class WentOnElsewhere:
    """Goes on as a canary on another task queue: its orders can come before its first task is done."""

    @workflow.run
    async def run(self, request: dict[str, Any], task_queue: str) -> None:
        workflow.continue_as_new(args=[request], workflow=CanaryFailover.run, task_queue=task_queue)


async def test_abort_always_ends_also_where_it_comes_before_the_first_task_of_a_run_that_goes_on(
    temporal_client: Client, ramp_parts: composition.Parts, ramp_plane: MemoryPlane, task_queue: str
) -> None:
    """The run before it left what was ordered until then; what was ordered since nobody else holds."""
    left = Carried(
        state=None,
        recovery=None,
        driving=Driving(verbs=(Verb.ABORT,)),
        moments=Moments(decided=datetime.now(UTC)),
        timeline=[],
        notes=[],
        phase="observe",
        subject="",
        thread=None,
    )
    request = {"route": "chat", "source_provider": "bedrock", "target_provider": "google", "initial_seconds": 60}
    request["carried"] = TypeAdapter(Carried).dump_python(left, mode="json")
    async with Worker(temporal_client, task_queue=f"{task_queue}-first", workflows=[WentOnElsewhere]):
        await temporal_client.start_workflow(
            "WentOnElsewhere", args=[request, task_queue], id=task_queue, task_queue=f"{task_queue}-first"
        )
        run = temporal_client.get_workflow_handle(task_queue, result_type=RunResult)
        async with asyncio.timeout(20):
            while (await run.describe()).workflow_type != "CanaryFailover":
                await asyncio.sleep(0.05)
        await run.signal("abort", {"actor": "alice"})
    async with composition.build_worker(temporal_client, ramp_parts, task_queue=task_queue):
        assert await outcome_of(run) is Outcome.ABORTED
        assert any(text.startswith("alice, abort") for text in await said(run))
    assert (ramp_plane.distribution("chat"), ramp_plane.policy("chat").claim) == (FOUND, None)


async def test_both_providers_bad_is_no_ping_pong(
    ramps: Ramps, ramp_plane: MemoryPlane, ramp_parts: composition.Parts
) -> None:
    """A canary from one to the other: traffic neither goes forth nor back, and a person is told."""
    run = await ramps.canary(initial_seconds=60)
    await until(run, "Verified")
    ramp_plane.failing = {"google", "bedrock"}
    for name in ("google", "bedrock"):
        ramp_parts.clients[name].fail_with = FailureKind.SERVER_ERROR  # type: ignore[attr-defined]
    result = await ended(run)
    assert result.outcome is Outcome.HELD
    assert "not put back: bedrock would get more traffic, and is down" in result.reason
    assert len({tuple(sorted(change.distribution.items())) for change in ramp_plane.applied}) == 2
