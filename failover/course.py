"""The course of a run as the data plane counted it: a window cut into slices, each added up over the run's routes."""

from collections.abc import Collection, Iterable
from dataclasses import replace
from datetime import datetime, timedelta

from failover.incident import Slice
from failover.restoration import worst_p95
from failover.telemetry import ProviderWindow, RouteWindow, Telemetry, floored

FINEST = timedelta(seconds=1)


def cuts(since: datetime, until: datetime, *, most: int) -> list[tuple[datetime, datetime]]:
    """The window in equal slices: as fine as `most` of them allow, on whole seconds, the last one perhaps shorter."""
    since = floored(since, FINEST)
    if until <= since:
        return []
    width = max(FINEST, timedelta(seconds=-(-(until - since) // (most * FINEST))))
    starts = [since + number * width for number in range(-(-(until - since) // width))]
    return [(start, min(start + width, until)) for start in starts]


def slice_of(telemetry: Telemetry, since: datetime, until: datetime, routes: Collection[str]) -> Slice:
    """What was counted from `since` to `until`, the named routes together."""
    windows = [window for window in telemetry.routes if window.route in routes]
    return Slice(
        since=since,
        until=until,
        requests=sum(window.requests for window in windows),
        failed=sum(window.failed for window in windows),
        lost=sum(window.lost for window in windows),
        empty=sum(window.empty for window in windows),
        pending=sum(window.pending for window in windows),
        latency_p50=_worst_p50(windows),
        latency_p95=worst_p95(windows),
        providers=added_up(window for window in telemetry.providers if window.route in routes),
    )


def _worst_p50(windows: Iterable[RouteWindow]) -> timedelta | None:
    return max((window.latency_p50 for window in windows if window.latency_p50 is not None), default=None)


def added_up(windows: Iterable[ProviderWindow]) -> list[ProviderWindow]:
    """Add windows up: one for each provider, over all routes; of latencies the worst."""
    found: dict[str, ProviderWindow] = {}
    for window in windows:
        known = found.get(window.provider)
        found[window.provider] = replace(window, route="") if known is None else _both(known, window)
    return [found[name] for name in sorted(found)]


def _both(left: ProviderWindow, right: ProviderWindow) -> ProviderWindow:
    firsts = dict(left.first_failures)
    for kind, at in right.first_failures.items():
        firsts[kind] = min(firsts.get(kind, at), at)
    return replace(
        left,
        tries=left.tries + right.tries,
        first_tries=left.first_tries + right.first_tries,
        failures={
            kind: left.failures.get(kind, 0) + right.failures.get(kind, 0)
            for kind in sorted({*left.failures, *right.failures})
        },
        latency_p50=_worse(left.latency_p50, right.latency_p50),
        latency_p95=_worse(left.latency_p95, right.latency_p95),
        first_failures=firsts,
        tokens=left.tokens + right.tokens,
    )


def _worse(left: timedelta | None, right: timedelta | None) -> timedelta | None:
    return max((latency for latency in (left, right) if latency is not None), default=None)
