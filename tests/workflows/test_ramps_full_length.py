"""Every ramp at the runbook's real durations, on a server whose clock leaps: policy after every step, clocks, outcome."""

from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from temporalio.client import WorkflowHandle
from temporalio.testing import WorkflowEnvironment

from failover.config.emergency import Emergency
from failover.config.procedures import Gating, Procedures
from failover.distribution import Distribution
from failover.failure import FailureKind
from failover.incident import Outcome, RunRecord
from failover.policy import Mode
from failover.requests import RunResult
from failover.telemetry import Telemetry
from providers.memory import MemoryClient
from starter import worker_parts as composition
from traffic.memory import MemoryPlane

Run = WorkflowHandle[Any, RunResult]
Start = Callable[..., Any]


@pytest.fixture
def parts(make_parts: Callable[..., composition.Parts]) -> composition.Parts:
    """The runbook's own values: the shipped configuration, not the demo's short waits."""
    return make_parts(procedures=Procedures(gating=Gating(minimum_requests=20)), emergency=Emergency())


@pytest.fixture
def plane(parts: composition.Parts) -> MemoryPlane:
    assert isinstance(parts.plane, MemoryPlane)
    parts.plane.requests = 1000
    return parts.plane


@pytest.fixture
async def start(
    time_skipping_env: WorkflowEnvironment, parts: composition.Parts, plane: MemoryPlane, task_queue: str
) -> AsyncIterator[Start]:
    async with composition.build_worker(time_skipping_env.client, parts, task_queue=task_queue):

        async def start(procedure: str, **request: Any) -> Run:
            return await time_skipping_env.client.start_workflow(
                procedure,
                {name: value for name, value in {"route": "chat", **request}.items() if value is not None},
                id="run",
                task_queue=task_queue,
                result_type=RunResult,
            )

        yield start


def steps(plane: MemoryPlane) -> list[Distribution]:
    """The distributions that were written, without repetitions."""
    written = [dict(change.distribution) for change in plane.applied]
    return [one for index, one in enumerate(written) if index == 0 or one != written[index - 1]]


def record(parts: composition.Parts) -> RunRecord:
    found = parts.evidence.latest()
    assert found is not None
    return found


async def test_a_canary_of_a_quarter_of_an_hour(start: Start, plane: MemoryPlane, parts: composition.Parts) -> None:
    """5 % for 300 s, then 10, 25, 50, 75, 100 % with 120 s each: 15 minutes."""
    run = await start("CanaryFailover", source_provider="bedrock", target_provider="google")
    result = await run.result()
    assert (result.outcome, result.reason) == (
        Outcome.COMPLETED,
        "chat: bedrock → google: done, google:90,meta:10,bedrock:0 is in force and verified.",
    )
    assert steps(plane) == [
        {"bedrock": 7000, "google": 2000, "meta": 1000},
        {"bedrock": 6650, "google": 2350, "meta": 1000},
        {"bedrock": 6300, "google": 2700, "meta": 1000},
        {"bedrock": 5250, "google": 3750, "meta": 1000},
        {"bedrock": 3500, "google": 5500, "meta": 1000},
        {"bedrock": 1750, "google": 7250, "meta": 1000},
        {"bedrock": 0, "google": 9000, "meta": 1000},
    ]
    assert plane.policy("chat").claim is None
    assert timedelta(minutes=15) <= took(parts) < timedelta(minutes=17)
    assert await longest_history(run) < 2000


async def test_a_gradual_failover_of_six_minutes(start: Start, plane: MemoryPlane, parts: composition.Parts) -> None:
    """60 s to settle and 120 s monitored after each phase but the last."""
    run = await start("GradualFailover", failed_provider="bedrock")
    assert (await run.result()).outcome is Outcome.COMPLETED
    assert steps(plane)[-1] == {"bedrock": 0, "google": 7000, "meta": 3000}
    assert timedelta(minutes=6) <= took(parts) < timedelta(minutes=7)


async def test_a_failback_with_its_recovery_watch_of_thirty_minutes(
    start: Start, plane: MemoryPlane, parts: composition.Parts
) -> None:
    """30 minutes of good probes, then five steps of 180 s: 45 minutes."""
    plane.put("chat", {"bedrock": 0, "google": 9000, "meta": 1000})
    run = await start("Failback", original_provider="bedrock")
    result = await run.result()
    assert result.outcome is Outcome.COMPLETED, result.reason
    assert [one["bedrock"] for one in steps(plane)] == [0, 700, 1750, 3500, 5250, 7000]
    assert timedelta(minutes=45) <= took(parts) < timedelta(minutes=49)
    assert await longest_history(run) < 2000


async def test_a_recovery_watch_of_two_days_is_sparse_and_continues_as_new(
    start: Start, plane: MemoryPlane, parts: composition.Parts
) -> None:
    """The original stays down for two days, then is well for half an hour."""
    plane.put("chat", {"bedrock": 0, "google": 9000, "meta": 1000})
    bedrock = parts.clients["bedrock"]
    assert isinstance(bedrock, MemoryClient)
    bedrock.fail_with = FailureKind.SERVER_ERROR

    def mend() -> None:
        if bedrock.calls >= 700:
            bedrock.fail_with = None

    bedrock.on_call = mend
    run = await start("Failback", original_provider="bedrock")
    result = await run.result()
    assert result.outcome is Outcome.COMPLETED, result.reason
    assert timedelta(days=1.9) <= took(parts) < timedelta(days=2.2)
    assert await longest_history(run) < 2000


async def test_an_emergency_of_a_day(
    start: Start, plane: MemoryPlane, parts: composition.Parts, time_skipping_env: WorkflowEnvironment
) -> None:
    """Nobody serves for a day; histories stay under 2,000 events a run, and the end comes by itself."""
    clients = [client for client in parts.clients.values() if isinstance(client, MemoryClient)]
    for client in clients:
        client.fail_with = FailureKind.SERVER_ERROR
    plane.failing = set(parts.clients)

    def mend() -> None:
        if clients[0].calls >= 2880:
            clients[0].fail_with = None
            plane.failing.discard(clients[0].key)

    clients[0].on_call = mend
    run = await start("MultiProviderEmergency", route=None)
    result = await run.result()
    assert result.outcome is Outcome.COMPLETED, result.reason
    assert plane.policy("chat").mode is Mode.NORMAL
    assert timedelta(days=0.95) <= took(parts) < timedelta(days=1.1)
    assert await longest_history(run) < 2000


async def test_an_emergency_outlives_its_data_plane(start: Start, plane: MemoryPlane, parts: composition.Parts) -> None:
    """The gateway is away just when a provider comes back: service stays degraded, people are told, and it goes on."""
    clients = [client for client in parts.clients.values() if isinstance(client, MemoryClient)]
    for client in clients:
        client.fail_with = FailureKind.SERVER_ERROR
    plane.failing = set(parts.clients)

    def happen() -> None:
        if clients[0].calls == 20:
            clients[0].fail_with = None
            plane.failing.discard(clients[0].key)
            plane.unavailable = True
        if clients[0].calls == 24:
            plane.unavailable = False

    clients[0].on_call = happen
    result = await (await start("MultiProviderEmergency", route=None)).result()
    assert result.outcome is Outcome.COMPLETED, result.reason
    assert plane.policy("chat").mode is Mode.NORMAL
    told = [entry.text for entry in record(parts).timeline]
    assert any("the routes could not be read" in text and "It is tried again." in text for text in told), told


class BreakingPlane(MemoryPlane):
    """google fails from ten seconds into the first step on: after two looks to verify it, and the first sample."""

    looks = 0

    async def observe(
        self, *, window: timedelta | None = None, since: datetime | None = None, until: datetime | None = None
    ) -> Telemetry | None:
        if any(change.changed_by.step == "step-1" for change in self.applied):
            self.looks += 1
        self.failing = {"google"} if self.looks > 3 else set()
        return await super().observe(window=window, since=since, until=until)


@pytest.mark.parametrize("wait", ["hold", "settle"])
async def test_a_gate_that_breaks_ten_seconds_into_five_minutes_acts_within_two_samples(
    time_skipping_env: WorkflowEnvironment, parts: composition.Parts, task_queue: str, wait: str
) -> None:
    """Measured on the clock of the run: a sample every ten seconds, two bad ones in a row, and it acts."""
    plane = BreakingPlane({name: route.distribution for name, route in parts.config.routes.items()})
    plane.requests = 1000
    sides = {"source_provider": "bedrock", "target_provider": "google"}
    procedure, request = "CanaryFailover", {**sides, "initial_seconds": 300}
    if wait == "settle":
        procedure, request = "GradualFailover", {"failed_provider": "bedrock", "settle_seconds": 300}
    async with composition.build_worker(time_skipping_env.client, replace(parts, plane=plane), task_queue=task_queue):
        await time_skipping_env.client.execute_workflow(
            procedure, {"route": "chat", **request}, id="run", task_queue=task_queue
        )
    told = record(parts).timeline
    verified = next(entry.at for entry in told if entry.text.startswith("Verified"))
    acted = next(entry.at for entry in told if "step-1 failed" in entry.text)
    # Ten seconds until it breaks, and two samples.
    assert timedelta(seconds=20) <= acted - verified < timedelta(seconds=30), acted - verified


async def longest_history(run: Run) -> int:
    """Events of the longest run of the chain that the handle follows."""
    longest, run_id = 0, run.first_execution_run_id or run.result_run_id
    while run_id:
        events = (await run._client.get_workflow_handle(run.id, run_id=run_id).fetch_history()).events
        longest, last = max(longest, len(events)), events[-1]
        run_id = last.workflow_execution_continued_as_new_event_attributes.new_execution_run_id
    return longest


def took(parts: composition.Parts) -> timedelta:
    moments = record(parts).moments
    assert moments.closed is not None
    return moments.closed - moments.decided
