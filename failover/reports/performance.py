"""What an incident did to performance: users and providers in each phase, against the minute before and the baselines."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from failover.baselines import PerformanceBaseline, age, is_stale, is_younger
from failover.incident import RunRecord
from failover.kinds import FAILOVERS
from failover.kpis import Kpi, measure
from failover.reports.document import Block, Paragraph, Report, Section, Strong, Table, Tone, text
from failover.reports.incident import as_figures
from failover.reports.phases import Phase, Tally, phases, providers_of
from failover.reports.series import plots
from failover.reports.words import about, clock, kpi_table, latency, percent_of, seconds, zero_of

IMPACT = ("request loss", "user error rate", "degradation")


@dataclass(frozen=True, slots=True, kw_only=True)
class Performance:
    """What is reported of: the runs (newest first). `baselines` None: none were asked for.

    `stale_after` is the age from which a baseline is warned of.
    """

    runs: Sequence[RunRecord]
    said: str
    file_name: str
    baselines: Sequence[PerformanceBaseline] | None = None
    stale_after: timedelta = timedelta(days=7)


def performance_impact(asked: Performance) -> Report:
    sections = [Section("", [_summary(asked)])]
    if len(asked.runs) > 1:
        sections.append(Section("Incidents", [_incidents(asked.runs)]))
    for record in asked.runs[:1]:
        sections += _one(record, asked)
    return Report(
        title=f"Performance impact: {asked.said}",
        sections=sections,
        figures={"period": asked.said, "runs": [_figures(record, asked) for record in asked.runs]},
        file_name=asked.file_name,
    )


def impact_kpis(record: RunRecord) -> list[Kpi]:
    return [kpi for kpi in measure(record) if kpi.name in IMPACT]


def lasted(record: RunRecord) -> timedelta | None:
    """The time from the first bad sample (or the decision) to the restoration; None if nothing was restored."""
    return record.moments.restored - zero_of(record) if record.moments.restored else None


def _summary(asked: Performance) -> Paragraph:
    if not asked.runs:
        return text(f"No incident is on record for {asked.said}.")
    record = asked.runs[0]
    missed = [kpi.name for kpi in impact_kpis(record) if kpi.met is False]
    unknown = [kpi.name for kpi in impact_kpis(record) if kpi.met is None]
    span = lasted(record)
    lead = f"{about(record)}: " + (
        f"restored after {seconds(span)}." if span is not None else "not restored by this run."
    )
    said = f" Missed: {', '.join(missed)}." if missed else ""
    said += f" Not known: {', '.join(unknown)}." if unknown else ""
    good = span is not None and not missed and not unknown
    told = " Every impact target was met." if good else said
    return Paragraph([Strong(lead), told], Tone.BAD if missed else Tone.GOOD if good else Tone.PLAIN)


def _incidents(runs: Sequence[RunRecord]) -> Table:
    rows = []
    for record in runs:
        span, found = lasted(record), record.impact
        rows.append(
            (
                clock(record.moments.decided),
                record.procedure,
                about(record),
                seconds(span) if span is not None else "–",
                str(found.requests) if found else "–",
                str(found.failed) if found else "–",
                str(found.lost) if found else "–",
                *(kpi.render() for kpi in impact_kpis(record)),
            )
        )
    return Table(("decided", "procedure", "about", "lasted", "requests", "failed", "lost", *IMPACT), rows)


def _one(record: RunRecord, asked: Performance) -> list[Section]:
    found = phases(record)
    return [
        Section("Impact against targets", [kpi_table(impact_kpis(record))] if record.procedure in FAILOVERS else []),
        Section("Users in each phase", [_users(found)] if found else [text("Nothing was counted over this run.")]),
        Section("Over time", plots(record)),
        Section("Providers in each phase", _providers(record, found)),
        Section("Against the baselines", _baselines(record, found, asked)),
    ]


def _users(found: Sequence[Phase]) -> Table:
    first = found[0].users if found[0].name == "before" else Tally()
    rows = []
    for phase in found:
        one = phase.users
        rows.append((phase.name, f"{clock(phase.since)} to {phase.until:%H:%M:%S}", *_tally(one), _slower(one, first)))
    head = (
        "phase",
        "time (UTC)",
        "requests",
        "failed",
        "error rate",
        "lost",
        "not ended",
        "median",
        "P95",
        "P95 to before",
    )
    return Table(head, rows)


def _tally(one: Tally) -> tuple[str, ...]:
    bad = one.failed + one.empty
    return (
        str(one.requests),
        str(bad),
        percent_of(bad, one.requests),
        str(one.lost),
        str(one.pending),
        latency(one.latency_p50),
        latency(one.latency_p95),
    )


def _slower(one: Tally, before: Tally) -> str:
    if one == before or one.latency_p95 is None or not before.latency_p95:
        return "–"
    return f"{100 * (one.latency_p95 / before.latency_p95 - 1):+.1f} %"


def _providers(record: RunRecord, found: Sequence[Phase]) -> list[Block]:
    rows = [
        (
            name,
            phase.name,
            str(one.requests),
            str(one.failed),
            percent_of(one.failed, one.requests),
            latency(one.latency_p95),
        )
        for name in providers_of(record)
        for phase in found
        if (one := phase.provider(name)).requests
    ]
    return [Table(("provider", "phase", "tries", "failed", "rate", "P95"), rows)] if rows else []


def _baselines(record: RunRecord, found: Sequence[Phase], asked: Performance) -> list[Block]:
    """The last phase, against what was recorded while all was well."""
    if asked.baselines is None:
        return []
    compared = _compared(record, found, asked)
    if not compared:
        none = "No baseline of what served is recorded: they are taken in healthy time, while the health check runs."
        return [Paragraph([Strong("Nothing to compare with. "), none], Tone.BAD)]
    rows = [
        (one.subject, latency(one.latency_p95), latency(p95), f"{percent:+.1f} %" if percent is not None else "–", old)
        for one, p95, percent, old, _ in compared
    ]
    tones = {number: Tone.BAD for number, (*_, bad) in enumerate(compared) if bad}
    return [
        text(f"P95 of the last phase ({found[-1].name}), a mean over slices, beside the P95 of healthy time."),
        Table(("what", "baseline P95", "P95", "difference", "baseline"), rows, tones),
    ]


Row = tuple[PerformanceBaseline, timedelta | None, float | None, str, bool]


def _compared(record: RunRecord, found: Sequence[Phase], asked: Performance) -> list[Row]:
    rows: list[Row] = []
    for one in asked.baselines or ():
        if one.route not in record.concerns or not found:
            continue
        tally = found[-1].provider(one.provider) if one.provider else found[-1].users
        p95, then = tally.latency_p95, zero_of(record)
        if is_younger(one, record):
            rows.append((one, p95, None, f"of {clock(one.at)}, YOUNGER than the incident: it tells nothing", True))
            continue
        percent = 100 * (p95 / one.latency_p95 - 1) if p95 is not None else None
        worse = percent is not None and percent >= record.kpis.degradation_percent
        bad = worse or is_stale(one, then, asked.stale_after)
        rows.append((one, p95, percent, age(one, then, asked.stale_after), bad))
    return rows


def _figures(record: RunRecord, asked: Performance) -> Mapping[str, Any]:
    span, found = lasted(record), phases(record)
    return {
        "workflow_id": record.workflow_id,
        "run_id": record.run_id,
        "decided": record.moments.decided.isoformat(),
        "lasted_seconds": span.total_seconds() if span is not None else None,
        "kpis": [as_figures(kpi) for kpi in impact_kpis(record)],
        "phases": [
            {
                "name": phase.name,
                "since": phase.since.isoformat(),
                "until": phase.until.isoformat(),
                "users": _tally_figures(phase.users),
                "providers": {name: _tally_figures(phase.provider(name)) for name in providers_of(record)},
            }
            for phase in found
        ],
        "baselines": [
            {"subject": one.subject, "p95_ms": _ms(one.latency_p95), "now_ms": _ms(p95), "percent": percent, "age": old}
            for one, p95, percent, old, _ in _compared(record, found, asked)
        ],
    }


def _tally_figures(one: Tally) -> Mapping[str, Any]:
    return {
        "requests": one.requests,
        "failed": one.failed,
        "lost": one.lost,
        "empty": one.empty,
        "pending": one.pending,
        "error_percent": one.error_percent,
        "p50_ms": _ms(one.latency_p50),
        "p95_ms": _ms(one.latency_p95),
    }


def _ms(span: timedelta | None) -> float | None:
    return None if span is None else span / timedelta(milliseconds=1)
