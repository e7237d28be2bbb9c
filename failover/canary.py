"""Canary failover: a target gains a little of the source's share, and more while it does well."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

from failover import kinds
from failover.distribution import Distribution, move_all
from failover.errors import Refusal, RequestError
from failover.ramp import (
    Fallback,
    RampBrief,
    RampPlan,
    Step,
    able_takers,
    approvals_of,
    latency_gate,
    success_gate,
    title,
    towards,
    within_capacity,
)
from failover.requests import CanaryFailoverRequest
from failover.steps import why_not_percents

NAME = kinds.CANARY

ONE_POINT = 100
"""The least that a canary gets, in basis points of the route: less would hardly be seen."""


def why_not_start(request: CanaryFailoverRequest, providers: Sequence[str]) -> str | None:
    """Why the request cannot be meant; None where it can."""
    for role, name in (("source_provider", request.source_provider), ("target_provider", request.target_provider)):
        if name not in providers:
            return f"{role} {name!r} is no provider of this deployment; they are {', '.join(providers)}."
    if request.source_provider == request.target_provider:
        return f"source_provider and target_provider are both {request.source_provider!r}."
    named = [*([request.initial_percent] if request.initial_percent else []), *(request.percents or [])]
    why = why_not_percents(named) if named else None
    return f"percents: {why}." if why else None


def plan(request: CanaryFailoverRequest, brief: RampBrief) -> RampPlan:
    """The steps of one run. RequestError where the source has nothing to give, Refusal where the target can take nothing."""
    found, settings = brief.found.distribution, brief.procedures.canary
    source, target = request.source_provider, request.target_provider
    if not found.get(source):
        raise RequestError(f"Route {brief.route!r} sends nothing to {source}: there is nothing to move.")
    if target in brief.down():
        raise Refusal(f"{target} is down: {brief.down()[target]}. A canary needs a target that serves.")
    initial = settings.initial_percent if request.initial_percent is None else request.initial_percent
    first = _step(initial, request, brief, _seconds(request.initial_seconds, settings.initial_hold))
    percents = settings.percents if request.percents is None else request.percents
    if request.percents and request.percents[0] <= initial:
        raise RequestError(f"percents begin at {request.percents[0]:g}, and the canary itself at {initial:g} already.")
    hold = _seconds(request.step_seconds, settings.step_hold)
    rest = [] if request.manual else [_step(value, request, brief, hold) for value in percents if value > initial]
    steps = within_capacity([first, *rest], brief, able_takers(brief))
    if not steps:
        raise Refusal(f"{target} has no capacity for more of route {brief.route!r}; nothing can be moved.")
    return RampPlan(
        procedure=NAME,
        route=brief.route,
        subject=f"{brief.route}: {source} → {target}",
        source=source,
        found=brief.found,
        steps=steps,
        on_failure=Fallback.ROLL_BACK,
        on_doubt=Fallback(settings.on_doubt),
        approvals=approvals_of(request, brief),
        gating=brief.procedures.gating,
        orders_deadline=_seconds(request.manual_deadline_seconds, settings.manual_deadline),
        abort_timeout=brief.procedures.immediate.abort_timeout,
        verify_timeout=brief.procedures.immediate.verify_timeout,
        synthetic=target,
    )


def at(found: Distribution, source: str, target: str, value: float) -> dict[str, int]:
    """The distribution at `value` percent of what the source held; the target gains a point at least."""
    held = found.get(source, 0)
    points = round(value * 100)
    if held and held * points < ONE_POINT * 10_000:
        points = min(10_000, -(-ONE_POINT * 10_000 // held))
    return towards(found, move_all(found, source, target), points)


def _step(value: float, request: CanaryFailoverRequest, brief: RampBrief, hold: timedelta) -> Step:
    source, target = request.source_provider, request.target_provider
    gating = brief.procedures.gating
    success, failure = _thresholds(request, brief)
    return Step(
        name="",
        title=title(round(value * 100), f"of {source} on {target}"),
        distribution=at(brief.found.distribution, source, target, value),
        hold=hold,
        gates=[
            success_gate(f"{target} success", target, success, failure, gating),
            latency_gate(f"{target} latency", target, brief.targets, gating),
        ],
        waits_for_orders=request.manual,
    )


def _thresholds(request: CanaryFailoverRequest, brief: RampBrief) -> tuple[float, float]:
    """The thresholds for success and failure, in percent; a success threshold that is lowered takes the other along."""
    settings = brief.procedures.canary
    success = _or(request.success_threshold_percent, settings.success_threshold_percent)
    if request.failure_threshold_percent is None:
        return success, min(success, _or(settings.failure_threshold_percent, success))
    if request.failure_threshold_percent > success:
        raise RequestError(
            f"failure_threshold_percent {request.failure_threshold_percent:g} lies above the success threshold "
            f"{success:g}; it may be as high at most."
        )
    return success, request.failure_threshold_percent


def ordered(request: CanaryFailoverRequest, brief: RampBrief, value: float, number: int) -> Step:
    """The step that an operator orders by a percent."""
    hold = _seconds(request.step_seconds, brief.procedures.canary.step_hold)
    step = _step(value, request, brief, hold)
    fitted = within_capacity([step], brief, able_takers(brief))
    # Where nothing more fits, the route goes back to what was found: the least that can be meant.
    return replace(fitted[0] if fitted else replace(step, distribution=brief.found.distribution), name=f"step-{number}")


def _seconds(wanted: float | None, default: timedelta) -> timedelta:
    return default if wanted is None else timedelta(seconds=wanted)


def _or(wanted: float | None, default: float) -> float:
    return default if wanted is None else wanted
