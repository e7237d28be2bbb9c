"""`failoverctl status --dashboard failover`: the status, live; one sober picture where it is piped."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from failover.errors import FailoverError, RequestError
from failover.health import Health, Verdict
from failover.policy import TrafficPolicy
from failover.telemetry import Telemetry
from failover.units import parse_duration
from starter.live import COLOURS, GLYPHS, HEALTH_STYLE
from starter.output import console, interactive
from starter.running import Stack, find
from starter.runs.finding import Found
from starter.settings import Settings
from starter.status import Asked, code_of, look, run_status, troubles

BAR_WIDTH = 40

LEAST = timedelta(seconds=1)
"""Between two looks: each asks Temporal, the gateway and the worker."""


def run_dashboard(settings: Settings, state: Path | None, refresh: str, *, json: bool) -> int:
    """Until Ctrl-C, which is how it ends, and no error. Piped, or as JSON: once, with the exit code of the status."""
    every = _every(refresh)
    if json or not interactive():
        return run_status(settings, state, health=True, traffic=True, json=json)
    stack = find(settings, state)
    try:
        return asyncio.run(_live(settings, stack, every))
    except KeyboardInterrupt:
        return 0


def _every(text: str) -> timedelta:
    try:
        found = parse_duration(text)
    except ValueError as error:
        raise RequestError(f"--refresh: {error}.") from error
    if found < LEAST:
        raise RequestError("--refresh: a second is the least.")
    return found


async def _live(settings: Settings, stack: Stack, every: timedelta) -> int:
    with Live(console=console(), auto_refresh=False, screen=True) as live:
        while True:
            asked = await look(settings, stack, health=True, traffic=True)
            live.update(picture(asked, datetime.now(UTC), every), refresh=True)
            await asyncio.sleep(every.total_seconds())


def picture(asked: Asked, at: datetime, every: timedelta) -> RenderableType:
    """All of it on one screen; what could not be asked says so in its place."""
    code = code_of(asked, only_health=False)
    word, style = ("TROUBLE", "bold red") if code else ("all is well", "green")
    return Group(
        Text.assemble(f"failover  {at:%H:%M:%S} UTC, every {every.total_seconds():g} s  ", (word, style)),
        Text(""),
        *_part(asked["providers"], _health),
        Text(""),
        *_part(asked["routes"], _routes),
        Text(""),
        *_part(asked["served"], _served),
        Text(""),
        *_part(asked["runs"], _runs),
        *(Text(one, style="bold red") for one in troubles(asked)),
        *_part(
            asked["automation"], lambda hold: [Text(f"{hold}. Nothing starts by itself.", style="red")] if hold else []
        ),
        *_part(asked["watched"], lambda seen: [Text(f"{seen.why_red}.", style="bold red")] if seen.why_red else []),
    )


def _part(answer: Any, render: Callable[[Any], Sequence[RenderableType]]) -> Sequence[RenderableType]:
    return [Text(str(answer), style="yellow")] if isinstance(answer, FailoverError) else render(answer)


def _health(found: Sequence[Verdict]) -> list[RenderableType]:
    grid = Table.grid(padding=(0, 2))
    for verdict in found:
        grid.add_row(
            Text(verdict.provider, style="bold"),
            Text(verdict.health.value, style=HEALTH_STYLE[verdict.health]),
            Text(f"{verdict.condition.value.replace('_', ' ')}: {verdict.reason}", overflow="ellipsis", no_wrap=True),
        )
    return [grid if found else Text(Health.UNKNOWN.value, style="yellow")]


def _routes(policies: Sequence[TrafficPolicy]) -> list[RenderableType]:
    return [_bar(policy.route, policy.distribution, policy.mode.value) for policy in policies]


def _bar(route: str, shares: Mapping[str, int], mode: str) -> Text:
    bar, legend = Text(f"{route}  "), Text()
    for number, (name, share) in enumerate(sorted(shares.items())):
        colour, glyph = COLOURS[number % len(COLOURS)], GLYPHS[number % len(GLYPHS)]
        bar.append(glyph * round(share / 10_000 * BAR_WIDTH), style=colour)
        legend.append(f"  {glyph} {name} {share / 100:g} %", style=colour)
    return bar.append(legend).append(f"  {mode}", style="dim")


def _served(telemetry: Telemetry) -> list[RenderableType]:
    said = [
        f"{one.route}  {one.requests} requests in a minute, {one.failed} failed, {one.templates} templates"
        for one in telemetry.routes
    ]
    return [Text(line) for line in said] or [Text("no users in the last minute", style="dim")]


def _runs(runs: Sequence[Found]) -> list[RenderableType]:
    lines = [
        f"{run.workflow_id}  {run.phase}" + (f"  waits for {run.waits_for}" if run.waits_for else "") for run in runs
    ]
    return [Text(line, style="yellow") for line in lines] or [Text("no procedure is under way", style="dim")]
