"""What came of a rehearsal: a prediction, what people would have been asked, and what is wrong with the configuration."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from failover import kinds
from failover.config import Config
from failover.config.communications import Communications
from failover.config.routes import Approvals, Route
from failover.distribution import Distribution, move_all, percent
from failover.health import Verdict
from failover.incident import Outcome, RunRecord, TimelineEntry
from failover.kpis import Kpi, clocks, measure
from failover.restoration import why_not_good
from failover.roles import Role
from failover.telemetry import RouteWindow, Telemetry
from failover.units import milliseconds, render_duration
from failover.world import MINUTE, InForce, Script, World, in_force

GOOD = (Outcome.COMPLETED,)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What people would have been asked. `answer`: what was answered for them, None: nobody did, and `default` happened."""

    at: datetime
    run: str
    step: str
    text: str
    who: Sequence[str]
    quorum: int = 1
    deadline: datetime | None
    default: str
    answer: str | None
    reminders: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigFinding:
    """Something wrong, and what to do about it. `grave`: a route would not be saved, or a plan not be made."""

    about: str
    problem: str
    remedy: str
    grave: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Detected:
    """What the health checks made of the fault, and which procedure they would start by themselves (None: none)."""

    at: datetime
    verdict: Verdict
    others: Sequence[Verdict]
    procedure: str | None
    routes: Sequence[str] = ()
    asks: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Rehearsed:
    """A prediction. `record` is that of the last run; None where none came so far, and `reason` says why."""

    procedure: str
    subject: str
    script: Script
    began: datetime
    ended: datetime
    outcome: str
    reason: str
    detected: Detected | None
    record: RunRecord | None
    policies: Sequence[InForce]
    timeline: Sequence[TimelineEntry]
    assumed: Sequence[str] = ()
    """What is taken to be true of users and providers, in sentences."""
    users: Sequence[RouteWindow] = ()
    """What users of the routes concerned would get, from the beginning to the end."""
    curve: Sequence["Point"] = ()
    asked: Sequence[Asked] = ()
    follows: Sequence[str] = ()
    """What would follow by itself, in sentences."""
    notes: Sequence[str] = ()
    messages: int = 0
    wall_seconds: float = 0

    @property
    def good(self) -> bool:
        return self.outcome in GOOD

    @property
    def took(self) -> timedelta:
        """Virtual time, from the beginning of the script to the end of the run."""
        return self.ended - self.began

    def kpis(self) -> list[Kpi]:
        """The indicators of an immediate failover; empty for the others: ramps report against their own plan."""
        return measure(self.record) if self.record and self.record.procedure == kinds.IMMEDIATE else []

    def waited(self) -> timedelta:
        return clocks(self.record).waiting_for_people if self.record else timedelta(0)

    def struck(self, provider: str, at: datetime) -> bool:
        """Whether something is wrong with the provider then, by the script."""
        since = at - self.began
        return any(
            fault.provider == provider and fault.at <= since and (fault.ends is None or since < fault.ends)
            for fault in self.script.faults
        )

    def routes(self) -> list[str]:
        """The routes whose policy changed, or all if none did."""
        changed = [one.route for one in self.policies if one.at > self.began or one.by]
        return list(dict.fromkeys(changed or [one.route for one in self.policies]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """Users of a route around a moment: the share of requests that are lost, and P95 of the answers."""

    at: datetime
    route: str
    lost_percent: float
    latency_p95: timedelta | None


POINTS = 160


def curve(world: World, policies: Sequence[InForce], routes: Sequence[str], until: datetime) -> list[Point]:
    """How users fare, evenly over the rehearsal."""
    step = (until - world.began) / POINTS
    points = []
    for number in range(POINTS if step else 0):
        since = world.began + number * step
        # Everything that begins in it, however it ends: who waits for an answer is not forgotten.
        told = world.told(policies, since, since + step, until + world.config.gateway.request_timeout)
        for window in told.routes:
            if window.route in routes:
                lost = 100 * window.lost / window.requests if window.requests else 0.0
                points.append(
                    Point(at=since + step / 2, route=window.route, lost_percent=lost, latency_p95=window.latency_p95)
                )
    return points


def assumed(world: World, routes: Sequence[str]) -> list[str]:
    """What is taken to be true, in sentences."""
    config, model = world.config, world.config.rehearsal
    faults = "; ".join(fault.describe() for fault in world.script.faults) or "every provider is well"
    asked = ", ".join(f"{world.traffic(route):g} on {route}" for route in routes[:5])
    more = f" and {len(routes) - 5} more routes" if len(routes) > 5 else ""
    declared = [f"{name} takes {limit:g}" for name in config.providers if (limit := world.takes(name)) is not None]
    return [
        f"Script: {faults}.",
        f"Taken to be true: requests a minute: {asked}{more}; answers within {milliseconds(model.answer_time)} ms, P95 "
        f"{milliseconds(model.slow_answer_time)} ms; {', '.join(declared) or 'no provider declares a limit'}.",
    ]


def users_of_all(
    world: World, policies: Sequence[InForce], routes: Sequence[str], until: datetime
) -> list[RouteWindow]:
    """What users would get of everything that they ask until then, whenever it ends."""
    told = world.told(policies, world.began, until, until + world.config.gateway.request_timeout)
    return [window for window in told.routes if window.route in routes]


def who_may_answer(config: Config, requester: str, approvals: Approvals | None) -> list[str]:
    """The configured operators whose word counts where people are asked; empty: nobody is named."""
    barred = requester if approvals is not None and approvals.approver_is_not_requester else None
    able = {Role.APPROVE, Role.OVERRIDE}
    return [name for name, one in config.access.operators.items() if able & set(one.roles) and name != barred]


def afterwards(distribution: Distribution, provider: str, chain: Sequence[str]) -> Distribution:
    """What an immediate failover of the provider leaves: where a failback begins."""
    target = next((name for name in chain if name != provider), None)
    return dict(distribution) if target is None else move_all(distribution, provider, target)


def as_rehearsed(config: Config, probe_answer: str) -> Config:
    """The configuration as a rehearsal uses it: probes are answered by a word, users are counted by the world alone, nobody
    audits a target, and nothing follows a run that nobody had."""
    detection = config.detection
    probe = detection.probe.model_copy(update={"expect": probe_answer})
    automation = detection.automation.model_copy(update={"only_certified": False})
    told = detection.model_copy(update={"probe": probe, "sources": {}, "automation": automation})
    alone = {"communications": Communications(), "follow_up": config.follow_up.model_copy(update={"enabled": False})}
    routes = {name: _without_certificates(route) for name, route in config.routes.items()}
    return config.model_copy(update={"detection": told, "routes": routes, **alone})


def _without_certificates(route: Route) -> Route:
    return route.model_copy(update={"automation": route.automation.model_copy(update={"only_certified": None})})


# What guards a configuration


def lacks(config: Config, route: str, provider: str) -> Iterator[ConfigFinding]:
    """What stands in the way of saving a route from a provider, as far as the configuration alone tells."""
    about = f"{route} without {provider}"
    chain = config.chain(route, provider)
    if not chain:
        yield ConfigFinding(
            about=about,
            problem=f"nobody is named to take over from {provider}",
            remedy=f"add failover_chains.{provider}, or routes.{route}.chains.{provider}, with who takes over, best first",
        )


def unmeetable(config: Config, route: str) -> Iterator[ConfigFinding]:
    """Targets that nobody meets even on a good day, and approvals that nobody can give."""
    targets, model = config.targets(route), config.rehearsal
    if targets.response_time < model.slow_answer_time:
        yield ConfigFinding(
            about=route,
            problem=(
                f"its target of {milliseconds(targets.response_time)} ms (P95) is below what a provider that is well takes "
                f"({milliseconds(model.slow_answer_time)} ms)"
            ),
            remedy=f"raise routes.{route}.targets.response_time, or correct rehearsal.slow_answer_time",
        )
    approvals = config.routes[route].approvals
    able = who_may_answer(config, "", None)
    if approvals.points and config.access.operators and len(able) < approvals.quorum:
        yield ConfigFinding(
            about=route,
            problem=f"{approvals.quorum} must approve, and {len(able)} of the operators may",
            remedy=f"give more operators the role approve, or lower routes.{route}.approvals.quorum",
        )
    late = [one for one in approvals.remind_after if one >= approvals.deadline]
    if approvals.points and late:
        yield ConfigFinding(
            about=route,
            problem=f"its approvals end after {render_duration(approvals.deadline)}, before the reminder after "
            f"{render_duration(late[0])}",
            remedy=f"raise routes.{route}.approvals.deadline above the reminders, or drop them",
            grave=False,
        )


def impatient(config: Config) -> Iterator[ConfigFinding]:
    """Deadlines that are shorter than what they wait for."""
    immediate, gating = config.procedures.immediate, config.procedures.gating
    pairs = [
        ("immediate.abort_timeout", immediate.abort_timeout, "immediate.verify_timeout", immediate.verify_timeout),
        ("gating.ask_deadline", gating.ask_deadline, "gating.sample_interval", gating.sample_interval),
    ]
    for name, deadline, of, wait in pairs:
        if deadline <= wait:
            yield ConfigFinding(
                about="every route",
                problem=f"procedures.{name} ({render_duration(deadline)}) ends before procedures.{of} "
                f"({render_duration(wait)}) can",
                remedy=f"raise procedures.{name}, or lower procedures.{of}",
            )


def why_not_saved(world: World, told: Rehearsed, route: str, provider: str) -> ConfigFinding | None:
    """Why the route's users are not served well once the run against the provider's failure is over; None where they are."""
    about = f"{route} without {provider}"
    own = next(lacks(world.config, route, provider), None)
    now = in_force(told.policies, told.ended)[route]
    left = now.distribution.get(provider, 0)
    users = _minute_after(world, told).of_route(route)
    bad = why_not_good(users, world.config.targets(route)) if users is not None and users.requests else "no user came"
    if left and own is not None:
        return own
    if left:
        remedy = "look at the reason, and rehearse this route alone"
        return ConfigFinding(about=about, problem=f"{percent(left)} % stay on {provider}: {told.reason}", remedy=remedy)
    if bad is None and told.good:
        return None
    if bad is None:
        problem = f"its users would be served, but the run ends {told.outcome}: {told.reason}"
        return ConfigFinding(
            about=about, problem=problem, remedy="rehearse it alone, and look at its timeline", grave=False
        )
    return _overrun(world, now.distribution, about) or next(
        unmeetable(world.config, route),
        ConfigFinding(about=about, problem=bad, remedy="rehearse this route alone, and look at its samples"),
    )


def _minute_after(world: World, told: Rehearsed) -> Telemetry:
    """What users get by what is in force at the end, with the provider still down."""
    until = told.ended + MINUTE
    return world.told(told.policies, told.ended, until, until + world.config.gateway.request_timeout)


def _overrun(world: World, shares: Distribution, about: str) -> ConfigFinding | None:
    route = about.split(" ")[0]
    for name, share in sorted(shares.items(), key=lambda item: -item[1]):
        limit = world.takes(name)
        arrives = world.traffic(route) * share / 10_000
        if limit is not None and arrives > limit:
            return ConfigFinding(
                about=about,
                problem=f"{arrives:g} requests a minute would come to {name}, which declared that it takes {limit:g}",
                remedy=f"raise providers.{name}.capacity where it takes more, name somebody else in the chain, or shed load",
            )
    return None


def why_not_happy(told: Rehearsed, route: str) -> ConfigFinding | None:
    """Why a procedure did not complete though everybody was well and everybody agreed; None where it did."""
    if told.good:
        return None
    return ConfigFinding(
        about=f"{told.procedure} of {route}", problem=f"{told.outcome}: {told.reason}", remedy=_remedy(told)
    )


def _remedy(told: Rehearsed) -> str:
    reason = told.reason.casefold()
    remedies: Mapping[str, str] = {
        "requests": "lower procedures.gating.minimum_requests, hold longer, or send some of our own (synthetic_per_sample)",
        "capacity": "raise the declared capacity where the provider takes more, or shorten what is moved",
        "target": "correct the route's targets or the provider's limits: they are missed with everybody well",
        "nobody": "see who is asked and how long: approvals.deadline, procedures.gating.ask_deadline, access.operators",
    }
    return next(
        (remedy for word, remedy in remedies.items() if word in reason),
        f"`failoverctl rehearse {told.procedure}` shows it step by step",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of `rehearse --all`: what was tried, whether it would do, in how long, and what is wrong."""

    what: str
    route: str
    provider: str
    outcome: str
    seconds: float
    finding: ConfigFinding | None
    how: str = ""

    @property
    def good(self) -> bool:
        return self.finding is None or not self.finding.grave


@dataclass(frozen=True, slots=True, kw_only=True)
class Everything:
    """`rehearse --all`: a line each, what is wrong beside, and whether the configuration passes."""

    rows: Sequence[Row]
    findings: Sequence[ConfigFinding]
    wall_seconds: float
    assumed: str = ""

    @property
    def passed(self) -> bool:
        return not any(finding.grave for finding in self.findings)
