"""Turn the data plane's counters into what gates are judged on."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from failover.config.routes import Targets
from failover.failure import FailureKind
from failover.gates import GateSample, Reading
from failover.policy import TrafficPolicy
from failover.restoration import judge_sample
from failover.telemetry import ProviderWindow, RouteWindow, Telemetry


@dataclass(frozen=True, slots=True, kw_only=True)
class Synthetic:
    """One request of our own, which no user sent and no user's figure counts."""

    good: bool
    latency: timedelta


def gate_sample(
    policy: TrafficPolicy, recent: Telemetry, whole: Telemetry | None, since: datetime | None, targets: Targets
) -> GateSample:
    """One look at a route. `recent` reaches no further back than the step; before that, other weights were in force."""
    inside = whole if whole is not None and since is not None and recent.since < since else recent
    return GateSample(
        at=recent.at,
        revision=str(policy.revision),
        author=policy.changed_by.workflow_id or policy.changed_by.actor,
        claim=policy.claim,
        users=judge_sample(inside, [], {policy.route: targets}, "", ()),
        recent=_readings(inside, policy.route) if since is not None else [],
        whole=_readings(whole, policy.route) if whole is not None else [],
    )


def _readings(telemetry: Telemetry, route: str) -> list[Reading]:
    users = telemetry.of_route(route)
    tries = [_of_tries(window) for window in telemetry.providers if window.route == route]
    return [*([_of_users(users)] if users else []), *tries]


def _of_users(window: RouteWindow) -> Reading:
    good = window.requests - window.failed - window.empty - window.templates
    return Reading(provider=None, requests=window.requests, good=good, latency_p95=window.latency_p95)


def _of_tries(window: ProviderWindow) -> Reading:
    good = window.tries - window.failed
    return Reading(provider=window.provider, requests=window.tries, good=good, latency_p95=window.latency_p95)


def with_synthetic(sample: GateSample, ours: Sequence[Synthetic]) -> GateSample:
    """The sample with our own requests told beside it."""
    return replace(
        sample,
        synthetic=len(ours),
        synthetic_good=sum(one.good for one in ours),
        synthetic_slowest=max((one.latency for one in ours), default=None),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnRequests:
    """The requests that a run itself sent to a provider since its step began."""

    requests: int = 0
    good: int = 0
    slowest: timedelta | None = None

    def and_those_of(self, sample: GateSample) -> "OwnRequests":
        return OwnRequests(
            requests=self.requests + sample.synthetic,
            good=self.good + sample.synthetic_good,
            slowest=_slower(self.slowest, sample.synthetic_slowest),
        )


def counting_ours(sample: GateSample, provider: str | None, ours: OwnRequests) -> GateSample:
    """The sample with the run's own requests added to the provider's readings of the whole step; latency by the slowest."""
    if provider is None or not ours.requests:
        return sample
    whole = {reading.provider: reading for reading in sample.whole}
    base = whole.get(provider, Reading(provider=provider, requests=0, good=0))
    added = replace(
        base,
        requests=base.requests + ours.requests,
        good=base.good + ours.good,
        latency_p95=_slower(base.latency_p95, ours.slowest),
    )
    return replace(sample, whole=[*(r for r in sample.whole if r.provider != provider), added])


def _slower(left: timedelta | None, right: timedelta | None) -> timedelta | None:
    return max((latency for latency in (left, right) if latency is not None), default=None)


def throttled_percent(telemetry: Telemetry | None, route: str, provider: str | None) -> float | None:
    """The share of a provider's tries on a route that it throttled; None where nobody asked or nobody knows."""
    if provider is None or telemetry is None:
        return None
    windows = [window for window in telemetry.of_provider(provider) if window.route == route]
    tries = sum(window.tries for window in windows)
    throttled = sum(window.failures.get(FailureKind.THROTTLED, 0) for window in windows)
    return round(100 * throttled / tries, 2) if tries else None
