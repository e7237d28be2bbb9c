"""The incident report of one run, in Markdown; every figure comes from its evidence record."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from itertools import groupby

from failover.distribution import Distribution, percent, render
from failover.incident import Outcome, RouteShift, RunRecord, Sample
from failover.kpis import Kpi, clocks, measure
from failover.units import milliseconds

SHOWN_ROUTES = 50
BAR = 20

_MET = {True: "met", False: "MISSED", None: "unknown"}


def markdown(record: RunRecord) -> str:
    """The whole report. The first paragraph answers: is it handled, and what do I need to do?"""
    sections = [
        _title(record),
        _answer(record),
        _cause(record),
        _kpis(measure(record)),
        _routes(record.routes),
        _timeline(record),
        _samples(record.samples),
        _notes(record),
        _identity(record),
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def file_name(record: RunRecord) -> str:
    """ "failover-incident-20260131-120000.md", of the moment at which the run was decided."""
    return f"failover-incident-{record.moments.decided:%Y%m%d-%H%M%S}.md"


def _title(record: RunRecord) -> str:
    drill = "DRILL: " if record.is_drill else ""
    return f"# {drill}{record.procedure}: {record.provider}, {record.outcome.value}"


def _answer(record: RunRecord) -> str:
    if record.outcome is Outcome.NEEDS_HUMAN:
        command = f"\n\nRun:\n\n```bash\n{record.command}\n```" if record.command else ""
        return f"**A person is needed.** {record.reason}{command}"
    if record.is_drill:
        return f"**{record.outcome.value}. This was a drill: the failure was made up.** {record.reason}"
    handled = record.outcome in (Outcome.COMPLETED, Outcome.ROLLED_BACK)
    return f"**{'Handled; nothing needs to be done now.' if handled else record.outcome.value}** {record.reason}"


def _cause(record: RunRecord) -> str:
    verdict = record.verdict
    if verdict is None:
        why = record.request_reason or "no reason was given"
        return f"## Cause\n\nStarted by {record.requested_by or 'hand'}: {why}."
    kind = f" Classified as **{verdict.cause.kind.value}**." if verdict.cause else ""
    return (
        f"## Cause\n\n{record.provider} was found **{verdict.condition.value.replace('_', ' ')}**: "
        f"{verdict.reason}.{kind} Started by {record.requested_by or 'hand'} ({record.trigger.value})."
    )


def _kpis(kpis: Sequence[Kpi]) -> str:
    rows = [(kpi.name, kpi.render(), kpi.render_target(), _MET[kpi.met], kpi.explanation) for kpi in kpis]
    return "## Key performance indicators\n\n" + _table(("indicator", "this run", "target", "", "from → to"), rows)


def _routes(routes: Sequence[RouteShift]) -> str:
    if not routes:
        return "## Traffic\n\nNo traffic was moved."
    rows = [
        (shift.route, render(shift.before), render(shift.after), shift.target or "", shift.revision)
        for shift in routes[:SHOWN_ROUTES]
    ]
    more = f"\n\n… and {len(routes) - SHOWN_ROUTES} more routes." if len(routes) > SHOWN_ROUTES else ""
    first = routes[0]
    bars = f"```text\n{_bars('before', first.before)}\n{_bars('after', first.after)}\n```"
    table = _table(("route", "before", "after", "target", "revision"), rows)
    return f"## Traffic\n\n{table}{more}\n\nRoute {first.route}:\n\n{bars}"


def _bars(when: str, shares: Distribution) -> str:
    lines = [
        f"{when:6}  {name:12} {'█' * round(share * BAR / 10_000):{BAR}} {percent(share):>5} %"
        for name, share in sorted(shares.items())
    ]
    return "\n".join(lines)


def _timeline(record: RunRecord) -> str:
    zero = record.moments.first_bad or record.moments.decided
    named = [
        ("first bad sample", record.moments.first_bad),
        ("found unhealthy", record.moments.unhealthy),
    ]
    lines = [_happened(at, zero, "detect", text) for text, at in named if at is not None]
    for _, alike in groupby(record.timeline, key=lambda entry: (entry.step, entry.text)):
        first, *more = alike
        again = f" ({len(more) + 1} times, until {_clock(more[-1].at)})" if more else ""
        lines.append(_happened(first.at, zero, first.step, first.text + again))
    return "\n".join(["## Timeline (UTC)", "", *lines])


def _happened(at: datetime, zero: datetime, step: str, text: str) -> str:
    return f"- `{_clock(at)}` {_offset(at, zero)} **{step}**: {text}"


def _samples(samples: Sequence[Sample]) -> str:
    if not samples:
        return ""
    rows = [
        (
            _clock(sample.at),
            str(sample.requests),
            str(sample.failed),
            str(sample.lost),
            f"{milliseconds(sample.latency_p95)} ms" if sample.latency_p95 is not None else "–",
            "good" if sample.good else sample.reason,
        )
        for sample in samples
    ]
    return "## Users' side\n\n" + _table(("time", "requests", "failed", "lost", "P95", "verdict"), rows)


def _notes(record: RunRecord) -> str:
    lines = [f"- {helper}" for helper in record.unfinished_helpers]
    unfinished = "## What did not finish\n\n" + "\n".join(lines) if lines else ""
    notes = "## Notes\n\n" + "\n".join(f"- {note}" for note in record.notes) if record.notes else ""
    return "\n\n".join(part for part in (unfinished, notes) if part)


def _identity(record: RunRecord) -> str:
    told = clocks(record)
    return (
        f"## Run\n\n- workflow `{record.workflow_id}`, run `{record.run_id}`\n"
        f"- clocks: total {told.total.total_seconds():.1f} s, active {told.active.total_seconds():.1f} s, "
        f"waiting for people {told.waiting_for_people.total_seconds():.1f} s"
    )


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"

    return "\n".join([line(head), "|" + " --- |" * len(head), *map(line, rows)])


def _clock(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S}"


def _offset(at: datetime, zero: datetime) -> str:
    return f"{(at - zero).total_seconds():+.1f} s"
