"""What was counted while a run lasted, read once at its end: nobody's way is slowed by it."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from temporalio import activity

from failover.course import cuts, slice_of
from failover.incident import Slice
from failover.ports import TrafficPlane

SLICES = 90
"""The most slices of one run: fine enough to see a fault of seconds, few enough for a payload."""

AT_ONCE = 2
"""Each is a turn of the loop that serves users."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CourseOrder:
    """The routes to read, and the window on the data plane's clock."""

    routes: Sequence[str]
    since: datetime
    until: datetime


class CourseOfUse:
    """Reads the data plane's counters."""

    def __init__(self, plane: TrafficPlane) -> None:
        self._plane = plane

    @activity.defn(name="evidence.course")
    async def taken(self, order: CourseOrder) -> list[Slice]:
        """The window in slices, as far as the data plane remembers; none where it does not count."""
        turn, routes = asyncio.Semaphore(AT_ONCE), set(order.routes)

        async def one(since: datetime, until: datetime) -> Slice | None:
            async with turn:
                telemetry = await self._plane.observe(since=since, until=until)
            return None if telemetry is None else slice_of(telemetry, since, until, routes)

        found = await asyncio.gather(
            *(one(since, until) for since, until in cuts(order.since, order.until, most=SLICES))
        )
        return [each for each in found if each is not None and (each.requests or each.pending or each.providers)]
