"""What the console shows: one look at the stack, which serves everybody who watches."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar

from temporalio.client import Client

from failover.automation import Hold
from failover.config import Config
from failover.errors import Unavailable
from failover.health import Verdict
from failover.policy import TrafficPolicy
from failover.ports import HoldStore, TrafficPlane
from failover.telemetry import Telemetry
from starter.checks import watched
from starter.console.incidents import Incidents
from starter.console.readiness import Sheet
from starter.looking import Question, Questions, Seen, look
from starter.runs.memory import RunMemory
from starter.status import WINDOW
from starter.webhooks.temporal import Temporal

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """The sources that a look asks; None if this server does not know them."""

    config: Config
    temporal: Temporal
    plane: TrafficPlane | None
    hold: HoldStore | None
    verdicts: Callable[[], Awaitable[Sequence[Verdict]]] | None
    incidents: Incidents
    readiness: Callable[[], Sheet | None] | None = None
    """The last audit (blocking), None where there was none yet."""


class Seeing:
    """Looks, at most once in `console.refresh`."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources
        self._refresh = sources.config.console.refresh
        self._looking = asyncio.Lock()
        self._last: Seen | None = None
        runs = RunMemory()
        self._questions = Questions(
            verdicts=self._verdicts,
            policies=self._policies,
            served=self._served,
            runs=self._of_temporal(runs.open),
            ended=self._of_temporal(runs.ended),
            watched=self._of_temporal(lambda client: watched(client, sources.config)),
            hold=self._held,
        )

    async def look(self, *, fresh: bool = False) -> Seen:
        """`fresh`: not what was seen before, whatever its age."""
        asked = datetime.now(UTC)
        async with self._looking:
            since = asked if fresh else asked - self._refresh
            if self._last is None or self._last.at < since:
                self._last = await look(self._questions)
            return self._last

    def _of_temporal(self, question: Callable[[Client], Coroutine[Any, Any, T]]) -> Question[T]:
        temporal = self._sources.temporal
        return lambda: temporal.bounded(question(temporal.client))

    async def _verdicts(self) -> Sequence[Verdict]:
        if self._sources.verdicts is None:
            raise Unavailable(
                "No worker is known here, so nobody tells how the providers are: set FAILOVER_WORKER_URL."
            )
        return await self._sources.verdicts()

    def _plane(self) -> TrafficPlane:
        if self._sources.plane is None:
            raise Unavailable("No gateway is known here, so the shares cannot be shown: set FAILOVER_GATEWAY_URL.")
        return self._sources.plane

    async def _policies(self) -> Sequence[TrafficPolicy]:
        return await self._plane().read()

    async def _served(self) -> Telemetry:
        telemetry = await self._plane().observe(window=WINDOW)
        if telemetry is None:
            raise Unavailable("The data plane cannot tell what it served.")
        return telemetry

    async def _held(self) -> Hold | None:
        if self._sources.hold is None:
            return None
        hold = await self._sources.hold.hold()
        return hold if hold is not None and hold.in_force(datetime.now(UTC)) else None
