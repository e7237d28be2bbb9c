"""Reading, changing and verifying traffic policies."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from temporalio import activity

from activities.board import VerdictBoard
from activities.certificates import Certificates
from activities.clock import SYSTEM
from activities.demand import demand_now
from failover import restoration
from failover.capacity import headroom
from failover.config import Config
from failover.distribution import Shares, render, same
from failover.errors import DataPlaneUnavailable, refuse
from failover.immediate import Brief, RouteNow, why_not_start
from failover.incident import Trigger
from failover.policy import Change, ChangeStatus, Revision, TrafficPolicy
from failover.ports import Clock, TrafficPlane
from failover.requests import ImmediateFailoverRequest
from failover.restoration import Expectation
from failover.telemetry import Telemetry

CONVINCING_TRIES = 20
"""First tries without one at the evacuated provider that convince, where a route has users."""

POLL = timedelta(milliseconds=200)
"""The pause between two looks at the counters; they are local to the data plane and cheap."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What became of one route's change; the policy in force is named by revision, distribution and author."""

    route: str
    status: ChangeStatus
    revision: Revision | None
    distribution: Shares = field(default_factory=dict)
    reason: str = ""
    author: str = ""
    claim: str | None = None

    @property
    def in_force(self) -> bool:
        return self.status in (ChangeStatus.APPLIED, ChangeStatus.REPEATED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """Whether the data plane obeys: None, it cannot tell, is never yes. `policies` are as read back."""

    verified: bool | None
    reason: str
    in_force: list[Written]
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyOrder:
    """What should be in force, and how long to wait for users' tries that show it."""

    expected: Sequence[Expectation]
    timeout: timedelta


class Traffic:
    """The data plane's door for procedures. Each call has one effect, and is safe to repeat."""

    def __init__(
        self,
        config: Config,
        plane: TrafficPlane,
        board: VerdictBoard,
        certificates: Certificates,
        clock: Clock = SYSTEM,
    ) -> None:
        self._clock = clock
        self._config = config
        self._plane = plane
        self._board = board
        self._certificates = certificates

    @activity.defn(name="traffic.brief")
    async def brief(self, request: ImmediateFailoverRequest) -> Brief:
        """Everything that an immediate failover decides on; refuses a request that names what is not there."""
        refuse(why_not_start(request, self._config.providers, self._config.routes))
        policies, telemetry = await asyncio.gather(
            self._plane.read(request.routes), demand_now(self._config, self._plane)
        )
        settings = self._config.procedures.immediate
        routes = await self._routes(request, policies, telemetry)
        return Brief(
            providers=sorted(self._config.providers),
            routes=routes,
            verdicts=self._board.fresh(self._clock.now(), settings.verdict_max_age),
            settings=settings,
            kpis=self._config.kpis,
            contacts=self._config.contacts([request.failed_provider]),
            automation=self._config.detection.automation if any(route.certification for route in routes) else None,
        )

    async def _routes(
        self, request: ImmediateFailoverRequest, policies: Sequence[TrafficPolicy], telemetry: Telemetry | None
    ) -> list[RouteNow]:
        """The routes of now; certificates bind what is started without a person, until a person has said otherwise."""
        bound = request.trigger is Trigger.AUTOMATIC and not request.uncertified
        heeded = await self._certificates.of([policy.route for policy in policies] if bound else [])
        return [
            replace(self._now(policy, request.failed_provider, telemetry), certification=heeded.get(policy.route))
            for policy in policies
        ]

    def _now(self, policy: TrafficPolicy, failed: str, telemetry: Telemetry | None) -> RouteNow:
        return RouteNow(
            route=policy.route,
            revision=policy.revision,
            distribution=policy.undrilled,
            claim=policy.claim,
            drilled=policy.distribution if policy.clean is not None else None,
            chain=self._config.chain(policy.route, failed),
            changed_by=_author(policy),
            failback=self._config.routes[policy.route].failback if policy.route in self._config.routes else "off",
            headroom=headroom(policy.route, telemetry, self._config.capacities()),
        )

    @activity.defn(name="traffic.reread")
    async def reread(self, request: ImmediateFailoverRequest) -> list[RouteNow]:
        """The named routes as they stand now, to decide again on what somebody else changed."""
        telemetry = await demand_now(self._config, self._plane)
        policies = await self._plane.read(request.routes)
        return await self._routes(request, policies, telemetry)

    @activity.defn(name="traffic.apply")
    async def apply(self, changes: list[Change]) -> list[Written]:
        """Write a batch; repeating it with the same keys changes nothing more.

        Heartbeats while it waits, so that a cancellation stops the write before anything is restored.
        """
        writing = asyncio.create_task(_results(self._plane, changes))
        try:
            while not (await asyncio.wait({writing}, timeout=POLL.total_seconds()))[0]:
                activity.heartbeat()
        finally:
            writing.cancel()
        return writing.result()

    @activity.defn(name="traffic.verify")
    async def verify(self, order: VerifyOrder) -> Verification:
        """Read the policies back, then look where users' first tries go from now on."""
        expected = {expectation.route: expectation for expectation in order.expected}
        policies = {policy.route: policy for policy in await self._plane.read(list(expected))}
        in_force = [_written(policy) for policy in policies.values()]
        wrong = [why for e in order.expected if (why := _why_not_in_force(e, policies.get(e.route)))]
        now = self._clock.now()
        if wrong:
            return Verification(verified=False, reason="; ".join(wrong[:5]), in_force=in_force, at=now)
        behind = await self._laggards(list(policies.values()), order.timeout)
        if behind:
            return Verification(verified=False, reason="; ".join(behind[:5]), in_force=in_force, at=self._clock.now())
        verified, reason = await self._watch_first_tries(order)
        return Verification(verified=verified, reason=reason, in_force=in_force, at=self._clock.now())

    async def _laggards(self, policies: Sequence[TrafficPolicy], timeout: timedelta) -> list[str]:
        """Instances that do not obey in time; one that has moved on with a newer policy is looked at again."""
        deadline = self._clock.now() + timeout
        while behind := restoration.lagging(policies, await self._plane.obeyed()):
            if self._clock.now() >= deadline:
                return behind
            activity.heartbeat()
            await self._clock.sleep(POLL)
            policies = await self._plane.read([policy.route for policy in policies])
        return []

    async def _watch_first_tries(self, order: VerifyOrder) -> tuple[bool | None, str]:
        before = await self._plane.observe(window=timedelta(seconds=30))
        if before is None:
            return None, "the policies read back as written, but the data plane cannot tell what it serves"
        busy = restoration.busy_routes(before, {expectation.route for expectation in order.expected})
        watched = [expectation for expectation in order.expected if expectation.route in busy]
        if not watched:
            return True, "the policies read back as written; no users came that could show more"
        deadline = self._clock.now() + order.timeout
        while True:
            seen = await self._plane.observe(since=before.at)
            if seen is None:
                return None, "the policies read back as written, but the data plane stopped counting"
            wrong = restoration.contradictions(seen, watched)
            if wrong:
                return False, "; ".join(wrong[:5])
            if restoration.enough_tries(seen, watched, CONVINCING_TRIES) or self._clock.now() >= deadline:
                tries = sum(window.first_tries for window in seen.providers if window.route in busy)
                return True, f"the policies read back as written, and {tries} first tries since went where they should"
            activity.heartbeat()
            await self._clock.sleep(POLL)


async def _results(plane: TrafficPlane, changes: Sequence[Change]) -> list[Written]:
    results = await plane.apply(changes)
    if len(results) != len(changes):
        raise DataPlaneUnavailable(f"The data plane answered {len(results)} of {len(changes)} changes; asking again.")
    return [
        Written(
            route=change.route,
            status=result.status,
            revision=result.policy.revision if result.policy else None,
            distribution=result.policy.distribution if result.policy else {},
            reason=result.reason,
            author=_author(result.policy) if result.policy else "",
            claim=result.policy.claim if result.policy else None,
        )
        for change, result in zip(changes, results, strict=True)
    ]


def _written(policy: TrafficPolicy) -> Written:
    return Written(
        route=policy.route,
        status=ChangeStatus.APPLIED,
        revision=policy.revision,
        distribution=policy.distribution,
        reason=policy.reason,
        author=_author(policy),
        claim=policy.claim,
    )


def _author(policy: TrafficPolicy) -> str:
    return policy.changed_by.workflow_id or policy.changed_by.actor


def _why_not_in_force(expectation: Expectation, policy: TrafficPolicy | None) -> str | None:
    if policy is None:
        return f"route {expectation.route!r} has no policy any more"
    if expectation.mode is not None and policy.mode is not expectation.mode:
        return f"route {expectation.route!r} reads back in mode {policy.mode}, not {expectation.mode}"
    if same(policy.distribution, expectation.share):
        return None
    if expectation.evacuated and policy.distribution.get(expectation.evacuated, 0) == 0:
        return None  # Somebody moved it on, off another provider; ours is still out.
    return (
        f"route {expectation.route!r} reads back as {render(policy.distribution)}, "
        f"not {render(expectation.share)} (changed by {_author(policy)})"
    )
