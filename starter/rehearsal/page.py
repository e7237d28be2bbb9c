"""A rehearsal as an SVG plot and as one HTML page that needs nothing else."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from html import escape

from failover.distribution import WHOLE, percent, render
from failover.kpis import Kpi
from failover.policy import Mode
from failover.rehearsal import Asked, Rehearsed
from failover.units import milliseconds, render_duration
from failover.world import InForce
from starter.rehearsal.picture import next_step
from starter.rehearsal.words import PREDICTION, clock, headline, unanswered

WIDTH, LEFT, RIGHT = 920, 60, 20
SHARES, LOST, GAP, BAND = 220, 60, 26, 14
INK = ("#4269d0", "#3ca951", "#a463f2", "#38b2c8", "#efb118")
"""Colours that differ in lightness too; every area also has its name beside it."""


def svg(told: Rehearsed, route: str) -> str:
    """Shares over time, faults and degraded service below them, then lost requests."""
    names = sorted(
        {name for one in told.policies if one.route == route for name, share in one.distribution.items() if share}
    )
    struck = list(dict.fromkeys(fault.provider for fault in told.script.faults))
    bands = [*struck, *(["degraded service"] if _degraded(told, route) else [])]
    top = 34
    below = top + SHARES + 8
    lost_top = below + len(bands) * (BAND + 4) + GAP
    height = lost_top + LOST + 30
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" '
        f'aria-label="{escape(_alt(told, route))}" font-family="system-ui, sans-serif" font-size="12" fill="currentColor">',
        *_key(names),
        *_areas(told, route, names, top),
        *_scale(top, SHARES, ("0 %", "50 %", "100 %")),
        *_marks(told, top, SHARES),
        *(part for n, band in enumerate(bands) for part in _band(told, route, band, below + n * (BAND + 4))),
        *_lost(told, route, lost_top),
        *_ticks(told, lost_top + LOST),
        "</svg>",
    ]
    return "\n".join(parts)


def _alt(told: Rehearsed, route: str) -> str:
    shares = [f"{clock(one.at - told.began)} {render(one.distribution)}" for one in _policies(told, route)]
    return f"Predicted policy of {route} over {clock(told.took)}: {'; '.join(shares)}"


def _policies(told: Rehearsed, route: str) -> list[InForce]:
    return [one for one in told.policies if one.route == route]


def _x(told: Rehearsed, at: datetime) -> float:
    whole = told.took.total_seconds() or 1
    share = min(1.0, max(0.0, (at - told.began).total_seconds() / whole))
    return LEFT + share * (WIDTH - LEFT - RIGHT)


def _key(names: Sequence[str]) -> Iterator[str]:
    x = float(LEFT)
    for number, name in enumerate(names):
        yield f'<rect x="{x:.0f}" y="8" width="12" height="12" fill="{INK[number % len(INK)]}"/>'
        yield f'<text x="{x + 17:.0f}" y="18">{escape(name)}</text>'
        x += 40 + 8 * len(name)


def _areas(told: Rehearsed, route: str, names: Sequence[str], top: int) -> Iterator[str]:
    policies = _policies(told, route)
    ends = [*(one.at for one in policies[1:]), told.ended]
    for policy, end in zip(policies, ends, strict=True):
        left, right = _x(told, policy.at), _x(told, end)
        y = float(top + SHARES)
        for number, name in enumerate(names):
            share = policy.distribution.get(name, 0)
            tall = SHARES * share / WHOLE
            y -= tall
            if share and right > left:
                title = f"<title>{escape(name)} {percent(share)} % from {clock(policy.at - told.began)}</title>"
                yield (
                    f'<rect x="{left:.1f}" y="{y:.1f}" width="{right - left:.1f}" height="{tall:.1f}" '
                    f'fill="{INK[number % len(INK)]}">{title}</rect>'
                )
                if right - left > 46 and tall > 15:
                    yield (
                        f'<text x="{(left + right) / 2:.1f}" y="{y + tall / 2 + 4:.1f}" text-anchor="middle" fill="#fff" '
                        f'font-weight="600">{percent(share)} %</text>'
                    )


def _scale(top: int, tall: int, labels: Sequence[str]) -> Iterator[str]:
    for number, label in enumerate(labels):
        y = top + tall - tall * number / (len(labels) - 1)
        yield f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end" opacity=".75">{label}</text>'


def _marks(told: Rehearsed, top: int, tall: int) -> Iterator[str]:
    """Draw marks where it was found, and where people are asked."""
    found = [(told.detected.at, "found")] if told.detected else []
    marks = [*found, *((one.at, "asks") for one in told.asked)]
    for at, word in marks:
        x = _x(told, at)
        yield f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{top - 6}" y2="{top + tall}" stroke="currentColor" stroke-dasharray="3 3"/>'
        yield f'<text x="{min(x + 3, WIDTH - 40):.1f}" y="{top - 2}" font-size="11">{word}</text>'


def _degraded(told: Rehearsed, route: str) -> bool:
    return any(one.mode is Mode.DEGRADED for one in _policies(told, route))


def _band(told: Rehearsed, route: str, name: str, y: int) -> Iterator[str]:
    yield f'<text x="{LEFT - 8}" y="{y + BAND - 2}" text-anchor="end" font-size="11">{escape(name.split(" ")[0])}</text>'
    for left, right, said, ink in _spans(told, route, name):
        yield (
            f'<rect x="{left:.1f}" y="{y}" width="{max(1.0, right - left):.1f}" height="{BAND}" fill="{ink}" rx="2">'
            f"<title>{escape(said)}</title></rect>"
        )
        if right - left > 8 * len(said):
            yield f'<text x="{left + 5:.1f}" y="{y + BAND - 3}" font-size="11" fill="#fff">{escape(said)}</text>'


def _spans(told: Rehearsed, route: str, name: str) -> Iterator[tuple[float, float, str, str]]:
    for fault in told.script.faults:
        if fault.provider == name and told.began + fault.at < told.ended:
            end = told.ended if fault.ends is None else min(told.ended, told.began + fault.ends)
            yield _x(told, told.began + fault.at), _x(told, end), fault.fault.value, "#c0392b"
    policies = _policies(told, route)
    ends = [*(one.at for one in policies[1:]), told.ended]
    for policy, end in zip(policies, ends, strict=True):
        if name == "degraded service" and policy.mode is Mode.DEGRADED:
            yield _x(told, policy.at), _x(told, end), name, "#9a6700"


def _lost(told: Rehearsed, route: str, top: int) -> Iterator[str]:
    points = [point for point in told.curve if point.route == route]
    most = max([10.0, *(point.lost_percent for point in points)])
    yield from _scale(top, LOST, ("0 %", f"{most:.0f} %"))
    yield f'<text x="{LEFT}" y="{top - 6}" font-size="11">requests of users that are lost</text>'
    yield f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{top + LOST}" y2="{top + LOST}" stroke="currentColor" opacity=".4"/>'
    if points:
        line = " ".join(f"{_x(told, one.at):.1f},{top + LOST - LOST * one.lost_percent / most:.1f}" for one in points)
        yield f'<polyline points="{line}" fill="none" stroke="#c0392b" stroke-width="2"/>'


def _ticks(told: Rehearsed, y: int) -> Iterator[str]:
    step = next_step(told.took)
    for number in range(int(told.took / step) + 1):
        x = _x(told, told.began + number * step)
        yield f'<text x="{x:.1f}" y="{y + 18}" text-anchor="middle" opacity=".75">{render_duration(number * step)}</text>'


STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
svg { width: 100%; height: auto; }
table { border-collapse: collapse; width: 100%; margin: .5rem 0 1.5rem; }
th, td { text-align: left; padding: .25rem .6rem .25rem 0; border-bottom: 1px solid #8886; vertical-align: top; }
.said { border-left: 4px solid #8888; padding: .3rem .8rem; }
.missed { color: #c0392b; font-weight: 600; }
td:first-child { white-space: nowrap; font-variant-numeric: tabular-nums; }
"""


def page(told: Rehearsed) -> str:
    """Render everything that is known of the rehearsal, in one file."""
    title = f"Rehearsal: {told.procedure} of {told.subject}"
    plots = [f"<h2>Policy of {escape(route)}</h2>{svg(told, route)}" for route in told.routes()[:12]]
    parts = [
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(title)}</title>',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<style>{STYLE}</style><body><h1>{escape(title)}</h1><p class=said>{escape(PREDICTION)}</p>",
        f"<p><strong>{escape(headline(told))}</strong></p>",
        "".join(f"<p>{escape(said)}</p>" for said in (*told.assumed, *told.notes, *told.follows)),
        *plots,
        _kpis(told.kpis()),
        _users(told),
        _asked(told.asked, told),
        _timeline(told),
        "</body></html>\n",
    ]
    return "\n".join(part for part in parts if part)


def _kpis(kpis: Sequence[Kpi]) -> str:
    met = {True: "met", False: '<span class="missed">MISSED</span>', None: "unknown"}
    rows = [(escape(one.name), escape(one.render()), escape(one.render_target()), met[one.met]) for one in kpis]
    return _table("Predicted indicators", ("indicator", "predicted", "target", ""), rows)


def _users(told: Rehearsed) -> str:
    rows = [
        (
            escape(one.route),
            f"{one.requests}",
            f"{one.lost}",
            f"{milliseconds(one.latency_p95)} ms" if one.latency_p95 is not None else "",
        )
        for one in told.users
    ]
    return _table("Users, from the beginning to the end", ("route", "requests", "lost", "P95"), rows)


def _asked(asked: Sequence[Asked], told: Rehearsed) -> str:
    rows = [
        (
            clock(one.at - told.began),
            escape(one.text),
            escape(", ".join(one.who) or "anybody at the command line"),
            escape(unanswered(one)),
            escape(one.answer or "nobody answered"),
        )
        for one in asked
    ]
    return _table("What people would be asked", ("at", "what", "who may answer", "without an answer", "here"), rows)


def _timeline(told: Rehearsed) -> str:
    rows = [(clock(one.at - told.began), escape(one.step), escape(one.text)) for one in told.timeline]
    return _table("Timeline", ("at", "step", ""), rows)


def _table(title: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    if not rows:
        return ""
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    return f"<h2>{title}</h2><table><tr>{''.join(f'<th>{cell}</th>' for cell in head)}</tr>{body}</table>"
