"""Orders at the worst of moments: while something is written, looked at, put back or told; several at once."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from temporalio.api.sdk.v1 import WorkflowMetadata
from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.exceptions import ApplicationError

from activities.notifiers.memory import MemoryNotifier
from failover.config.procedures import Procedures
from failover.incident import Outcome
from failover.messages import IncidentMessage, MessageRef
from failover.policy import ChangeResult
from failover.requests import RunResult
from failover.telemetry import Telemetry
from starter import worker_parts as composition
from tests.workflows.conftest import (
    FOUND,
    SHORT,
    Ramps,
    Run,
    details,
    ended,
    order,
    outcome_of,
    said,
    until,
    until_details,
)
from traffic.memory import MemoryPlane
from workflows.journal import OUTCOME


class Gate:
    """Open until it is shut; who waits at it goes on when it opens."""

    def __init__(self) -> None:
        self._open = asyncio.Event()
        self._open.set()
        self.waiting = self.arrived = 0

    def shut(self) -> None:
        self._open.clear()

    def open(self) -> None:
        self._open.set()

    async def pass_through(self) -> None:
        self.waiting, self.arrived = self.waiting + 1, self.arrived + 1
        await self._open.wait()
        self.waiting -= 1

    async def let_one_by(self) -> None:
        """Who waits goes on, and the next one waits."""
        arrived = self.arrived
        self.open()
        self.shut()
        async with asyncio.timeout(15):
            while self.arrived == arrived:
                await asyncio.sleep(0.01)

    async def until_somebody_waits(self) -> None:
        async with asyncio.timeout(15):
            while not self.waiting:
                await asyncio.sleep(0.01)


class GatedPlane(MemoryPlane):
    """A data plane that takes its time, for as long as a test wants."""

    writes: Gate
    looks: Gate

    async def apply(self, changes: Any) -> Any:
        results: list[ChangeResult] = list(await super().apply(changes))
        await self.writes.pass_through()
        return results

    async def observe(self, **window: Any) -> Telemetry | None:
        told = await super().observe(**window)
        await self.looks.pass_through()
        return told


class GatedNotifier(MemoryNotifier):
    """A channel that takes its time."""

    gate: Gate

    async def post(self, message: IncidentMessage, *, retried: bool) -> MessageRef:
        await self.gate.pass_through()
        return await super().post(message, retried=retried)


@pytest.fixture
def ramp_parts(make_parts: Callable[..., composition.Parts]) -> composition.Parts:
    parts = make_parts(procedures=Procedures.model_validate(SHORT))
    plane = GatedPlane({name: route.distribution for name, route in parts.config.routes.items()})
    notifier = GatedNotifier()
    plane.writes, plane.looks, notifier.gate = Gate(), Gate(), Gate()
    return replace(parts, plane=plane, notifier=notifier)


@pytest.fixture
def plane(ramp_plane: MemoryPlane) -> GatedPlane:
    assert isinstance(ramp_plane, GatedPlane)
    return ramp_plane


async def outcome_attribute(run: Run) -> str | None:
    return (await run.describe()).typed_search_attributes.get(OUTCOME)


async def test_an_approval_given_in_a_pause_moves_nothing_until_the_run_is_resumed(
    ramps: Ramps, plane: GatedPlane
) -> None:
    """Paused means that nothing moves, whoever agrees to what."""
    run = await ramps.canary(approvals={"points": ["first_shift"], "deadline": "20s"})
    asked = (await until_details(run, lambda now: bool(now.get("approval"))))["approval"]
    assert (await order(run, "pause")).accepted
    assert (await order(run, "approve", step=asked["step"], digest=asked["digest"])).accepted
    await until(run, "Paused before step-1.")
    assert plane.distribution("chat") == FOUND
    assert (await order(run, "resume")).accepted
    assert (await ended(run)).outcome is Outcome.COMPLETED


@pytest.mark.parametrize("wait", ["approval", "question", "pause", "hold"])
async def test_escalate_goes_straight_to_the_end_from_every_wait(ramps: Ramps, plane: GatedPlane, wait: str) -> None:
    """Without further waits or approvals, and verified like any other step."""
    if wait == "question":
        plane.requests = 0
    approvals = {"points": ["each_step"] if wait == "approval" else [], "deadline": "20s"}
    run = await ramps.canary(
        initial_seconds=60 if wait != "question" else 0.2, approvals=approvals, percents=[10, 20, 30, 100]
    )
    if wait == "approval":
        await until_details(run, lambda now: bool(now.get("approval")))
    else:
        await until(run, "What now" if wait == "question" else "Verified")
    if wait == "pause":
        await order(run, "pause")
    assert (await order(run, "escalate")).accepted
    if wait == "question":
        plane.requests = 1000
    result = await ended(run)
    assert (result.outcome, plane.distribution("chat")["bedrock"]) == (Outcome.COMPLETED, 0)
    assert len(plane.applied) <= 4, "claim, at most the step that it was at, the last one, release"


async def test_an_advance_that_comes_with_the_last_sample_does_not_end_the_next_hold(
    ramps: Ramps, plane: GatedPlane
) -> None:
    """It meant the wait that was then."""
    run = await ramps.canary(initial_seconds=0.5, percents=[50, 100], step_seconds=60)
    await until(run, "pass: google success")
    plane.looks.shut()
    await plane.looks.until_somebody_waits()
    while (now := await details(run))["left_seconds"]:
        await plane.looks.let_one_by()
    assert (now["step"], now["stage"]) == (0, "holding")
    assert (await order(run, "advance")).accepted
    plane.looks.open()
    await until_details(run, lambda found: found["step"] == 1 and found["stage"] == "holding")
    await asyncio.sleep(1)
    assert (await details(run))["step"] == 1
    await order(run, "abort")
    assert (await ended(run)).outcome is Outcome.ABORTED


async def test_an_order_that_comes_while_something_is_looked_at_is_obeyed_at_once(
    ramps: Ramps, plane: GatedPlane, ramp_parts: composition.Parts
) -> None:
    """And not after another interval between samples."""
    slow = Procedures.model_validate({**SHORT, "gating": {**SHORT["gating"], "sample_interval": "6s", "window": "6s"}})
    object.__setattr__(ramp_parts.config, "procedures", slow)
    run = await ramps.canary(initial_seconds=300, percents=[100], step_seconds=0)
    await until_details(run, lambda now: now.get("stage") == "holding")
    await until_details(run, lambda now: now["left_seconds"] < 300)
    plane.looks.shut()
    await plane.looks.until_somebody_waits()
    assert (await order(run, "advance")).accepted
    plane.looks.open()
    await until(run, "The wait was ended by order.", patience=4)
    assert (await ended(run)).outcome is Outcome.COMPLETED


async def test_a_canary_can_be_sent_back(ramps: Ramps, plane: GatedPlane) -> None:
    """set_percent below where it is: the source gains, so it is looked at first."""
    run = await ramps.canary(manual=True, initial_percent=60, initial_seconds=0.3, step_seconds=0.3)
    await until(run, "waits for orders")
    assert (await order(run, "set_percent", percent=10)).accepted
    await until_details(run, lambda now: now["distribution"]["google"] == 27 and now["stage"] != "writing")
    assert (await order(run, "set_percent", percent=100)).accepted
    assert (await ended(run)).outcome is Outcome.COMPLETED


@pytest.mark.parametrize("verb", ["retry", "escalate"])
async def test_a_step_that_could_not_be_verified_is_written_again_by_order(
    ramps: Ramps, plane: GatedPlane, verb: str
) -> None:
    """People are asked; nothing is built upon what nobody could prove."""
    run = await ramps.gradual()
    await until(run, "Verified")
    plane.disobey = True
    await until(run, "What now")
    assert "could not be verified" in (await details(run))["question"]
    plane.disobey = False
    assert (await order(run, verb)).accepted
    assert (await ended(run)).outcome is Outcome.COMPLETED
    assert plane.serving["chat"] == {"bedrock": 0, "google": 7000, "meta": 3000}


async def test_an_impatient_cancel_does_not_stop_the_restore(ramps: Ramps, plane: GatedPlane) -> None:
    """Aborted, and cancelled while what was found is being put back: it is put back, and the claim is free."""
    run = await ramps.canary(initial_seconds=60)
    await until(run, "Verified")
    plane.writes.shut()
    assert (await order(run, "abort")).accepted
    await plane.writes.until_somebody_waits()
    await run.cancel()
    await asyncio.sleep(0.5)
    plane.writes.open()
    assert (await ended(run)).outcome is Outcome.ABORTED
    assert (plane.distribution("chat"), plane.policy("chat").claim) == (FOUND, None)
    assert await outcome_attribute(run) == "ABORTED"


@pytest.mark.parametrize("procedure", ["canary", "immediate"])
async def test_a_cancel_that_comes_while_the_end_is_told_comes_too_late(
    ramps: Ramps, plane: GatedPlane, ramp_parts: composition.Parts, procedure: str
) -> None:
    """The run is over: its evidence is kept, and its outcome is what it was."""
    notifier = ramp_parts.notifier
    assert isinstance(notifier, GatedNotifier)
    notifier.gate.shut()
    run = await (ramps.canary() if procedure == "canary" else ramps.immediate())
    async with asyncio.timeout(20):
        while await outcome_attribute(run) is None:
            await asyncio.sleep(0.05)
    await run.cancel()
    await asyncio.sleep(0.3)
    notifier.gate.open()
    assert (await ended(run)).outcome is Outcome.COMPLETED
    record = ramp_parts.evidence.latest()
    assert record is not None and (record.workflow_id, record.outcome) == (run.id, Outcome.COMPLETED)


async def test_a_ramp_that_was_refused_touches_nothing_when_it_is_aborted(ramps: Ramps, plane: GatedPlane) -> None:
    """Its refused claim is no write: the holder keeps route and claim."""
    first = await ramps.canary(initial_seconds=60)
    await until(first, "Verified")
    held = plane.policy("chat")
    second: Run = await ramps.client.start_workflow(
        "CanaryFailover",
        {"route": "chat", "source_provider": "bedrock", "target_provider": "meta"},
        id=f"second-{ramps.task_queue}",
        task_queue=ramps.task_queue,
        result_type=RunResult,
        start_signal="abort",
        start_signal_args=[{"actor": "alice"}],
    )
    result = await ended(second)
    assert (result.outcome, result.reason) == (Outcome.ABORTED, "Aborted by alice. No traffic had been moved.")
    assert plane.policy("chat") == held
    await order(first, "abort")
    assert (await ended(first)).outcome is Outcome.ABORTED


@pytest.mark.timeout(180)
async def test_a_run_that_cannot_even_read_asks_for_a_person_and_is_on_record(
    ramps: Ramps, plane: GatedPlane, ramp_parts: composition.Parts, temporal_client: Client
) -> None:
    """FAILED with the command in its message; outcome and evidence are there as on every other path."""
    plane.unavailable = True
    emergency: Run = await temporal_client.start_workflow(
        "MultiProviderEmergency",
        {"routes": ["chat"]},
        id=f"emergency-{ramps.task_queue}",
        task_queue=ramps.task_queue,
        result_type=RunResult,
    )
    runs = [
        await ramps.canary(),
        await ramps.gradual(),
        await ramps.start("Failback", original_provider="bedrock"),
        await ramps.immediate(),
        emergency,
    ]
    for run in runs:
        with pytest.raises(ApplicationError, match=r"nothing was changed: .* Run: failoverctl") as failed:
            await ended(run, 90)
        assert failed.value.type == "NeedsHuman"
        assert await outcome_attribute(run) == "NEEDS_HUMAN"
        assert (await run.describe()).status is WorkflowExecutionStatus.FAILED
    kept = {ramp_parts.evidence.load(folder).workflow_id for folder in ramp_parts.evidence.list()}
    assert kept == {run.id for run in runs}


async def test_what_the_web_ui_shows_is_bounded_in_bytes(ramps: Ramps, temporal_client: Client) -> None:
    """Long notes in any script: the server takes 20 KB, and the commands to drive the run still stand in it."""
    run = await ramps.canary(
        initial_seconds=60, percents=[float(percent) for percent in range(6, 101)], requested_by="é" * 200
    )
    await until(run, "Verified")
    for number in range(12):
        await run.signal("note", {"by": "carol", "text": f"{number} " + "→" * 990})
    await until(run, "11 →")
    metadata = await run.query("__temporal_workflow_metadata", result_type=WorkflowMetadata)
    assert 10_000 < len(metadata.current_details.encode()) < 20_000
    assert "Orders taken now: abort, pause" in metadata.current_details
    await order(run, "abort")
    assert await outcome_of(run) is Outcome.ABORTED


async def test_a_failed_gate_weighs_more_than_an_ordered_percent(ramps: Ramps, plane: GatedPlane) -> None:
    """Nobody sends more traffic to a target that fails by an order that came a moment too late."""
    run = await ramps.canary(initial_seconds=60)
    await until(run, "pass: google success")
    plane.failing = {"google"}
    await until(run, "fail: google success")
    plane.looks.shut()
    await plane.looks.until_somebody_waits()
    answer = await run.execute_update("set_percent", {"actor": "alice", "percent": 90})
    plane.looks.open()
    outcome = await outcome_of(run)
    assert (outcome, plane.distribution("chat")) == (Outcome.ROLLED_BACK, FOUND), (answer, await said(run))
    assert all(change.distribution["google"] < 5000 for change in plane.applied)


GATED_WAITS: dict[str, tuple[str, dict[str, Any], str]] = {
    "orders": ("CanaryFailover", {"manual": True, "initial_seconds": 0.3}, "waits for orders"),
    "question": ("CanaryFailover", {"initial_seconds": 0.3}, "What now"),
    "approval": ("CanaryFailover", {"approvals": {"points": ["full"], "deadline": "60s"}}, "Waiting for 1 to approve"),
    "settle": ("GradualFailover", {"settle_seconds": 60}, "Verified"),
}


@pytest.mark.parametrize("wait", list(GATED_WAITS))
async def test_gates_are_watched_in_every_wait(ramps: Ramps, plane: GatedPlane, wait: str) -> None:
    """What was moved already is never left alone: a gate that breaks acts within seconds, not when the wait is over."""
    procedure, request, words = GATED_WAITS[wait]
    sides = {"source_provider": "bedrock", "target_provider": "google"}
    request = request | (sides if procedure == "CanaryFailover" else {"failed_provider": "bedrock"})
    if wait == "question":
        plane.requests = 0
    run = await ramps.start(procedure, **request)
    await until(run, words)
    plane.requests, plane.failing = 1000, {"google"}
    if wait == "settle":
        await until(run, "google success: ")
        await until(run, "What now", patience=5)
        await order(run, "abort")
        assert (await ended(run)).outcome is Outcome.ABORTED
    else:
        assert (await ended(run, 8)).outcome is Outcome.ROLLED_BACK
    assert plane.distribution("chat") == FOUND


async def test_a_holder_that_ran_out_of_time_leaves_a_stale_claim(ramps: Ramps, plane: GatedPlane) -> None:
    """As one that was terminated: the next ramp takes it over."""
    first = await ramps.client.start_workflow(
        "CanaryFailover",
        {"route": "chat", "source_provider": "bedrock", "target_provider": "google", "initial_seconds": 60},
        id=f"timed-{ramps.task_queue}",
        task_queue=ramps.task_queue,
        execution_timeout=timedelta(seconds=3),
    )
    async with asyncio.timeout(15):
        while (await first.describe()).status is not WorkflowExecutionStatus.TIMED_OUT:
            await asyncio.sleep(0.2)
    assert plane.policy("chat").claim == first.id
    assert (await ended(await ramps.canary())).outcome is Outcome.COMPLETED
    assert plane.policy("chat").claim is None
