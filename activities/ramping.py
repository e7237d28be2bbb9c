"""What ramps look at: the route before they plan, the policy and the counters while they go, providers on demand."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import islice

from temporalio import activity

from activities.board import VerdictBoard
from activities.certificates import Certificates
from activities.clock import SYSTEM
from activities.demand import demand_now
from activities.evidence import EvidenceStore
from activities.probing import Prober, verdict_of
from failover import capacity, kinds, observing
from failover.capacity import Headroom
from failover.config import Config
from failover.errors import DataPlaneUnavailable, RequestError
from failover.failback import RecoveryProbe
from failover.gates import GateSample
from failover.health import Verdict
from failover.incident import Outcome, RunRecord, Trigger
from failover.policy import TrafficPolicy
from failover.ports import Clock, TrafficPlane
from failover.ramp import Origin, RampBrief, Snapshot
from failover.units import milliseconds

KNOWN_FOR = timedelta(seconds=30)
"""How old a health check's verdict may be to plan by."""


HOUR = timedelta(hours=1)
"""What the budget of automatic changes is counted over."""

LONGEST_RUN = timedelta(days=7)
"""How long before the end of a run that counts it may have been decided."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BriefOrder:
    """The route, whose chain (`source`), and what else must be known: what a failback undoes, how much is throttled."""

    route: str
    source: str | None = None
    returns_to: str | None = None
    undoes_workflow_id: str | None = None
    undoes_run_id: str | None = None
    throttled: str | None = None
    automatic: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class LookOrder:
    """A route, and providers whose health must be known now."""

    route: str
    providers: Sequence[str] = ()
    timeout: timedelta = timedelta(seconds=2)


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteLook:
    """A route as it stands: what is in force, by whom, who has claimed it; and what is known of the providers asked for.

    `headroom` is what providers can take of the demand of now.
    """

    found: Snapshot
    author: str
    claim: str | None
    verdicts: Sequence[Verdict]
    headroom: Headroom = field(default_factory=Headroom)


@dataclass(frozen=True, slots=True, kw_only=True)
class GateSampleOrder:
    """One look. `since`: when the step began, on the data plane's clock; None: now. `synthetic`: how many to send whom."""

    route: str
    window: timedelta
    since: datetime | None = None
    provider: str | None = None
    synthetic: int = 0


class Ramping:
    """The reading activities of ramps; none of them changes anything."""

    def __init__(
        self,
        config: Config,
        plane: TrafficPlane,
        board: VerdictBoard,
        prober: Prober,
        evidence: EvidenceStore,
        certificates: Certificates,
        clock: Clock = SYSTEM,
    ) -> None:
        self._clock = clock
        self._config = config
        self._plane = plane
        self._board = board
        self._prober = prober
        self._evidence = evidence
        self._certificates = certificates

    @activity.defn(name="ramp.brief")
    async def brief(self, order: BriefOrder) -> RampBrief:
        """Everything that a ramp is planned from; refuses a route or provider that is not there."""
        self._refuse_unknown(order)
        policy = await self._policy(order.route)
        telemetry = await self._plane.observe(window=capacity.MINUTE)
        route = self._config.routes[order.route]
        heeded = await self._certificates.of([order.route] if order.automatic else [])
        source = order.source or max(policy.distribution, key=lambda name: policy.distribution[name])
        return RampBrief(
            route=order.route,
            found=snapshot(policy),
            providers=sorted(self._config.providers),
            chain=self._config.chain(order.route, source),
            verdicts=self._board.fresh(self._clock.now(), KNOWN_FOR),
            headroom=capacity.headroom(order.route, telemetry, self._config.capacities()),
            targets=route.targets,
            procedures=self._config.procedures,
            approvals=route.approvals,
            kpis=self._config.kpis,
            origin=await self._origin(order) if order.returns_to else None,
            throttled_percent=observing.throttled_percent(telemetry, order.route, order.throttled),
            throttling_limit=self._config.detection.throttling.percent,
            automatic=await asyncio.to_thread(self._automatic, order.route),
            cool_down=self._config.detection.cool_down,
            automatic_per_hour=self._config.detection.automatic_switches_per_hour,
            certification=heeded.get(order.route),
        )

    def _automatic(self, route: str) -> list[datetime]:
        """Ends of the automatic runs that changed the route within the last hour, by the evidence that is kept here."""
        since = self._clock.now() - HOUR
        records = (record for _, record in islice(self._evidence.records(since - LONGEST_RUN), 100))
        return [
            record.moments.closed
            for record in records
            if record.trigger is Trigger.AUTOMATIC
            and not record.is_drill
            and record.moments.closed
            and record.moments.closed >= since
            if record.moments.in_force  # one that was refused, or moved nothing, is no change
            if any(shift.route == route for shift in record.routes)
        ]

    def _refuse_unknown(self, order: BriefOrder) -> None:
        if order.route not in self._config.routes:
            raise RequestError(f"There is no route {order.route!r}; the routes are {', '.join(self._config.routes)}.")
        for name in (order.source, order.returns_to, order.throttled):
            if name is not None and name not in self._config.providers:
                known = ", ".join(sorted(self._config.providers))
                raise RequestError(f"{name!r} is no provider of this deployment; the providers are {known}.")

    async def _policy(self, route: str) -> TrafficPolicy:
        policies = await self._plane.read([route])
        if not policies:
            raise DataPlaneUnavailable(f"The data plane knows no route {route!r} yet; asking again.")
        return policies[0]

    async def _origin(self, order: BriefOrder) -> Origin:
        record = await asyncio.to_thread(self._failover_on_record, order)
        if record is None:
            if order.undoes_workflow_id is not None:
                raise RequestError(f"No closed run {order.undoes_workflow_id!r} on route {order.route!r} is on record.")
            return Origin(distribution=self._config.routes[order.route].distribution)
        before = next(shift.before for shift in record.routes if shift.route == order.route)
        return Origin(distribution=before, workflow_id=record.workflow_id, run_id=record.run_id)

    def _failover_on_record(self, order: BriefOrder) -> RunRecord | None:
        for _, record in islice(self._evidence.records(), 200):
            if _undone_by(record, order):
                return record
        return None

    @activity.defn(name="ramp.look")
    async def look(self, order: LookOrder) -> RouteLook:
        """The policy in force, and a verdict about each provider asked for: the health check's, or a probe's of now."""
        policy = await self._policy(order.route)
        known = self._board.fresh(self._clock.now(), self._config.procedures.immediate.verdict_max_age, order.providers)
        unknown = [name for name in order.providers if name not in {verdict.provider for verdict in known}]
        telemetry, probes = await asyncio.gather(
            demand_now(self._config, self._plane),
            asyncio.gather(*(self._prober.probe(name, order.timeout) for name in unknown)),
        )
        return RouteLook(
            found=snapshot(policy),
            author=policy.changed_by.workflow_id or policy.changed_by.actor,
            claim=policy.claim,
            verdicts=[*known, *map(verdict_of, probes)],
            headroom=capacity.headroom(order.route, telemetry, self._config.capacities()),
        )

    @activity.defn(name="ramp.sample")
    async def sample(self, order: GateSampleOrder) -> GateSample:
        """Read who rules the route, and what was counted lately and since the step began."""
        ours = asyncio.gather(*(self._probe(order) for _ in range(order.synthetic if order.provider else 0)))
        recent = await self._plane.observe(window=order.window)
        whole = await self._plane.observe(since=order.since) if order.since else None
        policy = await self._policy(order.route)
        if recent is None:
            await ours
            raise DataPlaneUnavailable("The data plane cannot tell what is served.")
        sample = observing.gate_sample(policy, recent, whole, order.since, self._config.routes[order.route].targets)
        return observing.with_synthetic(sample, await ours)

    async def _probe(self, order: GateSampleOrder) -> observing.Synthetic:
        assert order.provider is not None
        probe = await self._prober.probe(order.provider, self._config.detection.probe.timeout)
        return observing.Synthetic(good=probe.failure is None, latency=probe.latency)

    @activity.defn(name="probe.recovery")
    async def recovery(self, provider: str) -> RecoveryProbe:
        """Probe with one real completion whether the provider is well."""
        probe = await self._prober.probe(provider, self._config.detection.probe.timeout)
        reason = str(probe.failure) if probe.failure else f"answered in {milliseconds(probe.latency)} ms"
        return RecoveryProbe(at=probe.at, healthy=probe.failure is None, reason=reason)

    @activity.defn(name="probe.comprehensive")
    async def comprehensive(self, provider: str) -> str | None:
        """Why a provider is not fit to take traffic back, or None: control plane, and several completions at once."""
        timeout = self._config.detection.probe.timeout
        count = self._config.procedures.failback.validation_probes
        first = await self._prober.probe(provider, timeout, ask_control_plane=True)
        probes = [first, *await asyncio.gather(*(self._prober.probe(provider, timeout) for _ in range(count - 1)))]
        failed = [probe.failure for probe in probes if probe.failure]
        if failed:
            return f"{len(failed)} of {len(probes)} questions were not answered well: {failed[0]}"
        slow = max(probe.latency for probe in probes)
        return None if slow <= timeout else f"its slowest answer took {milliseconds(slow)} ms"


def _undone_by(record: RunRecord, order: BriefOrder) -> bool:
    if record.is_drill:
        return False
    if order.undoes_workflow_id is not None:
        named = record.workflow_id == order.undoes_workflow_id
        named = named and order.undoes_run_id in (None, record.run_id)
    else:
        named = record.provider == order.returns_to and record.outcome is Outcome.COMPLETED
        named = named and record.procedure != kinds.FAILBACK
    return named and any(shift.route == order.route for shift in record.routes)


def snapshot(policy: TrafficPolicy) -> Snapshot:
    """What a run may have to put back; where a drill has moved traffic, what it found."""
    return Snapshot(
        revision=policy.revision, distribution=policy.undrilled, mode=policy.mode, degraded=dict(policy.degraded)
    )
