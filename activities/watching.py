"""The health watch: one long activity a provider, that probes it, reads what users got, and acts on a change at once."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Protocol

import structlog
from pydantic import TypeAdapter
from temporalio import activity

from activities.accuracy import Examiner
from activities.baselines import BaselineRecorder
from activities.board import VerdictBoard
from activities.certificates import Certificates
from activities.clock import SYSTEM
from activities.drilling import PassedDrills
from activities.hold import HeldAutomation
from activities.probing import Prober
from activities.samples import SampleLog
from activities.sources import Readings
from failover.accuracy import Assessment, unknown
from failover.automation import Permission, permission, permitted
from failover.config import Config
from failover.distribution import Distribution, users_of
from failover.errors import DataPlaneUnavailable
from failover.health import Condition, Probe, ProbeHistory, Verdict, judge, note, note_latency
from failover.ports import Clock, TrafficPlane
from failover.replay import Counted, DetectorSample
from failover.telemetry import Telemetry
from failover.triggers import Response, WatchState, after, must_ask, respond

log = structlog.get_logger(__name__)

CONTROL_PLANE_EVERY = 6
"""Every so many probes the control plane is asked too: its word is noted, never believed alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchOrder:
    """Watch `state.provider` until a moment that survives retries."""

    state: WatchState
    until: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchPlan:
    """The providers to watch, how often a check is due, and how often each is probed."""

    providers: Sequence[str]
    interval: timedelta
    cadence: timedelta
    probe_timeout: timedelta


class Responder(Protocol):
    """Carries out a response to a verdict. Must not raise: a helper's failure never stops a watch."""

    async def start(
        self,
        procedure: str,
        verdict: Verdict,
        others: Sequence[Verdict],
        routes: Sequence[str],
        allowed: Permission,
    ) -> bool:
        """Start the procedure, or propose it, or join the run that is there already; whether that worked.

        `routes` are those that use the provider, where that is known.
        """
        ...

    async def tell(self, verdict: Verdict, response: Response) -> None: ...


class Watching:
    """The health check's activities.

    Probes overlap: one is sent each cadence whatever became of the last, so that three hanging ones cost three cadences
    and one timeout. They outlive the activity that sent them: the next watch on this worker takes their results.
    """

    def __init__(
        self,
        config: Config,
        plane: TrafficPlane,
        prober: Prober,
        board: VerdictBoard,
        responder: Responder,
        *,
        examiner: Examiner | None = None,
        readings: Readings | None = None,
        hold: HeldAutomation | None = None,
        samples: SampleLog | None = None,
        baselines: BaselineRecorder | None = None,
        certificates: Certificates | None = None,
        practised: PassedDrills | None = None,
        clock: Clock = SYSTEM,
    ) -> None:
        self._clock = clock
        self._config = config
        self._plane = plane
        self._prober = prober
        self._board = board
        self._responder = responder
        self._examiner = examiner
        self._readings = readings or Readings(config, plane, {}, clock)
        self._hold = hold or HeldAutomation(None)
        self._samples = samples
        self._baselines = baselines
        self._certificates = certificates or Certificates(config, {}, None)
        self._practised = practised
        self._exams: dict[str, asyncio.Task[Assessment]] = {}
        self._probes: dict[str, set[asyncio.Task[Probe]]] = {}
        self._sent: dict[str, int] = {}
        self._told: set[asyncio.Task[None]] = set()

    @activity.defn(name="health.plan")
    async def plan(self, providers: list[str] | None) -> WatchPlan:
        """What there is to watch; the settings land in the run's history."""
        detection = self._config.detection
        return WatchPlan(
            providers=sorted(providers or self._config.providers),
            interval=detection.schedule_interval,
            cadence=detection.probe.cadence,
            probe_timeout=detection.probe.timeout,
        )

    @activity.defn(name="health.watch")
    async def watch(self, order: WatchOrder) -> WatchState:
        """Probe at the configured cadence until the deadline; → what the next watch must know."""
        state = _resumed(order.state)
        cadence = self._config.detection.probe.cadence
        due = self._clock.now() if state.history.last is None else state.history.last.at + cadence
        while (now := self._clock.now()) < order.until:
            if now >= due:
                self._send(state.provider)
                due = max(due, now - cadence) + cadence
            state = await self._turn(state, min(due, order.until))
            activity.heartbeat(state)
        return state

    def _send(self, provider: str) -> None:
        sent = self._sent[provider] = self._sent.get(provider, 0) + 1
        timeout = self._config.detection.probe.timeout
        ask = sent % CONTROL_PLANE_EVERY == 1
        task = asyncio.create_task(self._prober.probe(provider, timeout, ask_control_plane=ask))
        self._probes.setdefault(provider, set()).add(task)

    async def _turn(self, state: WatchState, until: datetime) -> WatchState:
        """Wait for probes or the next due moment, then judge on everything that is known."""
        provider, detection = state.provider, self._config.detection
        probes = await self._finished(provider, until)
        history = state.history
        for probe in probes:
            history = note(history, probe, detection)
        before, history = history, self._examined(provider, history)
        telemetry = await self._telemetry()
        history = note_latency(history, telemetry[detection.server_errors.window], provider, detection)
        now = self._clock.now()
        verdict = judge(provider, history, telemetry, detection, now)
        self._board.post(verdict)
        if self._baselines is not None:
            self._baselines.consider()
        history = replace(history, condition=verdict.condition)
        seen = DetectorSample(
            at=now,
            provider=provider,
            probes=probes,
            counted=[counted_of(window, told, provider) for window, told in telemetry.items() if told is not None],
            assessment=history.assessment if history.assessment is not before.assessment else None,
        )
        return await self._act(replace(state, history=history), verdict, seen)

    def _examined(self, provider: str, history: ProbeHistory) -> ProbeHistory:
        """The history with what golden prompts said; where they are due, they are put now, beside the probes."""
        exam = self._exams.get(provider)
        if exam is not None and exam.done():
            del self._exams[provider]
            return replace(history, assessment=exam.result())
        settings, last = self._config.detection.accuracy, history.assessment
        due = last is None or self._clock.now() - last.at >= settings.cadence
        # Of a provider that fails its probes nothing else is asked; and it is no time for a baseline.
        well = history.last is not None and history.last.failure is None and not history.failures
        if self._examiner is not None and settings.enabled and exam is None and due and well:
            self._exams[provider] = asyncio.create_task(self._exam(self._examiner, provider))
        return history

    async def _exam(self, examiner: Examiner, provider: str) -> Assessment:
        try:
            return await examiner.assess(provider)
        except Exception as error:  # noqa: BLE001 (golden prompts that cannot be put must not stop the watching)
            log.warning("the golden prompts could not be put", provider=provider, error=str(error))
            return unknown(provider, self._clock.now(), f"the golden prompts could not be put: {error}")

    async def _finished(self, provider: str, until: datetime) -> list[Probe]:
        running = self._probes.setdefault(provider, set())
        wait = max(0.0, (until - self._clock.now()).total_seconds())
        if not running:
            await self._clock.sleep(timedelta(seconds=wait))
            return []
        done, self._probes[provider] = await asyncio.wait(running, timeout=wait, return_when=asyncio.FIRST_COMPLETED)
        return sorted((task.result() for task in done), key=lambda probe: probe.at)

    async def _telemetry(self) -> Mapping[timedelta, Telemetry | None]:
        """What was counted, by window. Whoever does not answer leaves the probes to speak alone."""
        detection = self._config.detection
        windows = {detection.server_errors.window, detection.throttling.window}
        return {window: await self._readings.observe(window) for window in windows}

    async def _act(self, state: WatchState, verdict: Verdict, seen: DetectorSample) -> WatchState:
        now, max_age = seen.at, self._config.procedures.immediate.verdict_max_age
        others = [other for other in self._board.fresh(now, max_age) if other.provider != state.provider]
        policies = await self._policies()
        routes = users_of(verdict.provider, policies or {})
        allowed = await self._allowed(verdict, routes, now)
        asks = (bool(allowed.propose) and not allowed.act) or await self._lacks_certified(verdict, routes, others)
        wanted = respond(verdict, state, policies, others, self._config.detection, now, asks_people=asks)
        response = permitted(wanted, allowed)
        await self._keep(seen, verdict, policies, wanted, response)
        if response.tell:
            log.info("verdict", provider=verdict.provider, condition=verdict.condition.value, reason=verdict.reason)
            telling = asyncio.create_task(self._responder.tell(verdict, response))
            self._told.add(telling)
            telling.add_done_callback(self._told.discard)
        if response.procedure and not await self._responder.start(response.procedure, verdict, others, routes, allowed):
            return state
        return after(state, verdict, response, now)

    async def _lacks_certified(self, verdict: Verdict, routes: Sequence[str], others: Sequence[Verdict]) -> bool:
        if verdict.condition in (Condition.HEALTHY, Condition.BLIND):
            return False
        heeded = {name: one.at(verdict.at) for name, one in (await self._certificates.of(routes)).items()}
        chains = {route: self._config.chain(route, verdict.provider) for route in routes}
        return must_ask(heeded, chains, others)

    async def _keep(
        self,
        seen: DetectorSample,
        verdict: Verdict,
        policies: Mapping[str, Distribution] | None,
        wanted: Response,
        response: Response,
    ) -> None:
        if self._samples is None:
            return
        held = response.held
        done = replace(
            seen,
            shares=None if policies is None else {route: one.get(seen.provider, 0) for route, one in policies.items()},
            condition=verdict.condition,
            reason=verdict.reason,
            started=wanted.procedure if held and wanted.tell else response.procedure,
            held=held,
        )
        await self._samples.keep(done)

    async def _allowed(self, verdict: Verdict, routes: Sequence[str], now: datetime) -> Permission:
        if verdict.condition in (Condition.HEALTHY, Condition.BLIND):
            return Permission()
        drilled = await self._practised.known() if self._practised else None
        return permission(
            self._config,
            verdict.condition,
            routes,
            await self._hold.known(),
            now,
            provider=verdict.provider,
            drilled=drilled,
        )

    async def _policies(self) -> Mapping[str, Distribution] | None:
        try:
            return {policy.route: policy.distribution for policy in await self._plane.read()}
        except DataPlaneUnavailable as error:
            log.warning("the traffic policies could not be read", error=str(error))
            return None


def _resumed(state: WatchState) -> WatchState:
    """The state of the attempt before this one, where there was one: heartbeats outlive the worker."""
    details = activity.info().heartbeat_details
    return TypeAdapter(WatchState).validate_python(details[0]) if details else state


def counted_of(window: timedelta, told: Telemetry, provider: str) -> Counted:
    """What was counted of one provider."""
    return Counted(window=window, at=told.at, since=told.since, windows=told.of_provider(provider))
