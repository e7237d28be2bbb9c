"""`failoverctl status --dashboard failover`: the status, live, on one screen; one sober picture where it is piped.

The first line answers: is it handled, and what do I need to do? Nothing wraps and nothing scrolls; what has no room is
counted. q or Ctrl-C ends it.
"""

import asyncio
import contextlib
import signal
import sys
import termios
import tty
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text
from temporalio.client import Client

from failover.answer import Answer, RunEnded, Word
from failover.distribution import percent
from failover.errors import FailoverError, RequestError
from failover.health import Verdict
from failover.policy import Mode, TrafficPolicy
from failover.telemetry import Telemetry
from failover.units import milliseconds, parse_duration, render_duration
from starter.automating import hold_in
from starter.connection import connect
from starter.looking import Question, Questions, Seen, look
from starter.output import console, interactive
from starter.running import Stack, find
from starter.runs.memory import OpenRun, RunMemory
from starter.runs.picture import COLOURS, GLYPHS, HEALTH_STYLE
from starter.runs.situation import waits_for
from starter.settings import Settings
from starter.status import policies_of, run_status, served_by, verdicts, watched_in

T = TypeVar("T")

LEAST = timedelta(seconds=1)
"""The least time between two looks: each asks Temporal, the gateway and the worker."""

TICK = 1.0
"""Seconds between two drawings: the clock and the age of what is shown go on between looks."""

OLD = timedelta(seconds=60)
"""A verdict older than this is not to be relied upon."""

ENDED = 3
"""Runs that ended lately, and are shown where there is room."""

STYLES = {
    Word.ACT: "bold white on red",
    Word.UNKNOWN: "bold black on yellow",
    Word.WORKING: "bold white on blue",
    Word.HANDLED: "bold green",
    Word.WELL: "bold green",
}

NAMES = 14
"""Columns of a provider's or route's name."""


def run_dashboard(settings: Settings, state: Path | None, refresh: str, *, json: bool) -> int:
    """Run until q or Ctrl-C, which is no error. Piped, or as JSON: once, with the exit code of the status."""
    every = _every(refresh)
    if json or not interactive():
        return run_status(settings, state, health=True, traffic=True, json=json)
    stack = find(settings, state)
    with _keys_at_once():
        asyncio.run(_live(settings, stack, every))
    return 0


def _every(text: str) -> timedelta:
    try:
        found = parse_duration(text)
    except ValueError as error:
        raise RequestError(f"--refresh: {error}.") from error
    if found < LEAST:
        raise RequestError("--refresh: a second is the least.")
    return found


@contextlib.contextmanager
def _keys_at_once() -> Iterator[None]:
    """Read keys without Enter, and do not show them; whatever happens, the terminal is left as it was."""
    before = termios.tcgetattr(sys.stdin)
    tty.setcbreak(sys.stdin)
    try:
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)


async def _live(settings: Settings, stack: Stack, every: timedelta) -> None:
    screen = console()
    stop, shown = _stop(), Shown(every)
    with Live(console=screen, auto_refresh=False, screen=True, vertical_overflow="crop") as live:
        looking = asyncio.create_task(_look(settings, stack, shown))
        try:
            while not stop.is_set():
                live.update(picture(shown, datetime.now(UTC), screen), refresh=True)
                shown.news.clear()
                await _first(stop.wait(), shown.news.wait())
                if looking.done():
                    looking.result()
        finally:
            looking.cancel()
            await asyncio.gather(looking, return_exceptions=True)


async def _first(*waits: Any) -> None:
    """Wait for the first of these, or for a tick: a terminal that changes its size is drawn anew by then."""
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    await asyncio.wait(tasks, timeout=TICK, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()


def _stop() -> asyncio.Event:
    """An event that q sets, and the signals that end a process: each leaves the terminal as it was."""
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, stop.set)

    def key() -> None:
        if sys.stdin.read(1) in ("q", "Q", ""):
            stop.set()

    loop.add_reader(sys.stdin, key)
    return stop


class Shown:
    """The last look, and how often another is taken."""

    def __init__(self, every: timedelta) -> None:
        self.every = every
        self.seen: Seen | None = None
        self.at: datetime | None = None
        self.news = asyncio.Event()

    def is_stale(self, now: datetime) -> bool:
        """Whether what is shown is of before: whoever does not answer holds the next look up."""
        return self.at is not None and now - self.at > 2 * self.every + timedelta(seconds=5)


async def _look(settings: Settings, stack: Stack, shown: Shown) -> None:
    memory = RunMemory()
    while True:
        shown.seen = await look(await _questions(settings, stack, memory))
        shown.at = datetime.now(UTC)
        shown.news.set()
        await asyncio.sleep(shown.every.total_seconds())


async def _questions(settings: Settings, stack: Stack, memory: RunMemory) -> Questions:
    """The questions of one look. Temporal is connected to anew, so that whoever is gone says where they were expected."""
    temporal = await _connected(settings, stack)
    return Questions(
        verdicts=partial(verdicts, stack),
        policies=partial(policies_of, stack),
        served=partial(served_by, stack),
        runs=_of(temporal, memory.open),
        ended=_of(temporal, memory.ended),
        watched=_of(temporal, partial(watched_in, stack=stack)),
        hold=partial(hold_in, stack),
    )


async def _connected(settings: Settings, stack: Stack) -> Client | FailoverError:
    try:
        return await connect(settings, stack)
    except FailoverError as error:
        return error


def _of(temporal: Client | FailoverError, question: Callable[[Client], Awaitable[T]]) -> Question[T]:
    async def ask() -> T:
        if isinstance(temporal, FailoverError):
            raise temporal
        return await question(temporal)

    return ask


def picture(shown: Shown, now: datetime, screen: Console) -> RenderableType:
    """Draw exactly what fits: the answer first, then the parts by what matters most."""
    width, height = screen.size
    if shown.seen is None:
        return Group(Text("Looking …", style="bold"), Text("q quits", style="dim"))
    head = [*_answer(shown.seen.answer, width), _clock(shown, now)]
    body = _body(shown.seen, now, width)
    room = max(0, height - len(head) - 1)
    if len(body) > room:
        hidden = len(body) - max(0, room - 1)
        body = [*body[: max(0, room - 1)], Text(f"… {hidden} more lines; a taller window shows them", style="dim")]
    lines = [*head, Text(""), *body]
    for line in lines:
        line.no_wrap, line.overflow = True, "ellipsis"
    return Group(*lines)


def _answer(answer: Answer, width: int) -> list[Text]:
    """The sentence may take two lines; the command that a person types is whole wherever it fits."""
    first, rest = _folded(answer.why, width - len(answer.word.value) - 4)
    line = Text.assemble((f" {answer.word.value} ", STYLES[answer.word]), "  ", (first, "bold"))
    lines = [line, *([Text(rest, style="bold")] if rest else [])]
    if answer.do:
        return [*lines, Text.assemble(("Do:  ", "bold"), (answer.do, "bold yellow"))]
    return [*lines, Text("Do:  nothing now.", style="dim")]


def _folded(text: str, width: int) -> tuple[str, str]:
    """Fold at a space; → what fits, and the rest."""
    if len(text) <= width:
        return text, ""
    cut = text.rfind(" ", 0, width + 1)
    return (text[:cut], text[cut + 1 :]) if cut > 0 else (text, "")


def _clock(shown: Shown, now: datetime) -> Text:
    line = Text(f"{now:%H:%M:%S} UTC", style="dim")
    assert shown.at is not None
    age = max(0, round((now - shown.at).total_seconds()))
    if shown.is_stale(now):
        line.append(f"  STALE: seen {age} s ago, no answer since", style="bold black on yellow")
    else:
        line.append(f"  seen {age} s ago, every {render_duration(shown.every)}")
    return line.append("  q quits")


def _body(seen: Seen, now: datetime, width: int) -> list[Text]:
    return [
        *_part(seen.runs, "Runs", lambda runs: _runs(runs, now)),
        *_part(seen.verdicts, "Providers", lambda found: _health(found, now)),
        *_part(seen.policies, "Routes", lambda policies: _routes(policies, width)),
        *_part(seen.served, "Users, the last minute", _served),
        *_checks(seen, now),
        *_part(seen.ended, "Ended lately", _ended),
    ]


def _part(answer: T | FailoverError, title: str, render: Callable[[T], list[Text]]) -> list[Text]:
    """A part that could not be asked says so in its place."""
    head = Text(title, style="bold underline")
    if isinstance(answer, FailoverError):
        return [head, Text(f"  not known: {answer}", style="yellow")]
    lines = render(answer)
    return [head, *lines] if lines else []


def _runs(runs: Sequence[OpenRun], now: datetime) -> list[Text]:
    """The lines of the open runs, those that wait for a person first."""
    lines = []
    for run in sorted(runs, key=lambda run: not waits_for(run.look.situation)):
        status = run.look.status
        since = status.moments.decided if status else run.started_at
        age = render_duration(timedelta(seconds=max(0, round((now - since).total_seconds()))))
        line = Text(f"  {run.workflow_id}  {run.now().phase or 'begins'}  for {age}")
        if waiting := waits_for(run.look.situation):
            line.append(f"  waits for {waiting}", style="bold yellow")
        lines.append(line)
    return lines or [Text("  no procedure is under way", style="dim")]


def _health(found: Sequence[Verdict], now: datetime) -> list[Text]:
    lines = []
    for verdict in sorted(found, key=lambda verdict: (not verdict.down, verdict.provider)):
        age = now - verdict.at
        line = Text(f"  {verdict.provider[:NAMES]:<{NAMES}}")
        line.append(f"{verdict.health.value:<10}", style=HEALTH_STYLE[verdict.health])
        seconds = f"{max(0, round(age.total_seconds()))} s"
        line.append(f"{seconds:>6}{' OLD' if age > OLD else ''}  ", style="bold yellow" if age > OLD else "dim")
        lines.append(line.append(f"{verdict.condition.value.replace('_', ' ')}: {verdict.reason}"))
    return lines or [Text("  no verdict yet", style="yellow")]


def _routes(policies: Sequence[TrafficPolicy], width: int) -> list[Text]:
    """The routes' bars, degraded ones first. Who has most stands first: if there is no room, small shares are cut."""
    providers = sorted({name for policy in policies for name in policy.distribution})
    looks = {name: (COLOURS[n % len(COLOURS)], GLYPHS[n % len(GLYPHS)]) for n, name in enumerate(providers)}
    ordered = sorted(policies, key=lambda policy: (policy.mode is not Mode.DEGRADED, policy.route))
    return [_bar(policy, looks, max(8, min(40, width - 64))) for policy in ordered]


def _bar(policy: TrafficPolicy, looks: Mapping[str, tuple[str, str]], room: int) -> Text:
    line, legend = Text(f"  {policy.route[:NAMES]:<{NAMES}}"), Text()
    if policy.mode is Mode.DEGRADED:
        line.append("DEGRADED  ", style="bold red")
    drawn = 0
    for name, share in sorted(policy.distribution.items(), key=lambda item: (-item[1], item[0])):
        colour, glyph = looks[name]
        cells = round(share / 10_000 * room)
        drawn += cells
        line.append(glyph * cells, style=colour)
        legend.append(f"  {glyph} {name} {percent(share)} %", style=colour)
    return line.append(" " * max(0, room - drawn)).append(legend)


def _served(telemetry: Telemetry) -> list[Text]:
    lines = []
    for one in telemetry.routes:
        bad = one.lost + one.empty
        share = 100 * bad / one.requests if one.requests else 0.0
        line = Text(f"  {one.route[:NAMES]:<{NAMES}}{one.requests} requests  ")
        line.append(f"{share:.1f} % without a good answer", style="bold red" if bad else "")
        p95 = f"  P95 {milliseconds(one.latency_p95)} ms" if one.latency_p95 is not None else ""
        lines.append(line.append(p95))
    return lines or [Text("  nobody asked", style="dim")]


def _checks(seen: Seen, now: datetime) -> list[Text]:
    lines = []
    watched, hold = seen.watched, seen.hold
    if isinstance(watched, FailoverError):
        lines.append(Text(f"  the last health check is not known: {watched}", style="yellow"))
    elif watched.why_red is not None:
        lines.append(Text(f"  {watched.why_red}", style="bold red"))
    elif watched.completed_at is not None:
        age = max(0, round((now - watched.completed_at).total_seconds()))
        lines.append(Text(f"  the last health check completed {age} s ago"))
    if isinstance(hold, FailoverError):
        lines.append(Text(f"  whether automation is held is not known: {hold}", style="yellow"))
    elif hold is not None:
        lines.append(Text(f"  HELD by {hold.by}, nothing starts by itself: {hold.why}", style="bold yellow"))
    return [Text("Automation", style="bold underline"), *lines] if lines else []


def _ended(runs: Sequence[RunEnded]) -> list[Text]:
    return [
        Text(f"  {run.workflow_id}  {run.outcome}  at {run.closed_at:%m-%d %H:%M:%S}", style="dim")
        for run in runs[:ENDED]
    ]
