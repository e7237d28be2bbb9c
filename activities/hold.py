"""The automation hold as a worker knows it."""

import structlog

from failover.automation import Hold
from failover.errors import FailoverError
from failover.ports import HoldStore

log = structlog.get_logger(__name__)


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
            self._last = await self._store.hold()
        except FailoverError as error:
            log.warning("the automation hold could not be read; what was known last stands", error=str(error))
        return self._last
