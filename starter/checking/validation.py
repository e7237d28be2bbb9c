"""`failoverctl validate`: does the service serve as it owes, by the targets in force? Measured now, and proved or not."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

from activities.probing import Prober
from failover import kinds
from failover.accuracy import wilson
from failover.config.routes import Targets
from failover.distribution import render
from failover.errors import ProviderError
from failover.gates import Judgement
from failover.incident import Outcome, RunRecord
from failover.monitoring import Figures, Limit, Metric, figures_of, judge, limits_of
from failover.policy import Mode, TrafficPolicy
from failover.ports import TrafficPlane
from failover.restoration import lagging
from failover.units import milliseconds
from starter.arguments import percent
from starter.checking import providers
from starter.checking.baselines import Subject, compared, serving
from starter.checking.canaries import trial
from starter.checking.checks import Check, failed, passed, told
from starter.checking.context import CheckContext, counted, policy_of
from starter.checking.golden import Asking, graded
from starter.output import say
from starter.settings import Settings

LOOK_EVERY = timedelta(milliseconds=250)

EVACUATIONS = (kinds.IMMEDIATE, kinds.GRADUAL)
"""Failovers that leave a provider; a canary tries another one out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Validation:
    """What is asked for, as the options say it; nothing of it: the users' side of every route."""

    post_failover: bool = False
    all_providers: bool = False
    comprehensive: bool = False
    performance: bool = False
    baseline: bool = False
    canary: bool = False
    provider: str | None = None
    suite: str | None = None
    threshold: str | None = None
    route: str | None = None


def run_validate(settings: Settings, state: Path | None, asked: Validation, *, json: bool) -> int:
    context = CheckContext.find(settings, state)
    if asked.suite is not None and asked.provider is None:
        raise providers.no_provider("--test-suite")
    if asked.provider is not None:
        context.provider(asked.provider)
    say("Measuring …")
    checks = asyncio.run(_validate(context, asked, percent("--success-threshold", asked.threshold)))
    return told("validation", "Validation", checks, json=json)


async def _validate(context: CheckContext, asked: Validation, threshold: float | None) -> list[Check]:
    checks: list[Check] = []
    if asked.provider is not None:
        checks += await _provider(context, asked, threshold)
    if asked.canary or asked.provider is None:
        async with context.plane() as plane:
            checks += await _service(context, plane, asked, threshold)
    return checks


async def _provider(context: CheckContext, asked: Validation, threshold: float | None) -> list[Check]:
    assert asked.provider is not None
    checks = await providers.checked(context, [asked.provider])
    suite = asked.suite or ("comprehensive" if asked.comprehensive else None)
    if suite is not None:
        checks.append(await graded(context, Asking(provider=asked.provider, suite=suite, threshold=threshold)))
    return checks


async def _service(
    context: CheckContext, plane: TrafficPlane, asked: Validation, threshold: float | None
) -> list[Check]:
    if asked.canary:
        return await _canary(context, plane, asked, threshold)
    routes = context.routes(asked.route)
    each = await asyncio.gather(*(_route(context, plane, route, asked, threshold) for route in routes))
    checks = [check for found in each for check in found]
    if asked.all_providers or asked.comprehensive:
        shares = _shares(await plane.read())
        checks += await providers.serving(context, shares)
    if asked.comprehensive:
        checks += await _control_planes(context, [name for name, share in _shares(await plane.read()).items() if share])
    return checks


async def _route(
    context: CheckContext, plane: TrafficPlane, route: str, asked: Validation, threshold: float | None
) -> list[Check]:
    policy = await policy_of(plane, route)
    checks = []
    if asked.post_failover:
        checks += await _obeyed(plane, policy)
        checks += _failed_over(context, policy)
    targets = context.targets(policy)
    if threshold is not None:
        targets = targets.model_copy(update={"success_percent": threshold})
    checks += await _users(context, plane, policy, targets, needed=asked.performance)
    if asked.baseline:
        checks += await _baselines(context, plane, policy)
    if not asked.performance or asked.post_failover:
        checks.append(await _questions(context, plane, policy))
    return checks


async def _obeyed(plane: TrafficPlane, policy: TrafficPolicy) -> list[Check]:
    """What is stored is obeyed, by every live instance."""
    about, behind = f"{policy.route} policy", lagging([policy], await plane.obeyed())
    said = f"{render(policy.distribution)}, revision {policy.revision}"
    found = [failed(about, "; ".join(behind)) if behind else passed(about, f"{said}, obeyed by every instance")]
    if policy.mode is Mode.DEGRADED:
        found.append(failed(f"{policy.route} service", "it is degraded: an emergency lasts"))
    return found


def _failed_over(context: CheckContext, policy: TrafficPolicy) -> list[Check]:
    """The last failover on record ended well, and left nothing behind."""
    record = _last_failover(context, policy.route)
    about = f"{policy.route} failover"
    if record is None:
        said = "no failover of this route is on record here"
        return [Check(about=about, judgement=Judgement.INCONCLUSIVE, said=said, decides=False)]
    share = policy.distribution.get(record.provider, 0)
    said = f"{record.workflow_id} ended as {record.outcome.value}: {record.reason}"
    if record.outcome is not Outcome.COMPLETED:
        return [failed(about, said)]
    back = f"; since then {record.provider} has {share / 100:g} % again" if share else ""
    return [passed(about, said + back)]


def _last_failover(context: CheckContext, route: str) -> RunRecord | None:
    store = context.evidence()
    for folder in store.list()[:50]:
        record = store.load(folder)
        if record.procedure in EVACUATIONS and record.provider and any(one.route == route for one in record.routes):
            return record
    return None


async def _users(
    context: CheckContext, plane: TrafficPlane, policy: TrafficPolicy, targets: Targets, *, needed: bool
) -> list[Check]:
    """What users got since the shares of now are in force. A route without users is judged by questions, if it may be."""
    limits = [limit for limit in limits_of(targets) if limit.metric is not Metric.ERROR_RATE]
    figures = await _measured(context, plane, policy.route, policy.changed_at)
    checks = _judged(context, f"{policy.route} users", figures, limits)
    if figures.requests or needed:
        return checks
    return [replace(check, decides=False) for check in checks]


def _judged(context: CheckContext, about: str, figures: Figures, limits: Sequence[Limit]) -> list[Check]:
    minimum = context.config.procedures.gating.minimum_requests
    judged = [judge(limit, figures, minimum) for limit in limits]
    return [Check(about=about, judgement=found, said=said) for found, said in judged]


async def _measured(
    context: CheckContext, plane: TrafficPlane, route: str, since: datetime, provider: str | None = None
) -> Figures:
    """The figures of the last window, no further back than `since`; waits up to a window for too few requests."""
    gating = context.config.procedures.gating
    deadline = asyncio.get_running_loop().time() + gating.window.total_seconds()
    while True:
        recent = await plane.observe(window=gating.window)
        if recent is None or recent.since < since:
            recent = await counted(plane, since)
        figures = figures_of(recent, route, provider)
        if figures.requests >= gating.minimum_requests or asyncio.get_running_loop().time() >= deadline:
            return figures
        await asyncio.sleep(LOOK_EVERY.total_seconds())


async def _baselines(context: CheckContext, plane: TrafficPlane, policy: TrafficPolicy) -> list[Check]:
    """Compare users, and everybody who carries their traffic, with what was recorded of them in healthy time."""
    named = ["", *serving(policy)]
    figures = await asyncio.gather(
        *(_measured(context, plane, policy.route, policy.changed_at, name or None) for name in named)
    )
    least = context.config.procedures.gating.minimum_requests
    return await compared(
        context,
        [
            # A small share may bring too few requests to tell: that is said, and only the users' side is owed.
            Subject(route=policy.route, provider=name, figures=found, decides=not name or found.requests >= least)
            for name, found in zip(named, figures, strict=True)
        ],
    )


async def _questions(context: CheckContext, plane: TrafficPlane, policy: TrafficPolicy) -> Check:
    """The route is asked, as a user asks: every question must get a sensible answer."""
    settings, prober = context.config.procedures.immediate, Prober(context.config, {})
    timeout, count = context.config.detection.probe.timeout, settings.validate_good_samples
    about = f"{policy.route} questions"
    by: dict[str, int] = {}
    for number in range(1, count + 1):
        try:
            served_by, answer = await plane.ask(policy.route, prober.question, timeout=timeout)
        except ProviderError as error:
            return failed(about, f"question {number} of {count} was not answered: {error}")
        if not prober.makes_sense(answer.text):
            return failed(about, f"question {number} of {count}: {served_by} gave an answer that makes no sense")
        by[served_by or "a remembered answer"] = by.get(served_by or "a remembered answer", 0) + 1
    who = ", ".join(f"{name} {times}" for name, times in sorted(by.items()))
    interval = wilson(count, count)
    proves = f"at least {interval.low:.0f} % at 95 % confidence"
    return passed(about, f"{count} of {count} were answered well ({proves}), by {who}")


async def _canary(
    context: CheckContext, plane: TrafficPlane, asked: Validation, threshold: float | None
) -> list[Check]:
    """The provider under test: its tries since the shares of now are in force."""
    found = await trial(context, plane, context.default_route(asked.route))
    if found.gave_up:
        assert found.outcome is not None
        return [failed(found.run, f"it ended as {found.outcome.value}: {found.reason}")]
    targets = context.config.routes[found.route].targets
    least = context.config.procedures.canary.success_threshold_percent if threshold is None else threshold
    limits = [
        Limit(metric=Metric.SUCCESS_RATE, above=False, value=least),
        Limit(metric=Metric.LATENCY, above=True, value=float(milliseconds(targets.response_time))),
    ]
    figures = await _measured(context, plane, found.route, found.since, found.target)
    return _judged(context, f"{found.target} in {found.run}", figures, limits)


def _shares(policies: Sequence[TrafficPolicy]) -> dict[str, int]:
    """The largest share that each provider has of any route, in basis points."""
    largest: dict[str, int] = {}
    for policy in policies:
        shares: Mapping[str, int] = policy.distribution
        for name, share in shares.items():
            largest[name] = max(largest.get(name, 0), share)
    return largest


async def _control_planes(context: CheckContext, names: Sequence[str]) -> list[Check]:
    """Check all else that can be asked of those who carry traffic; the probe of each was asked already."""
    return [check for check in await providers.checked(context, names) if not check.about.endswith(" probe")]
