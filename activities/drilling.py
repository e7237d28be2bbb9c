"""What a drill does to the world and sees of it: faults in the data plane, its own watch, its synthetic users, its guard."""

import asyncio
import threading
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TypeVar

import structlog
from pydantic import TypeAdapter
from temporalio import activity

from activities.board import VerdictBoard
from activities.evidence import EvidenceStore
from activities.hold import HeldAutomation
from activities.probing import Prober
from failover import drill
from failover.config import Config
from failover.config.drills import Stop
from failover.distribution import Shares
from failover.drill import DrillBrief, FailoverDrillRequest, Fault
from failover.errors import DataPlaneUnavailable, FailoverError, ProviderError, RequestError
from failover.failure import Failure, FailureKind
from failover.health import Probe, ProbeHistory, Verdict, judge, note
from failover.incident import Outcome
from failover.policy import Revision, TrafficPolicy
from failover.ports import DrillPlane, TrafficPlane
from failover.telemetry import Telemetry

log = structlog.get_logger(__name__)

T = TypeVar("T")

TURN = timedelta(milliseconds=500)
"""The longest that a standing activity goes without a heartbeat."""

IN_FLIGHT = 200
"""The most synthetic users' requests in flight: more would be a burden, not evidence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PracticeOrder:
    """Watch a provider through a route, as the health check watches all of them, until then."""

    route: str
    provider: str
    until: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadOrder:
    """Synthetic users of a route: how many requests a second, and how many at most."""

    route: str
    per_second: float
    limit: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What synthetic users got, as they saw it."""

    sent: int = 0
    answered: int = 0
    failed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardOrder:
    """The route and its drill, since when (the data plane's clock), and what ends the drill at once (live routes only)."""

    route: str
    drill: str
    since: datetime
    stop: Stop | None


@dataclass(frozen=True, slots=True, kw_only=True)
class StopReason:
    """Why a drill must end now. `lost`: the route is somebody else's already."""

    outcome: Outcome
    reason: str
    lost: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class DrillLook:
    """The route as it stands, and who of its providers is really down."""

    revision: Revision
    distribution: Shares
    claim: str | None
    author: str
    down: Mapping[str, str]


class Drilling:
    """The activities of drills. Those that stand (keep, watch, load, guard) go on until they are cancelled."""

    def __init__(
        self,
        config: Config,
        plane: TrafficPlane,
        drills: DrillPlane | None,
        board: VerdictBoard,
        prober: Prober,
        hold: HeldAutomation,
    ) -> None:
        self._config = config
        self._plane = plane
        self._drills = drills
        self._board = board
        self._prober = prober
        self._hold = hold

    def _breakable(self) -> DrillPlane:
        if self._drills is None:
            raise RequestError("This data plane takes no injected faults; drills need the embedded gateway.")
        return self._drills

    # What there is

    @activity.defn(name="drill.brief")
    async def brief(self, request: FailoverDrillRequest) -> DrillBrief:
        """Everything that a drill is planned from; refuses a request that cannot be meant."""
        self._breakable()
        wanted = drill.wanted(request, self._config)
        if isinstance(wanted, str):
            raise RequestError(wanted)
        policy, now = await self._policy(wanted.route), datetime.now(UTC)
        settings = self._config.procedures.immediate
        concerned = sorted({*policy.distribution, *self._config.chain(wanted.route, wanted.provider)})
        hold = await self._hold.in_force()
        return DrillBrief(
            wanted=wanted,
            revision=policy.revision,
            found=policy.undrilled,
            mode=policy.mode,
            claim=policy.claim,
            chain=self._config.chain(wanted.route, wanted.provider),
            verdicts=self._board.fresh(now, settings.verdict_max_age, concerned),
            blackout=self._config.drills.blackout(now),
            hold=None if hold is None else str(hold),
            slowest=self._config.detection.slowest,
            settings=self._config.drills,
            immediate=settings,
            kpis=self._config.kpis,
        )

    @activity.defn(name="drill.look")
    async def look(self, route: str) -> DrillLook:
        """The route as it stands."""
        return self._looked(await self._policy(route))

    def _looked(self, policy: TrafficPolicy) -> DrillLook:
        max_age = self._config.procedures.immediate.verdict_max_age
        known = self._board.fresh(datetime.now(UTC), max_age, {*policy.distribution, *policy.undrilled})
        return DrillLook(
            revision=policy.revision,
            distribution=policy.distribution,
            claim=policy.claim,
            author=policy.changed_by.workflow_id or policy.changed_by.actor,
            down={verdict.provider: verdict.reason for verdict in known if verdict.down},
        )

    async def _policy(self, route: str) -> TrafficPolicy:
        policies = await self._plane.read([route])
        if not policies:
            raise DataPlaneUnavailable(
                f"The data plane has no route {route!r} (yet): it takes new routes from the configuration when it starts."
            )
        return policies[0]

    # The fault

    @activity.defn(name="drill.inject")
    async def inject(self, fault: Fault) -> datetime:
        """Break it; → since when, on the data plane's clock. It is gone by itself unless it is kept."""
        return await self._breakable().inject(fault)

    @activity.defn(name="drill.keep")
    async def keep(self, fault: Fault) -> None:
        """Renew the fault again and again, until cancelled, or until the route is no longer the drill's."""
        while True:
            try:
                await self._breakable().inject(fault)
            except RequestError as refused:
                log.info("the fault is not renewed", route=fault.route, drill=fault.drill, why=str(refused))
                return
            await _pause(fault.lasts / 3)

    @activity.defn(name="drill.heal")
    async def heal(self, route: str, drill_id: str) -> None:
        """End the drill's faults."""
        await self._breakable().heal(route, drill_id)

    # Detection

    @activity.defn(name="drill.watch")
    async def watch(self, order: PracticeOrder) -> Verdict | None:
        """What the health check would find, could it see the fault: the verdict that the provider is down, or None.

        The probes, their cadence, timeout and threshold, the rates of users' tries and the judgement are the health check's
        own; only that each probe goes through the gateway, since the fault is there.
        """
        detection = self._config.detection
        cadence, history = detection.probe.cadence, _resumed(ProbeHistory())
        running: set[asyncio.Task[Probe]] = set()
        due = datetime.now(UTC)
        try:
            while (now := datetime.now(UTC)) < order.until:
                if now >= due:
                    running.add(asyncio.create_task(self._probe(order)))
                    due = max(due, now - cadence) + cadence
                done, running = await _first(running, min(due, order.until, now + TURN) - now)
                for probe in sorted((task.result() for task in done), key=lambda one: one.at):
                    history = note(history, probe, detection)
                now = datetime.now(UTC)
                verdict = judge(order.provider, history, await self._counted(order.route), detection, now)
                history = replace(history, condition=verdict.condition)
                activity.heartbeat(history)
                if verdict.down:
                    return verdict
            return None
        finally:
            for task in running:
                task.cancel()

    async def _probe(self, order: PracticeOrder) -> Probe:
        began, timeout = datetime.now(UTC), self._config.detection.probe.timeout
        failure = await self._failure(order, timeout)
        return Probe(provider=order.provider, at=began, latency=datetime.now(UTC) - began, failure=failure)

    async def _failure(self, order: PracticeOrder, timeout: timedelta) -> Failure | None:
        try:
            async with asyncio.timeout(timeout.total_seconds()):
                answer = await self._breakable().probe(
                    order.route, order.provider, self._prober.question, timeout=timeout
                )
        except ProviderError as error:
            return replace(error.failure, provider=order.provider, detail=error.failure.detail.rstrip("."))
        except TimeoutError:
            detail = "no whole answer in time"
            return Failure(kind=FailureKind.TIMEOUT, provider=order.provider, detail=detail)
        if self._prober.makes_sense(answer.text):
            return None
        detail = "an answer that makes no sense to the probe"
        return Failure(kind=FailureKind.INVALID_ANSWER, provider=order.provider, detail=detail)

    async def _counted(self, route: str) -> Mapping[timedelta, Telemetry | None]:
        detection = self._config.detection
        windows = {detection.server_errors.window, detection.throttling.window}
        return {window: drill.as_practised(await self._observe(window), route) for window in windows}

    async def _observe(self, window: timedelta) -> Telemetry | None:
        try:
            return await self._plane.observe(window=window)
        except DataPlaneUnavailable:
            return None

    # Users

    @activity.defn(name="drill.load")
    async def load(self, order: LoadOrder) -> Load:
        """Send users' requests at a steady rate, whatever comes back, until cancelled or the limit; → what they got."""
        load, loop = _resumed(Load()), asyncio.get_running_loop()
        running: set[asyncio.Task[bool]] = set()
        due = loop.time()
        try:
            while load.sent < order.limit or running:
                if loop.time() >= due and load.sent < order.limit:
                    due += 1 / order.per_second
                    if len(running) < IN_FLIGHT:
                        running.add(asyncio.create_task(self._use(order.route)))
                        load = replace(load, sent=load.sent + 1)
                done, running = await _first(running, min(TURN, timedelta(seconds=max(0.0, due - loop.time()))))
                good = sum(task.result() for task in done)
                load = replace(load, answered=load.answered + good, failed=load.failed + len(done) - good)
                activity.heartbeat(load)
        except asyncio.CancelledError:
            details = activity.cancellation_details()
            if details is not None and details.worker_shutdown:
                raise  # Another worker goes on with it.
            # Those that are under way are told of as what they are: neither answered nor failed.
            return load
        finally:
            for task in running:
                task.cancel()
        return load

    async def _use(self, route: str) -> bool:
        timeout = self._config.gateway.request_timeout
        try:
            answer = await self._breakable().use(route, self._prober.question, timeout=timeout)
        except ProviderError:
            return False
        return bool(answer.text.strip())

    # The guard

    @activity.defn(name="drill.guard")
    async def guard(self, order: GuardOrder) -> StopReason:
        """Look out for what ends a drill at once, until it is there: the route taken away, a real outage, users who suffer."""
        while (stop := await self._found(order)) is None:
            await _pause(TURN)
        return stop

    async def _found(self, order: GuardOrder) -> StopReason | None:
        try:
            look = await self.look(order.route)
            telemetry = await self._plane.observe(since=order.since) if order.stop else None
        except DataPlaneUnavailable:
            return None
        why = drill.why_interrupted(order.drill, look.claim, look.author)
        if why is not None:
            return StopReason(outcome=Outcome.INTERRUPTED, reason=f"{why}.", lost=True)
        if look.down:
            said = "; ".join(f"{name} is really down: {reason}" for name, reason in look.down.items())
            return StopReason(outcome=Outcome.INTERRUPTED, reason=f"{said}.")
        if order.stop is None or telemetry is None:
            return None
        stop = drill.why_stop(telemetry.of_route(order.route), order.stop)
        return None if stop is None else StopReason(outcome=Outcome.FAILED, reason=f"Stopped: {stop}.")


async def _first(tasks: set[asyncio.Task[T]], wait: timedelta) -> tuple[set[asyncio.Task[T]], set[asyncio.Task[T]]]:
    """Wait until one task is done or the time is over; → those that are done, and the others."""
    if not tasks:
        await asyncio.sleep(max(0.0, wait.total_seconds()))
        return set(), set()
    return await asyncio.wait(tasks, timeout=max(0.0, wait.total_seconds()), return_when=asyncio.FIRST_COMPLETED)


async def _pause(how_long: timedelta) -> None:
    """Sleep, with heartbeats that show the activity to be alive."""
    end = asyncio.get_running_loop().time() + how_long.total_seconds()
    while (left := end - asyncio.get_running_loop().time()) > 0:
        activity.heartbeat()
        await asyncio.sleep(min(left, TURN.total_seconds()))


def _resumed(fresh: T) -> T:
    """What the attempt before this one had come to: heartbeats outlive the worker."""
    details = activity.info().heartbeat_details
    return TypeAdapter(type(fresh)).validate_python(details[0]) if details else fresh


PATIENCE = timedelta(seconds=1)
"""The longest wait for the evidence; after it a verdict is acted on by what is known."""


class PassedDrills:
    """The last passed drill of each provider: when, by the evidence kept here. Each record is read once."""

    def __init__(self, store: EvidenceStore) -> None:
        self._store = store
        self._read: set[str] = set()
        self._lock = threading.Lock()
        self._passed: dict[str, datetime] = {}

    async def known(self) -> Mapping[str, datetime]:
        """What is known by now: detection waits for no evidence."""
        try:
            await asyncio.wait_for(asyncio.to_thread(self._look), PATIENCE.total_seconds())
        except (TimeoutError, FailoverError) as error:
            log.warning("drills that passed lately may be missing", why=str(error) or "the evidence does not answer")
        return dict(self._passed)

    def _look(self) -> None:
        with self._lock:
            for folder in self._store.list():
                if "-drill-" in folder and folder not in self._read:
                    self._note(folder)
                    self._read.add(folder)

    def _note(self, folder: str) -> None:
        try:
            record = self._store.load(folder)
        except ValueError:
            log.warning("a drill's record cannot be read", folder=folder)
            return
        at = record.moments.closed
        if record.procedure == drill.NAME and record.outcome is Outcome.PASSED and at is not None:
            self._passed[record.provider] = max(at, self._passed.get(record.provider, at))
