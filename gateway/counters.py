"""What happened lately, in tenths of a second: tries at providers before any retry, and answers to users.

Kept in memory, bounded in time; percentiles come from a histogram whose classes are 4 % wide.
"""

import math
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from failover.failure import FailureKind
from failover.telemetry import ProviderWindow, RouteWindow, Telemetry

KEPT = timedelta(minutes=15)
TICKS_A_SECOND = 10
_STEP = math.log(1.04)


class RequestOutcome(StrEnum):
    """How a user's request ended.

    LOST: cut after bytes were sent; FAILED: an error after all tries; LEFT: the user went away while it was answered.
    """

    ANSWERED = "answered"
    LEFT = "left"
    FAILED = "failed"
    LOST = "lost"
    EMPTY = "empty"


@dataclass(slots=True)
class _Latencies:
    classes: Counter[int] = field(default_factory=Counter)

    def add(self, latency: timedelta) -> None:
        self.classes[math.ceil(math.log(max(latency / timedelta(milliseconds=1), 0.01)) / _STEP)] += 1

    def percentile(self, share: float) -> timedelta | None:
        needed, seen = math.ceil(self.classes.total() * share), 0
        for index in sorted(self.classes):
            seen += self.classes[index]
            if seen >= needed:
                return timedelta(milliseconds=math.exp((index - 0.5) * _STEP))
        return None


@dataclass(slots=True)
class _Tries:
    tries: int = 0
    first_tries: int = 0
    failures: Counter[FailureKind] = field(default_factory=Counter)
    latencies: _Latencies = field(default_factory=_Latencies)
    first_failure_at: datetime | None = None

    def merge(self, other: "_Tries") -> None:
        self.tries += other.tries
        self.first_tries += other.first_tries
        self.failures.update(other.failures)
        self.latencies.classes.update(other.latencies.classes)
        known = [at for at in (self.first_failure_at, other.first_failure_at) if at is not None]
        self.first_failure_at = min(known, default=None)


@dataclass(slots=True)
class _Requests:
    outcomes: Counter[RequestOutcome] = field(default_factory=Counter)
    latencies: _Latencies = field(default_factory=_Latencies)

    def merge(self, other: "_Requests") -> None:
        self.outcomes.update(other.outcomes)
        self.latencies.classes.update(other.latencies.classes)


@dataclass(slots=True)
class _Tick:
    tries: dict[tuple[str, str], _Tries] = field(default_factory=dict)
    requests: dict[str, _Requests] = field(default_factory=dict)


class Counters:
    """Counts by the moment at which a try or request began, so that a window after a change holds nothing from before."""

    def __init__(self) -> None:
        self._ticks: dict[int, _Tick] = {}

    def count_try(
        self,
        route: str,
        provider: str,
        *,
        started: datetime,
        first: bool,
        failure: FailureKind | None,
        latency: timedelta | None,
    ) -> None:
        """One try of a user's request at one provider; latency None where it is not known, counted only of successes."""
        counted = self._tick(started).tries.setdefault((provider, route), _Tries())
        counted.tries += 1
        counted.first_tries += first
        if failure is None:
            if latency is not None:
                counted.latencies.add(latency)
            return
        counted.failures[failure] += 1
        if counted.first_failure_at is None or started < counted.first_failure_at:
            counted.first_failure_at = started

    def count_request(self, route: str, *, started: datetime, outcome: RequestOutcome, latency: timedelta) -> None:
        """One request of a user."""
        counted = self._tick(started).requests.setdefault(route, _Requests())
        counted.outcomes[outcome] += 1
        if outcome is RequestOutcome.ANSWERED:
            counted.latencies.add(latency)

    def read(self, since: datetime, until: datetime | None, now: datetime) -> Telemetry:
        """What began in [since, until); a tick that `since` cuts in two is left out whole."""
        tries: dict[tuple[str, str], _Tries] = {}
        requests: dict[str, _Requests] = {}
        for tick in self._between(since, until or now + timedelta(seconds=1)):
            for key, counted in tick.tries.items():
                tries.setdefault(key, _Tries()).merge(counted)
            for route, answered in tick.requests.items():
                requests.setdefault(route, _Requests()).merge(answered)
        return Telemetry(
            at=until or now, since=since, providers=_providers(tries.items()), routes=_routes(requests.items())
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


def _providers(tries: Iterable[tuple[tuple[str, str], _Tries]]) -> list[ProviderWindow]:
    return [
        ProviderWindow(
            provider=provider,
            route=route,
            tries=counted.tries,
            first_tries=counted.first_tries,
            failures=dict(counted.failures),
            latency_p50=counted.latencies.percentile(0.50),
            latency_p95=counted.latencies.percentile(0.95),
            first_failure_at=counted.first_failure_at,
        )
        for (provider, route), counted in sorted(tries, key=lambda item: item[0])
    ]


def _routes(requests: Iterable[tuple[str, _Requests]]) -> list[RouteWindow]:
    return [
        RouteWindow(
            route=route,
            requests=counted.outcomes.total(),
            failed=counted.outcomes[RequestOutcome.FAILED] + counted.outcomes[RequestOutcome.LOST],
            lost=counted.outcomes[RequestOutcome.FAILED] + counted.outcomes[RequestOutcome.LOST],
            empty=counted.outcomes[RequestOutcome.EMPTY],
            latency_p50=counted.latencies.percentile(0.50),
            latency_p95=counted.latencies.percentile(0.95),
        )
        for route, counted in sorted(requests, key=lambda item: item[0])
    ]


def utc_now() -> datetime:
    return datetime.now(UTC)
