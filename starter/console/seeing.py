"""What the console shows: everything that is asked of the stack in one look, which serves everybody who watches."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeVar

from failover.automation import Hold
from failover.config import Config
from failover.errors import FailoverError, Unavailable
from failover.health import Verdict
from failover.incident import RunRecord
from failover.policy import TrafficPolicy
from failover.ports import HoldStore, TrafficPlane
from failover.telemetry import Telemetry
from starter.checks import Watched, watched
from starter.console.incidents import Incidents
from starter.console.readiness import Sheet
from starter.runs.finding import DRY, OPEN, executions, handle_of
from starter.runs.following import look_at
from starter.runs.situation import Look
from starter.status import WINDOW
from starter.webhooks.temporal import Temporal

T = TypeVar("T")

PATIENCE = 4.0
"""Seconds for one answer; what takes longer is shown as not answering."""

MOST_RUNS = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenRun:
    """A procedure under way, and what it tells of itself."""

    workflow_id: str
    procedure: str
    started_at: datetime
    look: Look


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """One look; each part is its answer, or the FailoverError that says why there is none."""

    at: datetime
    verdicts: Sequence[Verdict] | FailoverError
    policies: Sequence[TrafficPolicy] | FailoverError
    served: Telemetry | FailoverError
    runs: Sequence[OpenRun] | FailoverError
    watched: Watched | FailoverError
    hold: Hold | FailoverError | None
    records: Sequence[RunRecord] | FailoverError


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """Whom a look asks; None where this server does not know them."""

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
        self._told: dict[tuple[str, str], Look] = {}

    async def look(self, *, fresh: bool = False) -> Seen:
        """`fresh`: not what was seen before, whatever its age."""
        asked = datetime.now(UTC)
        async with self._looking:
            since = asked if fresh else asked - self._refresh
            if self._last is None or self._last.at < since:
                self._last = await self._ask()
            return self._last

    async def _ask(self) -> Seen:
        sources, at = self._sources, datetime.now(UTC)
        temporal = sources.temporal
        async with asyncio.TaskGroup() as asking:
            verdicts = asking.create_task(_known(self._verdicts()))
            policies = asking.create_task(_known(self._policies()))
            served = asking.create_task(_known(self._served()))
            runs = asking.create_task(_known(temporal.bounded(self._runs())))
            checked = asking.create_task(_known(temporal.bounded(watched(temporal.client, sources.config))))
            hold = asking.create_task(_known(self._held()))
            records = asking.create_task(_known(sources.incidents.latest()))
        return Seen(
            at=at,
            verdicts=verdicts.result(),
            policies=policies.result(),
            served=served.result(),
            runs=runs.result(),
            watched=checked.result(),
            hold=hold.result(),
            records=records.result(),
        )

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

    async def _runs(self) -> Sequence[OpenRun]:
        client = self._sources.temporal.client
        found = [run for run in await executions(client, OPEN, MOST_RUNS) if not run.id.startswith(DRY)]
        looks = await asyncio.gather(*(look_at(handle_of(client, run.id)) for run in found))
        # A worker that is slow for a moment must not make a decision disappear that people are about to take.
        ids = [(run.id, run.run_id) for run in found]
        looks = [
            self._told.get(id_, look) if look.status is None else look for id_, look in zip(ids, looks, strict=True)
        ]
        self._told = {id_: look for id_, look in zip(ids, looks, strict=True) if look.status is not None}
        return [
            OpenRun(workflow_id=run.id, procedure=run.workflow_type, started_at=run.start_time, look=look)
            for run, look in zip(found, looks, strict=True)
            # Temporal's list is late: what is over says so itself.
            if not look.is_over
        ]


async def _known(question: Awaitable[T]) -> T | FailoverError:
    """Its answer, or why there is none."""
    try:
        async with asyncio.timeout(PATIENCE):
            return await question
    except FailoverError as error:
        return error
    except TimeoutError:
        return Unavailable(f"A part of the stack gave no answer within {PATIENCE:g} s.")
