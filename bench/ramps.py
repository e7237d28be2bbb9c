"""Ramps: how fast an abort is obeyed from every kind of wait, and how long histories become at the runbook's durations."""

import asyncio
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from temporalio.client import Client, WorkflowHandle

from activities.board import VerdictBoard
from activities.evidence import EvidenceStore
from activities.notifiers.memory import MemoryNotifier
from bench.figures import facts, table
from bench.shift import QUEUE, Place, place, shift_once
from failover.config.emergency import Emergency
from failover.config.procedures import Gating, Procedures
from failover.failure import FailureKind
from providers.memory import MemoryClient
from starter import worker_parts as composition
from starter.configuration import demo_config, load
from starter.embedded.temporal_server import time_skipping
from starter.search_attributes import register_search_attributes
from traffic.memory import MemoryPlane
from workflows.payloads import data_converter

CANARY: dict[str, Any] = {"route": "chat", "source_provider": "bedrock", "target_provider": "google"}

WAITS: Mapping[str, tuple[dict[str, Any], str]] = {
    "a hold": ({"initial_seconds": 300}, "holding"),
    "a pause": ({"initial_seconds": 300}, "paused"),
    "an approval": ({"approvals": {"points": ["first_shift"]}}, "approval"),
    "a question": ({"initial_seconds": 0.1}, "question"),
    "orders": ({"initial_seconds": 0, "manual": True, "synthetic_per_sample": 20}, "orders"),
}
"""What the run waits for → its request, and how it is told to be there."""


async def aborts(cli: Path, times: int) -> None:
    """Abort → the snapshot is in force and verified, and the run is over; beside the time to shift, in one run."""
    config = load(demo_config()).config
    async with place(cli, config) as at:
        shifts = [await shift_once(at, number) for number in range(times)]
        rows = [("request of an immediate failover → in force", shifts)]
        for name, (request, stage) in WAITS.items():
            taken = [await _abort_once(at, f"{stage}-{number}", request, stage) for number in range(times)]
            rows.append((f"abort in {name} → put back, verified, closed", taken))
        table("Abort of a canary", rows, "ms")


async def _abort_once(at: Place, name: str, request: Mapping[str, Any], stage: str) -> float:
    await at.put_back()
    run = await at.client.start_workflow("CanaryFailover", {**CANARY, **request}, id=f"abort-{name}", task_queue=QUEUE)
    await _until(run, "verified" if stage == "paused" else stage)
    if stage == "paused":
        await run.execute_update("pause", {"actor": "bench"})
    began = time.perf_counter()
    await run.execute_update("abort", {"actor": "bench"})
    result = await run.result()
    taken = 1000 * (time.perf_counter() - began)
    assert result["outcome"] == "ABORTED", result
    assert at.store.policy("chat").distribution == at.config.routes["chat"].distribution
    return taken


async def _until(run: WorkflowHandle[Any, Any], stage: str) -> None:
    async with asyncio.timeout(30):
        while not _is_there((await run.query("status"))["details"], stage):
            await asyncio.sleep(0.02)


def _is_there(details: Mapping[str, Any], stage: str) -> bool:
    if stage in ("approval", "question"):
        return bool(details.get(stage))
    return details.get("stage") == ("waiting for orders" if stage == "orders" else "holding")


PROCEDURES: Mapping[str, dict[str, Any]] = {
    "ImmediateFailover": {"failed_provider": "bedrock"},
    "GradualFailover": {"route": "chat", "failed_provider": "bedrock"},
    "CanaryFailover": CANARY,
    "Failback": {"route": "chat", "original_provider": "bedrock"},
    "MultiProviderEmergency": {},
}


async def histories(test_server: Path) -> None:
    """At the runbook's real durations, on a server whose clock leaps; an emergency of a day."""
    rows = []
    for procedure, request in PROCEDURES.items():
        async with time_skipping(test_server, data_converter=data_converter) as environment:
            await register_search_attributes(environment.client)
            rows.append((procedure, *await _events(environment.client, procedure, request)))
    facts("Events of a history", ("procedure", "runs", "longest run", "all runs"), rows)


async def _events(client: Client, procedure: str, request: Mapping[str, Any]) -> tuple[str, str, str]:
    with tempfile.TemporaryDirectory() as state:
        parts = _parts(Path(state), procedure)
        async with composition.build_worker(client, parts, task_queue=QUEUE):
            run = await client.start_workflow(procedure, dict(request), id="run", task_queue=QUEUE)
            await run.result()
            counts = await _counts(client, run.first_execution_run_id)
    return str(len(counts)), f"{max(counts):,}", f"{sum(counts):,}"


async def _counts(client: Client, run_id: str | None) -> list[int]:
    """Events of each run of the chain that began with this one."""
    counts = []
    while run_id:
        events = (await client.get_workflow_handle("run", run_id=run_id).fetch_history()).events
        counts.append(len(events))
        run_id = events[-1].workflow_execution_continued_as_new_event_attributes.new_execution_run_id
    return counts


def _parts(state: Path, procedure: str) -> composition.Parts:
    procedures = Procedures(gating=Gating(minimum_requests=20))
    config = load(demo_config()).config.model_copy(update={"procedures": procedures, "emergency": Emergency()})
    clients = {key: MemoryClient(key) for key in config.providers}
    plane = MemoryPlane({name: route.distribution for name, route in config.routes.items()})
    plane.requests = 1000
    if procedure == "Failback":
        plane.put("chat", {"bedrock": 0, "google": 9000, "meta": 1000})
    if procedure == "MultiProviderEmergency":
        _down_for_a_day(clients, plane)
    return composition.Parts(
        config=config,
        clients=clients,
        plane=plane,
        notifier=MemoryNotifier(),
        evidence=EvidenceStore(state / "incidents"),
        board=VerdictBoard(),
    )


def _down_for_a_day(clients: Mapping[str, MemoryClient], plane: MemoryPlane) -> None:
    """Nobody serves, until one has been probed for a day."""
    for client in clients.values():
        client.fail_with = FailureKind.SERVER_ERROR
    plane.failing = set(clients)
    first = next(iter(clients.values()))

    def mend() -> None:
        if first.calls >= 2880:
            first.fail_with = None
            plane.failing.discard(first.key)

    first.on_call = mend
