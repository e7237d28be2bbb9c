"""One rehearsal: the real worker, on a server whose clock leaps, between a scripted world and scripted people."""

import asyncio
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any

from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import Client, WorkflowExecutionStatus, WorkflowFailureError, WorkflowHandle
from temporalio.service import RPCError
from temporalio.testing import WorkflowEnvironment

from activities.board import VerdictBoard
from activities.evidence import EvidenceStore
from activities.measuring_again import Remeasurer
from activities.probing import Prober
from activities.restoration import Restoration
from failover import kinds
from failover.automation import gate, permission
from failover.config import Config
from failover.distribution import Distribution, users_of
from failover.errors import RequestError, TemporalUnavailable
from failover.incident import RunRecord, TimelineEntry
from failover.rehearsal import Detected, Rehearsed, afterwards, as_rehearsed, assumed, curve, users_of_all
from failover.requests import (
    CanaryFailoverRequest,
    EmergencyRequest,
    FailbackRequest,
    GradualFailoverRequest,
    ImmediateFailoverRequest,
    Request,
    RunResult,
)
from failover.starting import StartOrder, orders_for
from failover.triggers import takers
from failover.units import render_duration
from failover.world import Fault, FaultKind, Script, World
from providers.rehearsed import RehearsedClient
from starter.embedded.temporal_server import time_skipping
from starter.rehearsal.clock import ServerClock
from starter.rehearsal.detection import LIMIT, detect, moment
from starter.rehearsal.people import SOMEBODY, Answer, People
from starter.search_attributes import register_search_attributes
from starter.worker_parts import Parts, build_worker
from traffic.rehearsed import RehearsedPlane
from workflows.payloads import data_converter

REAL_PATIENCE = timedelta(minutes=3)
"""The real time for one rehearsal; after it the server's clock stands still, or the machine is too busy."""

REST_PATIENCE = timedelta(seconds=30)
"""The real time that a cancelled run has for its end."""

REST_LEAPS = 300
"""Seconds of virtual time in which a run that is to be cancelled should once do nothing."""

BEGUN = timedelta(minutes=1)
"""How long everybody is well before a procedure that nobody's failure starts: what users get is known then."""


class Procedure(StrEnum):
    IMMEDIATE = "immediate"
    GRADUAL = "gradual"
    CANARY = "canary"
    FAILBACK = "failback"
    EMERGENCY = "emergency"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What is rehearsed. `provider` is who fails, or is left, or gets its traffic back; every route where none is named."""

    procedure: Procedure
    provider: str
    target: str | None = None
    route: str | None = None
    script: Script = field(default_factory=Script)
    answer: Answer = Answer.NOBODY
    limit: timedelta = timedelta(days=2)

    @property
    def subject(self) -> str:
        to = f" → {self.target}" if self.target else ""
        return "every provider" if self.procedure is Procedure.EMERGENCY else f"{self.provider}{to}"


def usual_script(procedure: Procedure, config: Config, provider: str, fault: Fault | None) -> Script:
    """What goes wrong where nothing is said: what the procedure is for."""
    if fault is not None:
        return Script(faults=[fault])
    if procedure is Procedure.IMMEDIATE:
        return Script(faults=[Fault(provider=provider, fault=FaultKind.UNAVAILABLE)])
    if procedure is Procedure.EMERGENCY:
        lasts = timedelta(minutes=20)
        return Script(
            faults=[Fault(provider=name, fault=FaultKind.UNAVAILABLE, lasts=lasts) for name in config.providers]
        )
    return Script()


@asynccontextmanager
async def server(path: Path, config: Config) -> AsyncIterator[WorkflowEnvironment]:
    """A time-skipping server for any number of rehearsals, one after another: its clock is one for all."""
    async with time_skipping(path, data_converter=data_converter) as environment:
        await register_search_attributes(environment.client)
        await _warm_up(environment, config)
        yield environment


async def _warm_up(environment: WorkflowEnvironment, config: Config) -> None:
    """A dry run of no account: what this process does for the first time would count as the procedure's own time."""
    clock = ServerClock(environment)
    wanted = Wanted(procedure=Procedure.IMMEDIATE, provider=next(iter(config.providers)))
    world = World(as_rehearsed(config, "PONG"), await clock.read())
    with tempfile.TemporaryDirectory(prefix="rehearsal-") as folder:
        stage = _Stage(environment.client, clock, world, _before(config, wanted), wanted, Path(folder))
        order = _asked_for(config, wanted, None, None)
        async with stage.working():
            await stage.through(replace(order, workflow_id="dry", request={**order.request, "dry_run": True}))


async def rehearse(environment: WorkflowEnvironment, config: Config, wanted: Wanted) -> Rehearsed:
    """Rehearse detection and the procedure, to its end. Nothing outside this process and its server is touched."""
    try:
        async with asyncio.timeout(REAL_PATIENCE.total_seconds()):
            return await _rehearse(environment, config, wanted)
    except TimeoutError:
        minutes = render_duration(REAL_PATIENCE)
        raise TemporalUnavailable(
            f"The rehearsal of {wanted.procedure.value} was not over after {minutes} of real time: try again, or with a "
            "shorter --limit."
        ) from None
    except RPCError as error:
        raise TemporalUnavailable(f"The server of the rehearsal did not answer in time: {error.message}.") from error


async def _rehearse(environment: WorkflowEnvironment, config: Config, wanted: Wanted) -> Rehearsed:
    began_wall = time.monotonic()
    clock = ServerClock(environment)
    world = World(as_rehearsed(config, "PONG"), await clock.read(), wanted.script)
    clock.limit = world.began + wanted.limit
    before = _before(config, wanted)
    found = await _found(world, before, wanted)
    with tempfile.TemporaryDirectory(prefix="rehearsal-") as folder:
        stage = _Stage(environment.client, clock, world, before, wanted, Path(folder))
        async with stage.working():
            await clock.leap(max(timedelta(0), (moment(found) or world.began + BEGUN) - clock.now()))
            stage.know(found)
            ends = [await stage.through(order) for order in _orders(world.config, wanted, found, before)]
            await asyncio.create_task(stage.settled())
            told = _rehearsed(stage, wanted, found, ends)
            follows = await stage.end()
    return replace(told, follows=follows, wall_seconds=time.monotonic() - began_wall)


def _before(config: Config, wanted: Wanted) -> dict[str, Distribution]:
    """The configured distributions; a failback begins where a failover has left its route."""
    shares: dict[str, Distribution] = {name: route.distribution for name, route in config.routes.items()}
    if wanted.procedure is Procedure.FAILBACK:
        for name in [wanted.route] if wanted.route else list(shares):
            shares[name] = afterwards(shares[name], wanted.provider, config.chain(name, wanted.provider))
    return shares


async def _found(world: World, before: Mapping[str, Distribution], wanted: Wanted) -> Mapping[str, Detected]:
    if wanted.procedure is Procedure.FAILBACK:
        return {}  # What the original has is why its traffic is elsewhere.
    failing = {fault.provider for fault in wanted.script.faults}
    if wanted.procedure is not Procedure.EMERGENCY:
        failing &= {wanted.provider}
    return await detect(world, before, failing, LIMIT)


def _orders(
    config: Config, wanted: Wanted, found: Mapping[str, Detected], before: Mapping[str, Distribution]
) -> list[StartOrder]:
    """What the health check would start by itself, where that is what is rehearsed; what a person would ask for, else."""
    own = found.get(wanted.provider)
    if own is None or own.procedure != wanted.procedure.value or wanted.target is not None:
        return [_asked_for(config, wanted, own, route) for route in _routes(config, wanted, before)]
    routes = [route for route in own.routes if wanted.route in (None, route)]
    able = {route: takers(config.chain(route, wanted.provider), own.others) for route in routes}
    allowed = permission(config, own.verdict.condition, own.routes, None, own.at)
    only = [wanted.route] if wanted.route else None
    orders = orders_for(
        own.procedure,
        own.verdict,
        others=own.others,
        routes=routes,
        requested_by="health-check",
        only=only,
        takers=able,
    )
    return gate(orders, allowed, wanted.provider, own.verdict.reason, "health-check", config)


def _routes(config: Config, wanted: Wanted, before: Mapping[str, Distribution]) -> list[str | None]:
    """A ramp is of one route; the others are of all, unless one is named."""
    if wanted.procedure in (Procedure.IMMEDIATE, Procedure.EMERGENCY) or wanted.route is not None:
        return [wanted.route]
    if wanted.procedure is Procedure.FAILBACK:
        return [name for name in config.routes if before[name] != config.routes[name].distribution]
    return list(users_of(wanted.provider, before))


def _asked_for(config: Config, wanted: Wanted, found: Detected | None, route: str | None) -> StartOrder:
    told = {"reason": "rehearsal", "requested_by": SOMEBODY}
    chosen = wanted.target
    request: Request
    if wanted.procedure is Procedure.IMMEDIATE:
        verdicts = [found.verdict, *found.others] if found else []
        routes = [route] if route else None
        request = ImmediateFailoverRequest(
            failed_provider=wanted.provider, target_provider=chosen, routes=routes, verdicts=verdicts, **told
        )
        return _order(wanted, wanted.provider, request)
    if wanted.procedure is Procedure.EMERGENCY:
        return _order(wanted, "", EmergencyRequest(routes=[route] if route else None, **told))
    assert route is not None
    if wanted.procedure is Procedure.GRADUAL:
        request = GradualFailoverRequest(route=route, failed_provider=wanted.provider, **told)
    elif wanted.procedure is Procedure.FAILBACK:
        auto = config.routes[route].failback == "auto"
        request = FailbackRequest(route=route, original_provider=wanted.provider, auto=auto, **told)
    else:
        target = chosen or next(iter(config.chain(route, wanted.provider)), None)
        if target is None:
            raise RequestError(f"The chain of {wanted.provider} on route {route} is empty; name a target with --to.")
        request = CanaryFailoverRequest(route=route, source_provider=wanted.provider, target_provider=target, **told)
    return _order(wanted, route, request)


def _order(wanted: Wanted, about: str, request: Request) -> StartOrder:
    procedure = kinds.NAMED[wanted.procedure]
    return StartOrder(
        procedure=procedure,
        workflow_id=kinds.run_id(procedure, about),
        request=request.model_dump(mode="json"),
        summary=f"rehearsal of {wanted.procedure.value}",
    )


@dataclass(frozen=True, slots=True)
class _End:
    """How a run ended: an outcome, or what Temporal or the rehearsal's limit made of it."""

    outcome: str
    reason: str


class _Stage:
    """A worker of the real workflows and activities over adapters in memory, for one rehearsal."""

    def __init__(
        self,
        client: Client,
        clock: ServerClock,
        world: World,
        before: Mapping[str, Distribution],
        wanted: Wanted,
        folder: Path,
    ) -> None:
        self.client, self.clock, self.world, self.wanted = client, clock, world, wanted
        self.queue = f"rehearsal-{uuid.uuid4().hex[:12]}"
        clients = {name: RehearsedClient(name, world, clock) for name in world.config.providers}
        self.plane = RehearsedPlane(before, world, clients, clock)
        self.people = People(lambda: client, world.config, clock, wanted.answer)
        self.evidence = EvidenceStore(folder)
        restoration = Restoration(world.config, self.plane, Prober(world.config, clients, clock))
        self._remeasurer = Remeasurer(restoration, self.plane, self.evidence)
        self._board = VerdictBoard()
        self._started: list[str] = []
        self._parts = Parts(
            config=world.config,
            clients=clients,
            plane=self.plane,
            notifier=self.people,
            evidence=self.evidence,
            board=self._board,
            clock=clock,
        )

    @asynccontextmanager
    async def working(self) -> AsyncIterator[None]:
        async with build_worker(self.client, self._parts, task_queue=self.queue, interceptors=[self.clock]):
            yield

    def know(self, found: Mapping[str, Detected]) -> None:
        for one in found.values():
            for verdict in (*one.others, one.verdict):
                self._board.post(verdict)

    async def settled(self) -> None:
        """Measure the runs as they are once every request has ended: this world can tell that at once. In a task of its own."""
        await self.clock.sleep(self.world.config.gateway.request_timeout)
        for folder in self.evidence.list():
            await self._remeasurer.settle(folder)

    async def through(self, order: StartOrder) -> _End:
        """Start it, and wait for its end; where it was a question whether to start, for what came of that too."""
        self._started.append(order.workflow_id)
        run: WorkflowHandle[Any, RunResult] = await self.client.start_workflow(
            order.procedure,
            order.request,
            id=order.workflow_id,
            task_queue=self.queue,
            result_type=RunResult,
            static_summary=order.summary[:200],
        )
        ended = await self._ended(run)
        if order.procedure != kinds.PROPOSAL or ended.outcome != "COMPLETED":
            return ended
        started = str(order.request["workflow_id"])
        return await self._ended(self.client.get_workflow_handle(started, result_type=RunResult))

    async def _ended(self, run: WorkflowHandle[Any, RunResult]) -> _End:
        result = asyncio.create_task(run.result())
        over = asyncio.create_task(self.clock.over.wait())
        await asyncio.wait({result, over}, return_when=asyncio.FIRST_COMPLETED)
        over.cancel()
        if not result.done():
            result.cancel()
            limit = render_duration(self.wanted.limit)
            return _End("NOT_OVER", f"It was not over after {limit} of virtual time.")
        try:
            told = await result
        except WorkflowFailureError as error:
            return _End("FAILED", str(error.cause))
        return _End(told.outcome.value, told.reason)

    async def end(self) -> list[str]:
        """End what is open still; → in sentences what has begun by itself."""
        for started in self._started:
            await self._left_open(started)
        config, said = self.world.config, list[str]()
        for route, settings in config.routes.items():
            if await self._left_open(kinds.run_id(kinds.FAILBACK, route)):
                asks = "then by itself" if settings.failback == "auto" else "then asking people first"
                watch = render_duration(config.procedures.failback.recovery_watch)
                said.append(f"A failback of {route} would begin: once the provider was well for {watch}, {asks}.")
        if await self._left_open(kinds.run_id(kinds.EMERGENCY)):
            said.append("An emergency would begin: degraded service until a provider is back.")
        return said

    async def _left_open(self, workflow_id: str) -> bool:
        """Whether it was; it is cancelled while it rests, and gone then.

        The server's clock stands still for good where a run ends before an activity of its own.
        """
        run = self.client.get_workflow_handle(workflow_id)
        try:
            described = await run.describe()
        except RPCError:
            return False
        if described.status is not WorkflowExecutionStatus.RUNNING:
            return False
        await self._until_at_rest(run)
        await run.cancel()
        with suppress(WorkflowFailureError, TimeoutError):
            async with asyncio.timeout(REST_PATIENCE.total_seconds()):
                await run.result()
        return True

    async def _until_at_rest(self, run: WorkflowHandle[Any, Any]) -> None:
        """Wait until the run waits for nothing but time, or a while has passed: its activities need the time to go on."""
        for _ in range(REST_LEAPS):
            if not _busy((await run.fetch_history()).events):
                return
            await self.clock.leap(timedelta(seconds=1))


def _busy(events: Sequence[HistoryEvent]) -> bool:
    """Whether a task of the run, or an activity, is with a worker or on its way there."""
    kinds = Counter(event.event_type for event in events)
    tasks = kinds[EventType.EVENT_TYPE_WORKFLOW_TASK_SCHEDULED] - sum(kinds[kind] for kind in _TASK_ENDS)
    activities = kinds[EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED] - sum(kinds[kind] for kind in _ACTIVITY_ENDS)
    return tasks > 0 or activities > 0


_TASK_ENDS = (
    EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED,
    EventType.EVENT_TYPE_WORKFLOW_TASK_FAILED,
    EventType.EVENT_TYPE_WORKFLOW_TASK_TIMED_OUT,
)
_ACTIVITY_ENDS = (
    EventType.EVENT_TYPE_ACTIVITY_TASK_COMPLETED,
    EventType.EVENT_TYPE_ACTIVITY_TASK_FAILED,
    EventType.EVENT_TYPE_ACTIVITY_TASK_TIMED_OUT,
    EventType.EVENT_TYPE_ACTIVITY_TASK_CANCELED,
)


def _rehearsed(stage: _Stage, wanted: Wanted, found: Mapping[str, Detected], ends: Sequence[_End]) -> Rehearsed:
    """The result, but for the wall time that it took, which is known last."""
    world = stage.world
    records = sorted(
        (stage.evidence.load(folder) for folder in stage.evidence.list()),
        key=lambda record: record.moments.closed or record.moments.decided,
    )
    bad = next((end for end in ends if end.outcome != "COMPLETED"), None)
    end = bad or (ends[-1] if ends else _End("NOTHING", "No route is concerned: there was nothing to start."))
    own = next((record for record in reversed(records) if record.procedure != kinds.PROPOSAL), None)
    record = own or (records[-1] if records else None)
    outcome = end.outcome if end.outcome != "FAILED" or record is None else record.outcome.value

    ended = max((one.moments.closed for one in records if one.moments.closed), default=stage.clock.now())
    policies = list(stage.plane.history)
    routes = [wanted.route] if wanted.route else list(world.config.routes)
    return Rehearsed(
        procedure=wanted.procedure.value,
        subject=wanted.subject,
        script=wanted.script,
        began=world.began,
        ended=ended,
        outcome=outcome,
        reason=record.reason if record is not None and end.outcome == "FAILED" else end.reason,
        detected=max(found.values(), key=lambda one: one.at, default=None),
        record=record,
        policies=policies,
        curve=curve(world, policies, routes, ended),
        users=users_of_all(world, policies, routes, ended),
        assumed=assumed(world, routes),
        timeline=_timeline(world, found, records),
        asked=list(stage.people.asked),
        notes=_notes(world, wanted, found),
        messages=len(stage.people.messages),
    )


def _timeline(world: World, found: Mapping[str, Detected], records: Sequence[RunRecord]) -> list[TimelineEntry]:
    entries = [entry for record in records for entry in record.timeline]
    for fault in world.script.faults:
        text = f"{fault.provider}: {fault.fault.description}"
        entries.append(TimelineEntry(at=world.began + fault.at, step="script", text=text))
        if fault.ends is not None:
            entries.append(
                TimelineEntry(at=world.began + fault.ends, step="script", text=f"{fault.provider} is well again")
            )
    for provider, one in found.items():
        text = f"{provider} is found {one.verdict.condition.value.replace('_', ' ')}: {one.verdict.reason}"
        entries.append(TimelineEntry(at=one.at, step="detect", text=text))
    last = max((entry.at for record in records for entry in record.timeline), default=None)
    kept = [entry for entry in entries if last is None or entry.at <= last]
    return sorted(kept, key=lambda entry: entry.at)


def _notes(world: World, wanted: Wanted, found: Mapping[str, Detected]) -> list[str]:
    notes = []
    struck = any(fault.provider == wanted.provider for fault in world.script.faults)
    own = found.get(wanted.provider)
    watched = wanted.procedure in (Procedure.IMMEDIATE, Procedure.GRADUAL, Procedure.CANARY)
    if watched and struck and not world.config.detection.enabled:
        notes.append("Detection is switched off: nobody would have noticed by themselves; a person starts it.")
    elif watched and struck and own is None:
        notes.append(
            f"The health checks found nothing within {render_duration(LIMIT)}: nothing starts by itself; "
            "a person starts it."
        )
    elif watched and own is not None and own.procedure != wanted.procedure.value:
        by_itself = f"a {own.procedure} failover" if own.procedure else "nothing"
        condition = own.verdict.condition.value.replace("_", " ")
        notes.append(f"By itself the configuration would start {by_itself} for a provider that is {condition}.")
    return notes
