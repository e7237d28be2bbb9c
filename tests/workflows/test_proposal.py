"""Proposals: people are asked before anything starts, and a hold stops what nobody asked for."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.service import RPCError

from activities.hold import HeldAutomation
from activities.notifiers.memory import MemoryNotifier
from failover.automation import Hold
from failover.config.automation import Automation
from failover.config.detection import Detection, Probe
from failover.config.procedures import Procedures
from failover.failure import FailureKind
from failover.incident import Outcome
from failover.requests import RunResult
from providers.memory import MemoryClient
from starter import worker_parts as composition
from tests.workflows.conftest import SHORT, Run, ended, order, until_details
from traffic.memory import MemoryPlane

Parts = composition.Parts


def detection(**automation: Any) -> Detection:
    probe = Probe.model_validate({"cadence": "100ms", "timeout": "1s"})
    levels = Automation.model_validate(automation)
    return Detection(schedule_interval=timedelta(seconds=20), probe=probe, automation=levels, cool_down=timedelta(0))


@pytest.fixture
def parts(make_parts: Callable[..., Parts]) -> Parts:
    made = make_parts(procedures=Procedures.model_validate(SHORT))
    assert isinstance(made.plane, MemoryPlane)
    made.plane.requests = 1000
    return replace(made, hold=made.plane)


@pytest.fixture
def plane(parts: Parts) -> MemoryPlane:
    assert isinstance(parts.plane, MemoryPlane)
    return parts.plane


@pytest.fixture
def bedrock(parts: Parts) -> MemoryClient:
    client = parts.clients["bedrock"]
    assert isinstance(client, MemoryClient)
    return client


Watch = Callable[[Detection], Any]


@pytest.fixture
async def watch(temporal_client: Client, parts: Parts, task_queue: str) -> AsyncIterator[Watch]:
    """A worker and a health check over the given detection; everything is ended afterwards."""
    workers: list[Any] = []
    runs = [temporal_client.get_workflow_handle(f"check-{task_queue}")]

    async def begin(settings: Detection) -> None:
        changed = replace(parts, config=parts.config.model_copy(update={"detection": settings}))
        worker = composition.build_worker(temporal_client, changed, task_queue=task_queue)
        workers.append(worker)
        await worker.__aenter__()
        await temporal_client.start_workflow("HealthCheck", {}, id=runs[0].id, task_queue=task_queue)
        async with asyncio.timeout(10):
            while len(parts.board.all()) < 3:
                await asyncio.sleep(0.02)

    yield begin
    started = ("failover/bedrock", "proposal/failover/bedrock", "failback/chat", "emergency")
    for run in (*runs, *map(temporal_client.get_workflow_handle, started)):
        try:
            await run.terminate()
        except RPCError:
            continue
    for worker in workers:
        await worker.__aexit__(None, None, None)


async def proposed(client: Client, id: str = "proposal/failover/bedrock") -> Run:
    run: Run = client.get_workflow_handle(id, result_type=RunResult)
    async with asyncio.timeout(10):
        while True:
            try:
                if (await run.describe()).status is WorkflowExecutionStatus.RUNNING:
                    return run
            except RPCError:
                pass
            await asyncio.sleep(0.05)


async def bound(run: Run) -> dict[str, str]:
    now = await until_details(run, lambda now: bool(now.get("approval")))
    return {"step": now["approval"]["step"], "digest": now["approval"]["digest"]}


async def moved(plane: MemoryPlane) -> None:
    async with asyncio.timeout(10):
        while plane.distribution("chat")["bedrock"]:
            await asyncio.sleep(0.02)


async def test_people_are_asked_first_and_their_word_starts_it(
    watch: Watch, temporal_client: Client, plane: MemoryPlane, bedrock: MemoryClient, parts: Parts
) -> None:
    """Nothing moves until then; the message holds the command; the run is theirs from then on."""
    await watch(detection(unavailable="propose"))
    bedrock.fail_with = FailureKind.SERVER_ERROR
    run = await proposed(temporal_client)
    approval = await bound(run)
    assert isinstance(parts.notifier, MemoryNotifier)
    command = f"failoverctl approve proposal/failover/bedrock --step start --digest {approval['digest']}"
    async with asyncio.timeout(5):
        while not any(command in message.text for message in parts.notifier.messages):
            await asyncio.sleep(0.02)
    assert not plane.applied
    refused = await order(run, "approve", step="start", digest="000000000000")
    assert not refused.accepted
    await order(run, "approve", comment="go", **approval)
    result = await ended(run)
    assert (result.outcome, result.reason) == (Outcome.COMPLETED, "failover/bedrock was started: alice approved it.")
    await moved(plane)
    assert plane.applied[0].changed_by.actor == "alice"


async def test_a_rejection_starts_nothing_and_is_not_asked_again_at_once(
    watch: Watch, temporal_client: Client, plane: MemoryPlane, bedrock: MemoryClient
) -> None:
    """Until the cool-down is over, or the verdict changes."""
    settings = detection(unavailable="propose").model_copy(update={"cool_down": timedelta(minutes=10)})
    await watch(settings)
    bedrock.fail_with = FailureKind.SERVER_ERROR
    run = await proposed(temporal_client)
    await order(run, "reject", comment="we know", **await bound(run))
    result = await ended(run)
    assert (result.outcome, result.reason) == (Outcome.REJECTED, "alice rejected it. Nothing was started.")
    calls = bedrock.calls
    async with asyncio.timeout(10):
        while bedrock.calls < calls + 10:
            await asyncio.sleep(0.02)
    assert (await run.describe()).status is WorkflowExecutionStatus.COMPLETED
    assert not plane.applied


@pytest.mark.parametrize(
    ("at_deadline", "recovers", "outcome", "words"),
    [
        ("nothing", False, Outcome.REJECTED, "Nobody answered within 500ms. Nothing was started."),
        ("act", False, Outcome.COMPLETED, "was started: nobody answered within 500ms"),
        ("act", True, Outcome.REJECTED, "and bedrock has recovered"),
    ],
)
async def test_silence_ends_as_configured(
    at_deadline: str,
    recovers: bool,
    outcome: Outcome,
    words: str,
    watch: Watch,
    temporal_client: Client,
    plane: MemoryPlane,
    bedrock: MemoryClient,
) -> None:
    """Nothing, or what was proposed, unless the trouble is over by then."""
    deadline = "500ms" if not recovers else "1500ms"
    await watch(detection(unavailable="propose", at_deadline=at_deadline, deadline=deadline))
    bedrock.fail_with = FailureKind.SERVER_ERROR
    run = await proposed(temporal_client)
    if recovers:
        bedrock.fail_with = None
    result = await ended(run)
    assert result.outcome is outcome and words.replace("500ms", deadline) in result.reason
    if outcome is Outcome.COMPLETED:
        await moved(plane)
    else:
        assert not plane.applied


async def test_what_is_off_is_told_and_left_to_people(
    watch: Watch, temporal_client: Client, plane: MemoryPlane, bedrock: MemoryClient, parts: Parts
) -> None:
    """No run, no proposal."""
    await watch(detection(unavailable=False))
    bedrock.fail_with = FailureKind.SERVER_ERROR
    await told(parts, "Automation is off for unavailable on chat")
    for id in ("failover/bedrock", "proposal/failover/bedrock"):
        assert await is_closed(temporal_client, id)
    assert not plane.applied


async def is_closed(client: Client, id: str) -> bool:
    try:
        return (await client.get_workflow_handle(id).describe()).status is not WorkflowExecutionStatus.RUNNING
    except RPCError:
        return True


async def told(parts: Parts, words: str) -> None:
    assert isinstance(parts.notifier, MemoryNotifier)
    async with asyncio.timeout(10):
        while not any(words in message.text for message in parts.notifier.messages):
            await asyncio.sleep(0.02)


async def test_a_hold_stops_the_start_and_its_end_gives_what_is_owed(
    watch: Watch, temporal_client: Client, plane: MemoryPlane, bedrock: MemoryClient, parts: Parts
) -> None:
    """People hear who holds it and why; what they start themselves goes on; once it ends, the failover starts."""
    plane.held = Hold(by="anna", why="a migration", since=datetime.now(UTC))
    await watch(detection())
    bedrock.fail_with = FailureKind.SERVER_ERROR
    await told(parts, "by anna: a migration; an immediate failover is people's to start")
    calls = bedrock.calls
    async with asyncio.timeout(10):
        while bedrock.calls < calls + 5:
            await asyncio.sleep(0.02)
    assert not plane.applied
    plane.held = None
    await moved(plane)


async def test_people_start_what_they_want_while_automation_is_held(
    watch: Watch, temporal_client: Client, plane: MemoryPlane, task_queue: str
) -> None:
    """A hold is on the product, not on people."""
    plane.held = Hold(by="anna", why="a migration", since=datetime.now(UTC))
    await watch(detection())
    run = await temporal_client.start_workflow(
        "ImmediateFailover", {"failed_provider": "bedrock"}, id=f"by-hand-{task_queue}", task_queue=task_queue
    )
    await run.result()
    assert plane.distribution("chat")["bedrock"] == 0


async def test_what_follows_an_automatic_failover_is_held_too(
    watch: Watch, temporal_client: Client, plane: MemoryPlane, task_queue: str
) -> None:
    """The watch for a failback does not begin, and the run says why."""
    plane.held = Hold(by="anna", why="a migration", since=datetime.now(UTC))
    await watch(detection())
    run: Run = await temporal_client.start_workflow(
        "ImmediateFailover",
        {"failed_provider": "bedrock", "trigger": "automatic"},
        id=f"automatic-{task_queue}",
        task_queue=task_queue,
        result_type=RunResult,
    )
    assert (await ended(run)).outcome is Outcome.COMPLETED
    assert await is_closed(temporal_client, "failback/chat")


async def test_an_unreadable_hold_stays_as_it_was_known() -> None:
    """A gateway that does not answer ends no hold, and sets none."""
    plane = MemoryPlane({"chat": {"bedrock": 10000}})
    held = HeldAutomation(plane)
    plane.unavailable = True
    assert await held.known() is None
    plane.unavailable, plane.held = False, Hold(by="anna", why="x", since=datetime.now(UTC))
    assert await held.known() == plane.held
    plane.unavailable = True
    assert await held.known() == plane.held
