"""The incident report of one run; every figure comes from its evidence record."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import groupby
from typing import Any

from pydantic import TypeAdapter

from failover.distribution import Distribution, percent, render
from failover.incident import Outcome, RouteShift, RunRecord, Sample
from failover.kinds import RAMPS
from failover.kpis import Kpi, binds, clocks, measure
from failover.reports.document import (
    Block,
    Bullets,
    Command,
    Drawing,
    Mono,
    Paragraph,
    Piece,
    Report,
    Section,
    Strong,
    Table,
    Tone,
    text,
)
from failover.reports.phases import failures_of, phases, providers_of
from failover.reports.plan import LESS, PUT_BACK, StepTaken, taken
from failover.reports.series import plots
from failover.reports.words import (
    TONES,
    about,
    clock,
    kpi_table,
    latency,
    offset,
    percent_of,
    seconds,
    zero_of,
)
from failover.units import count, render_duration

SHOWN_ROUTES = 50
BAR = 20

HANDLED = (Outcome.COMPLETED, Outcome.ROLLED_BACK)

_RECORD = TypeAdapter(RunRecord)


def incident(record: RunRecord, beside: Mapping[str, Any] | None = None) -> Report:
    """The whole report. The first paragraph answers: is it handled, and what do I need to do?

    `beside`: what other parts left in the run's folder, by file name, read from JSON. Where one holds
    `{"report": {"title": …, "lines": […]}}`, it is a section of its own; the others are named.
    """
    return Report(
        title=f"{'DRILL: ' if record.is_drill else ''}{record.procedure}: {about(record)}, {record.outcome.value}",
        sections=[
            Section("", answer(record)),
            Section("Cause", [_cause(record)]),
            _measured(record),
            Section("Traffic", _traffic(record)),
            Section("Over time", plots(record)),
            Section("Timeline (UTC)", [_timeline(record)]),
            Section("Users' side", _samples(record.samples), folded=True),
            Section("Tries at the providers", _tries(record)),
            *_told_beside(beside or {}),
            Section("Emergency contacts", _listed([f"{name}: {who}" for name, who in sorted(record.contacts.items())])),
            Section("What did not finish", _listed(record.unfinished_helpers)),
            Section("Notes", _listed(record.notes)),
            Section("Run", _identity(record)),
        ],
        figures={
            "record": _RECORD.dump_python(record, mode="json"),
            "kpis": [as_figures(kpi) for kpi in measure(record)],
            "clocks": clock_figures(record),
            "beside": dict(beside or {}),
        },
        file_name=f"failover-incident-{record.moments.decided:%Y%m%d-%H%M%S}",
    )


def as_figures(kpi: Kpi) -> dict[str, Any]:
    """One indicator for machines."""
    return {"name": kpi.name, "value": kpi.value, "target": kpi.target, "unit": kpi.unit, "met": kpi.met}


def clock_figures(record: RunRecord) -> dict[str, float]:
    told = clocks(record)
    return {
        "total_seconds": told.total.total_seconds(),
        "active_seconds": told.active.total_seconds(),
        "waiting_for_people_seconds": told.waiting_for_people.total_seconds(),
    }


def answer(record: RunRecord) -> list[Block]:
    """Say whether it is handled, and what people need to do."""
    if record.outcome is Outcome.NEEDS_HUMAN:
        needed = Paragraph([Strong("A person is needed."), f" {record.reason}"], Tone.BAD)
        return [needed, text("Run:"), Command(record.command)] if record.command else [needed]
    if record.is_drill:
        lead = f"{record.outcome.value}. This was a drill: the failure was made up."
        return [
            Paragraph(
                [Strong(lead), f" {record.reason}"], Tone.GOOD if record.outcome is Outcome.PASSED else Tone.PLAIN
            )
        ]
    handled = record.outcome in HANDLED
    lead = "Handled; nothing needs to be done now." if handled else record.outcome.value
    return [Paragraph([Strong(lead), f" {record.reason}"], Tone.GOOD if handled else Tone.PLAIN)]


def _cause(record: RunRecord) -> Paragraph:
    verdict, by = record.verdict, record.requested_by or "hand"
    why = record.request_reason or "no reason was given"
    if verdict is None:
        return text(f"Started by {by} ({record.trigger.value}): {why}.")
    kind: list[Piece] = [" Classified as ", Strong(verdict.cause.kind.value), "."] if verdict.cause else []
    found = Strong(verdict.condition.value.replace("_", " "))
    more = record.request_reason not in ("", verdict.reason)
    started = f" Started by {by} ({record.trigger.value})" + (f": {record.request_reason}" if more else "")
    return Paragraph([f"{record.provider} was found ", found, f": {verdict.reason}.", *kind, f"{started}."])


def _measured(record: RunRecord) -> Section:
    """The indicators where they bind; a ramp is measured against its own plan, and of others the time is told."""
    if binds(record):
        return Section("Key performance indicators", [kpi_table(measure(record)), _clocks(record)])
    if record.procedure in RAMPS:
        return Section("Against its plan", [*plan_blocks(record), _clocks(record)])
    return Section("Time", [_clocks(record)])


def plan_blocks(record: RunRecord) -> list[Block]:
    steps = taken(record)
    if not steps:
        planned = [Bullets([[line] for line in record.plan])] if record.plan else []
        return [text("No step was planned." if not planned else "The plan:"), *planned]
    rows = [
        (
            step.planned.name,
            render(step.shares if step.shares is not None else step.planned.shares),
            clock(step.set_at) if step.set_at else "–",
            render_duration(step.planned.hold),
            seconds(step.held) if step.held is not None else "–",
            step.went,
        )
        for step in steps
    ]
    tones = {number: _tone(step) for number, step in enumerate(steps)}
    reached = sum(step.set_at is not None for step in steps)
    table = Table(("step", "shares", "set at", "planned", "took", ""), rows, tones)
    return [text(f"{reached} of {len(steps)} steps were taken."), table, *_owed(record)]


def _tone(step: StepTaken) -> Tone:
    if step.as_planned:
        return Tone.GOOD
    return Tone.BAD if step.went in (PUT_BACK, LESS) else Tone.PLAIN


def _owed(record: RunRecord) -> list[Block]:
    """What users got while it moved, against what the route owes."""
    targets = record.targets
    moved = [phase.users for phase in phases(record) if phase.name in ("settling", "while it moved", "after")]
    requests, pending = sum(one.requests for one in moved), sum(one.pending for one in moved)
    if targets is None or not requests:
        return []
    good = requests - sum(one.failed + one.empty for one in moved)
    served = 100 * good / (requests + pending) >= targets.success_percent
    could_be = 100 * (good + pending) / (requests + pending) >= targets.success_percent
    waiting = f", {pending} have not ended" if pending else ""
    slowest = max((one.latency_p95 for one in moved if one.latency_p95 is not None), default=None)
    quick = None if slowest is None else slowest <= targets.response_time
    rows = [
        ("success rate", f"{percent_of(good, requests)}{waiting}", f"at least {targets.success_percent:g} %"),
        ("P95, mean over slices", latency(slowest), f"at most {latency(targets.response_time)}"),
    ]
    told = [served if served == could_be else None, quick]
    return [
        Table(
            ("while it moved", "users got", "target", ""),
            [(*row, {True: "met", False: "MISSED", None: "unknown"}[met]) for row, met in zip(rows, told, strict=True)],
            {number: TONES[met] for number, met in enumerate(told)},
        )
    ]


def _clocks(record: RunRecord) -> Table:
    told = clocks(record)
    return Table(
        ("clock", "time"),
        [
            ("total", seconds(told.total)),
            ("active", seconds(told.active)),
            ("waiting for people", seconds(told.waiting_for_people)),
        ],
    )


def _traffic(record: RunRecord) -> list[Block]:
    routes = record.routes
    if not routes:
        return [text("No traffic was moved.")]
    rows = [
        (shift.route, render(shift.before), render(shift.after), shift.target or "", shift.revision)
        for shift in routes[:SHOWN_ROUTES]
    ]
    more = len(routes) - SHOWN_ROUTES
    return [
        Table(("route", "before", "after", "target", "revision"), rows),
        *([text(f"… and {more} more routes.")] if more > 0 else []),
        text(f"Route {routes[0].route}:"),
        _bars(routes[0]),
        *_writes(record),
    ]


def _bars(shift: RouteShift) -> Drawing:
    return Drawing(f"{_bar('before', shift.before)}\n{_bar('after', shift.after)}")


def _bar(when: str, shares: Distribution) -> str:
    lines = [
        f"{when:6}  {name:12} {'█' * round(share * BAR / 10_000):{BAR}} {percent(share):>5} %"
        for name, share in sorted(shares.items())
    ]
    return "\n".join(lines)


def _writes(record: RunRecord) -> list[Block]:
    if not record.writes:
        return []
    zero, shown = zero_of(record), record.writes[:SHOWN_ROUTES]
    rows = [
        (
            clock(one.at),
            offset(one.at, zero),
            one.route,
            one.step,
            render(one.shares),
            one.mode.value if one.mode else "",
        )
        for one in shown
    ]
    more = len(record.writes) - len(shown)
    return [
        text(
            f"The policy over time, {count(len(record.writes), 'change')}{f' (the first {len(shown)})' if more else ''}:"
        ),
        Table(("time", "after", "route", "step", "shares since", "service"), rows),
    ]


def _timeline(record: RunRecord) -> Bullets:
    zero = zero_of(record)
    named = [("first bad sample", record.moments.first_bad), ("found unhealthy", record.moments.unhealthy)]
    lines = [_happened(at, zero, "detect", said) for said, at in named if at is not None]
    for _, alike in groupby(record.timeline, key=lambda entry: (entry.step, entry.text)):
        first, *more = alike
        again = f" ({len(more) + 1} times, until {clock(more[-1].at)})" if more else ""
        lines.append(_happened(first.at, zero, first.step, first.text + again))
    return Bullets(lines)


def _happened(at: datetime, zero: datetime, step: str, said: str) -> list[Piece]:
    return [Mono(clock(at)), f" {offset(at, zero)} ", Strong(step), f": {said}"]


def _samples(samples: Sequence[Sample]) -> list[Block]:
    rows = [
        (
            clock(sample.at),
            str(sample.requests),
            str(sample.failed),
            str(sample.lost),
            latency(sample.latency_p95),
            "good" if sample.good else sample.reason,
        )
        for sample in samples
    ]
    return [Table(("time", "requests", "failed", "lost", "P95", "verdict"), rows)] if rows else []


def _tries(record: RunRecord) -> list[Block]:
    """What was counted at each provider over the whole of the record, before any retry."""
    rows = []
    for name in providers_of(record):
        windows = [one for each in record.course for one in each.providers if one.provider == name]
        tries, failed = sum(one.tries for one in windows), sum(one.failed for one in windows)
        kinds = ", ".join(f"{kind.value} {count}" for kind, count in failures_of(record, name).items())
        rows.append((name, str(tries), str(failed), percent_of(failed, tries), kinds or "–"))
    return [Table(("provider", "tries", "failed", "rate", "classified as"), rows)] if rows else []


def _told_beside(beside: Mapping[str, Any]) -> list[Section]:
    told, named = [], []
    for name, content in sorted(beside.items()):
        part = content.get("report") if isinstance(content, Mapping) else None
        if isinstance(part, Mapping) and isinstance(part.get("lines"), list) and part["lines"]:
            told.append(Section(str(part.get("title") or name), [Bullets([[str(line)] for line in part["lines"]])]))
        else:
            named.append(name)
    if named:
        told.append(Section("Beside this report", [Bullets([[Mono(name)] for name in named])]))
    return told


def _listed(lines: Sequence[str]) -> list[Block]:
    return [Bullets([[line] for line in lines])] if lines else []


def _identity(record: RunRecord) -> list[Block]:
    lines: list[list[Piece]] = [
        ["workflow ", Mono(record.workflow_id), ", run ", Mono(record.run_id)],
    ]
    if record.digest:
        lines.append(["plan ", Mono(record.digest)])
    if record.undoes:
        lines.append(["undoes ", Mono(record.undoes)])
    return [Bullets(lines)]
