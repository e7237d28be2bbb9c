"""The automation hold as a worker knows it."""

import asyncio
from datetime import UTC, datetime

import structlog

from failover.automation import Hold
from failover.errors import FailoverError
from failover.ports import HoldStore

log = structlog.get_logger(__name__)


PATIENCE = 2.0
"""Seconds; what stops a start must not hold it up for longer."""


class HeldAutomation:
    """Reads the hold; while its store does not answer, what was known last stands."""

    def __init__(self, store: HoldStore | None) -> None:
        self._store = store
        self._last: Hold | None = None

    async def known(self) -> Hold | None:
        """The hold that was set, in force or over; None where there is none."""
        if self._store is None:
            return None
        try:
            async with asyncio.timeout(PATIENCE):
                self._last = await self._store.hold()
        except (FailoverError, TimeoutError) as error:
            why = str(error) or "no answer in time"
            log.warning("the automation hold could not be read; what was known last stands", error=why)
        return self._last

    async def in_force(self) -> Hold | None:
        """The hold that stops automatic starts now."""
        hold = await self.known()
        return hold if hold is not None and hold.in_force(datetime.now(UTC)) else None
