"""Drills: a failover practised with a failure that is made up. What may be broken, what ends it, and whether it passed."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Annotated

from pydantic import Field

from failover.config import Config
from failover.config.drills import Drills, DrillSchedule, FaultKind, Stop
from failover.config.kpis import Kpis
from failover.config.procedures import Immediate
from failover.distribution import Shares, render
from failover.health import Verdict
from failover.incident import Outcome, RunRecord, Trigger
from failover.kpis import measure
from failover.policy import DRILL, Mode, Revision, is_drill
from failover.requests import Request
from failover.section import Name
from failover.telemetry import RouteWindow, Telemetry
from failover.units import milliseconds, render_duration

NAME = "FailoverDrill"

STEPS = ("plan", "claim", "baseline", "break", "detect", "fail over", "heal", "return", "judge")

CHILD = "failover"
"""What the id of the failover that is practised ends with, after its drill's."""


class FailoverDrillRequest(Request):
    """Practise the failover of `provider`, or what `schedule` says. `route` None: the only drill route.

    `also`: providers that fail with it. `percent`: of a live route, how much of the provider's traffic is in the drill.
    `despite_blackout`: a person wants it all the same.
    """

    provider: Name | None = None
    route: Name | None = None
    fault: FaultKind = FaultKind.SERVER_ERROR
    also: list[Name] = Field(default_factory=list)
    percent: Annotated[float, Field(gt=0, le=100)] | None = None
    schedule: Name | None = None
    despite_blackout: bool = False
    reason: str = Field(default="", max_length=1000)
    requested_by: str = Field(default="", max_length=200)
    dry_run: bool = False
    trigger: Trigger = Trigger.MANUAL


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """Which provider fails on which route, and how: a request with everything filled in."""

    route: str
    provider: str
    fault: FaultKind
    also: Sequence[str]
    percent: float | None

    @property
    def is_live(self) -> bool:
        return self.percent is not None

    @property
    def broken(self) -> list[str]:
        return [self.provider, *self.also]

    @property
    def subject(self) -> str:
        live = f", {self.percent:g} % of it" if self.percent is not None else ""
        return f"{self.route}: {self.provider}{live}"


@dataclass(frozen=True, slots=True, kw_only=True)
class DrillBrief:
    """Everything that a drill is planned from; read once, kept in the run's history.

    `blackout`, `hold`: why a drill that is due by itself is skipped now. `verdicts` are the health check's about the
    providers of the route.
    """

    wanted: Scenario
    revision: Revision
    found: Shares
    mode: Mode
    claim: str | None
    chain: Sequence[str]
    verdicts: Sequence[Verdict]
    blackout: str | None
    hold: str | None
    slowest: timedelta
    settings: Drills
    immediate: Immediate
    kpis: Kpis

    @property
    def detection_deadline(self) -> timedelta:
        """A failure that is not noticed until then will not be."""
        return 2 * max(self.slowest, self.kpis.detection)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """What is to fail on a route, in whose name, and how long unless it is renewed."""

    route: str
    providers: Sequence[str]
    kind: FaultKind
    percent: float | None
    drill: str
    lasts: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class DrillPlan:
    """What a drill does, in sentences, and what they are bound to."""

    subject: str
    steps: Sequence[str]

    @property
    def digest(self) -> str:
        return hashlib.sha256("\n".join([self.subject, *self.steps]).encode()).hexdigest()[:12]


def wanted(request: FailoverDrillRequest, config: Config) -> Scenario | str:
    """The request with what the schedule or the configuration says filled in; or why it cannot be meant."""
    schedule: DrillSchedule | None = None
    if request.schedule is not None:
        schedule = config.drills.schedules.get(request.schedule)
        if schedule is None:
            known = ", ".join(config.drills.schedules) or "none"
            return f"There is no drill schedule {request.schedule!r}; drills.schedules has {known}."
    provider = request.provider or (schedule.provider if schedule else None)
    route = request.route or (schedule.route if schedule else None) or _only(config.drills.routes)
    if route is None:
        return no_drill_route(config)
    if provider is None:
        return "A drill needs a provider whose failure is practised."
    found = Scenario(
        route=route,
        provider=provider,
        fault=schedule.fault if schedule else request.fault,
        also=list(request.also),
        percent=request.percent or (schedule.percent if schedule else None),
    )
    whys = (why_not_inject(config, route, name, found.percent) for name in found.broken)
    return next((why for why in whys if why is not None), found)


def _only(routes: Sequence[str]) -> str | None:
    return routes[0] if len(routes) == 1 else None


def no_drill_route(config: Config) -> str:
    """How to have one."""
    if config.drills.routes:
        return f"Say which route: drills.routes names {', '.join(config.drills.routes)}."
    return (
        "No drill route is configured. Declare one in failover.yaml, with the providers of the route that it stands "
        "for, such as `routes: {drill: {distribution: {bedrock: 100}}}` and `drills: {routes: [drill]}`, and restart the "
        "gateway and the workers; or drill a live route with --route and --percent."
    )


def why_not_inject(config: Config, route: str, provider: str, percent: float | None) -> str | None:
    """Why no fault may be injected for a route and a provider; None where it may."""
    drills = config.drills
    if route not in config.routes:
        return f"There is no route {route!r}; the routes are {', '.join(config.routes)}."
    if provider not in config.providers:
        return (
            f"{provider!r} is no provider of this deployment; the providers are {', '.join(sorted(config.providers))}."
        )
    if route in drills.routes:
        if percent is not None:
            return f"Route {route!r} is a drill route, which is drilled whole; leave the percent out."
        return None
    if percent is None:
        return (
            f"Route {route!r} is live: real users depend on it. Only a given percent of its traffic may be drilled, "
            f"or declare it under drills.routes ({', '.join(drills.routes) or 'none now'})."
        )
    if percent > drills.live_percent_limit:
        return (
            f"{percent:g} % of the live route {route!r} is more than drills.live_percent_limit "
            f"({drills.live_percent_limit:g} %) allows."
        )
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class DrillEnd:
    """How a drill ends, and why."""

    outcome: Outcome
    reason: str


def why_not_begin(request: FailoverDrillRequest, brief: DrillBrief, workflow_id: str) -> DrillEnd | None:
    """Why nothing may be broken now; None where it may."""
    if not is_drill(workflow_id) and not request.dry_run:
        said = f"The workflow id of a drill begins with {DRILL}, by which everybody knows its claim; this is {workflow_id}."
        return DrillEnd(outcome=Outcome.REJECTED, reason=f"{said} Nothing was broken.")
    due = request.schedule is not None
    if brief.blackout is not None and not request.despite_blackout:
        reason = f"No drill begins in {brief.blackout}. Nothing was broken."
        return DrillEnd(outcome=Outcome.SKIPPED if due else Outcome.REJECTED, reason=reason)
    if due and brief.hold is not None:
        return DrillEnd(outcome=Outcome.SKIPPED, reason=f"{brief.hold}. Nothing was broken.")
    why = _why_unfit(brief)
    return None if why is None else DrillEnd(outcome=Outcome.REJECTED, reason=f"{why} Nothing was broken.")


def _why_unfit(brief: DrillBrief) -> str | None:
    wanted = brief.wanted
    down = [verdict for verdict in brief.verdicts if verdict.down]
    if down:
        return f"{down[0].provider} is really {down[0].condition.value.replace('_', ' ')} ({down[0].reason}): no drill now."
    if brief.mode is Mode.DEGRADED:
        return f"Route {wanted.route!r} is in degraded service, which is no time for a drill."
    if not brief.found.get(wanted.provider):
        return f"Route {wanted.route!r} sends nothing to {wanted.provider} ({render(brief.found)}): there is nothing to move."
    return None


def plan(brief: DrillBrief) -> DrillPlan:
    """What will be done, step by step."""
    wanted, settings, kpis = brief.wanted, brief.settings, brief.kpis
    kind = wanted.fault.value.replace("_", " ")
    share = f"{wanted.percent:g} % of users' tries" if wanted.percent is not None else "every try"
    broken = " and ".join(wanted.broken)
    load = (
        "users' own requests are watched"
        if wanted.is_live
        else f"{settings.load_per_second:g} synthetic requests a second, {settings.load_limit} at most"
    )
    stop = settings.stop
    steps = [
        f"claim route {wanted.route}, which is at {render(brief.found)}",
        f"baseline: {load}, {render_duration(settings.baseline)} that must be good",
        f"break: {share} at {broken} on route {wanted.route} fails in the gateway ({kind}); the provider is not touched; "
        f"the fault is gone {render_duration(settings.fault_expiry)} after nobody renews it",
        f"detect: the configured probes, through the route, within {render_duration(brief.detection_deadline)}",
        f"fail over: ImmediateFailover of {wanted.provider} on route {wanted.route} alone"
        f"{f', {wanted.percent:g} % of its share' if wanted.percent is not None else ''}, along {', '.join(brief.chain)}",
        "heal: the fault is removed",
        f"return: {render(brief.found)} in one step, verified, and users' side good again",
        f"judge: detection < {render_duration(kpis.detection)}, execution < {render_duration(kpis.immediate_execution)}, "
        f"restoration < {render_duration(kpis.restoration)}, total < {render_duration(kpis.total)}, "
        f"loss < {kpis.request_loss_percent:g} %, errors < {kpis.user_error_rate_percent:g} %",
    ]
    if wanted.is_live:
        steps.append(
            f"stopped at once: errors > {stop.error_percent:g} %, loss > {stop.request_loss_percent:g} %, "
            f"P95 > {milliseconds(stop.p95)} ms, of {stop.minimum_requests} requests at least"
        )
    return DrillPlan(subject=wanted.subject, steps=steps)


def as_practised(telemetry: Telemetry | None, route: str) -> Telemetry | None:
    """What was counted on the route alone, with what was made up taken as if it were real: a drill's detection sees this."""
    if telemetry is None:
        return None
    windows = [replace(one, injected={}) for one in telemetry.providers if one.route == route]
    return replace(telemetry, providers=windows, routes=[one for one in telemetry.routes if one.route == route])


def why_stop(window: RouteWindow | None, stop: Stop) -> str | None:
    """Why a drill on a live route ends at once, by what its users got since it began; None where it goes on."""
    if window is None or window.requests < stop.minimum_requests:
        return None
    bad = 100 * (window.failed + window.empty) / window.requests
    lost = 100 * window.lost / window.requests
    of = f"of {window.requests} requests of users"
    if bad > stop.error_percent:
        return f"{bad:.1f} % {of} failed, and the drill stops over {stop.error_percent:g} %"
    if lost > stop.request_loss_percent:
        return f"{lost:.1f} % {of} were lost, and the drill stops over {stop.request_loss_percent:g} %"
    if window.latency_p95 is not None and window.latency_p95 > stop.p95:
        p95 = milliseconds(window.latency_p95)
        return f"P95 {of} is {p95} ms, and the drill stops over {milliseconds(stop.p95)} ms"
    return None


def why_interrupted(me: str, claim: str | None, author: str) -> str | None:
    """Why the route is no longer the drill's; None while it is."""
    ours = author == me or author.startswith(f"{me}/")
    if claim == me and ours:
        return None
    return f"{author if not ours else claim or 'Somebody'} took the route from the drill"


def targets(brief: DrillBrief) -> Kpis:
    """What is practised is an immediate failover, and has its time."""
    return brief.kpis.model_copy(update={"execution": brief.kpis.immediate_execution})


REQUIRED = ("detection", "execution", "restoration", "total", "request loss", "user error rate")
"""Indicators that a drill must meet; what is not known is not met."""


def judge(record: RunRecord, failover: Outcome | None, why: str, after: str | None) -> DrillEnd:
    """PASSED or FAILED, and why. `failover`: how the practised one ended; `after`: what was wrong once all was put back."""
    if failover is not Outcome.COMPLETED:
        return DrillEnd(outcome=Outcome.FAILED, reason=f"The failover did not save the route: {why}")
    if after is not None:
        return DrillEnd(outcome=Outcome.FAILED, reason=f"The route was not well once all was put back: {after}")
    kpis = {kpi.name: kpi for kpi in measure(record)}
    missed = [
        f"{name} {kpis[name].render()}, target {kpis[name].render_target()}, {kpis[name].explanation}"
        for name in REQUIRED
        if kpis[name].met is not True
    ]
    if missed:
        return DrillEnd(outcome=Outcome.FAILED, reason=f"Targets were missed: {'; '.join(missed)}.")
    told = ", ".join(f"{name} {kpis[name].render()}" for name in REQUIRED[:4])
    return DrillEnd(outcome=Outcome.PASSED, reason=f"Noticed, moved, proved and put back: {told}.")
