"""The demo as it goes: a live picture on a terminal, plain lines elsewhere."""

import sys
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Protocol, TextIO

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from failover.config.kpis import Kpis
from failover.distribution import render
from failover.health import Verdict
from failover.units import milliseconds
from starter.demo.observer import Snapshot
from starter.demo.users import Experience
from starter.runs.picture import COLOURS, GLYPHS, HEALTH_STYLE

BAR_WIDTH = 50
SHOWN_STEPS = 12

EXPERIENCE_EVERY = timedelta(seconds=5)
"""How often plain lines tell what users get."""


class View(Protocol):
    def say(self, text: str) -> None:
        """Tell what happened in the demo itself."""
        ...

    def show(self, snapshot: Snapshot, fault_at: datetime | None) -> None:
        """What is to be seen now."""
        ...

    def close(self) -> None: ...


class PlainView:
    """One line for each thing that changes."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._began: datetime | None = None
        self._conditions: dict[str, str] = {}
        self._distribution = ""
        self._entries = 0
        self._told_at: datetime | None = None

    def say(self, text: str) -> None:
        print(text, file=self._stream, flush=True)

    def show(self, snapshot: Snapshot, fault_at: datetime | None) -> None:
        self._began = self._began or snapshot.at
        for verdict in snapshot.verdicts:
            if self._conditions.get(verdict.provider) != verdict.condition:
                self._conditions[verdict.provider] = verdict.condition
                self._line(snapshot, f"{verdict.provider} is {_words(verdict)}: {verdict.reason}")
        for entry in snapshot.timeline[self._entries :]:
            self._line(snapshot, f"{entry.step}: {entry.text}")
        self._entries = max(self._entries, len(snapshot.timeline))
        distribution = render(snapshot.policy.distribution)
        if distribution != self._distribution:
            self._distribution = distribution
            self._line(snapshot, f"policy of {snapshot.policy.route}: {distribution}")
        if self._told_at is None or snapshot.at - self._told_at >= EXPERIENCE_EVERY:
            self._told_at = snapshot.at
            shares = ", ".join(f"{name} {share:.0f} %" for name, share in _shares(snapshot.first_tries).items())
            self._line(snapshot, f"first tries: {shares or 'none'}; users: {_felt(snapshot.experience)}")

    def close(self) -> None:
        pass

    def _line(self, snapshot: Snapshot, text: str) -> None:
        elapsed = (snapshot.at - self._began).total_seconds() if self._began else 0
        self.say(f"{elapsed:6.1f} s  {text}")


class LiveView:
    """The picture, redrawn in place."""

    def __init__(self, console: Console, kpis: Kpis) -> None:
        self._console = console
        self._kpis = kpis
        self._live: Live | None = None

    def say(self, text: str) -> None:
        self._console.print(Text(text))

    def show(self, snapshot: Snapshot, fault_at: datetime | None) -> None:
        if self._live is None:
            self._live = Live(console=self._console, refresh_per_second=8, transient=True)
            self._live.start()
        self._live.update(self._picture(snapshot, fault_at))

    def close(self) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    def _picture(self, snapshot: Snapshot, fault_at: datetime | None) -> RenderableType:
        return Group(
            Text(""),
            self._clock(snapshot, fault_at),
            _health(snapshot),
            Text("share of first tries, last seconds", style="dim"),
            _bar(_shares(snapshot.first_tries)),
            Text(f"policy {render(snapshot.policy.distribution)}", style="dim"),
            Text(f"users: {_felt(snapshot.experience)}", style="red" if snapshot.experience.bad_percent > 0 else ""),
            *(Text(f"  {entry.at:%H:%M:%S} {entry.step}: {entry.text}") for entry in snapshot.timeline[-SHOWN_STEPS:]),
        )

    def _clock(self, snapshot: Snapshot, fault_at: datetime | None) -> Text:
        if fault_at is None:
            return Text("Before the fault: measuring what is normal.", style="bold")
        elapsed = max(0.0, (snapshot.at - fault_at).total_seconds())
        moments = snapshot.moments
        reached = {
            "detected": (moments.unhealthy if moments else None, self._kpis.detection),
            "verified": (moments.verified if moments else None, self._kpis.immediate_execution),
            "restored": (moments.restored if moments else None, self._kpis.restoration),
        }
        clock = Text(f"{elapsed:5.1f} s since the fault", style="bold")
        for name, (moment, limit) in reached.items():
            after = f"{(moment - fault_at).total_seconds():.1f}" if moment else "…"
            style = "green" if moment else "yellow"
            clock.append(f"   {name} {after} of {limit.total_seconds():g} s", style=style)
        return clock


def _health(snapshot: Snapshot) -> Table:
    grid = Table.grid(padding=(0, 2))
    for verdict in snapshot.verdicts:
        grid.add_row(
            Text(verdict.provider, style="bold"),
            Text(verdict.health.value, style=HEALTH_STYLE[verdict.health]),
            Text(f"{_words(verdict)}: {verdict.reason}", overflow="ellipsis", no_wrap=True),
        )
    return grid


def _bar(shares: Mapping[str, float]) -> Text:
    bar, legend = Text(), Text()
    for number, (name, share) in enumerate(sorted(shares.items())):
        colour, glyph = COLOURS[number % len(COLOURS)], GLYPHS[number % len(GLYPHS)]
        bar.append(glyph * round(share / 100 * BAR_WIDTH), style=colour)
        legend.append(f"  {glyph} {name} {share:.0f} %", style=colour)
    return bar.append(legend)


def _shares(first_tries: Mapping[str, int]) -> dict[str, float]:
    total = sum(first_tries.values())
    return {name: 100 * tries / total for name, tries in sorted(first_tries.items())} if total else {}


def _felt(experience: Experience) -> str:
    p95 = f"{milliseconds(experience.p95)} ms" if experience.p95 is not None else "unknown"
    return f"{experience.requests} requests, {experience.bad_percent:.1f} % without a good answer, P95 {p95}"


def _words(verdict: Verdict) -> str:
    return verdict.condition.value.replace("_", " ")


def view(kpis: Kpis, *, json: bool) -> View:
    """The live picture for a person at a terminal; plain lines for pipes, on stderr where stdout is for a machine."""
    if json or not sys.stdout.isatty():
        return PlainView(sys.stderr if json else sys.stdout)
    return LiveView(Console(highlight=False), kpis)
