"""Plots as SVG: plain shapes and text, coloured by the page that they stand in."""

import math
from collections.abc import Sequence
from datetime import datetime, timedelta
from html import escape

from failover.reports.document import Line, Mark, Plot

WIDTH, HEIGHT = 720, 270
LEFT, RIGHT, TOP, BOTTOM = 50, 14, 14, 68
"""Room for the axes, in the units of the drawing."""

ROWS, TOUCHING = 3, 22
"""The number of rows for the marks' numbers, and how close two may stand in one row, in the units of the drawing."""

SERIES = 6
"""Colours that the page knows, as s1 to s6."""


def svg(plot: Plot) -> str:
    """A figure of its own; "" where there is nothing to draw."""
    times = [at for line in plot.lines for at, _ in line.points]
    if not times:
        return ""
    first, last = plot.span or (min(times), max([*times, *(mark.at for mark in plot.marks)]))
    scale = _Scale(first, last, _top(plot))
    drawn = [
        _axes(plot, scale),
        _limit(plot, scale),
        *(_stacked(plot.lines, scale) if plot.stacked else _lines(plot.lines, scale)),
        *_marks(plot.marks, scale),
    ]
    return f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(_told(plot))}">{"".join(drawn)}</svg>'


class _Scale:
    def __init__(self, start: datetime, end: datetime, top: float) -> None:
        self.start, self.end, self.top = start, max(end, start + timedelta(seconds=1)), top

    def x(self, at: datetime) -> float:
        share = (min(max(at, self.start), self.end) - self.start) / (self.end - self.start)
        return round(LEFT + share * (WIDTH - LEFT - RIGHT), 1)

    def y(self, value: float) -> float:
        share = min(max(value / self.top, 0.0), 1.0)
        return round(HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM), 1)


def _top(plot: Plot) -> float:
    """A round number above everything; shares go to 100."""
    if plot.stacked:
        return 100.0
    values = [value for line in plot.lines for _, value in line.points if value is not None]
    most = max([*values, (plot.limit or 0.0) * 1.15, 1e-9])
    if plot.unit == "%" and most > 50:
        return 100.0
    unit = 10.0 ** math.floor(math.log10(most))
    return next(step * unit for step in (1, 2, 2.5, 5, 10) if step * unit >= most)


def _axes(plot: Plot, scale: _Scale) -> str:
    parts = []
    for number in range(5):
        value = scale.top * number / 4
        y = scale.y(value)
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y}" y2="{y}"/>')
        parts.append(f'<text class="tick" x="{LEFT - 6}" y="{y + 4}" text-anchor="end">{value:g}</text>')
    # Of runs that lie days apart the time of day says nothing.
    spelled = "%H:%M:%S" if scale.end - scale.start < timedelta(days=1) else "%Y-%m-%d"
    for number in range(5):
        at = scale.start + (scale.end - scale.start) * number / 4
        anchor = "start" if number == 0 else "end" if number == 4 else "middle"
        y = HEIGHT - BOTTOM + 17
        odd = " odd" if number % 2 else ""
        parts.append(f'<text class="tick{odd}" x="{scale.x(at)}" y="{y}" text-anchor="{anchor}">{at:{spelled}}</text>')
    return "".join(parts)


def _limit(plot: Plot, scale: _Scale) -> str:
    if plot.limit is None:
        return ""
    y = scale.y(plot.limit)
    at = f'x="{WIDTH - RIGHT - 4}" y="{y - 4}" text-anchor="end"'
    words = f'<text class="limit-word" {at}>limit {plot.limit:g} {escape(plot.unit)}</text>'
    return f'<line class="limit" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y}" y2="{y}"/>{words}'


def _stacked(lines: Sequence[Line], scale: _Scale) -> list[str]:
    """Draw each share on top of those before it; a policy holds until the next."""
    count = len(lines[0].points)
    below, parts = [0.0] * count, []
    for number, line in enumerate(lines):
        above = [base + (value or 0.0) for base, (_, value) in zip(below, line.points, strict=True)]
        times = [at for at, _ in line.points]
        upper, lower = _steps(times, above, scale), _steps(times, below, scale)
        parts.append(f'<path class="area {colour(line, number)}" d="M{" L".join([*upper, *reversed(lower)])} Z"/>')
        below = above
    return parts


def _steps(times: Sequence[datetime], values: Sequence[float], scale: _Scale) -> list[str]:
    points = []
    for number, (at, value) in enumerate(zip(times, values, strict=True)):
        if number:
            points.append(f"{scale.x(at)},{scale.y(values[number - 1])}")
        points.append(f"{scale.x(at)},{scale.y(value)}")
    return points


def _lines(lines: Sequence[Line], scale: _Scale) -> list[str]:
    parts = []
    for number, line in enumerate(lines):
        for run in _runs(line):
            where = [f"{scale.x(at)},{scale.y(value)}" for at, value in run]
            shade = colour(line, number)
            if len(run) == 1:
                x, y = where[0].split(",")
                parts.append(f'<circle class="dot {shade}" cx="{x}" cy="{y}" r="2.5"/>')
            else:
                parts.append(f'<polyline class="line {shade}" points="{" ".join(where)}"/>')
    return parts


def colour(line: Line, number: int) -> str:
    """The class of its colour."""
    return f"s{(line.colour - 1 if line.colour else number) % SERIES + 1}"


def _runs(line: Line) -> list[list[tuple[datetime, float]]]:
    """The line in pieces, broken where nothing is known."""
    runs: list[list[tuple[datetime, float]]] = [[]]
    for at, value in line.points:
        if value is None:
            runs.append([])
        else:
            runs[-1].append((at, value))
    return [run for run in runs if run]


def numbered(marks: Sequence[Mark]) -> list[tuple[int, Mark]]:
    """Number the marks; marks at one moment share a number."""
    found: list[tuple[int, Mark]] = []
    for mark in marks:
        same = found and mark.at - found[-1][1].at < timedelta(milliseconds=1)
        found.append((found[-1][0] if same else (found[-1][0] + 1 if found else 1), mark))
    return found


def _marks(marks: Sequence[Mark], scale: _Scale) -> list[str]:
    """A line a moment, numbered; the numbers are told below. Those that would touch stand in rows of their own."""
    parts: list[str] = []
    last, row = -math.inf, 0
    for number, mark in dict(numbered(marks)).items():
        x = scale.x(mark.at)
        row = (row + 1) % ROWS if x - last < TOUCHING else 0
        last = x
        y = HEIGHT - BOTTOM + 34 + 16 * row
        parts.append(
            f'<line class="mark" x1="{x}" x2="{x}" y1="{TOP}" y2="{HEIGHT - BOTTOM}"><title>{escape(mark.name)}</title></line>'
        )
        parts.append(f'<text class="mark-word" x="{x}" y="{y}" text-anchor="middle">{number}</text>')
    return parts


def _told(plot: Plot) -> str:
    """Describe a plot in words for those who do not see it."""
    said = []
    for line in plot.lines:
        values = [value for _, value in line.points if value is not None]
        if values:
            said.append(f"{line.name} from {values[0]:.1f} to {values[-1]:.1f} {plot.unit}, at most {max(values):.1f}")
    return f"{plot.title}: {'; '.join(said) or 'nothing is known'}"
