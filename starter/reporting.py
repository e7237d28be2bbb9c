"""`failoverctl report`: made of the records of closed runs, in Markdown, HTML or JSON, any time again."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from activities.baselines import PerformanceBaselines, kept_beside
from activities.evidence import EvidenceStore
from failover.baselines import PerformanceBaseline
from failover.config import Config
from failover.config.baselines import Baselines
from failover.config.kpis import Kpis
from failover.errors import BadInput, RequestError
from failover.incident import RunRecord
from failover.kinds import EMERGENCY, FAILBACK, FAILOVERS, INCIDENTS
from failover.reports.document import Report
from failover.reports.effectiveness import Effectiveness, effectiveness, parse_metrics
from failover.reports.html import html
from failover.reports.incident import incident
from failover.reports.markdown import markdown
from failover.reports.performance import Performance, performance_impact
from failover.reports.period import Period, parse_period
from starter.logs import configure
from starter.output import as_json, enveloped, plain, say
from starter.parts import config_of, evidence_store
from starter.recorded import run_ids
from starter.report_words import Event, Format, ReportType
from starter.running import find
from starter.settings import Settings

RATES_OVER = timedelta(days=30)
"""What success rates are counted over beside one run."""

_PROCEDURES: Mapping[Event, Sequence[str]] = {
    Event.FAILOVER: FAILOVERS,
    Event.FAILBACK: (FAILBACK,),
    Event.EMERGENCY: (EMERGENCY,),
    Event.INCIDENT: INCIDENTS,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What is asked for, as the options say it."""

    type: ReportType = ReportType.INCIDENT
    event: Event = Event.INCIDENT
    run: str | None = None
    period: str | None = None
    compare: bool = False
    metrics: str | None = None
    output: str | None = None
    format: Format | None = None


def run_report(settings: Settings, asked: Asked, *, state: Path | None, json: bool) -> int:
    configure("console", "warning")  # The answer alone is for stdout.
    stack = find(settings, state)
    config = config_of(settings, stack)
    # A stack that has ended leaves its incidents behind; they can still be read.
    archives = _Archives(evidence_store(config, stack.state or stack.home), config)
    report = made(archives, asked, datetime.now(UTC))
    form = _format(asked, json=json)
    if json:
        as_json("report", report.figures)
    elif asked.output == "-":
        print(rendered(report, form), end="")
    else:
        path = _path(asked.output, f"{report.file_name}.{form.value}")
        write(path, rendered(report, form))
        if asked.output is None and form is Format.MD:
            print(markdown(report), end="")
        say(f"{report.title}. Written to {path}.")
    return 0


@dataclass(frozen=True, slots=True)
class _Archives:
    evidence: EvidenceStore
    config: Config | None

    @property
    def settings(self) -> Baselines:
        return self.config.baselines if self.config else Baselines()

    def baselines(self, record: RunRecord) -> list[PerformanceBaseline]:
        """What was kept of the run; of one from before any were kept, what is recorded now."""
        kept = kept_beside(self.evidence, record)
        if kept or self.config is None:
            return kept
        return PerformanceBaselines(self.evidence.archive).of(self.config, record.concerns)


class RunReporter:
    """Makes the reports of one run, for its after-care."""

    def __init__(self, evidence: EvidenceStore, config: Config) -> None:
        self._archives = _Archives(evidence, config)

    def made(self, kind: str, run_id: str, now: datetime) -> Report:
        """`kind`: a ReportType. BadInput where the run is not on record."""
        return made(self._archives, Asked(type=ReportType(kind), event=Event.ANY, run=run_id, compare=True), now)


def made(archives: _Archives, asked: Asked, now: datetime) -> Report:
    """Make the report; BadInput if there is nothing on record that it could be made of."""
    period = parse_period(asked.period, now)
    build: Callable[[_Archives, Asked, Period, datetime], Report] = {
        ReportType.INCIDENT: _incident,
        ReportType.PERFORMANCE_IMPACT: _performance,
        ReportType.FAILOVER_EFFECTIVENESS: _effectiveness,
    }[asked.type]
    return build(archives, asked, period, now)


def _incident(archives: _Archives, asked: Asked, period: Period, now: datetime) -> Report:
    folder, record = _latest(archives, asked, period)
    return incident(record, archives.evidence.beside(folder))


def _performance(archives: _Archives, asked: Asked, period: Period, now: datetime) -> Report:
    runs = _runs(archives, asked, period)
    return performance_impact(
        Performance(
            runs=runs,
            said=_said(runs, period),
            file_name=_file_name("performance-impact", runs, period),
            baselines=(archives.baselines(runs[0]) if runs else []) if asked.compare else None,
            stale_after=archives.settings.stale_after,
        )
    )


def _effectiveness(archives: _Archives, asked: Asked, period: Period, now: datetime) -> Report:
    runs = _runs(archives, asked, period)
    over = period if period.since else parse_period(f"{RATES_OVER.days}d", now)
    counted = [record for _, record in archives.evidence.records(over.since, over.until)]
    kpis = archives.config.kpis if archives.config else Kpis()
    return effectiveness(
        Effectiveness(
            runs=runs,
            period=counted,
            said=_said(runs, period),
            counted_over=over.said,
            indicators=parse_metrics(asked.metrics),
            targets=kpis.success_rates,
            file_name=_file_name("failover-effectiveness", runs, period),
        )
    )


def _said(runs: Sequence[RunRecord], period: Period) -> str:
    return period.said if period.since else f"{runs[0].workflow_id} of {runs[0].moments.decided:%Y-%m-%d %H:%M:%S}"


def _file_name(kind: str, runs: Sequence[RunRecord], period: Period) -> str:
    """The file's name, after the run that it is about, or the period's end."""
    at = period.until if period.until is not None else runs[0].moments.decided
    return f"{kind}-{at:%Y%m%d-%H%M%S}"


def _runs(archives: _Archives, asked: Asked, period: Period) -> list[RunRecord]:
    """The records of the period, the last one first, perhaps none; without a period the latest alone."""
    if period.since is None:
        return [_latest(archives, asked, period)[1]]
    return [record for _, record in _found(archives.evidence, asked, period)]


def _latest(archives: _Archives, asked: Asked, period: Period) -> tuple[str, RunRecord]:
    """The run, of those that are meant, that closed last."""
    found = _found(archives.evidence, asked, period)
    if not found:
        what = "run" if asked.event is Event.ANY else asked.event.value
        within = f" in {period.said}" if period.since else ""
        if asked.run is not None:
            raise BadInput(
                f"There is no run {asked.run!r} on record{within} in {archives.evidence.where}; "
                "`failoverctl evidence` lists those there are."
            )
        raise BadInput(
            f"There is no {what} on record{within} in {archives.evidence.where}; name another directory with --state, "
            "another period, or another --event."
        )
    return max(found, key=lambda one: one[1].moments.closed or one[1].moments.decided)


SEARCHED = 50
"""The most of the newest meant runs that are searched for the one that closed last, if no period is given."""


def _found(store: EvidenceStore, asked: Asked, period: Period) -> list[tuple[str, RunRecord]]:
    if asked.run is not None:
        return _named(store, asked.run, period)
    found = []
    for folder, record in store.records(period.since, period.until):
        if _is_meant(record, asked):
            found.append((folder, record))
        if period.since is None and len(found) >= SEARCHED:
            break
    return found


def _named(store: EvidenceStore, run: str, period: Period) -> list[tuple[str, RunRecord]]:
    records = list(store.records(period.since, period.until))
    meant = run_ids([record for _, record in records], run)
    return [(folder, record) for folder, record in records if record.run_id in meant]


def _is_meant(record: RunRecord, asked: Asked) -> bool:
    if record.is_drill:
        return False
    return asked.event is Event.ANY or record.procedure in _PROCEDURES[asked.event]


def _format(asked: Asked, *, json: bool) -> Format:
    """The format as asked, else by the file's name, else Markdown."""
    if json and (asked.output or asked.format):
        raise RequestError("--json prints; for a file, --output report.json or --format json. Nothing was written.")
    if asked.format is not None:
        return asked.format
    suffix = Path(asked.output or "").suffix.lower()
    if suffix in ("", ".md", ".markdown"):
        return Format.MD
    if suffix in (".html", ".htm"):
        return Format.HTML
    if suffix == ".json":
        return Format.JSON
    raise RequestError(f"--output: {suffix} is no form of a report; .md, .html and .json are. Nothing was written.")


def rendered(report: Report, form: Format) -> str:
    if form is Format.HTML:
        return html(report)
    if form is Format.JSON:
        return json.dumps(enveloped("report", report.figures), default=plain, indent=2) + "\n"
    return markdown(report)


def _path(output: str | None, usual: str) -> Path:
    if output is None:
        return Path(usual)
    named = Path(output)
    return named / usual if named.is_dir() or output.endswith("/") else named


def write(output: Path, text: str) -> None:
    """Write the file; BadInput if it cannot be written."""
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_text(text)
    except OSError as error:
        raise BadInput(f"{output} cannot be written: {error.strerror or error}.") from error
