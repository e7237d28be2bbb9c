"""The live picture of a run: plan, traffic, errors, gates, what waits for a person, and what happened last."""

import sys
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from failover.distribution import percent
from failover.health import Health
from starter.runs.situation import Look, Situation, Tally, commands, until, waits_for

COLOURS = ("blue", "green", "magenta", "cyan", "yellow")
GLYPHS = ("█", "▓", "▒", "░", "▚")
"""A bar must be readable without colours too."""

SPARKS = "▁▂▃▄▅▆▇█"

VERDICTS = {"pass": "green", "fail": "bold red", "inconclusive": "yellow"}

HEALTH_STYLE = {Health.HEALTHY: "green", Health.UNHEALTHY: "bold red", Health.UNKNOWN: "yellow"}

LEAST_EVENTS = 3


class Picture:
    """Redrawn in place; what was last seen stays on the screen when the run is over."""

    def __init__(self, procedure: str, console: Console | None = None) -> None:
        self._procedure = procedure
        self._console = console or Console(file=sys.stdout, highlight=False)
        self._live: Live | None = None
        self._left = 0.0
        self._left_at: datetime | None = None

    def show(self, look: Look) -> None:
        if self._live is None:
            self._live = Live(console=self._console, refresh_per_second=8, vertical_overflow="ellipsis")
            self._live.start()
        self._live.update(self.picture(look))

    def close(self) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    def picture(self, look: Look) -> RenderableType:
        """Draw all of it, for one look."""
        now = look.situation
        parts = [
            self._headline(look, now),
            self._clock(look, now),
            Text(""),
            *_plan(now, over=look.is_over),
            *_traffic(look, now, self._console.width),
            *_errors(now.samples),
            *_gates(now),
            *_people(look, now),
        ]
        if look.status is None:
            parts.append(Text("No worker tells about it yet.", style="yellow"))
        room = max(LEAST_EVENTS, self._console.height - len(parts) - 2)
        return Group(*parts, Text(""), *_events(look, room))

    def _headline(self, look: Look, now: Situation) -> Text:
        line = Text(overflow="ellipsis", no_wrap=True)
        line.append(look.workflow_id, style="bold")
        line.append(f"  {self._procedure}", style="dim")
        line.append(f"  {now.subject}" if now.subject else "")
        line.append(f"  plan {now.digest}" if now.digest else "", style="dim")
        return line

    def _clock(self, look: Look, now: Situation) -> Text:
        line = Text(overflow="ellipsis", no_wrap=True)
        status = look.status
        doing = status.outcome.value if status and status.outcome else _doing(now)
        line.append(doing or (status.phase if status else ""), style="bold yellow" if waits_for(now) else "bold")
        left = self._countdown(look, now)
        line.append(f"   next step in {_spell(left)} if the gates pass" if left else "")
        waited = timedelta(seconds=round(now.waited_seconds))
        active = look.total() - waited
        line.append(f"   total {_spell(look.total())}, active {_spell(active)}, people {_spell(waited)}", style="dim")
        return line

    def _countdown(self, look: Look, now: Situation) -> timedelta:
        """What is left of the wait. The run tells it anew with each sample; between them the clock here goes on."""
        if now.stage != "holding" or now.approval or now.question:
            return timedelta(0)
        if now.left_seconds != self._left or self._left_at is None or now.paused:
            self._left, self._left_at = now.left_seconds, look.at
        return max(timedelta(0), timedelta(seconds=self._left) - (look.at - self._left_at))


def _doing(now: Situation) -> str:
    """Tell in a word what a run does; one that asks people would still name the stage before, which would be wrong."""
    if now.frozen:
        return "paused"
    return "waiting for people" if now.approval or now.question else now.stage


def _plan(now: Situation, *, over: bool) -> list[Text]:
    lines = []
    for number, step in enumerate(now.steps):
        here = number == now.step and not over
        mark = "[▶]" if here else "[x]" if number < now.step else "[ ]"
        style = "bold" if here else "green" if number < now.step else ""
        lines.append(Text(f" {mark} {step}", style=style, overflow="ellipsis", no_wrap=True))
    return [*lines, Text("")] if lines else []


def _traffic(look: Look, now: Situation, width: int) -> list[Text]:
    """One bar a route: of the policies in force where they can be read, else of what the run wrote."""
    shares: dict[str, Mapping[str, float]] = {
        policy.route: {name: points / 100 for name, points in policy.distribution.items()} for policy in look.policies
    }
    if not shares and now.distribution:
        shares = {"policy": now.distribution}
    return [_bar(route, given, max(20, width - 60)) for route, given in sorted(shares.items())[:5]]


def _bar(route: str, shares: Mapping[str, float], width: int) -> Text:
    bar = Text(f"{route[:9]:<10}", no_wrap=True, overflow="ellipsis")
    legend = Text()
    for number, (name, share) in enumerate(sorted(shares.items())):
        colour, glyph = COLOURS[number % len(COLOURS)], GLYPHS[number % len(GLYPHS)]
        bar.append(glyph * round(share / 100 * width), style=colour)
        legend.append(f"  {glyph} {name} {percent(round(share * 100))} %", style=colour)
    return bar.append(legend)


def _errors(samples: Sequence[Tally]) -> list[Text]:
    """The users' error rate, a spark a sample; the height is a share of the worst, or of 10 %, whichever is more."""
    if not samples:
        return []
    rates = [100 * one.failed / one.requests if one.requests else None for one in samples[-40:]]
    most = max([10.0, *(rate for rate in rates if rate is not None)])
    sparks = "".join(" " if rate is None else SPARKS[round(rate / most * (len(SPARKS) - 1))] for rate in rates)
    last = f"{rates[-1]:.1f} % of {samples[-1].requests} requests" if rates[-1] is not None else "no requests"
    bad = rates[-1] is not None and rates[-1] > 0
    return [Text(f"errors    {sparks}  {last}", style="red" if bad else "", overflow="ellipsis", no_wrap=True)]


def _gates(now: Situation) -> list[Text]:
    lines = []
    for gate in now.gates:
        line = Text("gate      ", overflow="ellipsis", no_wrap=True)
        line.append(gate.verdict, style=VERDICTS.get(gate.verdict, ""))
        lines.append(line.append(f"  {gate.reason}"))
    return lines


def _people(look: Look, now: Situation) -> list[Text]:
    """What waits for a person and the command for it; else what would be accepted."""
    if look.is_over:
        return []
    waiting = waits_for(now)
    if not waiting:
        accepted = ", ".join(now.accepted_now)
        return [Text(f"orders    {accepted}", style="dim", overflow="ellipsis", no_wrap=True)] if accepted else []
    lines = [Text(f"waits     {waiting}", style="bold yellow", overflow="ellipsis", no_wrap=True)]
    lines += (
        [Text(f"          {bound}", style="yellow", overflow="ellipsis", no_wrap=True)] if (bound := until(now)) else []
    )
    return [*lines, *(Text(f"          {command}", overflow="fold") for command in commands(look.workflow_id, now))]


def _events(look: Look, room: int) -> list[Text]:
    return [
        Text(f" {entry.at:%H:%M:%S}  {entry.step}: {entry.text}", overflow="ellipsis", no_wrap=True)
        for entry in look.timeline[-room:]
    ]


def _spell(value: timedelta) -> str:
    minutes, seconds = divmod(max(0, round(value.total_seconds())), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes:02}m" if hours else f"{minutes}m{seconds:02}s" if minutes else f"{seconds}s"
