"""`validate --performance-baseline`: what users and providers take now, against what they took while all was well."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from activities.baselines import PerformanceBaselines
from failover.baselines import USERS, PerformanceBaseline, compare, is_stale
from failover.monitoring import Figures
from failover.policy import TrafficPolicy
from starter.checking.checks import Check
from starter.checking.context import CheckContext
from starter.output import say


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """The figures of a provider's tries for a route, or (`provider` "") of its users; `decides`: it is what is asked."""

    route: str
    provider: str
    figures: Figures
    decides: bool = True


async def compared(context: CheckContext, subjects: Sequence[Subject]) -> list[Check]:
    """Compare each with its baseline: not proved without one. What carries no traffic is told, and decides nothing."""
    store = PerformanceBaselines(context.evidence().archive)
    return [await asyncio.to_thread(_compared, context, store, one) for one in subjects]


def _compared(context: CheckContext, store: PerformanceBaselines, subject: Subject) -> Check:
    config, now = context.config, datetime.now(UTC)
    model = config.model_id(subject.provider) if subject.provider != USERS else ""
    baseline = store.find(subject.route, subject.provider, model)
    found = compare(
        subject.figures.latency_p95,
        subject.figures.requests,
        baseline,
        limit_percent=config.kpis.degradation_percent,
        minimum=config.procedures.gating.minimum_requests,
        now=now,
        stale_after=config.baselines.stale_after,
    )
    _warn_of_age(baseline, now, config.baselines.stale_after)
    about = f"{subject.route} {subject.provider or 'users'} baseline"
    return Check(about=about, judgement=found.judgement, said=found.said, decides=subject.decides)


def _warn_of_age(baseline: PerformanceBaseline | None, now: datetime, stale_after: timedelta) -> None:
    if baseline is not None and is_stale(baseline, now, stale_after):
        say(
            f"Warning: the baseline of {baseline.subject} is of {baseline.at:%Y-%m-%d}; the world may have changed since."
        )


def serving(policy: TrafficPolicy) -> list[str]:
    """The providers that carry traffic of a route."""
    return sorted(name for name, share in policy.distribution.items() if share)
