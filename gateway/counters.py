"""What happened lately, in tenths of a second: tries at providers before any retry, and answers to users.

Kept in memory, bounded in time; percentiles come from a histogram whose classes are 4 % wide.
"""

import math
from array import array
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, NamedTuple

from failover.degraded import Source
from failover.failure import FailureKind
from failover.telemetry import TICK, ProviderWindow, RouteWindow, Telemetry

KEPT = timedelta(minutes=15)
TICKS_A_SECOND = timedelta(seconds=1) // TICK
_STEP = math.log(1.04)
_SHORTEST, _LONGEST = timedelta(microseconds=10), timedelta(hours=1)
_CLASSES, _OFFSET, _UNTIMED = 1024, 200, 0
"""Room for the classes of every latency between those two, none of them 0."""


class RequestOutcome(StrEnum):
    """How a user's request ended.

    LOST: cut after bytes were sent; FAILED: an error after all tries, or instead of a place in the queue; LEFT: the user
    went away while it was answered or waited; TEMPLATE: told static words, for want of an answer.
    """

    ANSWERED = "answered"
    LEFT = "left"
    FAILED = "failed"
    LOST = "lost"
    EMPTY = "empty"
    TEMPLATE = "template"


class _Try(NamedTuple):
    provider: str
    route: str
    first: bool
    failure: FailureKind | None
    injected: bool


_Failing = tuple[str, str, FailureKind]
"""Provider, route, class."""


class _Request(NamedTuple):
    route: str
    outcome: RequestOutcome
    source: Source


@dataclass(slots=True)
class _Tick:
    """A tenth of a second. An event is one number, so that a window is added up without a loop in Python.

    `open` are the users' requests that began then and have not ended: number → route.
    """

    events: "array[int]" = field(default_factory=lambda: array("q"))
    first_failures: dict[_Failing, datetime] = field(default_factory=dict)
    tokens: Counter[tuple[str, str]] = field(default_factory=Counter)
    open: dict[int, str] = field(default_factory=dict)


class _Window:
    """What is known of one provider or route: how often which event, and the classes of the latencies."""

    def __init__(self) -> None:
        self.events: Counter[_Try | _Request] = Counter()
        self.classes: Counter[int] = Counter()

    def percentile(self, share: float) -> timedelta | None:
        needed, seen = math.ceil(self.classes.total() * share), 0
        for index in sorted(self.classes):
            seen += self.classes[index]
            if seen >= needed:
                return timedelta(milliseconds=math.exp((index - _OFFSET - 0.5) * _STEP))
        return None


Heard = Callable[[str, RequestOutcome, timedelta], None]


class Counters:
    """Counts by the moment at which a try or request began, so that a window after a change holds nothing from before."""

    def __init__(self, heard: Heard | None = None) -> None:
        """`heard` is told of each user's request as it ends."""
        self._heard = heard
        self._ticks: dict[int, _Tick] = {}
        self._kinds: list[_Try | _Request] = []
        self._numbers: dict[_Try | _Request, int] = {}
        self._begun = 0

    def count_try(
        self,
        route: str,
        provider: str,
        *,
        started: datetime,
        first: bool,
        failure: FailureKind | None,
        latency: timedelta | None,
        injected: bool = False,
    ) -> None:
        """Count one try of a user's request at one provider; latency None if it is not known, counted only of successes.

        `injected`: a drill made it fail, and the provider never heard of it.
        """
        tick = self._tick(started)
        tick.events.append(self._event(_Try(provider, route, first, failure, injected), None if failure else latency))
        if failure is not None and not injected:
            known = tick.first_failures.get((provider, route, failure), started)
            tick.first_failures[provider, route, failure] = min(known, started)

    def count_tokens(self, route: str, provider: str, *, started: datetime, tokens: int) -> None:
        """What one try of a user's request took and gave."""
        self._tick(started).tokens[provider, route] += tokens

    def begin_request(self, route: str, *, started: datetime) -> int:
        """A request of a user is there; → its number, by which it ends. Until then it is pending."""
        self._begun += 1
        self._tick(started).open[self._begun] = route
        return self._begun

    def drop_request(self, number: int, *, started: datetime) -> None:
        """Drop a request that is over and counts as nothing, say the user's mistake. A counted one stays counted."""
        if (tick := self._ticks.get(_index(started))) is not None:
            tick.open.pop(number, None)

    def count_request(
        self,
        route: str,
        number: int,
        *,
        started: datetime,
        outcome: RequestOutcome,
        latency: timedelta,
        source: Source = Source.LIVE,
    ) -> None:
        """How a request of a user ended; `number` from its beginning, `source` of those that were answered."""
        if self._heard is not None:
            self._heard(route, outcome, latency)
        counted = latency if outcome is RequestOutcome.ANSWERED else None
        tick = self._tick(started)
        tick.open.pop(number, None)
        tick.events.append(self._event(_Request(route, outcome, source), counted))

    def _event(self, kind: _Try | _Request, latency: timedelta | None) -> int:
        number = self._numbers.get(kind)
        if number is None:
            number = self._numbers[kind] = len(self._kinds)
            self._kinds.append(kind)
        return number * _CLASSES + (_UNTIMED if latency is None else _class(latency))

    def read(self, since: datetime, until: datetime | None, now: datetime) -> Telemetry:
        """What began in [since, until); a tick that `since` cuts in two is left out whole."""
        events: Counter[int] = Counter()
        firsts: dict[tuple[str, str], dict[FailureKind, datetime]] = defaultdict(dict)
        tokens: Counter[tuple[str, str]] = Counter()
        pending: Counter[str] = Counter()
        for tick in self._between(since, until or now + timedelta(seconds=1)):
            events.update(tick.events)
            tokens.update(tick.tokens)
            pending.update(tick.open.values())
            for (provider, route, kind), at in tick.first_failures.items():
                known = firsts[provider, route]
                known[kind] = min(known.get(kind, at), at)
        used: Counter[str] = Counter()
        for (_, route), count in tokens.items():
            used[route] += count
        tries: dict[tuple[str, str], _Window] = defaultdict(_Window)
        requests: dict[str, _Window] = defaultdict(_Window, {route: _Window() for route in pending})
        for event, count in events.items():
            number, index = divmod(event, _CLASSES)
            what = self._kinds[number]
            window = tries[what.provider, what.route] if isinstance(what, _Try) else requests[what.route]
            window.events[what] += count
            if index != _UNTIMED:
                window.classes[index] += count
        return Telemetry(
            at=until or now,
            since=since,
            providers=[
                _provider(*key, window, firsts[key], tokens[key]) for key, window in sorted(tries.items(), key=_key)
            ],
            routes=[
                _route(route, window, used[route], pending[route])
                for route, window in sorted(requests.items(), key=_key)
            ],
        )

    def _tick(self, started: datetime) -> _Tick:
        index = _index(started)
        if index not in self._ticks:
            self._forget(index)
            self._ticks[index] = _Tick()
        return self._ticks[index]

    def _forget(self, newest: int) -> None:
        oldest = newest - int(KEPT.total_seconds()) * TICKS_A_SECOND
        for index in [index for index in self._ticks if index < oldest] if len(self._ticks) % 64 == 0 else []:
            del self._ticks[index]

    def _between(self, since: datetime, until: datetime) -> Iterator[_Tick]:
        first = math.ceil(since.timestamp() * TICKS_A_SECOND)
        last = _index(until)
        if last - first < len(self._ticks):
            indices: Iterable[int] = (index for index in range(first, last) if index in self._ticks)
        else:
            indices = (index for index in self._ticks if first <= index < last)
        return (self._ticks[index] for index in indices)


def _index(moment: datetime) -> int:
    return math.floor(moment.timestamp() * TICKS_A_SECOND)


def _class(latency: timedelta) -> int:
    within = min(max(latency, _SHORTEST), _LONGEST)
    return math.ceil(math.log(within / timedelta(milliseconds=1)) / _STEP) + _OFFSET


def _key(item: tuple[Any, object]) -> Any:
    return item[0]


def _provider(
    provider: str, route: str, window: _Window, first_failures: dict[FailureKind, datetime], tokens: int
) -> ProviderWindow:
    failures: Counter[FailureKind] = Counter()
    injected: Counter[FailureKind] = Counter()
    for kind, count in window.events.items():
        if isinstance(kind, _Try) and kind.failure is not None:
            failures[kind.failure] += count
            if kind.injected:
                injected[kind.failure] += count
    return ProviderWindow(
        provider=provider,
        route=route,
        tries=window.events.total(),
        first_tries=sum(count for kind, count in window.events.items() if isinstance(kind, _Try) and kind.first),
        failures=dict(failures),
        latency_p50=window.percentile(0.50),
        latency_p95=window.percentile(0.95),
        first_failures=first_failures,
        tokens=tokens,
        injected=dict(injected),
    )


def _route(route: str, window: _Window, tokens: int, pending: int) -> RouteWindow:
    outcomes: Counter[RequestOutcome] = Counter()
    answered: Counter[Source] = Counter()
    for kind, count in window.events.items():
        if isinstance(kind, _Request):
            outcomes[kind.outcome] += count
            if kind.outcome is RequestOutcome.ANSWERED:
                answered[kind.source] += count
    failed = outcomes[RequestOutcome.FAILED] + outcomes[RequestOutcome.LOST]
    return RouteWindow(
        route=route,
        requests=outcomes.total(),
        failed=failed,
        lost=failed + outcomes[RequestOutcome.TEMPLATE],
        empty=outcomes[RequestOutcome.EMPTY],
        latency_p50=window.percentile(0.50),
        latency_p95=window.percentile(0.95),
        cached=answered[Source.CACHE],
        stale=answered[Source.STALE],
        queued=answered[Source.QUEUE],
        templates=outcomes[RequestOutcome.TEMPLATE],
        tokens=tokens,
        pending=pending,
    )


def utc_now() -> datetime:
    return datetime.now(UTC)
