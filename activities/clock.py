"""The machine's clock. A rehearsal puts one that leaps in its place."""

import asyncio
from datetime import UTC, datetime, timedelta

from failover.ports import Clock


class SystemClock:
    def now(self) -> datetime:
        return datetime.now(UTC)

    async def sleep(self, duration: timedelta) -> None:
        await asyncio.sleep(duration.total_seconds())


SYSTEM: Clock = SystemClock()
