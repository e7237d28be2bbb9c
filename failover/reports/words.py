"""How reports spell moments, spans and figures."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from failover.incident import RunRecord
from failover.kpis import Kpi
from failover.reports.document import Table, Tone
from failover.units import milliseconds

MET = {True: "met", False: "MISSED", None: "unknown"}
TONES = {True: Tone.GOOD, False: Tone.BAD, None: Tone.PLAIN}


def clock(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S}"


def offset(at: datetime, zero: datetime) -> str:
    return f"{(at - zero).total_seconds():+.1f} s"


def seconds(span: timedelta) -> str:
    return f"{span.total_seconds():.1f} s"


def percent_of(part: float, whole: float) -> str:
    """ "2.0 %"; a dash where there is nothing to take a part of."""
    return f"{100 * part / whole:.1f} %" if whole else "–"


def latency(span: timedelta | None) -> str:
    return f"{milliseconds(span)} ms" if span is not None else "–"


def zero_of(record: RunRecord) -> datetime:
    """The moment from which a report counts: the first bad sample, else the decision."""
    return record.moments.first_bad or record.moments.decided


def about(record: RunRecord) -> str:
    """What a run was about, in few words."""
    return record.provider or record.subject or ", ".join(record.concerns)


def kpi_table(kpis: Sequence[Kpi]) -> Table:
    return Table(
        ("indicator", "this run", "target", "", "from → to"),
        [(kpi.name, kpi.render(), kpi.render_target(), MET[kpi.met], kpi.explanation) for kpi in kpis],
        {number: TONES[kpi.met] for number, kpi in enumerate(kpis)},
        verdict=3,
    )
