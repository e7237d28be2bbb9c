"""Failback: when is a provider well again, and how does its traffic return?"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from failover import kinds
from failover.config.procedures import Failback
from failover.config.routes import ApprovalPoint, Approvals
from failover.distribution import apportion, percent, render, same
from failover.errors import Refusal, RequestError
from failover.ramp import (
    Fallback,
    RampBrief,
    RampPlan,
    Step,
    approvals_of,
    gates_for,
    title,
    towards,
    within_capacity,
)
from failover.requests import FailbackRequest
from failover.steps import why_not_percents

NAME = kinds.FAILBACK

MOST_SELDOM = 10
"""Times the interval: how seldom a provider is looked at that stays down."""


def why_not_start(request: FailbackRequest, providers: Sequence[str]) -> str | None:
    """Why the request cannot be meant; None where it can."""
    for role, name in (
        ("original_provider", request.original_provider),
        ("current_provider", request.current_provider),
    ):
        if name is not None and name not in providers:
            return f"{role} {name!r} is no provider of this deployment; they are {', '.join(providers)}."
    if request.original_provider == request.current_provider:
        return f"original_provider and current_provider are both {request.original_provider!r}."
    why = None if request.percents is None else why_not_percents(request.percents)
    return f"percents: {why}." if why else None


def plan(request: FailbackRequest, brief: RampBrief) -> RampPlan:
    """The steps of one run. RequestError where nothing of the provider's is elsewhere, Refusal where it can take none."""
    assert brief.origin is not None
    found, before, settings = brief.found.distribution, brief.origin.distribution, brief.procedures.failback
    goal = goal_of(request, brief)
    original = request.original_provider
    if same(goal, found) or goal.get(original, 0) <= found.get(original, 0):
        raise RequestError(
            f"Route {brief.route!r} is at {render(found)}, and {original} held {percent(before.get(original, 0))} % "
            "before: nothing is to be returned."
        )
    percents = settings.percents if request.percents is None else request.percents
    hold = settings.step_hold if request.step_seconds is None else timedelta(seconds=request.step_seconds)
    steps = within_capacity(
        [
            Step(
                name="",
                title=title(round(value * 100), f"returned to {original}"),
                distribution=towards(found, goal, round(value * 100)),
                hold=hold,
                gates=gates_for([original], brief.targets, brief.procedures.gating),
            )
            for value in percents
        ],
        brief,
        takers=(),  # It is served well where it is: nobody else needs to take what does not fit.
    )
    if not steps:
        raise Refusal(f"{original} has no capacity for more of route {brief.route!r}; nothing can be returned.")
    return RampPlan(
        procedure=NAME,
        route=brief.route,
        subject=f"{brief.route}: back to {original}",
        source=request.current_provider,
        found=brief.found,
        steps=steps,
        on_failure=Fallback.STEP_BACK,
        on_doubt=Fallback(settings.on_doubt),
        approvals=_approvals(request, brief),
        gating=brief.procedures.gating,
        abort_timeout=brief.procedures.immediate.abort_timeout,
        verify_timeout=brief.procedures.immediate.verify_timeout,
        synthetic=original,
    )


def _approvals(request: FailbackRequest, brief: RampBrief) -> Approvals:
    """A failback that only proposes asks before its first shift, whatever else the route wants."""
    approvals = approvals_of(request, brief)
    if request.auto or ApprovalPoint.FIRST_SHIFT in approvals.points:
        return approvals
    return approvals.model_copy(update={"points": [ApprovalPoint.FIRST_SHIFT, *approvals.points]})


def goal_of(request: FailbackRequest, brief: RampBrief) -> dict[str, int]:
    """The original with what it held before the failover, taken from those who gained (`current_provider`: from it alone).

    That is the distribution before, unless somebody changed more since then: nobody else is proved to be well, and so
    nobody else rises.
    """
    assert brief.origin is not None
    found, before, original = brief.found.distribution, brief.origin.distribution, request.original_provider
    givers = [request.current_provider] if request.current_provider else sorted(found)
    gained = {name: max(0, found.get(name, 0) - before.get(name, 0)) for name in givers if name != original}
    missing = max(0, before.get(original, 0) - found.get(original, 0))
    moved = apportion(min(missing, sum(gained.values())), gained)
    left = {name: share - moved.get(name, 0) for name, share in found.items()}
    return {**left, original: found.get(original, 0) + sum(moved.values())}


@dataclass(frozen=True, slots=True, kw_only=True)
class RecoveryProbe:
    """One look at the original provider."""

    at: datetime
    healthy: bool
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovery:
    """What a recovery watch has seen: `since` is when it began, `probes` those within the window, oldest first.

    The last one before the window is among them: it says how the window began.
    """

    since: datetime
    probes: Sequence[RecoveryProbe] = field(default_factory=list)

    def seen(self, probe: RecoveryProbe, window: timedelta, longest_gap: timedelta | None = None) -> "Recovery":
        """Add one more look. After a gap in which nobody looked the watch begins anew: no data is not good news."""
        last = self.probes[-1].at if self.probes else self.since
        if longest_gap is not None and probe.at - last > longest_gap:
            return Recovery(since=probe.at, probes=[probe])
        older = [old for old in self.probes if probe.at - old.at > window]
        return Recovery(since=self.since, probes=[*older[-1:], *self.probes[len(older) :], probe])

    @property
    def failures_in_a_row(self) -> int:
        return next((n for n, probe in enumerate(reversed(self.probes)) if probe.healthy), len(self.probes))


def why_not_recovered(recovery: Recovery, window: timedelta, threshold_percent: float, now: datetime) -> str | None:
    """Why traffic may not return yet; None where the provider was well through the whole window."""
    if not recovery.probes:
        return "it was not probed yet"
    last = recovery.probes[-1]
    if not last.healthy:
        return f"its last probe failed: {last.reason}"
    if now - recovery.since < window:
        return f"it was watched for {_minutes(now - recovery.since)} of {_minutes(window)}"
    share = 100 * sum(probe.healthy for probe in recovery.probes) / len(recovery.probes)
    if share < threshold_percent:
        return (
            f"{share:.1f} % of its last {len(recovery.probes)} probes were good, {threshold_percent:g} % are asked for"
        )
    return None


def next_look(recovery: Recovery, settings: Failback) -> timedelta:
    """How long until the next probe: the longer it is down, the more seldom, up to ten times the interval."""
    return settings.watch_interval * min(MOST_SELDOM, max(1, recovery.failures_in_a_row))


def longest_gap(settings: Failback) -> timedelta:
    """The longest time between two looks before it must be said that nobody watched."""
    return 2 * MOST_SELDOM * settings.watch_interval


def _minutes(value: timedelta) -> str:
    return f"{value.total_seconds() / 60:.1f} min"
