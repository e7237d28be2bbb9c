"""Gradual failover: a provider's share falls in phases, or the route moves to a given distribution over a time."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta

from failover import kinds
from failover.distribution import WHOLE, Distribution, percent, render, same
from failover.errors import Refusal, RequestError
from failover.ramp import (
    Fallback,
    RampBrief,
    RampPlan,
    Step,
    able_takers,
    approvals_of,
    certified_first,
    gates_for,
    rising,
    towards,
    why_not_rise,
    within_capacity,
    worsening_gate,
)
from failover.requests import GradualFailoverRequest
from failover.steps import why_not_phases

NAME = kinds.GRADUAL

MOST_MEASURED_STEPS = 5
"""The most measured steps off a provider that goes on throttling; after them people decide."""


def why_not_start(request: GradualFailoverRequest, providers: Sequence[str]) -> str | None:
    """Why the request cannot be meant; None where it can."""
    if (request.failed_provider is None) == (request.target_distribution is None):
        return "Name either failed_provider or target_distribution, and not both."
    named = [request.failed_provider] if request.failed_provider else list(request.target_distribution or {})
    unknown = [name for name in named if name not in providers]
    if unknown:
        return f"{', '.join(map(repr, unknown))} is no provider of this deployment; they are {', '.join(providers)}."
    if request.phases is not None and request.failed_provider is None:
        return "phases go with failed_provider; a target_distribution has transition_seconds."
    why = None if request.phases is None else why_not_phases(request.phases)
    return f"phases: {why}." if why else None


def plan(request: GradualFailoverRequest, brief: RampBrief) -> RampPlan:
    """The steps of one run. RequestError where nothing is to be moved, Refusal where nobody can take it."""
    settings = brief.procedures.gradual
    wanted = _phases(request, brief) if request.failed_provider else _transition(request, brief)
    lose = [] if request.failed_provider or not wanted else rising(wanted[-1].distribution, brief.found.distribution)
    steps = within_capacity(wanted, brief, [name for name in able_takers(brief) if name not in lose])
    if not steps:
        where = f"Route {brief.route!r} is at {render(brief.found.distribution)}"
        if not wanted:
            raise RequestError(f"{where}: there is nothing to move.")
        raise Refusal(f"{where}: nobody has capacity for more of it.")
    return RampPlan(
        procedure=NAME,
        route=brief.route,
        subject=f"{brief.route}: {request.failed_provider or 'to ' + render(steps[-1].distribution)}",
        source=request.failed_provider,
        found=brief.found,
        steps=steps if request.throttled_share_percent is not None else _last_is_short(steps),
        on_failure=Fallback.ASK,
        on_doubt=Fallback(settings.on_doubt),
        approvals=approvals_of(request, brief),
        gating=brief.procedures.gating,
        abort_timeout=brief.procedures.immediate.abort_timeout,
        verify_timeout=brief.procedures.immediate.verify_timeout,
    )


def _phases(request: GradualFailoverRequest, brief: RampBrief) -> list[Step]:
    source = request.failed_provider
    assert source is not None
    settings, found = brief.procedures.gradual, brief.found.distribution
    takers = _takers(source, brief)
    settle = _seconds(request.settle_seconds, settings.settle)
    monitor = _seconds(request.monitor_seconds, settings.monitor)
    steps, now = [], found
    if request.throttled_share_percent is not None:
        phases = [[percent_left(found.get(source, 0), request.throttled_share_percent)]]
    else:
        phases = [list(map(float, phase)) for phase in request.phases or settings.phases]
    for phase in phases:
        after = phase_of(now, source, takers, phase)
        if after[source] >= now.get(source, 0):
            continue  # Below that cap already: who serves well is not disturbed.
        gates = [*gates_for(rising(now, after), brief.targets, brief.procedures.gating)]
        if after.get(source):
            gates.append(worsening_gate(source, brief.targets, brief.procedures.gating))
        said = f"{source} at {percent(after.get(source, 0))} %"
        steps.append(Step(name="", title=said, distribution=after, settle=settle, hold=monitor, gates=gates))
        now = after
    return steps


def percent_left(held: int, throttled_percent: float) -> float:
    """What a provider keeps, in percent, when the throttled part of its tries goes elsewhere."""
    return round(held * (100 - throttled_percent) / 100) / 100


def _takers(source: str, brief: RampBrief) -> list[str]:
    down = brief.down()
    serving = [name for name, share in sorted(brief.found.distribution.items(), key=lambda item: -item[1]) if share]
    chain = [name for name in dict.fromkeys([*brief.chain, *serving]) if name != source]
    able = certified_first([name for name in chain if name not in down], brief)[:2]
    if not able:
        why = "; ".join(f"{name}: {reason}" for name, reason in down.items() if name in chain)
        raise Refusal(f"Nobody can take over from {source} on route {brief.route!r}: {why or 'its chain is empty'}.")
    return able


def phase_of(now: Distribution, source: str, takers: Sequence[str], phase: Sequence[float]) -> dict[str, int]:
    """The distribution of a phase: the source capped, the rest divided as the phase says among secondary and tertiary.

    Others keep theirs; a taker that is missing leaves its part to the other.
    """
    left = min(now.get(source, 0), round(phase[0] * 100))
    others = {name: share for name, share in now.items() if name != source and name not in takers}
    rest = WHOLE - left - sum(others.values())
    weights = [round(weight * 100) for weight in phase[1:3]]
    weights += [0] * (len(takers) - len(weights))
    weights = weights[: len(takers)]
    if not sum(weights):
        held = [now.get(name, 0) for name in takers]
        weights = held if sum(held) else [1] + [0] * (len(takers) - 1)
    shares = [rest * weight // sum(weights) for weight in weights]
    shares[0] += rest - sum(shares)
    return {**others, source: left, **dict(zip(takers, shares, strict=True))}


def _transition(request: GradualFailoverRequest, brief: RampBrief) -> list[Step]:
    """Plan equal steps, none closer than the minimum, the last when the time is over; providers left out end at 0."""
    goal: Mapping[str, int] = request.target_distribution or {}
    settings, found = brief.procedures.gradual, brief.found.distribution
    if same(goal, found):
        return []
    if (why := why_not_rise(found, goal, brief.down())) is not None:
        raise Refusal(f"Route {brief.route!r} stays at {render(found)}: {why}.")
    transition = _seconds(request.transition_seconds, settings.transition)
    waits = min(settings.maximum_steps - 1, transition // settings.minimum_step)
    count, wait = waits + 1, _whole_seconds(transition / max(1, waits))
    steps, now = [], found
    for number in range(1, count + 1):
        after = towards(found, goal, WHOLE * number // count)
        gates = gates_for(rising(now, after), brief.targets, brief.procedures.gating)
        enforced = [replace(gate, enforce=request.enforce_gates) for gate in gates]
        said = f"{number} of {count}"
        steps.append(Step(name="", title=said, distribution=after, hold=wait, gates=enforced))
        now = after
    return steps


def _whole_seconds(wait: timedelta) -> timedelta:
    """Cut a wait of a second or more to whole seconds, for people to read."""
    return timedelta(seconds=wait // timedelta(seconds=1)) if wait >= timedelta(seconds=1) else wait


def further(request: GradualFailoverRequest, brief: RampBrief, taken: int) -> list[Step]:
    """The next step off a provider that throttles, measured anew; none where it throttles little, or after enough."""
    source, measured = request.failed_provider, brief.throttled_percent
    if source is None or measured is None or measured <= brief.throttling_limit or taken >= MOST_MEASURED_STEPS:
        return []
    wanted = request.model_copy(update={"throttled_share_percent": measured})
    steps = within_capacity(_phases(wanted, brief), brief, able_takers(brief))
    return [replace(step, name=f"step-{taken + 1}") for step in steps[:1]]


def _last_is_short(steps: Sequence[Step]) -> list[Step]:
    """Drop the waits and gates of the last step: what it leads to is verified, and the run is over."""
    return [*steps[:-1], replace(steps[-1], settle=timedelta(0), hold=timedelta(0), gates=())]


def _seconds(wanted: float | None, default: timedelta) -> timedelta:
    return default if wanted is None else timedelta(seconds=wanted)
