"""Did the failovers do what they are for? Runs, their indicators against the targets, and success rates of a period."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from failover.config.kpis import SuccessRates
from failover.errors import RequestError
from failover.incident import Outcome, RunRecord
from failover.kinds import RAMPS
from failover.kpis import Kpi, binds, counts, measure
from failover.reports.document import Block, Line, Plot, Report, Section, Table, Tone, text
from failover.reports.incident import as_figures, clock_figures, plan_blocks
from failover.reports.rates import FAILED, Rate, success_rates
from failover.reports.words import MET, TONES, about, clock, kpi_table
from failover.units import count

METRICS: Mapping[str, Sequence[str]] = {
    "detection_time": ("detection",),
    "execution_time": ("execution",),
    "restoration_time": ("restoration",),
    "total_time": ("total",),
    "impact": ("request loss", "user error rate", "degradation"),
}
"""The runbook's words → indicators."""


def parse_metrics(words: str | None) -> list[str]:
    """ "detection_time,execution_time,impact" → indicators, each once, in that order; all where nothing is said."""
    named = list(METRICS) if words is None else [word.strip() for word in words.split(",")]
    for word in named:
        if word not in METRICS:
            raise RequestError(f"--metrics: there is no metric {word!r}; there are {', '.join(METRICS)}.")
    return list(dict.fromkeys(kpi for word in named for kpi in METRICS[word]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Effectiveness:
    """What a report is of: the runs (newest first), and which indicators of them are asked for.

    Rates are counted over `period`: everything on record of the time that `counted_over` names.
    """

    runs: Sequence[RunRecord]
    period: Sequence[RunRecord]
    said: str
    counted_over: str
    indicators: Sequence[str]
    targets: SuccessRates
    file_name: str


def effectiveness(asked: Effectiveness) -> Report:
    rates = success_rates(asked.period, asked.targets)
    measured = [(record, _wanted(record, asked.indicators)) for record in asked.runs]
    return Report(
        title=f"Failover effectiveness: {asked.said}",
        sections=[
            Section("", [text(_summary(asked, rates))]),
            Section(f"Success rates over {asked.counted_over}", [_rates(rates)]),
            Section("Indicators", _indicators(measured)),
            Section("Trend", _trend(measured)),
            Section("Runs", [_runs(measured)] if measured else []),
            *[_one(record, kpis) for record, kpis in measured[:1]],
        ],
        figures={
            "period": asked.said,
            "counted_over": asked.counted_over,
            "rates": [_rate_figures(rate) for rate in rates],
            "runs": [_run_figures(record, kpis) for record, kpis in measured],
        },
        file_name=asked.file_name,
    )


def _wanted(record: RunRecord, indicators: Sequence[str]) -> list[Kpi]:
    found = {kpi.name: kpi for kpi in measure(record)}
    return [found[name] for name in indicators]


def _summary(asked: Effectiveness, rates: Sequence[Rate]) -> str:
    if not asked.runs:
        return f"No failover is on record for {asked.said}."
    counted = sum(rate.counted for rate in rates)
    good = sum(rate.succeeded for rate in rates)
    said = f"{count(len(asked.runs), 'run')} reported. "
    return f"{said}Over {asked.counted_over}, {good} of the {count(counted, 'run')} that count succeeded."


def _rates(rates: Sequence[Rate]) -> Table:
    rows = [
        (
            rate.name,
            f"{rate.percent:.1f} %" if rate.percent is not None else "unknown",
            f"{rate.succeeded} of {rate.counted}",
            f"{rate.interval.low:.1f} to {rate.interval.high:.1f} %" if rate.interval else "–",
            f"> {rate.target:g} %",
            _judged(rate),
            "; ".join(rate.left_out) or "–",
        )
        for rate in rates
    ]
    tones = {number: TONES[rate.met] for number, rate in enumerate(rates)}
    return Table(("rate", "so far", "runs", "95 % interval", "target", "", "not counted"), rows, tones, verdict=5)


def _judged(rate: Rate) -> str:
    if rate.met and rate.interval is not None and rate.interval.low <= rate.target:
        return "met, too few runs to prove it"
    return MET[rate.met]


def _indicators(measured: Sequence[tuple[RunRecord, Sequence[Kpi]]]) -> list[Block]:
    """Each indicator over all immediate failovers: how often its target was met, and how bad it was."""
    bound = [kpis for record, kpis in measured if counts(record)]
    if not bound:
        return [text("No immediate failover is among the runs; the indicators bind only those.")]
    rows, tones = [], {}
    for number, kpis in enumerate(zip(*bound, strict=True)):
        values = [kpi.value for kpi in kpis if kpi.value is not None]
        met = sum(kpi.met is True for kpi in kpis)
        worst = f"{max(values):.1f} {kpis[0].unit}" if values else "unknown"
        middle = f"{median(values):.1f} {kpis[0].unit}" if values else "unknown"
        targets = sorted({kpi.render_target() for kpi in kpis})
        rows.append((kpis[0].name, middle, worst, ", ".join(targets), f"{met} of {len(values)}"))
        tones[number] = TONES[met == len(values) if values else None]
    return [Table(("indicator", "median", "worst", "target", "met, where known"), rows, tones)]


def _trend(measured: Sequence[tuple[RunRecord, Sequence[Kpi]]]) -> list[Block]:
    bound = [(record, kpis) for record, kpis in reversed(measured) if counts(record)]
    if len(bound) < 2:
        return []
    names = [kpi.name for kpi in bound[0][1] if kpi.unit == "s"]
    lines = [
        Line(name, [(record.moments.decided, kpi.value) for record, kpis in bound for kpi in kpis if kpi.name == name])
        for name in names
    ]
    return [Plot(title="Times of each run", unit="s", lines=lines)] if lines else []


def _runs(measured: Sequence[tuple[RunRecord, Sequence[Kpi]]]) -> Table:
    names = [kpi.name for kpi in measured[0][1]]
    rows = [
        (
            clock(record.moments.decided),
            record.procedure,
            about(record),
            record.trigger.value,
            record.outcome.value,
            *(_found(record, kpi) for kpi in kpis),
        )
        for record, kpis in measured
    ]
    tones = {number: _of_outcome(record) for number, (record, _) in enumerate(measured)}
    return Table(("decided", "procedure", "about", "started", "outcome", *names), rows, tones, verdict=4)


def _found(record: RunRecord, kpi: Kpi) -> str:
    """Render an indicator; "–" where the indicators do not bind: a ramp's plan has its own times."""
    if not binds(record):
        return "–"
    return f"{kpi.render()}{' MISSED' if kpi.met is False else ''}"


def _of_outcome(record: RunRecord) -> Tone:
    if record.outcome in FAILED:
        return Tone.BAD
    return Tone.GOOD if record.outcome is Outcome.COMPLETED else Tone.PLAIN


def _one(record: RunRecord, kpis: Sequence[Kpi]) -> Section:
    """The newest run by itself."""
    title = f"The latest: {record.workflow_id}, {record.outcome.value}"
    if record.procedure in RAMPS:
        return Section(title, [text(record.reason), *plan_blocks(record)])
    return Section(title, [text(record.reason), *([kpi_table(kpis)] if binds(record) else [])])


def _rate_figures(rate: Rate) -> dict[str, Any]:
    return {
        "name": rate.name,
        "succeeded": rate.succeeded,
        "counted": rate.counted,
        "percent": rate.percent,
        "low": rate.interval.low if rate.interval else None,
        "high": rate.interval.high if rate.interval else None,
        "target": rate.target,
        "met": rate.met,
        "left_out": list(rate.left_out),
    }


def _run_figures(record: RunRecord, kpis: Sequence[Kpi]) -> dict[str, Any]:
    return {
        "workflow_id": record.workflow_id,
        "run_id": record.run_id,
        "procedure": record.procedure,
        "about": about(record),
        "trigger": record.trigger.value,
        "outcome": record.outcome.value,
        "decided": record.moments.decided.isoformat(),
        "kpis": [as_figures(kpi) for kpi in kpis],
        "clocks": clock_figures(record),
    }
