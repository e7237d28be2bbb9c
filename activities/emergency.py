"""What an emergency looks at."""

from collections.abc import Sequence

from temporalio import activity

from activities.ramping import snapshot
from failover import capacity, degraded
from failover.capacity import Headroom
from failover.config import Config
from failover.emergency import EmergencyBrief, EmergencyRoute, why_not_start
from failover.errors import refuse
from failover.policy import TrafficPolicy
from failover.ports import TrafficPlane
from failover.requests import EmergencyRequest


class Ecosystem:
    """The routes and their demand, all together."""

    def __init__(self, config: Config, plane: TrafficPlane) -> None:
        self._config = config
        self._plane = plane

    @activity.defn(name="emergency.brief")
    async def brief(self, request: EmergencyRequest) -> EmergencyBrief:
        """Everything that an emergency decides on; refuses a request that names what is not there."""
        refuse(why_not_start(request, self._config.routes))
        immediate = self._config.procedures.immediate
        return EmergencyBrief(
            routes=[self._route(policy) for policy in await self._plane.read(request.routes)],
            providers=self._config.capacities(),
            settings=self._config.emergency,
            kpis=self._config.kpis,
            verify_timeout=immediate.verify_timeout,
            probe_timeout=immediate.probe_timeout,
            abort_timeout=immediate.abort_timeout,
            contacts=self._config.contacts(self._config.providers),
        )

    def _route(self, policy: TrafficPolicy) -> EmergencyRoute:
        service = degraded.from_emergency(self._config.emergency, template=self._config.template(policy.route))
        return EmergencyRoute(route=policy.route, found=snapshot(policy), degraded=service.as_settings())

    @activity.defn(name="emergency.look")
    async def look(self, routes: Sequence[str]) -> list[EmergencyRoute]:
        """The routes as they stand now."""
        return [
            EmergencyRoute(
                route=policy.route,
                found=snapshot(policy),
                degraded=dict(policy.degraded),
                author=policy.changed_by.workflow_id or policy.changed_by.actor,
            )
            for policy in await self._plane.read(list(routes))
        ]

    @activity.defn(name="emergency.demand")
    async def demand(self, routes: Sequence[str]) -> list[Headroom]:
        """What users ask of each route, and what its providers can take of it; in the order of the routes."""
        telemetry = await self._plane.observe(window=capacity.MINUTE)
        return [capacity.headroom(route, telemetry, self._config.capacities()) for route in routes]
