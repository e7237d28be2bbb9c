"""What is plotted of a run: traffic shares, error rate and latency over its time, with its steps marked."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from failover.distribution import Shares
from failover.incident import RunRecord, Sample, Slice
from failover.kinds import RAMPS
from failover.reports.document import Line, Mark, Plot
from failover.reports.words import zero_of

PLOTTED_ROUTES = 4

LEAST_LEAD = timedelta(seconds=15)

USERS, MEDIAN = 5, 6
"""Colours that no provider has, while there are fewer than five of them."""


def plots(record: RunRecord) -> list[Plot]:
    """Every plot for which there is something to draw."""
    marks = marks_of(record)
    shares = [share_plot(record, route, marks) for route in plotted_routes(record)]
    tries = tries_plot(record, marks)
    drawn = [*shares, *([tries] if tries else []), *error_plots(record, marks), *latency_plots(record, marks)]
    return [replace(plot, span=span(record)) for plot in drawn]


def plotted_routes(record: RunRecord) -> list[str]:
    return list(dict.fromkeys(shift.route for shift in record.routes))[:PLOTTED_ROUTES]


def colours_of(record: RunRecord) -> dict[str, int]:
    """The same for a provider in every plot of the run."""
    named = {name for shift in record.routes for name in (*shift.before, *shift.after)}
    named |= {one.provider for each in record.course for one in each.providers}
    return {name: number % 4 + 1 for number, name in enumerate(sorted(named))}


def marks_of(record: RunRecord) -> list[Mark]:
    """The moments of the run, and each of its writes that is none of them."""
    moments = record.moments
    named = [
        ("first bad sample", moments.first_bad),
        ("found unhealthy", moments.unhealthy if moments.unhealthy != moments.decided else None),
        ("decided", moments.decided),
        ("restored", moments.restored),
        ("closed", moments.closed),
    ]
    marks = [Mark(at, name) for name, at in named if at is not None]
    written = dict.fromkeys((write.at, write.step) for write in record.writes if write.step not in ("claim", "release"))
    return sorted([*marks, *(Mark(at, step) for at, step in written)], key=lambda mark: mark.at)


def share_plot(record: RunRecord, route: str, marks: Sequence[Mark]) -> Plot:
    """The policy of one route over time, by what was found and what the run wrote."""
    start, end = span(record)
    # A ramp knows what it found, not what was there before it.
    start = max(start, record.moments.decided) if record.procedure in RAMPS else start
    before = next(shift.before for shift in record.routes if shift.route == route)
    points: list[tuple[datetime, Shares]] = [(start, before)]
    points += [(write.at, write.shares) for write in record.writes if write.route == route]
    points.append((end, points[-1][1]))
    names = sorted({name for _, shares in points for name in shares})
    colours = colours_of(record)
    lines = [
        Line(name, [(at, shares.get(name, 0) / 100) for at, shares in points], colours.get(name)) for name in names
    ]
    return Plot(title=f"Traffic share of route {route}, as set", unit="%", lines=lines, marks=marks, stacked=True)


def tries_plot(record: RunRecord, marks: Sequence[Mark]) -> Plot | None:
    """Plot where first tries really went; None if none are known."""
    names = sorted({one.provider for each in drawn(record) for one in each.providers})
    if not names:
        return None
    colours = colours_of(record)
    lines = [
        Line(name, [(each.since, _first_tries(each, name)) for each in drawn(record)], colours.get(name))
        for name in names
    ]
    return Plot(title="First tries, as counted", unit="%", lines=lines, marks=marks)


def _first_tries(each: Slice, name: str) -> float | None:
    total = sum(one.first_tries for one in each.providers)
    return 100 * sum(one.first_tries for one in each.providers if one.provider == name) / total if total else None


def error_plots(record: RunRecord, marks: Sequence[Mark]) -> list[Plot]:
    points = [(at, error_percent(found)) for at, found in readings(record)]
    if not any(value is not None for _, value in points):
        return []
    limit = 100 - record.targets.success_percent if record.targets else record.kpis.user_error_rate_percent
    colours = colours_of(record)
    lines = [Line("users' requests failed", points, USERS)]
    names = sorted({one.provider for each in drawn(record) for one in each.providers if one.failed})
    lines += [
        Line(
            f"tries failed at {name}", [(each.since, _failed(each, name)) for each in drawn(record)], colours.get(name)
        )
        for name in names
    ]
    return [Plot(title="Error rate", unit="%", lines=lines, marks=marks, limit=limit)]


def _failed(each: Slice, name: str) -> float | None:
    tries = sum(one.tries for one in each.providers if one.provider == name)
    return 100 * sum(one.failed for one in each.providers if one.provider == name) / tries if tries else None


def latency_plots(record: RunRecord, marks: Sequence[Mark]) -> list[Plot]:
    p95 = [(at, _milliseconds(found.latency_p95)) for at, found in readings(record)]
    if not any(value is not None for _, value in p95):
        return []
    lines = [Line("P95", p95, USERS)]
    if drawn(record):
        lines.append(Line("median", [(each.since, _milliseconds(each.latency_p50)) for each in drawn(record)], MEDIAN))
    limit = _milliseconds(record.targets.response_time) if record.targets else None
    return [Plot(title="Latency of answers", unit="ms", lines=lines, marks=marks, limit=limit)]


def _milliseconds(latency: timedelta | None) -> float | None:
    return None if latency is None else latency / timedelta(milliseconds=1)


def error_percent(found: Slice | Sample) -> float | None:
    """The share of requests without a useful answer; None where nobody came."""
    return 100 * (found.failed + found.empty) / found.requests if found.requests else None


def readings(record: RunRecord) -> list[tuple[datetime, Slice | Sample]]:
    """What was counted, by its moment; from before the data plane's memory, the samples that the run took."""
    course = drawn(record)
    first = record.course[0].since if record.course else None
    sampled: list[tuple[datetime, Slice | Sample]] = [
        (sample.at, sample) for sample in record.samples if first is None or sample.at < first
    ]
    return [*sampled, *((each.since, each) for each in course)]


def drawn(record: RunRecord) -> Sequence[Slice]:
    """The slices that are drawn: before the trouble no longer than the trouble itself, so that it is not pressed flat."""
    zero, closed = zero_of(record), record.moments.closed
    lead = max(LEAST_LEAD, closed - zero) if closed is not None else None
    return [each for each in record.course if lead is None or each.since >= zero - lead]


def span(record: RunRecord) -> tuple[datetime, datetime]:
    """The time from the first thing that is known to the end."""
    moments = record.moments
    ends = [moment for moment in (moments.closed, moments.restored, moments.decided) if moment is not None]
    end = max([*ends, *(write.at for write in record.writes)])
    start = min(zero_of(record), *(at for at, _ in readings(record)), moments.decided)
    return start, max(end, start + timedelta(seconds=1))
