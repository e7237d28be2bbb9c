"""Performance baselines: what a provider's model takes on a route while all is well, and what is compared with it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from failover.config.baselines import Baselines
from failover.gates import Judgement
from failover.health import Condition, Verdict
from failover.incident import RunRecord
from failover.policy import Mode, TrafficPolicy
from failover.telemetry import ProviderWindow, RouteWindow, Telemetry
from failover.units import milliseconds, render_duration

USERS = ""
"""The name, in place of a provider's, of the route's users, whoever serves them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PerformanceBaseline:
    """Latency and success of `requests` tries of users (or, `provider` "", of their requests) in a healthy window.

    `model` is the vendor's id; of the users, "".
    """

    route: str
    provider: str
    model: str
    at: datetime
    window: timedelta
    requests: int
    success_percent: float
    latency_p50: timedelta | None
    latency_p95: timedelta

    @property
    def subject(self) -> str:
        return (
            f"{self.provider} ({self.model}) on route {self.route}" if self.provider else f"users of route {self.route}"
        )


def why_no_time_for_baselines(
    policies: Iterable[TrafficPolicy], verdicts: Iterable[Verdict], open_runs: Sequence[str], since: datetime
) -> str | None:
    """Why the time since then was no healthy one; None where it was: nothing moves, nobody is ill, service is normal."""
    if open_runs:
        return f"{open_runs[0]} is open"
    known = {verdict.provider: verdict for verdict in verdicts}
    for policy in policies:
        for name, share in policy.distribution.items():
            if share and name not in known:
                return f"nothing is known of {name}, which serves route {policy.route}"
        if policy.mode is not Mode.NORMAL:
            return f"route {policy.route} is in degraded service"
        if policy.claim:
            return f"route {policy.route} is claimed by {policy.claim}"
        if policy.changed_at > since:
            return f"route {policy.route} was changed within the window"
    for verdict in known.values():
        if verdict.condition is not Condition.HEALTHY:
            return f"{verdict.provider} is {verdict.condition.value}"
    return None


def measured(
    telemetry: Telemetry, models: dict[str, str], healthy: Iterable[str], settings: Baselines
) -> list[PerformanceBaseline]:
    """What can be a baseline of what was counted: providers known to be healthy, with enough requests, nearly all good."""
    known, window = set(healthy), telemetry.at - telemetry.since
    tries = [
        _baseline(one.route, one.provider, models[one.provider], telemetry.at, window, one.tries, one.failed, one)
        for one in telemetry.providers
        if one.provider in known and one.provider in models
    ]
    users = [
        _baseline(one.route, USERS, "", telemetry.at, window, one.requests, one.failed + one.empty + one.templates, one)
        for one in telemetry.routes
    ]
    return [
        found
        for found in [*users, *tries]
        if found is not None
        and found.requests >= settings.minimum_requests
        and found.success_percent >= settings.success_percent
    ]


def _baseline(
    route: str,
    provider: str,
    model: str,
    at: datetime,
    window: timedelta,
    requests: int,
    bad: int,
    latencies: ProviderWindow | RouteWindow,
) -> PerformanceBaseline | None:
    if not requests or latencies.latency_p95 is None:
        return None
    return PerformanceBaseline(
        route=route,
        provider=provider,
        model=model,
        at=at,
        window=window,
        requests=requests,
        success_percent=100 * (requests - bad) / requests,
        latency_p50=latencies.latency_p50,
        latency_p95=latencies.latency_p95,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """A P95 of now beside its baseline's. `percent`: how much longer it is; None where one of the two is not known."""

    judgement: Judgement
    percent: float | None
    said: str


def compare(
    p95: timedelta | None,
    requests: int,
    baseline: PerformanceBaseline | None,
    *,
    limit_percent: float,
    minimum: int,
    now: datetime,
    stale_after: timedelta,
) -> Compared:
    """Compare a P95 with its baseline: inconclusive without one or with too few requests; an old one still compares."""
    if baseline is None:
        said = "no baseline is recorded yet: it is taken in healthy time, while the health check runs and users come"
        return Compared(judgement=Judgement.INCONCLUSIVE, percent=None, said=said)
    told = f"baseline P95 {milliseconds(baseline.latency_p95)} ms of {baseline.requests}, {age(baseline, now, stale_after)}"
    if p95 is None or requests < minimum:
        said = f"{requests} requests, {minimum} are needed to tell; {told}"
        return Compared(judgement=Judgement.INCONCLUSIVE, percent=None, said=said)
    percent = 100 * (p95 - baseline.latency_p95) / baseline.latency_p95
    said = f"P95 {milliseconds(p95)} ms of {requests}, {percent:+.1f} %, limit +{limit_percent:g} %; {told}"
    return Compared(judgement=Judgement.PASS if percent < limit_percent else Judgement.FAIL, percent=percent, said=said)


def age(baseline: PerformanceBaseline, now: datetime, stale_after: timedelta) -> str:
    """How old it is, and whether that is too old to be trusted blindly."""
    said = f"{_roughly(max(timedelta(0), now - baseline.at))} old"
    return f"{said}, OLDER than {render_duration(stale_after)}" if is_stale(baseline, now, stale_after) else said


def _roughly(span: timedelta) -> str:
    """Render a time span in the largest unit of which it has at least two."""
    for unit, name in ((timedelta(days=1), "d"), (timedelta(hours=1), "h"), (timedelta(minutes=1), "m")):
        if span >= 2 * unit:
            return f"{span // unit}{name}"
    return f"{span // timedelta(seconds=1)}s"


def is_younger(baseline: PerformanceBaseline, record: RunRecord) -> bool:
    """Whether it was taken after the run's trouble began: of what was normal before that it says nothing."""
    return baseline.at > (record.moments.first_bad or record.moments.decided)


def is_stale(baseline: PerformanceBaseline, now: datetime, stale_after: timedelta) -> bool:
    return now - baseline.at > stale_after
