"""Running something until it ends or somebody ends it."""

import asyncio
import signal
from collections.abc import Coroutine
from typing import Any

ENDED_BY_SIGNAL = -1
"""What `until_signal` returns where SIGINT or SIGTERM came first."""


def until_signal(main: Coroutine[Any, Any, int]) -> int:
    """Run to the end, or to the first SIGINT or SIGTERM; then the cancelled work cleans up, and later signals wait."""

    async def body() -> int:
        task = asyncio.ensure_future(main)
        loop = asyncio.get_running_loop()
        told = asyncio.Event()

        def tell() -> None:
            if not told.is_set():
                told.set()
                task.cancel()

        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, tell)
        try:
            return await task
        except asyncio.CancelledError:
            if told.is_set():
                return ENDED_BY_SIGNAL
            raise

    return asyncio.run(body())
