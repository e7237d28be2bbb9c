"""The embedded gateway."""

from datetime import timedelta
from typing import Self

from pydantic import model_validator

from failover.section import Bytes, Count, Section
from failover.units import PositiveDuration, render_duration


class AnswerCache(Section):
    max_bytes: Bytes = 64 * 1024 * 1024
    """Of remembered answers, in memory; the least recently used goes first. 0 switches remembering off."""


class WaitingRoom(Section):
    max_bytes: Bytes = 256 * 1024 * 1024
    """Of the bodies that wait in all queues of one gateway together."""


class Gateway(Section):
    try_timeout: PositiveDuration = timedelta(seconds=30)
    """Of one try at one provider: until the first byte of a stream, or the whole answer."""
    request_timeout: PositiveDuration = timedelta(seconds=60)
    """Of all tries of one request together."""
    max_tries: Count = 3
    max_body_bytes: Count = 4 * 1024 * 1024
    cache: AnswerCache = AnswerCache()
    queue: WaitingRoom = WaitingRoom()

    @model_validator(mode="after")
    def _try_fits(self) -> Self:
        if self.try_timeout > self.request_timeout:
            raise ValueError(
                f"try_timeout {render_duration(self.try_timeout)} is longer than request_timeout "
                f"{render_duration(self.request_timeout)}, which is of all tries together"
            )
        return self
