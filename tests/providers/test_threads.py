"""Blocking SDKs on threads: our own bounds are never mistaken for a provider's failure."""

import asyncio
import threading
from collections.abc import Iterator
from datetime import timedelta

import pytest

from providers.threads import Threads

PATIENCE = timedelta(seconds=10)


async def test_a_crowd_is_served_at_once() -> None:
    """Three hundred calls that all wait for one another end: none waits for a thread."""
    threads, crowd = Threads("crowd"), threading.Barrier(300)

    def wait() -> int:
        return crowd.wait(PATIENCE.total_seconds())

    async with asyncio.TaskGroup() as group:
        calls = [group.create_task(threads.call(wait, PATIENCE)) for _ in range(300)]
    assert sorted(call.result() for call in calls) == list(range(300))
    threads.close()


async def test_a_stream_that_was_given_up_before_it_began_never_begins() -> None:
    """Nobody would hear it, and it costs."""
    threads, free, begun = Threads("one", size=1), threading.Event(), list[str]()

    def begin() -> Iterator[str]:
        begun.append("begun")
        return iter(["piece"])

    busy = asyncio.create_task(threads.call(lambda: free.wait(PATIENCE.total_seconds()), PATIENCE))
    await asyncio.sleep(0)  # It takes the one thread first.
    with pytest.raises(TimeoutError):
        async for _ in threads.iterate(begin, timedelta(milliseconds=10)):
            pass
    free.set()
    assert await busy
    assert await threads.call(lambda: "later", PATIENCE) == "later"
    assert begun == []
    threads.close()
