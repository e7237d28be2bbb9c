"""Vendors' blocking SDKs on threads of their own, so that one that hangs holds up nobody else."""

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import TypeVar

T = TypeVar("T")

_END = object()


MOST = 512
"""Calls of one provider at a time; threads are made as they are needed. Far above what is usual, since a call that waits
for a thread looks like a provider that is slow."""


class Threads:
    """A bounded pool for one provider."""

    def __init__(self, name: str, size: int = MOST) -> None:
        self._pool = ThreadPoolExecutor(max_workers=size, thread_name_prefix=name)

    async def call(self, work: Callable[[], T], timeout: timedelta) -> T:
        """The result, within `timeout`; TimeoutError else (the thread goes on until the SDK's own timeout)."""
        async with asyncio.timeout(timeout.total_seconds()):
            return await asyncio.get_running_loop().run_in_executor(self._pool, work)

    async def iterate(self, begin: Callable[[], Iterable[T]], timeout: timedelta) -> AsyncGenerator[T, None]:
        """The items of a blocking stream as they come; TimeoutError where the next takes longer than `timeout`."""
        loop, items, left = asyncio.get_running_loop(), asyncio.Queue[object](), threading.Event()

        def tell(item: object) -> None:
            if not left.is_set():
                loop.call_soon_threadsafe(items.put_nowait, item)

        def read() -> None:
            try:
                stream = begin()
                for item in stream:
                    tell(item)
                    if left.is_set():
                        _close(stream)
                        return
                tell(_END)
            except Exception as error:  # noqa: BLE001 (raised again where the stream is read)
                tell(error)

        reading = self._pool.submit(read)
        try:
            while True:
                async with asyncio.timeout(timeout.total_seconds()):
                    item = await items.get()
                if item is _END:
                    return
                if isinstance(item, Exception):
                    raise item
                yield item  # type: ignore[misc]
        finally:
            left.set()
            reading.cancel()

    def close(self) -> None:
        """End the threads; calls that hang are not waited for."""
        self._pool.shutdown(wait=False, cancel_futures=True)


def _close(stream: object) -> None:
    close = getattr(stream, "close", None) or getattr(stream, "cancel", None)
    if close is not None:
        close()
