"""The data plane of a rehearsal: obeys at once, and counts the users that the world is told to have."""

from collections.abc import Mapping
from datetime import datetime, timedelta

from failover.completion import Answer, Completion
from failover.distribution import Distribution
from failover.errors import ProviderError
from failover.failure import Failure
from failover.policy import Change, ChangeResult, ChangeStatus
from failover.ports import Clock, ProviderClient
from failover.telemetry import Telemetry
from failover.world import InForce, World
from traffic.memory import MemoryPlane


class RehearsedPlane(MemoryPlane):
    """`history`: every policy that was in force, oldest first."""

    def __init__(
        self,
        distributions: Mapping[str, Distribution],
        world: World,
        clients: Mapping[str, ProviderClient],
        clock: Clock,
    ) -> None:
        super().__init__(distributions, clock.now)
        self._world = world
        self._clients = clients
        self._time = clock
        self.history = [
            InForce(at=clock.now(), route=name, distribution=shares) for name, shares in distributions.items()
        ]

    def write(self, change: Change) -> ChangeResult:
        result = super().write(change)
        if result.status is ChangeStatus.APPLIED and result.policy is not None:
            policy = result.policy
            by = policy.changed_by.workflow_id or policy.changed_by.actor
            self.history.append(
                InForce(
                    at=policy.changed_at, route=policy.route, distribution=policy.distribution, mode=policy.mode, by=by
                )
            )
        return result

    async def observe(
        self, *, window: timedelta | None = None, since: datetime | None = None, until: datetime | None = None
    ) -> Telemetry | None:
        now = self._time.now()
        end = min(until or now, now)
        return self._world.told(self.history, since or end - (window or timedelta(seconds=60)), end, now)

    async def ask(self, route: str, completion: Completion, *, timeout: timedelta) -> tuple[str, Answer]:
        """Ask as the gateway does: the provider that the weights prefer first, then the others in turn."""
        shares = self.distribution(route)
        failure: Failure | None = None
        for name in self._world.order(route, max(shares, key=lambda name: shares[name]), shares):
            try:
                return name, await self._clients[name].invoke(completion, timeout=timeout)
            except ProviderError as error:
                failure = error.failure
        assert failure is not None
        raise ProviderError(failure)
