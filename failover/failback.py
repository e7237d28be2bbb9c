"""Failback: when is a provider well again, and how does its traffic return?"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from failover.config import ApprovalPoint, Approvals, Failback
from failover.distribution import percent, render, same
from failover.errors import RequestError
from failover.ramp import Fallback, RampBrief, RampPlan, Step, gates_for, title, towards, within_capacity
from failover.requests import FailbackRequest

NAME = "Failback"


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
    if request.percents is not None and request.percents != sorted(set(request.percents)):
        return f"The percents {request.percents} of a failback must rise from step to step."
    return None


def plan(request: FailbackRequest, brief: RampBrief) -> RampPlan:
    """The steps of one run. RequestError where nothing of the provider's is elsewhere."""
    assert brief.origin is not None
    found, settings = brief.found.distribution, brief.procedures.failback
    goal = goal_of(request, brief)
    original = request.original_provider
    if same(goal, found) or goal.get(original, 0) <= found.get(original, 0):
        raise RequestError(
            f"Route {brief.route!r} is at {render(found)}, and {original} held {percent(goal.get(original, 0))} % "
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
    )
    if not steps:
        raise RequestError(f"{original} has no capacity for more of route {brief.route!r}; nothing can be returned.")
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
    approvals = request.approvals or brief.approvals
    if request.auto or ApprovalPoint.FIRST_SHIFT in approvals.points:
        return approvals
    return approvals.model_copy(update={"points": [ApprovalPoint.FIRST_SHIFT, *approvals.points]})


def goal_of(request: FailbackRequest, brief: RampBrief) -> dict[str, int]:
    """The distribution before the failover; where `current_provider` is named, only its gain comes back."""
    assert brief.origin is not None
    found, before = brief.found.distribution, brief.origin.distribution
    if request.current_provider is None:
        return dict(before)
    gained = max(0, found.get(request.current_provider, 0) - before.get(request.current_provider, 0))
    missing = max(0, before.get(request.original_provider, 0) - found.get(request.original_provider, 0))
    moved = min(gained, missing)
    return {
        **found,
        request.current_provider: found.get(request.current_provider, 0) - moved,
        request.original_provider: found.get(request.original_provider, 0) + moved,
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class RecoveryProbe:
    """One look at the original provider."""

    at: datetime
    healthy: bool
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovery:
    """What a recovery watch has seen: `since` is when it began, `probes` those within the window, oldest first."""

    since: datetime
    probes: Sequence[RecoveryProbe] = field(default_factory=list)

    def seen(self, probe: RecoveryProbe, window: timedelta) -> "Recovery":
        kept = [old for old in self.probes if probe.at - old.at <= window]
        return Recovery(since=self.since, probes=[*kept, probe])

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
    return settings.watch_interval * min(10, max(1, recovery.failures_in_a_row))


def _minutes(value: timedelta) -> str:
    return f"{value.total_seconds() / 60:.1f} min"
