"""What the data plane counts: tries at the providers, before any retry hides them, and answers to users."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from failover.failure import FailureKind

TICK = timedelta(milliseconds=100)
"""The finest that is counted. A window holds whole ticks: one that its beginning cuts in two is left out."""

_EPOCH = datetime.fromtimestamp(0, UTC)


def floored(moment: datetime, width: timedelta = TICK) -> datetime:
    """The beginning of the tick (or `width`) that a moment lies in: a window from there on holds what happened then."""
    return moment - (moment - _EPOCH) % width


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderWindow:
    """Tries of users' requests at one provider for one route, by the time they started, within a window.

    `first_tries` are those that the weights chose (a retry after another provider's failure is not one); `failures`
    counts by class; latencies are of successful tries, None without any; `first_failures` when the oldest failed
    try of each class began; `tokens` went in and out, 0 where nobody counts them. `injected` are those of the failures that
    a drill made up: of the provider itself they say nothing, and none is a first failure.
    """

    provider: str
    route: str
    tries: int
    first_tries: int
    failures: Mapping[FailureKind, int] = field(default_factory=dict)
    latency_p50: timedelta | None = None
    latency_p95: timedelta | None = None
    first_failures: Mapping[FailureKind, datetime] = field(default_factory=dict)
    tokens: int = 0
    injected: Mapping[FailureKind, int] = field(default_factory=dict)

    @property
    def failed(self) -> int:
        return sum(self.failures.values())

    @property
    def first_failure_at(self) -> datetime | None:
        return min(self.first_failures.values(), default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteWindow:
    """Users' requests on one route within a window, as the users saw them.

    `failed` got an error, `lost` were accepted and never usefully answered (failed after all tries, refused by a queue or
    expired in it, a stream that was cut after bytes were sent, or a template's words), `empty` were answered with no
    content. `pending` began in the window and have not ended: how they will is not known, and they are none of `requests`.
    Latencies are of answered requests; `tokens` went in and out, 0 where nobody counts them. How those of degraded
    service were answered: `cached` by a remembered answer, `stale` by one past its time, `queued` by a provider after they
    had waited, `templates` by static words.
    """

    route: str
    requests: int
    failed: int
    lost: int
    empty: int
    latency_p50: timedelta | None = None
    latency_p95: timedelta | None = None
    tokens: int = 0
    cached: int = 0
    stale: int = 0
    queued: int = 0
    templates: int = 0
    pending: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Telemetry:
    """One reading of the data plane. `at` is its own clock; the window reaches back to `since`, on the same clock."""

    at: datetime
    since: datetime
    providers: Sequence[ProviderWindow]
    routes: Sequence[RouteWindow]

    def of_provider(self, provider: str) -> list[ProviderWindow]:
        return [window for window in self.providers if window.provider == provider]

    def of_route(self, route: str) -> RouteWindow | None:
        return next((window for window in self.routes if window.route == route), None)

    def first_tries(self, route: str) -> dict[str, int]:
        """The first tries of one route by provider: what the weights really did."""
        return {window.provider: window.first_tries for window in self.providers if window.route == route}


def merged(
    counted: Telemetry | None,
    spoken: Mapping[str, Sequence[ProviderWindow]],
    speakers: Mapping[str, str],
    window: timedelta,
    now: datetime,
) -> Telemetry | None:
    """The gateway's reading, with other sources' words about the providers that they speak for (provider → source).

    A source that is not in `spoken`, or says nothing of a provider, leaves it without data: who speaks for a provider is
    not made up for by anybody else. None where nobody told anything.
    """
    if counted is None and not spoken:
        return None
    ours = [one for one in counted.providers if one.provider not in speakers] if counted else []
    theirs = [one for source, windows in spoken.items() for one in windows if speakers.get(one.provider) == source]
    return Telemetry(
        at=counted.at if counted else now,
        since=counted.since if counted else now - window,
        providers=[*ours, *theirs],
        routes=counted.routes if counted else [],
    )
