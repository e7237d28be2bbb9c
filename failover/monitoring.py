"""What `monitor` and `validate` measure, and the limits that people give them. No data is never good news."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from failover.accuracy import wilson
from failover.config.routes import Targets
from failover.errors import RequestError
from failover.gates import Judgement
from failover.telemetry import ProviderWindow, RouteWindow, Telemetry
from failover.units import milliseconds, parse_duration


class Metric(StrEnum):
    """The runbook's metrics: rates are percents of requests, latency is P95, throughput is requests a second."""

    ERROR_RATE = "error_rate"
    LATENCY = "latency"
    THROUGHPUT = "throughput"
    SUCCESS_RATE = "success_rate"


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What was counted of one subject within a window. `latency_p95` None: nothing was answered."""

    requests: int
    good: int
    latency_p95: timedelta | None
    window: timedelta

    def value(self, metric: Metric) -> float | None:
        """The value in percent, milliseconds or requests a second; None if there is nothing to tell it from."""
        if metric is Metric.LATENCY:
            return None if self.latency_p95 is None else float(milliseconds(self.latency_p95))
        if metric is Metric.THROUGHPUT:
            seconds = self.window.total_seconds()
            return self.requests / seconds if seconds else None
        if not self.requests:
            return None
        success = 100 * self.good / self.requests
        return success if metric is Metric.SUCCESS_RATE else 100 - success


def figures_of(telemetry: Telemetry, route: str, provider: str | None = None) -> Figures:
    """The figures of a route's users, or of one provider's tries for the route."""
    window = telemetry.at - telemetry.since
    if provider is None:
        return _of_users(telemetry.of_route(route), window)
    return _of_tries([one for one in telemetry.of_provider(provider) if one.route == route], window)


def _of_users(users: RouteWindow | None, window: timedelta) -> Figures:
    if users is None:
        return Figures(requests=0, good=0, latency_p95=None, window=window)
    bad = users.failed + users.empty + users.templates
    return Figures(requests=users.requests, good=users.requests - bad, latency_p95=users.latency_p95, window=window)


def _of_tries(tries: Sequence[ProviderWindow], window: timedelta) -> Figures:
    return Figures(
        requests=sum(one.tries for one in tries),
        good=sum(one.tries - one.failed for one in tries),
        latency_p95=max((one.latency_p95 for one in tries if one.latency_p95 is not None), default=None),
        window=window,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """What is not to be: the metric above (or below) the value."""

    metric: Metric
    above: bool
    value: float

    def __str__(self) -> str:
        return f"{self.metric.value}{'>' if self.above else '<'}{self.value:g}{_UNITS[self.metric]}"

    def broken_by(self, found: float) -> bool:
        return found > self.value if self.above else found < self.value


_UNITS = {Metric.ERROR_RATE: "%", Metric.SUCCESS_RATE: "%", Metric.LATENCY: "ms", Metric.THROUGHPUT: "/s"}
_LIMIT = re.compile(r"\s*([a-z_]+)\s*([<>])\s*(\S+)\s*")


def parse_limit(option: str, text: str) -> Limit:
    """ "error_rate>2%", "latency>1500ms", "throughput<5" → Limit; RequestError where it cannot be meant."""
    match = _LIMIT.fullmatch(text)
    if match is None:
        raise RequestError(f'{option}: {text!r} is no limit; write a metric, > or <, and a value: "error_rate>2%".')
    [metric] = parse_metrics(option, match[1])
    try:
        value = _number(metric, match[3])
    except ValueError as error:
        raise RequestError(f"{option}: {match[3]!r} is no value of {metric.value}: {error}.") from error
    return Limit(metric=metric, above=match[2] == ">", value=value)


def _number(metric: Metric, text: str) -> float:
    if metric is Metric.LATENCY:
        # A bare number is milliseconds here: nobody measures answers in whole seconds.
        return float(text) if text.replace(".", "", 1).isdigit() else float(milliseconds(parse_duration(text)))
    try:
        value = float(text.removesuffix("/s") if metric is Metric.THROUGHPUT else text.removesuffix("%"))
    except ValueError:
        raise ValueError("it is no number") from None
    if not math.isfinite(value) or value < 0 or (metric is not Metric.THROUGHPUT and value > 100):
        raise ValueError("it is out of range")
    return value


def parse_metrics(option: str, text: str) -> list[Metric]:
    """ "error_rate,latency" → metrics, in that order, each once; RequestError for one that there is not."""
    names = list(dict.fromkeys(name.strip() for name in text.split(",")))
    for name in names:
        if name not in set(Metric):
            raise RequestError(f"{option}: there is no metric {name!r}; there are {', '.join(Metric)}.")
    return [Metric(name) for name in names]


def limits_of(targets: Targets) -> list[Limit]:
    """What a route's targets forbid, in every metric that they speak of."""
    return [
        Limit(metric=Metric.ERROR_RATE, above=True, value=round(100 - targets.success_percent, 6)),
        Limit(metric=Metric.SUCCESS_RATE, above=False, value=targets.success_percent),
        Limit(metric=Metric.LATENCY, above=True, value=targets.response_time / timedelta(milliseconds=1)),
    ]


def judge(limit: Limit, found: Figures, minimum: int) -> tuple[Judgement, str]:
    """Whether the limit is kept, and why; too few requests say nothing, except of throughput itself."""
    value = found.value(limit.metric)
    if value is None or (found.requests < minimum and limit.metric is not Metric.THROUGHPUT):
        said = f"{found.requests} requests, {minimum} are needed to tell"
        return Judgement.INCONCLUSIVE, f"{limit.metric.value}: {said}"
    broken = limit.broken_by(value)
    said = f"{limit.metric.value} {shown(limit.metric, value)}{_interval(limit.metric, found)} of {found.requests} requests"
    return (Judgement.FAIL if broken else Judgement.PASS), f"{said}, limit {limit}"


def _interval(metric: Metric, found: Figures) -> str:
    """Render what so many requests can prove of a rate; the point estimate decides."""
    if metric not in (Metric.SUCCESS_RATE, Metric.ERROR_RATE) or not found.requests:
        return ""
    counted = found.good if metric is Metric.SUCCESS_RATE else found.requests - found.good
    interval = wilson(counted, found.requests)
    return f" ({interval.low:.1f} to {interval.high:.1f})"


def shown(metric: Metric, value: float | None) -> str:
    """Render a value for people; cut off, not rounded, where rounding could hide that a limit is missed."""
    if value is None:
        return "unknown"
    if metric is Metric.LATENCY:
        return f"P95 {value:.0f} ms"
    if metric is Metric.THROUGHPUT:
        return f"{value:.1f}/s"
    up = metric is Metric.ERROR_RATE
    return f"{(math.ceil(value * 10 - 1e-9) if up else math.floor(value * 10 + 1e-9)) / 10:.1f} %"
