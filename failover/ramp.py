"""A ramp: one route's traffic moved in steps, with a hold and gates after each. The plan is rendered once and digested."""

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from pydantic import TypeAdapter

from failover.capacity import Fitted, Headroom, fit
from failover.certificates import Certification
from failover.config.kpis import Kpis
from failover.config.procedures import Gating, Procedures
from failover.config.routes import ApprovalPoint, Approvals, Targets
from failover.distribution import WHOLE, Distribution, Shares, apportion, check, percent, render, same
from failover.errors import RequestError
from failover.gates import Consequence, Gate, Metric
from failover.health import Condition, Verdict
from failover.policy import Mode, Revision
from failover.requests import RampRequest
from failover.units import milliseconds, render_duration


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """What a route's policy said when a run began: what an abort puts back."""

    revision: Revision
    distribution: Shares
    mode: Mode = Mode.NORMAL
    degraded: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """The failover that a failback undoes: its run, and the distribution that it found. Run ids are "" without one."""

    distribution: Shares
    workflow_id: str = ""
    run_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RampBrief:
    """Everything that a ramp is planned from; read once, kept in the run's history."""

    route: str
    found: Snapshot
    providers: Sequence[str]
    chain: Sequence[str]
    verdicts: Sequence[Verdict]
    headroom: Headroom
    targets: Targets
    procedures: Procedures
    approvals: Approvals
    kpis: Kpis
    origin: Origin | None = None
    throttled_percent: float | None = None
    throttling_limit: float = 100
    automatic: Sequence[datetime] = ()
    """The moments of automatic changes of this route within the last hour."""
    cool_down: timedelta = timedelta(0)
    automatic_per_hour: int = 1_000_000
    certification: Certification | None = None
    """What an automatic run heeds; None: nobody needs a certificate."""

    def down(self) -> dict[str, str]:
        """Providers known to be down, with why."""
        return {verdict.provider: verdict.reason for verdict in self.verdicts if verdict.down}


def as_of(brief: RampBrief, now: datetime) -> RampBrief:
    """The brief, with the certificates that count at a moment."""
    return replace(brief, certification=brief.certification.at(now)) if brief.certification else brief


def cool_down_left(brief: RampBrief, now: datetime) -> timedelta:
    """How long an automatic ramp must still rest since the last automatic change of its route."""
    last = max(brief.automatic, default=None)
    return timedelta(0) if last is None else max(timedelta(0), last + brief.cool_down - now)


def approvals_of(request: RampRequest, brief: RampBrief) -> Approvals:
    """What the request asks for, else what the route demands; RequestError where nobody could ever be told apart."""
    approvals = request.approvals or brief.approvals
    asks = approvals.points and not request.emergency
    if asks and approvals.approver_is_not_requester and not request.requested_by.strip():
        raise RequestError(
            "This ramp wants an approval by somebody else than who asks for it: say who asks, requested_by."
        )
    return approvals


def asked_first(approvals: Approvals) -> Approvals:
    """The same, with somebody's word before the first step."""
    if ApprovalPoint.FIRST_SHIFT in approvals.points:
        return approvals
    return approvals.model_copy(update={"points": [ApprovalPoint.FIRST_SHIFT, *approvals.points]})


def within_budget(approvals: Approvals, brief: RampBrief) -> Approvals:
    """The approvals, asked first once the budget of automatic changes an hour is spent: then people decide."""
    return approvals if len(brief.automatic) < brief.automatic_per_hour else asked_first(approvals)


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """Set `distribution`, verify it, wait `settle`, then hold for `hold` while the gates are sampled.

    `waits_for_orders`: the hold ends by a person's word only, or at the plan's deadline for it.
    """

    name: str
    title: str
    distribution: Shares
    settle: timedelta = timedelta(0)
    hold: timedelta = timedelta(0)
    gates: Sequence[Gate] = ()
    said: Sequence[str] = ()
    waits_for_orders: bool = False


class Fallback(StrEnum):
    """What a ramp does by itself when it may not go on."""

    ASK = "ask"
    HOLD = "hold"
    ROLL_BACK = "roll_back"
    STEP_BACK = "step_back"


@dataclass(frozen=True, slots=True, kw_only=True)
class RampPlan:
    """A procedure rendered for one run of one route.

    `on_failure`: when a gate fails or a step cannot be verified. `on_doubt`: when nobody answers in time.
    `synthetic` names the provider that gets requests of ours where users are too few.
    """

    procedure: str
    route: str
    subject: str
    source: str | None
    found: Snapshot
    steps: Sequence[Step]
    on_failure: Fallback
    on_doubt: Fallback
    approvals: Approvals
    gating: Gating
    orders_deadline: timedelta = timedelta(hours=1)
    abort_timeout: timedelta = timedelta(seconds=60)
    verify_timeout: timedelta = timedelta(seconds=10)
    synthetic: str | None = None
    remark: str = ""
    """Which providers gain traffic without the certificate that the route demands, and why."""

    @property
    def digest(self) -> str:
        """The digest of the whole plan, in whatever order distributions name providers; approvals are bound to it."""
        text = json.dumps(_PLAN.dump_python(self, mode="json"), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def describe(self) -> list[str]:
        """Describe the plan, one line a step."""
        return [describe(step) for step in self.steps]

    def told(self) -> list[str]:
        """The same for people who read nothing else."""
        return [*self.describe(), *([self.remark] if self.remark else [])]


_PLAN = TypeAdapter(RampPlan)


def certified(plan: RampPlan, brief: RampBrief) -> RampPlan:
    """The plan, with what is to be said of targets without the certificate that the route demands, and people asked first
    where the route wants that. Nothing is held on a provider that serves ill for the lack of a certificate alone."""
    if brief.certification is None or not plan.steps:
        return plan
    gaining = {name for step in plan.steps for name in rising(brief.found.distribution, step.distribution)}
    remark = brief.certification.remark(sorted(gaining))
    if not remark:
        return plan
    approvals = asked_first(plan.approvals) if brief.certification.ask else plan.approvals
    return replace(plan, remark=remark, approvals=approvals)


def describe(step: Step) -> str:
    waits = [f"settle {render_duration(step.settle)}"] if step.settle else []
    waits += [f"hold {render_duration(step.hold)}"] if step.hold else []
    waits += ["then wait for orders"] if step.waits_for_orders else []
    return f"{step.title} → {render(step.distribution)}{', ' if waits else ''}{', '.join(waits)}"


def towards(start: Distribution, goal: Distribution, points: int) -> dict[str, int]:
    """The way from `start` to `goal` in basis points of what moves: 0 is the start, 10,000 the goal, sums to 100 %."""
    losses = {name: start[name] - goal.get(name, 0) for name in sorted(start) if start[name] > goal.get(name, 0)}
    gains = {name: goal[name] - start.get(name, 0) for name in sorted(goal) if goal[name] > start.get(name, 0)}
    moved = {name: loss * points // WHOLE for name, loss in losses.items()}
    given = apportion(sum(moved.values()), gains)
    names = sorted({*start, *goal})
    return dict(check({name: start.get(name, 0) - moved.get(name, 0) + given.get(name, 0) for name in names}))


def within_capacity(steps: Sequence[Step], brief: RampBrief, takers: Sequence[str]) -> list[Step]:
    """The steps, none of which sends a provider more than it can take beyond what it has; steps that change nothing go.

    What does not fit goes to the next of the takers, whose gates watch it then, and stays where it is without any.
    """
    fitted, now = list[Step](), brief.found.distribution
    unknown = ["nobody knows the demand: what providers can take is not checked"] if brief.headroom.unknown else []
    for step in steps:
        within = fit(now, step.distribution, takers, brief.headroom)
        if not same(within.distribution, now):
            watched = [*step.gates, *_gates_of_spill(step, now, within.distribution, brief)]
            said = [*step.said, *within.said, *([] if fitted else unknown)]
            fitted.append(replace(step, distribution=within.distribution, gates=watched, said=said))
            now = within.distribution
        elif fitted and within.said:
            fitted[-1] = replace(fitted[-1], said=[*fitted[-1].said, *within.said])
    return [replace(step, name=f"step-{number}") for number, step in enumerate(fitted, start=1)]


def able_takers(brief: RampBrief) -> list[str]:
    """Who may take what does not fit elsewhere: the chain without those that are down, the certified first."""
    down = brief.down()
    return certified_first([name for name in brief.chain if name not in down], brief)


def certified_first(names: Sequence[str], brief: RampBrief) -> list[str]:
    """Move the names that lack the certificate that the route demands to the end; else their order stays."""
    lacking = brief.certification.lacking if brief.certification else {}
    return sorted(names, key=lambda name: name in lacking)


def _gates_of_spill(step: Step, now: Distribution, fitted: Distribution, brief: RampBrief) -> list[Gate]:
    """The gates of those who gain only because another could not take it, so that nobody gains unwatched."""
    watched = {gate.provider for gate in step.gates}
    spilled = [name for name in rising(now, fitted) if name not in watched]
    enforced = all(gate.enforce for gate in step.gates)
    return [replace(gate, enforce=enforced) for gate in gates_for(spilled, brief.targets, brief.procedures.gating)]


def may_write(now: Distribution, wanted: Distribution, down: Mapping[str, str], headroom: Headroom) -> Fitted:
    """How much of a change may be written now, wherever it leads: forward, or back to what was found.

    Nothing of it while it would raise a provider known to be down; no rise beyond what a provider can take by the demand
    of now. What does not fit stays with whoever has it, so that no more is moved than was decided. `said`: why it is less.
    """
    why = why_not_rise(now, wanted, down)
    return Fitted(distribution=dict(now), said=[why]) if why else fit(now, wanted, (), headroom)


def why_not_rise(now: Distribution, wanted: Distribution, down: Mapping[str, str]) -> str | None:
    """Why a step may not be taken: it would raise the share of a provider known to be down. None where it does not."""
    risen = [name for name in rising(now, wanted) if name in down]
    return "; ".join(f"{name} would get more traffic, and is down: {down[name]}" for name in risen) or None


def in_doubt(now: Distribution, wanted: Distribution, verdicts: Sequence[Verdict]) -> dict[str, str]:
    """Providers that would get more traffic and are neither known to be well nor known to be down, with why."""
    known = {verdict.provider: verdict for verdict in verdicts}
    doubts = {name: _doubt(known.get(name)) for name in rising(now, wanted)}
    return {name: why for name, why in doubts.items() if why is not None}


def _doubt(verdict: Verdict | None) -> str | None:
    if verdict is None:
        return "nothing is known of its health"
    well = verdict.condition is Condition.HEALTHY and verdict.cause is None
    return None if well or verdict.down else f"{verdict.condition.value.replace('_', ' ')}, {verdict.reason}"


def rising(now: Distribution, wanted: Distribution) -> list[str]:
    """Providers that would get more than they have."""
    return sorted(name for name in wanted if wanted[name] > now.get(name, 0))


def success_gate(name: str, provider: str | None, target: float, fail_at: float | None, gating: Gating) -> Gate:
    """The gate on success in percent, of a provider's tries or of the route's users."""
    return Gate(
        name=name,
        metric=Metric.SUCCESS_PERCENT,
        provider=provider,
        pass_at=target,
        fail_at=target if fail_at is None else fail_at,
        minimum_requests=gating.minimum_requests,
        failures=gating.failures,
        errors=gating.errors,
    )


def latency_gate(name: str, provider: str | None, targets: Targets, gating: Gating) -> Gate:
    """The gate on P95 against the route's target."""
    bound = float(milliseconds(targets.response_time))
    return Gate(
        name=name,
        metric=Metric.LATENCY_P95_MS,
        provider=provider,
        pass_at=bound,
        fail_at=bound,
        minimum_requests=gating.minimum_requests,
        failures=gating.failures,
        errors=gating.errors,
    )


def worsening_gate(source: str, targets: Targets, gating: Gating) -> Gate:
    """The provider that is left got so much worse that the ramp should hurry. Its being good is not asked for."""
    worse = success_gate(f"{source} still serves", source, targets.success_percent, None, gating)
    return replace(worse, fail_at=50.0, pass_at=50.0, consequence=Consequence.HASTEN)


def gates_for(gaining: Collection[str], targets: Targets, gating: Gating) -> list[Gate]:
    """The gates on success and P95 of everybody who gains traffic."""
    return [
        gate
        for name in sorted(gaining)
        for gate in (
            success_gate(f"{name} success", name, targets.success_percent, None, gating),
            latency_gate(f"{name} latency", name, targets, gating),
        )
    ]


def title(points: int, what: str) -> str:
    return f"{percent(points)} % {what}"
