"""The last completed health check, by Temporal's own record: the same for every process that asks."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from temporalio.client import Client
from temporalio.service import RPCError

from failover import kinds
from failover.config import Config
from failover.deadman import why_red
from failover.errors import TemporalUnavailable

COMPLETED = f'WorkflowType = "{kinds.HEALTH_CHECK}" AND ExecutionStatus = "Completed"'


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """The dead-man's switch. `why_red` None: checks complete."""

    completed_at: datetime | None
    age: timedelta | None
    why_red: str | None


async def last_completed(client: Client) -> datetime | None:
    """The end of the last check that completed; None if Temporal remembers none."""
    try:
        # Temporal lists what closed last first.
        async for check in client.list_workflows(COMPLETED, page_size=1, limit=1):
            return check.close_time
    except RPCError as error:
        raise TemporalUnavailable(f"Temporal did not list the health checks: {error.message}.") from error
    return None


async def watched(client: Client, config: Config, since: datetime | None = None) -> Watched:
    """How old the last completed check is. With detection switched off nothing is expected of it."""
    completed, now = await last_completed(client), datetime.now(UTC)
    interval = config.detection.schedule_interval
    why = why_red(completed, now, interval, since) if config.detection.enabled else None
    return Watched(completed_at=completed, age=now - completed if completed else None, why_red=why)
