"""Faults that a drill injects between the gateway and a provider, on one route. The provider itself never hears of them.

A fault lives no longer than its holder renews it, and no longer than the route is claimed by the drill that asked for it:
whoever takes the route away from a drill ends the fault by the same write. Nothing is kept across a restart.
"""

import asyncio
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta

from failover.config.drills import FaultKind
from failover.errors import ProviderError
from failover.failure import Failure, FailureKind
from failover.policy import TrafficPolicy

INJECTED = "injected"
"""Code of a failure that a drill made up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One fault. `percent` of tries of users that it strikes, None for all; `until` on the monotonic clock."""

    kind: FaultKind
    percent: float | None
    drill: str
    until: float


class Faults:
    """What is broken now, by route and provider."""

    def __init__(self, clock: Callable[[], float], rng: random.Random) -> None:
        self._clock = clock
        self._rng = rng
        self._faults: dict[tuple[str, str], Fault] = {}

    def put(
        self, route: str, provider: str, *, kind: FaultKind, percent: float | None, drill: str, lasts: timedelta
    ) -> None:
        """Set or renew it."""
        until = self._clock() + lasts.total_seconds()
        self._faults[route, provider] = Fault(kind=kind, percent=percent, drill=drill, until=until)

    def heal(self, route: str, drill: str | None) -> None:
        """End the faults of a route, all of them or one drill's."""
        for key, fault in list(self._faults.items()):
            if key[0] == route and drill in (None, fault.drill):
                del self._faults[key]

    def alive(self, policies: Mapping[str, TrafficPolicy]) -> dict[tuple[str, str], tuple[Fault, timedelta]]:
        """What strikes now, and for how long it still may."""
        now = self._clock()
        return {
            key: (fault, timedelta(seconds=fault.until - now))
            for key, fault in self._faults.items()
            if key[0] in policies and self._strikes(fault, policies[key[0]])
        }

    async def strike(self, policy: TrafficPolicy, provider: str, timeout: timedelta, *, always: bool) -> None:
        """Raise ProviderError if the try is to fail; `always`: also if only some do."""
        fault = self._faults.get((policy.route, provider))
        if fault is None or not self._strikes(fault, policy):
            return
        if fault.percent is not None and not always and self._rng.random() * 100 >= fault.percent:
            return
        if fault.kind is FaultKind.TIMEOUT:
            await asyncio.sleep(timeout.total_seconds())
        detail = f"injected by {fault.drill}"
        raise ProviderError(Failure(kind=FailureKind(fault.kind), provider=provider, detail=detail, code=INJECTED))

    def _strikes(self, fault: Fault, policy: TrafficPolicy) -> bool:
        return fault.until > self._clock() and policy.claim == fault.drill
