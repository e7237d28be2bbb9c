"""Detection, from the fault to the verdict: the health checks' own code, on an event loop whose clock leaps."""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

from temporalio.testing import ActivityEnvironment

from activities.board import VerdictBoard
from activities.probing import Prober
from activities.watching import Watching, WatchOrder
from failover.automation import Permission
from failover.distribution import Distribution
from failover.health import Verdict
from failover.rehearsal import Detected
from failover.triggers import Response, WatchState
from failover.world import World
from providers.rehearsed import RehearsedClient
from starter.rehearsal.clock import LoopClock, in_leaping_loop
from traffic.rehearsed import RehearsedPlane

LIMIT = timedelta(minutes=30)
"""A fault that is not found by then is not found."""


async def detect(
    world: World, distributions: Mapping[str, Distribution], failing: Collection[str], limit: timedelta
) -> Mapping[str, Detected]:
    """Provider → what is found of it first, of those that fail, within `limit` after the beginning."""
    if not failing or not world.config.detection.enabled:
        return {}
    found: Mapping[str, Detected] = await asyncio.to_thread(
        in_leaping_loop, lambda: _watch(world, distributions, failing, limit)
    )
    return found


async def _watch(
    world: World, distributions: Mapping[str, Distribution], failing: Collection[str], limit: timedelta
) -> Mapping[str, Detected]:
    config, clock = world.config, LoopClock(world.began)
    clients = {name: RehearsedClient(name, world, clock) for name in config.providers}
    plane = RehearsedPlane(distributions, world, clients, clock)
    noticing = _Noticing(clock, failing)
    prober = Prober(config, clients, clock)
    watching = Watching(config, plane, prober, VerdictBoard(), noticing, clock=clock)
    watches = [
        asyncio.create_task(
            ActivityEnvironment().run(
                watching.watch, WatchOrder(state=WatchState(provider=name), until=world.began + limit)
            )
        )
        for name in config.providers
    ]
    everybody: asyncio.Future[Any] = asyncio.gather(*watches)
    done: asyncio.Future[Any] = asyncio.ensure_future(noticing.done.wait())
    await asyncio.wait({everybody, done}, return_when=asyncio.FIRST_COMPLETED)
    everybody.cancel()
    done.cancel()
    with suppress(asyncio.CancelledError):
        await everybody
    return noticing.found


class _Noticing:
    """Starts nothing; keeps what would have been started, and stops once all is known."""

    def __init__(self, clock: LoopClock, failing: Collection[str]) -> None:
        self._clock = clock
        self._failing = set(failing)
        self.found: dict[str, Detected] = {}
        self.done = asyncio.Event()

    async def start(
        self,
        procedure: str,
        verdict: Verdict,
        others: Sequence[Verdict],
        routes: Sequence[str],
        allowed: Permission,
    ) -> bool:
        self._keep(verdict, others, procedure, routes, asks=bool(allowed.propose) and not allowed.act)
        return True

    async def tell(self, verdict: Verdict, response: Response) -> None:
        if verdict.down and response.procedure is None:
            self._keep(verdict, (), None, (), asks=False)

    def _keep(
        self, verdict: Verdict, others: Sequence[Verdict], procedure: str | None, routes: Sequence[str], *, asks: bool
    ) -> None:
        found = Detected(
            at=self._clock.now(), verdict=verdict, others=others, procedure=procedure, routes=routes, asks=asks
        )
        self.found.setdefault(verdict.provider, found)
        if self._failing <= set(self.found):
            self.done.set()


def moment(found: Mapping[str, Detected]) -> datetime | None:
    """The moment at which the last of them was found."""
    return max((one.at for one in found.values()), default=None)
