"""Requests that wait for a provider to come back: in which order, how many, and how fast they are let go.

Computes from what it is given, moments included (seconds of any clock that never goes back).
"""

from bisect import bisect_left, bisect_right, insort
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Generic, TypeVar

T = TypeVar("T")

FIRST_PAUSE, LONGEST_PAUSE = 0.5, 5.0
"""Seconds between two tries of the head of a line while nobody answers."""

LONGEST_WISH = 60.0
"""Seconds: a provider that asks for a longer pause is tried again nevertheless, lest a queue starves for its sake."""

MODEST, MOST = 16, 1024
"""Tries under way at once: as soon as somebody answers again, and at most."""

BURST = 0.1
"""Seconds' worth of a declared rate that may go at once, so that a late timer costs no throughput."""


class Priority(IntEnum):
    """The lower goes first."""

    HIGH = 0
    NORMAL = 1
    LOW = 2


MINUTE = 60.0
"""Seconds: what providers count their tokens over."""

Place = tuple[int, int]
"""A place in a line: the priority's class, then the order of arriving."""


class Room:
    """Bytes that may wait in several lines together."""

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.used = 0


class Line(Generic[T]):
    """First in, first out within each priority; higher priorities first. Each keeps its place until it leaves for good.

    `len` counts everybody who joined and has not left, those who were taken for a try included.
    """

    def __init__(self, room: Room) -> None:
        self._room = room
        self._members: dict[Place, tuple[T, int]] = {}
        self._ready: list[Place] = []
        self._arrived = 0

    def __len__(self) -> int:
        return len(self._members)

    def why_not(self, size: int, *, at_most: int) -> str | None:
        """Why somebody of `size` bytes cannot join; None where they can."""
        if len(self) >= at_most:
            return f"{len(self)} requests wait already, of {at_most} that may"
        if self._room.used + size > self._room.max_bytes:
            return f"the waiting requests hold {self._room.used} bytes, of {self._room.max_bytes} that they may"
        return None

    def arrive(self) -> int:
        """A number for somebody who may have to join later; nobody who arrives after them will stand before them."""
        self._arrived += 1
        return self._arrived

    def join(self, member: T, size: int, priority: Priority, arrived: int) -> Place:
        """Put a member behind those of its class who arrived before; → its place."""
        place = (int(priority), arrived)
        self._members[place] = (member, size)
        self._room.used += size
        insort(self._ready, place)
        return place

    def leave(self, place: Place) -> None:
        """Remove a member for good; leaving twice changes nothing."""
        member = self._members.pop(place, None)
        if member is None:
            return
        self._room.used -= member[1]
        index = bisect_left(self._ready, place)
        if index < len(self._ready) and self._ready[index] == place:
            del self._ready[index]

    def take(self, after: Place | None = None) -> tuple[Place, T] | None:
        """The place and member whose turn it is, not to be taken again until it is put back; None if nobody is ready.

        `after`: the turn of whoever stands behind that place, so that one who always fails does not block the others.
        """
        if not self._ready:
            return None
        index = 0 if after is None else bisect_right(self._ready, after) % len(self._ready)
        place = self._ready.pop(index)
        return place, self._members[place][0]

    def put_back(self, place: Place) -> None:
        """Put a member back to its old place after a try that failed; no effect if it left, or is there already."""
        index = bisect_left(self._ready, place)
        if place in self._members and (index == len(self._ready) or self._ready[index] != place):
            self._ready.insert(index, place)

    @property
    def is_ready(self) -> bool:
        """Whether somebody could be taken."""
        return bool(self._ready)

    def members(self) -> list[T]:
        """The members in order, those who were taken included."""
        return [self._members[place][0] for place in sorted(self._members)]


@dataclass(frozen=True, slots=True)
class Pace:
    """How many tries may be under way, learned from how they end.

    While nobody answers: one, with pauses between that grow. From the first answer on a modest number, one more with each
    answer, and half as many after each failure.
    """

    limit: int = 1
    answering: bool = False
    pause: float = 0.0
    not_before: float = 0.0

    def answered(self) -> "Pace":
        if not self.answering:
            return Pace(limit=MODEST, answering=True)
        return replace(self, limit=min(MOST, self.limit + 1))

    def failed(self, now: float, wish: float | None = None) -> "Pace":
        """The pace after a failed try. `wish`: the seconds for which the provider asked to be left alone, if it did."""
        wanted = min(wish or 0.0, LONGEST_WISH)
        if self.answering and self.limit > 1:
            return replace(self, limit=self.limit // 2, not_before=max(self.not_before, now + wanted))
        pause = min(LONGEST_PAUSE, max(FIRST_PAUSE, 2 * self.pause))
        return Pace(pause=pause, not_before=max(self.not_before, now + max(pause, wanted)))


@dataclass(frozen=True, slots=True)
class Bucket:
    """A declared rate. Holds what may go at once; below zero, more went than the rate allows, and it is waited off.

    `debt`: seconds of the rate that it can be below zero at most, so that a flood is not punished for ever.
    """

    per_second: float
    tokens: float
    at: float
    debt: float = 1.0

    @classmethod
    def of(cls, per_minute: float, now: float, debt: float = 1.0) -> "Bucket":
        """A full one."""
        return cls(per_second=per_minute / 60, tokens=_depth(per_minute / 60), at=now, debt=debt)

    def spent(self, now: float, cost: float = 1.0) -> "Bucket":
        """The bucket after something that cost so much; less than nothing gives back."""
        least = -max(1.0, self.debt * self.per_second)
        left = min(_depth(self.per_second), max(least, self._now(now) - cost))
        return replace(self, tokens=left, at=max(now, self.at))

    def wait(self, now: float) -> float:
        """Seconds until the next call may go; 0 where it may now."""
        missing = 1 - self._now(now)
        return missing / self.per_second if missing > _ROUNDING else 0.0

    def _now(self, now: float) -> float:
        return min(_depth(self.per_second), self.tokens + max(0.0, now - self.at) * self.per_second)


_ROUNDING = 1e-6
"""The part of a call that may be missing: whoever waits exactly as long as told may go, despite floating point."""


def _depth(per_second: float) -> float:
    return max(1.0, BURST * per_second)


@dataclass(frozen=True, slots=True)
class Rate:
    """What a provider declared that it can take, of which some is spent; None: it declared none.

    What a call takes in tokens is known after it: until then it counts as much as the last ones took.
    """

    requests: Bucket | None = None
    tokens: Bucket | None = None
    usual: float = 0.0

    @classmethod
    def declared(cls, requests_per_minute: int | None, tokens_per_minute: int | None, now: float) -> "Rate":
        return cls(
            requests=Bucket.of(requests_per_minute, now) if requests_per_minute else None,
            tokens=Bucket.of(tokens_per_minute, now, debt=MINUTE) if tokens_per_minute else None,
        )

    def begun(self, now: float) -> "Rate":
        """The rate after one more call went."""
        return replace(
            self,
            requests=self.requests and self.requests.spent(now),
            tokens=self.tokens and self.tokens.spent(now, self.usual),
        )

    def used(self, tokens: int, now: float) -> "Rate":
        """The rate after an answer told what it took."""
        if self.tokens is None:
            return self
        usual = self.usual + (tokens - self.usual) / 8 if self.usual else float(tokens)
        return replace(self, tokens=self.tokens.spent(now, tokens - self.usual), usual=usual)

    def wait(self, now: float) -> float:
        """Seconds until the next call may go."""
        return max((bucket.wait(now) for bucket in (self.requests, self.tokens) if bucket is not None), default=0.0)


def wait(pace: Pace, under_way: int, rate: float, now: float) -> float | None:
    """Seconds until the next in line may be tried; None: not before one of the tries under way has ended.

    `rate`: seconds until some provider may be asked within what it declared.
    """
    if under_way >= pace.limit:
        return None
    return max(pace.not_before - now, rate, 0.0)
