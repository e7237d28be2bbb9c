"""What the webhook server remembers for a while: alerts that were answered, and who knocked how often. All of it bounded."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from cachetools import LRUCache, TLRUCache

REMEMBERED = 20_000
"""Alerts; the least recently seen goes first."""

ADDRESSES = 10_000
"""The most addresses of which it is known how often they knocked."""


class Answered:
    """Alerts that were answered, by sender and key, each for its own time."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._answers: TLRUCache[tuple[str, str], tuple[Any, float]] = TLRUCache(
            maxsize=REMEMBERED, ttu=lambda _, value, now: now + value[1], timer=clock
        )

    def get(self, sender: str, key: str) -> Any:
        """What it was answered; None where it never was, or too long ago."""
        kept = self._answers.get((sender, key))
        return None if kept is None else kept[0]

    def put(self, sender: str, key: str, answer: object, seconds: float) -> None:
        self._answers[sender, key] = (answer, seconds)


@dataclass(slots=True)
class _Bucket:
    tokens: float
    at: float


class Rate:
    """A rate: so many a second from each, and so many at once."""

    def __init__(self, per_second: float, burst: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_second = per_second
        self._burst = burst
        self._clock = clock
        self._buckets: LRUCache[str, _Bucket] = LRUCache(maxsize=ADDRESSES)

    def take(self, who: str) -> float:
        """One more from `who`; → 0, or the seconds to wait until it is allowed (nothing is taken then)."""
        wait, bucket = self._wait(who)
        if not wait:
            bucket.tokens -= 1
        return wait

    def wait(self, who: str) -> float:
        """The seconds that `who` must wait now."""
        return self._wait(who)[0]

    def _wait(self, who: str) -> tuple[float, _Bucket]:
        now = self._clock()
        bucket = self._buckets.get(who) or _Bucket(self._burst, now)
        self._buckets[who] = bucket
        bucket.tokens = min(self._burst, bucket.tokens + (now - bucket.at) * self._per_second)
        bucket.at = now
        return max(0.0, (1 - bucket.tokens) / self._per_second), bucket
