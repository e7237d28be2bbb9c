"""What the templates draw: bars, runs with what may be ordered of them, providers, trends. No HTML here."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from textwrap import shorten

from failover import drill, kinds
from failover.config import Config
from failover.distribution import WHOLE, apportion, percent
from failover.driving import Verb
from failover.errors import FailoverError
from failover.health import Health, Verdict
from failover.incident import RunRecord
from failover.kpis import Kpi, measure
from failover.policy import Mode, TrafficPolicy
from failover.roles import Act, Person
from failover.telemetry import Telemetry
from failover.units import milliseconds
from starter.looking import Seen
from starter.runs.memory import OpenRun
from starter.runs.situation import waiting

PATTERNS = 5
"""Fillings of bars, which must be told apart without colours too."""

LABELS: Mapping[Verb, str] = {
    Verb.APPROVE: "Approve",
    Verb.REJECT: "Reject",
    Verb.ABORT: "Abort",
    Verb.PAUSE: "Pause",
    Verb.RESUME: "Resume",
    Verb.ADVANCE: "Advance",
    Verb.ESCALATE: "Escalate",
    Verb.RETRY: "Retry",
    Verb.SET_PERCENT: "Set percent",
}

AT_ONCE = frozenset({Verb.APPROVE, Verb.PAUSE, Verb.RESUME})
"""Orders given by one press: what an approval means stands above its button, and the others move no traffic."""

SHOWN_EVENTS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """A part of a bar, in basis points of its width; `pattern` is the provider's own on every bar."""

    name: str
    percent: str
    x: int
    width: int
    pattern: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """A route's traffic: the shares in force, and what the first tries of the last minute really were."""

    route: str
    policy: Sequence[Segment]
    served: Sequence[Segment]
    mode: str
    degraded: bool
    reason: str
    by: str
    at: datetime
    users: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """A provider: its health in a word, why, and since when that is known."""

    name: str
    health: str
    level: str
    condition: str
    reason: str
    at: datetime | None
    share: str
    pattern: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Button:
    """An order that may be given now. `at_once`: by one press; else after a page that says what will happen."""

    verb: str
    label: str
    look: str
    at_once: bool
    fields: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    text: str
    state: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunCard:
    """A run under way. `until`: when its present wait is over, if the gates pass."""

    run: str
    procedure: str
    subject: str
    phase: str
    reason: str
    digest: str
    started_at: datetime
    steps: Sequence[Step]
    gates: Sequence[tuple[str, str, str]]
    until: datetime | None
    waiting: str
    deadline: datetime | None
    default: str
    buttons: Sequence[Button]
    events: Sequence[tuple[datetime, str, str]]
    silent: bool


class Fillings:
    """The fillings of providers: by the order of the configuration, the same on every bar and page."""

    def __init__(self, config: Config) -> None:
        self._numbers = {name: number % PATTERNS for number, name in enumerate(config.providers)}

    def of(self, provider: str) -> int:
        return self._numbers.get(provider, PATTERNS - 1)

    def segments(self, shares: Mapping[str, int], *, counted: bool = False) -> list[Segment]:
        """The segments of shares in basis points, in the configuration's order; who has nothing is named too.

        `counted`: they are of counts, and finer than a percent they say nothing.
        """
        found, x = [], 0
        for name in sorted(shares, key=lambda one: (self._numbers.get(one, PATTERNS), one)):
            width = shares[name]
            said = str(round(width / 100)) if counted else percent(width)
            found.append(Segment(name=name, percent=said, x=x, width=width, pattern=self.of(name)))
            x += width
        return found


def bars(seen: Seen, fillings: Fillings) -> list[Bar]:
    """The bars of the shares, one a route."""
    if isinstance(seen.policies, FailoverError):
        return []
    served = None if isinstance(seen.served, FailoverError) else seen.served
    return [_bar(policy, served, fillings) for policy in seen.policies]


def _bar(policy: TrafficPolicy, served: Telemetry | None, fillings: Fillings) -> Bar:
    return Bar(
        route=policy.route,
        policy=fillings.segments(policy.distribution),
        served=_served(served, policy.route, fillings),
        mode=policy.mode.value,
        degraded=policy.mode is Mode.DEGRADED,
        reason=shorten(policy.reason, 200, placeholder=" …"),
        by=policy.changed_by.workflow_id or policy.changed_by.actor,
        at=policy.changed_at,
        users=_users(served, policy.route),
    )


def _served(served: Telemetry | None, route: str, fillings: Fillings) -> list[Segment]:
    tries = served.first_tries(route) if served else {}
    return fillings.segments(apportion(WHOLE, tries), counted=True) if any(tries.values()) else []


def _users(served: Telemetry | None, route: str) -> str:
    window = served.of_route(route) if served else None
    if window is None or not window.requests:
        return "No users in the last minute" if served else "What users get is not known"
    bad = window.failed + window.lost
    p95 = f", P95 {milliseconds(window.latency_p95)} ms" if window.latency_p95 is not None else ""
    return f"{window.requests} requests in the last minute, {100 * bad / window.requests:.1f} % failed{p95}"


def cards(seen: Seen, config: Config, fillings: Fillings) -> list[Card]:
    """One card a configured provider, whether or not anything is known of it; those that are not well first."""
    known = {} if isinstance(seen.verdicts, FailoverError) else {one.provider: one for one in seen.verdicts}
    policies = [] if isinstance(seen.policies, FailoverError) else seen.policies
    found = [_card(name, known.get(name), policies, fillings) for name in config.providers]
    return sorted(found, key=lambda card: ("bad", "doubt", "good").index(card.level))


def _card(name: str, verdict: Verdict | None, policies: Sequence[TrafficPolicy], fillings: Fillings) -> Card:
    shares = [f"{percent(points)} % of {one.route}" for one in policies if (points := one.distribution.get(name))]
    well = verdict is not None and verdict.health is Health.HEALTHY and verdict.condition.value == "healthy"
    return Card(
        name=name,
        health=verdict.health.value.capitalize() if verdict else "Unknown",
        level="bad" if verdict and verdict.down else "good" if well else "doubt",
        condition=verdict.condition.value.replace("_", " ") if verdict else "no verdict",
        reason=verdict.reason if verdict else "nothing is known of it here",
        at=verdict.at if verdict else None,
        share=", ".join(shares) or ("no traffic" if policies else "share not known"),
        pattern=fillings.of(name),
    )


def run_cards(seen: Seen, person: Person) -> list[RunCard]:
    """The cards of the open runs, those that wait for a person first."""
    runs = [] if isinstance(seen.runs, FailoverError) else seen.runs
    return sorted((run_card(run, person) for run in runs), key=lambda card: not card.waiting)


def run_card(run: OpenRun, person: Person) -> RunCard:
    """A run, with the buttons that this person may press."""
    now, status, wanted = run.look.situation, run.look.status, waiting(run.workflow_id, run.look.situation)
    holds = now.stage == "holding" and now.left_seconds and not now.paused and wanted is None
    return RunCard(
        run=run.workflow_id,
        procedure=spaced(run.procedure),
        subject=now.subject if now.subject != run.workflow_id else "",
        phase=_phase(run),
        reason=status.reason if status else "",
        digest=now.digest,
        started_at=run.started_at,
        steps=[Step(text=text, state=_state(number, now.step)) for number, text in enumerate(now.steps)],
        gates=[(gate.name, gate.verdict, gate.reason) for gate in now.gates],
        until=_whole(run.look.at + timedelta(seconds=now.left_seconds)) if holds else None,
        waiting=wanted.text if wanted else "",
        deadline=wanted.deadline if wanted else None,
        default=wanted.default if wanted else "",
        buttons=buttons(run, person),
        events=[(entry.at, entry.step, entry.text) for entry in run.look.timeline[-SHOWN_EVENTS:]],
        silent=status is None,
    )


def _whole(at: datetime) -> datetime:
    """A clock that is counted down by reads of a second: finer than that it would seem to change at each look."""
    return at.replace(microsecond=0)


def _phase(run: OpenRun) -> str:
    now, status = run.look.situation, run.look.status
    if now.frozen:
        return "paused"
    if waiting(run.workflow_id, now) is not None:
        # A run that asks people has not moved on from the stage before, which would say the wrong thing.
        return "waiting for a person"
    return now.stage or (status.phase if status else "")


def _state(number: int, at: int) -> str:
    return "done" if number < at else "now" if number == at else "later"


def accepted(run: OpenRun) -> list[Verb]:
    """The orders that the run would take now; an immediate failover takes none, and can be aborted all the same."""
    if run.procedure == kinds.IMMEDIATE:
        return [Verb.ABORT]
    return [Verb(name) for name in run.look.situation.accepted_now]


_ORDER = (
    Verb.APPROVE,
    Verb.REJECT,
    Verb.RESUME,
    Verb.RETRY,
    Verb.SET_PERCENT,
    Verb.PAUSE,
    Verb.ADVANCE,
    Verb.ESCALATE,
    Verb.ABORT,
)


def buttons(run: OpenRun, person: Person) -> list[Button]:
    """What the run takes now, of which this person may order."""
    taken = accepted(run)
    approval = run.look.situation.approval
    bound = {"step": approval.step, "digest": approval.digest} if approval else {}
    return [
        Button(
            verb=verb.value,
            label=LABELS[verb],
            look="danger" if verb in (Verb.ABORT, Verb.REJECT) else "primary" if verb is Verb.APPROVE else "plain",
            at_once=verb in AT_ONCE,
            fields=bound if verb in (Verb.APPROVE, Verb.REJECT) else {},
        )
        for verb in _ORDER
        if verb in taken and person.why_not(Act(verb.value)) is None
    ]


def who_may(act: Act, config: Config) -> list[str]:
    """Operators who may do it, for somebody who may not."""
    people = {name: Person(name=name, roles=frozenset(one.roles)) for name, one in config.access.operators.items()}
    return sorted(name for name, person in people.items() if person.why_not(act) is None)


def spaced(procedure: str) -> str:
    """A workflow type in words: "Immediate failover"."""
    words = "".join(f" {letter.lower()}" if letter.isupper() else letter for letter in procedure).strip()
    return words[:1].upper() + words[1:]


@dataclass(frozen=True, slots=True, kw_only=True)
class Incident:
    """A line of the list of incidents."""

    name: str
    record: RunRecord
    procedure: str
    level: str
    took: timedelta | None


_LEVELS: Mapping[str, str] = {
    "COMPLETED": "good",
    "ROLLED_BACK": "good",
    "PASSED": "good",
    "NEEDS_HUMAN": "bad",
    "FAILED": "bad",
}
"""Outcome → level; of the others it depends on what was wanted."""


def incident(name: str, record: RunRecord) -> Incident:
    closed = record.moments.closed
    return Incident(
        name=name,
        record=record,
        procedure=spaced(record.procedure),
        level=_LEVELS.get(record.outcome.value, "doubt"),
        took=closed - record.moments.decided if closed else None,
    )


def drills(known: Iterable[tuple[str, RunRecord]]) -> list[Incident]:
    """The drills on record, newest first."""
    return [incident(name, record) for name, record in known if record.procedure == drill.NAME]


def passed(held: Sequence[Incident]) -> dict[str, datetime]:
    """Provider → when a drill of it passed last."""
    last: dict[str, datetime] = {}
    for one in held:
        if one.record.outcome.value == "PASSED":
            last.setdefault(one.record.provider, one.record.moments.decided)
    return dict(sorted(last.items()))


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    x: int
    y: int
    met: bool
    name: str
    said: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Trend:
    """One indicator over the incidents, oldest first, in a picture of 300 by 90; `target_y` is where its target lies."""

    name: str
    target: str
    met: int
    known: int
    last: str
    points: Sequence[Point]
    target_y: int


WIDE, HIGH = 300, 90


def trends(incidents: Iterable[tuple[str, RunRecord]]) -> list[Trend]:
    """The trends of immediate failovers, which the targets bind; indicators that were never known are left out."""
    measured = [
        (name, record, {kpi.name: kpi for kpi in measure(record)})
        for name, record in sorted(incidents, key=lambda item: item[1].moments.decided)
        if record.procedure == kinds.IMMEDIATE and record.moments.in_force is not None and not record.is_drill
    ]
    names = list(dict.fromkeys(kpi for _, _, kpis in measured for kpi in kpis))
    found = [_trend(kpi, [(name, record, kpis[kpi]) for name, record, kpis in measured]) for kpi in names]
    return [trend for trend in found if trend.known]


def _trend(kpi: str, values: Sequence[tuple[str, RunRecord, Kpi]]) -> Trend:
    known = [(name, record, one) for name, record, one in values if one.value is not None]
    most = max([1.25 * values[-1][2].target, *(1.1 * (one.value or 0) for _, _, one in known)])
    gap = WIDE / max(1, len(known))
    return Trend(
        name=kpi,
        target=values[-1][2].render_target(),
        met=sum(1 for _, _, one in known if one.met),
        known=len(known),
        last=known[-1][2].render() if known else "unknown",
        points=[
            Point(
                x=round(gap * (number + 0.5)),
                y=_height(one.value or 0, most),
                met=bool(one.met),
                name=name,
                said=f"{record.moments.decided:%Y-%m-%d %H:%M} {record.provider}: {one.render()}",
            )
            for number, (name, record, one) in enumerate(known)
        ],
        target_y=_height(values[-1][2].target, most),
    )


def _height(value: float, most: float) -> int:
    return round(HIGH - 5 - (HIGH - 10) * max(0.0, value) / most)
