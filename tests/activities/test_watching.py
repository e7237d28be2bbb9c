"""The health watch on a real server: three failures and it acts, once, however often it is told."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from pydantic import TypeAdapter
from temporalio.client import (
    Client,
    Schedule,
    ScheduleActionStartWorkflow,
    ScheduleIntervalSpec,
    ScheduleOverlapPolicy,
    SchedulePolicy,
    ScheduleSpec,
    WorkflowHandle,
)
from temporalio.service import RPCError
from temporalio.testing import ActivityEnvironment

from activities.notifiers.memory import MemoryNotifier
from activities.probing import Prober
from activities.watching import Watching, WatchOrder
from failover.config.detection import Detection, Probe
from failover.config.procedures import Immediate, Procedures
from failover.failure import Failure, FailureKind
from failover.health import Condition, ProbeHistory, Verdict
from failover.health import Probe as Probed
from failover.triggers import WatchState
from providers.memory import MemoryClient
from starter import worker_parts as composition
from traffic.memory import MemoryPlane
from workflows.health_check import HANDOVER, deadline

CADENCE = timedelta(milliseconds=100)


@pytest.fixture
def parts(make_parts: Callable[..., composition.Parts]) -> composition.Parts:
    """Watched ten times a second, in checks of three seconds."""
    probe = Probe.model_validate({"cadence": "100ms", "timeout": "1s"})
    waits = {"verify_timeout": "500ms", "validate_timeout": "500ms", "validate_interval": "100ms"}
    return make_parts(
        detection=Detection.model_validate({"schedule_interval": "3s", "probe": probe}),
        procedures=Procedures(immediate=Immediate.model_validate(waits)),
    )


@pytest.fixture
def bedrock(parts: composition.Parts) -> MemoryClient:
    client = parts.clients["bedrock"]
    assert isinstance(client, MemoryClient)
    return client


@pytest.fixture
def plane(parts: composition.Parts) -> MemoryPlane:
    assert isinstance(parts.plane, MemoryPlane)
    return parts.plane


@pytest.fixture
async def check(temporal_client: Client, failover_worker: str) -> AsyncIterator[WorkflowHandle[Any, Any]]:
    """One health check, and an end to every run that it may have started."""
    handle = await temporal_client.start_workflow(
        "HealthCheck", {}, id=f"check-{failover_worker}", task_queue=failover_worker
    )
    yield handle
    for run in (handle, temporal_client.get_workflow_handle("failover/bedrock")):
        try:
            await run.terminate()
        except RPCError:
            continue


async def condition(parts: composition.Parts, wanted: Condition, provider: str = "bedrock") -> datetime:
    async with asyncio.timeout(5):
        while True:
            for verdict in parts.board.all():
                if verdict.provider == provider and verdict.condition is wanted:
                    return verdict.at
            await asyncio.sleep(0.01)


async def until_moved(plane: MemoryPlane) -> None:
    async with asyncio.timeout(8):
        while plane.distribution("chat")["bedrock"]:
            await asyncio.sleep(0.01)


async def test_three_failed_probes_start_the_failover_from_within(
    check: WorkflowHandle[Any, Any], parts: composition.Parts, plane: MemoryPlane, bedrock: MemoryClient
) -> None:
    """The verdict hands over what is known of the others; the watching goes on."""
    await condition(parts, Condition.HEALTHY)
    bedrock.fail_with = FailureKind.SERVER_ERROR
    await until_moved(plane)
    assert plane.applied[0].changed_by.workflow_id == "failover/bedrock"
    calls = bedrock.calls
    async with asyncio.timeout(5):
        while bedrock.calls < calls + 5:
            await asyncio.sleep(0.01)
    assert len(plane.applied) == 1


async def test_a_hanging_provider_is_found_within_three_cadences_and_a_timeout(
    check: WorkflowHandle[Any, Any], parts: composition.Parts, plane: MemoryPlane, bedrock: MemoryClient
) -> None:
    """Probes overlap: three hanging ones do not cost three timeouts."""
    await condition(parts, Condition.HEALTHY)
    began = datetime.now(UTC)
    bedrock.hang = True
    found = await condition(parts, Condition.UNAVAILABLE)
    assert found - began < 3 * CADENCE + timedelta(seconds=1) + timedelta(seconds=1)


async def test_a_green_control_plane_saves_nobody(
    check: WorkflowHandle[Any, Any], parts: composition.Parts, plane: MemoryPlane, bedrock: MemoryClient
) -> None:
    """Listing models goes on; completions fail: traffic moves."""
    assert bedrock.control_plane_up
    bedrock.fail_with = FailureKind.MODEL_LOADING
    await until_moved(plane)


async def test_users_failed_tries_move_traffic_though_probes_are_green(
    check: WorkflowHandle[Any, Any], parts: composition.Parts, plane: MemoryPlane
) -> None:
    """Seventy of a hundred tries fail at bedrock; every probe is answered."""
    await condition(parts, Condition.HEALTHY)
    plane.failing.add("bedrock")
    await until_moved(plane)


@pytest.mark.parametrize("trouble", ["blind", "unavailable"])
async def test_no_data_starts_nothing(
    trouble: str, check: WorkflowHandle[Any, Any], parts: composition.Parts, plane: MemoryPlane, bedrock: MemoryClient
) -> None:
    """A data plane that cannot tell, or does not answer, condemns nobody; the probes speak alone."""
    setattr(plane, trouble, True)
    calls = bedrock.calls
    await condition(parts, Condition.HEALTHY)
    async with asyncio.timeout(5):
        while bedrock.calls < calls + 10:
            await asyncio.sleep(0.01)
    assert not plane.applied


async def test_a_change_is_told_once(
    check: WorkflowHandle[Any, Any], parts: composition.Parts, plane: MemoryPlane, bedrock: MemoryClient
) -> None:
    """A throttled provider is blind to us: people hear of it once, not at every probe."""
    await condition(parts, Condition.HEALTHY)
    bedrock.fail_with = FailureKind.THROTTLED
    await condition(parts, Condition.BLIND)
    calls = bedrock.calls
    async with asyncio.timeout(5):
        while bedrock.calls < calls + 5:
            await asyncio.sleep(0.01)
    assert isinstance(parts.notifier, MemoryNotifier)
    assert len([message for message in parts.notifier.messages if "bedrock* is blind" in message.text]) == 1
    assert not plane.applied


async def test_the_count_goes_on_in_the_next_check(
    temporal_client: Client, failover_worker: str, parts: composition.Parts, plane: MemoryPlane, bedrock: MemoryClient
) -> None:
    """What one run knows, the next one of the schedule knows: two failures here and one there are three in a row."""
    action = ScheduleActionStartWorkflow("HealthCheck", {}, id="counted-check", task_queue=failover_worker)
    schedule = await temporal_client.create_schedule(
        f"schedule-{failover_worker}", Schedule(action=action, spec=ScheduleSpec())
    )
    try:
        await schedule.trigger()
        await condition(parts, Condition.HEALTHY)
        first = (await ended_runs(schedule, 1))[0]
        states = {state["provider"]: state for state in await first.result()}
        assert states["bedrock"]["history"]["last"] is not None
        await schedule.trigger()
        second = (await ended_runs(schedule, 2))[1]
        orders = b"".join(
            payload.data
            for event in (await second.fetch_history()).events
            for payload in event.activity_task_scheduled_event_attributes.input.payloads
        )
        assert states["bedrock"]["history"]["last"]["at"].encode() in orders
    finally:
        await schedule.delete()


class Ended:
    """A closed run of a schedule."""

    def __init__(self, handle: WorkflowHandle[Any, Any]) -> None:
        self._handle = handle

    async def result(self) -> list[dict[str, Any]]:
        told: dict[str, list[dict[str, Any]]] = await self._handle.result()
        return told["states"]

    async def fetch_history(self) -> Any:
        return await self._handle.fetch_history()


async def ended_runs(schedule: Any, count: int) -> list[Ended]:
    client = schedule._client
    async with asyncio.timeout(15):
        while True:
            actions = (await schedule.describe()).info.recent_actions
            if len(actions) >= count:
                runs = [
                    client.get_workflow_handle(one.action.workflow_id, run_id=one.action.first_execution_run_id)
                    for one in actions
                ]
                for run in runs:
                    await run.result()
                return [Ended(run) for run in runs]
            await asyncio.sleep(0.05)


async def test_no_gap_between_probes_is_longer_than_two_cadences_across_runs_too(
    temporal_client: Client, task_queue: str, make_parts: Callable[..., composition.Parts]
) -> None:
    """Three scheduled checks of two seconds, a probe every half second: one ends, the next goes on."""
    cadence = timedelta(milliseconds=500)
    probe = Probe.model_validate({"cadence": "500ms"})
    parts = make_parts(detection=Detection.model_validate({"schedule_interval": "2s", "probe": probe}))
    asked: list[datetime] = []
    watched = parts.clients["bedrock"]
    assert isinstance(watched, MemoryClient)
    watched.on_call = lambda: asked.append(datetime.now(UTC))
    action = ScheduleActionStartWorkflow("HealthCheck", {}, id=f"gap-{task_queue}", task_queue=task_queue)
    spec = ScheduleSpec(intervals=[ScheduleIntervalSpec(every=timedelta(seconds=2))])
    policy = SchedulePolicy(overlap=ScheduleOverlapPolicy.BUFFER_ONE)
    async with composition.build_worker(temporal_client, parts, task_queue=task_queue):
        schedule = await temporal_client.create_schedule(
            f"gap-{task_queue}", Schedule(action=action, spec=spec, policy=policy), trigger_immediately=True
        )
        try:
            async with asyncio.timeout(20):
                while not asked or asked[-1] - asked[0] < timedelta(seconds=7):
                    await asyncio.sleep(0.05)
        finally:
            await schedule.delete()
    gaps = [later - earlier for earlier, later in pairwise(asked)]
    assert max(gaps) < 2 * cadence + timedelta(milliseconds=200), gaps


async def test_an_attempt_after_a_workers_death_goes_on_with_its_count(parts: composition.Parts) -> None:
    """Two failures were heartbeated before the kill; the third condemns."""
    told: list[Condition] = []

    class Listening:
        async def start(self, procedure: str, verdict: Verdict, others: Any, routes: Any, allowed: Any) -> bool:
            told.append(verdict.condition)
            return True

        async def tell(self, verdict: Verdict, response: Any) -> None: ...

    client = parts.clients["bedrock"]
    assert isinstance(client, MemoryClient)
    client.fail_with = FailureKind.SERVER_ERROR
    failure = Failure(kind=FailureKind.SERVER_ERROR, provider="bedrock", detail="x")
    now = datetime.now(UTC)
    probes = [Probed(provider="bedrock", at=now - CADENCE, latency=CADENCE, failure=failure) for _ in range(2)]
    before = WatchState(provider="bedrock", history=ProbeHistory(failures=probes, last=probes[-1]))
    environment = ActivityEnvironment()
    details = TypeAdapter(WatchState).dump_python(before, mode="json")
    environment.info = replace(environment.info, heartbeat_details=[details], attempt=2)
    watching = Watching(parts.config, parts.plane, Prober(parts.config, parts.clients), parts.board, Listening())
    calls = client.calls
    order = WatchOrder(state=WatchState(provider="bedrock"), until=datetime.now(UTC) + 2 * CADENCE)
    await environment.run(watching.watch, order)
    assert told[0] is Condition.UNAVAILABLE
    assert client.calls - calls <= 3


NOON = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("late", "expected"),
    [
        (0.0, 30.0),
        (0.5, 30.0),
        (29.0, 30.0),
        (29.9, 60.0),
        (31.0, 60.0),
        (95.0, 120.0),
    ],
)
def test_a_check_ends_just_before_the_next_is_due(late: float, expected: float) -> None:
    """Also when it starts late, by less or more than an interval: never after, and never at once."""
    interval = timedelta(seconds=30)
    ends = deadline(NOON + timedelta(seconds=late), NOON, interval)
    assert ends == NOON + timedelta(seconds=expected) - HANDOVER
