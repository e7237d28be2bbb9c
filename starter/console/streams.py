"""Live pages: what has changed is sent as it changes, by Server-Sent Events."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from failover.errors import FailoverError
from starter.webhooks.answers import Refused

BEAT = 5.0
"""Seconds after which a page is told that it is still looked at, where nothing has changed."""

LONGEST = 900.0
"""Seconds; then the browser asks anew, and whoever has gone without a word is forgotten."""


class Streams:
    """Ends every stream when the server does, so that nobody who watches holds it up."""

    def __init__(self, most: int) -> None:
        self._closing = asyncio.Event()
        self._left = most

    @property
    def closing(self) -> bool:
        return self._closing.is_set()

    def close(self) -> None:
        self._closing.set()

    async def pause(self, seconds: float) -> None:
        """Wait so many seconds, or until the server ends."""
        try:
            await asyncio.wait_for(self._closing.wait(), seconds)
        except TimeoutError:
            pass

    def refuse_if_full(self) -> None:
        """Raise Refused (503) if too many watch already."""
        if self._left <= 0:
            raise Refused(503, "Too many pages watch already; this one shows what it showed, and can be reloaded.")

    async def parts(self, look: Callable[[], Awaitable[Mapping[str, str] | None]], every: float) -> AsyncIterator[str]:
        """Events with the parts that have changed, by id; it ends where `look` tells None: the session is over."""
        loop, sent = asyncio.get_running_loop(), dict[str, str]()
        ends, told = loop.time() + LONGEST, 0.0
        self._left -= 1
        try:
            while not self.closing and loop.time() < ends:
                parts = await look()
                if parts is None:
                    yield event("over", {})
                    return
                changed = {name: html for name, html in parts.items() if sent.get(name) != html}
                if changed or loop.time() - told > BEAT:
                    yield event("parts", {"at": datetime.now(UTC).isoformat(), "parts": changed})
                    told = loop.time()
                sent.update(changed)
                await self.pause(every)
        except FailoverError as error:
            yield event("broken", {"why": str(error)})
        finally:
            self._left += 1


def event(kind: str, value: Mapping[str, Any]) -> str:
    """One event; JSON has no line of its own that could end it."""
    return f"event: {kind}\ndata: {json.dumps(value)}\n\n"
