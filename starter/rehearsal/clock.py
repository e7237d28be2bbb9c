"""Virtual time: of a Temporal server whose clock leaps, and of an event loop that does the same without one."""

import asyncio
import selectors
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from temporalio import activity
from temporalio.service import RPCError
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput, Interceptor

SLICE = timedelta(seconds=1)
"""The time between two heartbeats of an activity that waits in virtual time."""


LEAP_PATIENCE = timedelta(seconds=10)
"""The real time for a leap of a minute, which takes milliseconds."""


@dataclass(slots=True)
class _Spent:
    """The most virtual time that any of an activity's tasks has waited."""

    most: timedelta = timedelta(0)


_AHEAD: ContextVar[timedelta] = ContextVar("ahead", default=timedelta(0))
"""How far this task is ahead of the server; tasks that it starts go on from there, each on its own."""

_SPENT: ContextVar[_Spent | None] = ContextVar("spent", default=None)


class ServerClock(Interceptor):
    """The time of a time-skipping server, for the activities of a worker that it is given to as an interceptor.

    A wait inside an activity takes no time at once: the activity is ahead, and the server catches up before it ends. So
    what one activity does side by side takes as long as the longest of it. `limit`, where set, is when `over` is set.
    """

    def __init__(self, environment: WorkflowEnvironment) -> None:
        self._environment = environment
        self._anchor = datetime.now(UTC)
        self._read_at = time.monotonic()
        self.limit: datetime | None = None
        self.over = asyncio.Event()

    def now(self) -> datetime:
        return self._anchor + timedelta(seconds=time.monotonic() - self._read_at) + _AHEAD.get()

    async def sleep(self, duration: timedelta) -> None:
        ahead = _AHEAD.get() + max(timedelta(0), duration)
        _AHEAD.set(ahead)
        spent = _SPENT.get()
        if spent is not None:
            spent.most = max(spent.most, ahead)

    async def read(self) -> datetime:
        """The server's time, and from here on this clock's."""
        self._anchor, self._read_at = await self._environment.get_current_time(), time.monotonic()
        if self.limit is not None and self._anchor >= self.limit:
            self.over.set()
        return self._anchor

    async def leap(self, duration: timedelta) -> None:
        """The server's time goes on by so much, at once, with whatever is due meanwhile."""
        await self._environment.sleep(duration)
        await self.read()

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:
        return _Dated(next, self)


class _Dated(ActivityInboundInterceptor):
    def __init__(self, next: ActivityInboundInterceptor, clock: ServerClock) -> None:
        super().__init__(next)
        self._clock = clock

    async def execute_activity(self, input: ExecuteActivityInput) -> Any:
        await self._clock.read()
        _AHEAD.set(timedelta(0))
        spent = _Spent()
        _SPENT.set(spent)
        try:
            return await self.next.execute_activity(input)
        finally:
            await self._catch_up(spent.most)

    async def _catch_up(self, left: timedelta) -> None:
        """Catch up by a heartbeat's length at most: a wait must not look like a worker that has died."""
        _AHEAD.set(timedelta(0))
        info = activity.info()
        if info.is_local:
            return
        beats = activity.client().get_async_activity_handle(task_token=info.task_token)
        while left > timedelta(0):
            await self._clock.leap(min(left, SLICE))
            left -= SLICE
            if left > timedelta(0) and info.heartbeat_timeout:
                with suppress(RPCError):  # Of a run that is over meanwhile: nobody waits for the activity.
                    await beats.heartbeat()


async def leaps(environment: WorkflowEnvironment) -> bool:
    """Whether the server's clock still does: a run that ended before an activity of its own stops it for good."""
    try:
        async with asyncio.timeout(LEAP_PATIENCE.total_seconds()):
            await environment.sleep(timedelta(minutes=1))
    except (TimeoutError, RPCError):
        return False
    return True


class LoopClock:
    """The time of a leaping event loop, from a moment on."""

    def __init__(self, began: datetime) -> None:
        self._began = began

    def now(self) -> datetime:
        return self._began + timedelta(seconds=asyncio.get_running_loop().time())

    async def sleep(self, duration: timedelta) -> None:
        await asyncio.sleep(duration.total_seconds())


class _Leaping(selectors.DefaultSelector):
    """Waits for nothing: where nothing is ready, the time goes on to the next timer."""

    elapsed = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0 if timeout is None or timeout > 0 else timeout)
        if not ready and timeout is not None:
            self.elapsed += max(0.0, timeout)
        return ready or (super().select(None) if timeout is None else [])


class _LeapingLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._leaping = _Leaping()
        super().__init__(self._leaping)

    def time(self) -> float:
        return self._leaping.elapsed


def in_leaping_loop(work: Callable[[], Awaitable[Any]]) -> Any:
    """The result of a coroutine whose waits take no time; it must not wait for threads or the network. In a thread of its own."""

    async def whole() -> Any:
        return await work()

    with asyncio.Runner(loop_factory=_LeapingLoop) as runner:
        return runner.run(whole())
