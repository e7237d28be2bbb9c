"""The live status on a real terminal of 80 × 24: nothing wraps, the answer comes first, and the terminal is left as it was."""

import asyncio
import contextlib
import io
import os
import signal
import sys
import termios
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import ptyprocess
import pyte
import pytest
from rich.cells import cell_len
from rich.console import Console

from failover.automation import Hold
from failover.errors import TemporalUnavailable
from failover.health import Condition, Verdict
from failover.incident import Moments
from failover.policy import ChangedBy, Mode, Revision, TrafficPolicy
from failover.requests import RunStatus
from failover.telemetry import RouteWindow, Telemetry
from starter.checks import Watched
from starter.dashboard import Shown, picture
from starter.looking import Seen
from starter.runs.memory import OpenRun
from starter.runs.situation import Look
from tests.seeing.conftest import PATIENCE, ROOT, Scraped

pytestmark = pytest.mark.timeout(300)

NOW = datetime(2026, 1, 31, 3, 0, tzinfo=UTC)


def asking(run: str) -> Look:
    """A canary that waits for people."""
    approval = {"step": "step-2", "digest": "d", "text": "go on?", "quorum": 2, "granted": ["ada"], "deadline": NOW}
    status = RunStatus(
        procedure="CanaryFailover",
        phase="approval",
        provider="bedrock",
        outcome=None,
        reason="",
        routes=[],
        moments=Moments(decided=NOW - timedelta(seconds=90)),
        timeline=[],
        details={"approval": approval},
    )
    return Look(workflow_id=run, at=NOW, status=status)


def seen(many: int = 1, **changes: Any) -> Seen:
    """An incident: bedrock is down, and `many` routes and runs are about it."""
    why = "3 probes in a row failed; the last: bedrock: server error (InternalServerException): The system encountered"
    policies = [
        TrafficPolicy(
            route=f"a-route-with-a-long-name-{number}",
            revision=Revision(epoch="e", number=4),
            distribution={"bedrock": 7000, "google": 2000, "meta": 1000},
            mode=Mode.NORMAL,
            changed_by=ChangedBy(actor="a"),
            changed_at=NOW,
            reason="r",
        )
        for number in range(many)
    ]
    names = [f"canary/a-route-with-a-long-name-{number}" for number in range(many)]
    runs = [OpenRun(workflow_id=name, procedure="CanaryFailover", started_at=NOW, look=asking(name)) for name in names]
    usual: dict[str, Any] = {
        "at": NOW,
        "verdicts": [
            Verdict(provider="google", condition=Condition.HEALTHY, reason="well", at=NOW - timedelta(seconds=75)),
            Verdict(provider="bedrock", condition=Condition.UNAVAILABLE, reason=why, at=NOW - timedelta(seconds=2)),
            Verdict(provider="meta", condition=Condition.HEALTHY, reason="well", at=NOW),
        ],
        "hold": None,
        "watched": Watched(completed_at=NOW - timedelta(seconds=4), age=timedelta(seconds=4), why_red=None),
        "policies": policies,
        "served": Telemetry(
            since=NOW - timedelta(minutes=1),
            at=NOW,
            providers=[],
            routes=[RouteWindow(route="chat", requests=1200, failed=60, lost=60, empty=0)],
        ),
        "runs": runs,
        "ended": [],
    }
    return Seen(**(usual | changes))


def drawn(told: Seen, width: int = 80, height: int = 24, age: int = 1) -> list[str]:
    shown = Shown(timedelta(seconds=10))
    shown.seen, shown.at = told, NOW - timedelta(seconds=age)
    out = io.StringIO()
    console = Console(file=out, width=width, height=height, color_system=None, highlight=False)
    console.print(picture(shown, NOW, console))
    return out.getvalue().splitlines()


@pytest.mark.parametrize("size", [(80, 24), (60, 15), (40, 8), (200, 60)])
@pytest.mark.parametrize("many", [0, 1, 40])
def test_it_fits(size: tuple[int, int], many: int) -> None:
    """Whatever there is to be shown; what has no room is counted."""
    lines = drawn(seen(many), *size)
    assert len(lines) <= size[1]
    assert max(map(cell_len, lines)) <= size[0]
    if many == 40:
        assert "more lines; a taller window" in lines[-1]


def test_the_answer_stands_first() -> None:
    """The word, why, and the command whole; then what waits, before what is merely shown."""
    lines = drawn(seen(40))
    assert lines[0].startswith(" ACT NOW   canary/a-route-with-a-long-name-0 waits for approval")
    assert lines[1].rstrip() == "2 given."
    assert lines[2].rstrip() == "Do:  failoverctl watch canary/a-route-with-a-long-name-0"
    lines = drawn(seen(1, runs=[]))
    assert lines[0].rstrip() == " ACT NOW   bedrock is down and has 70 % of route a-route-with-a-long-name-0, and"
    assert "Do:  failoverctl failover --from bedrock" in [line.rstrip() for line in lines[:3]]


def test_who_is_down_stands_before_who_is_well_and_an_old_verdict_says_so() -> None:
    """A verdict of 75 seconds ago is not to be relied upon."""
    lines = drawn(seen(0))
    [bedrock] = [number for number, line in enumerate(lines) if line.startswith("  bedrock ")]
    [google] = [number for number, line in enumerate(lines) if line.startswith("  google ")]
    assert bedrock < google
    assert "UNHEALTHY    2 s  unavailable: 3 probes" in lines[bedrock] and "75 s OLD" in lines[google]


def test_stale_is_said() -> None:
    """Whoever does not answer any more: what is shown is of before, and is said to be."""
    assert any("seen 1 s ago, every 10s" in line for line in drawn(seen()))
    assert any("STALE: seen 34 s ago" in line for line in drawn(seen(), age=34))


def test_what_cannot_be_asked_says_so_in_its_place() -> None:
    """And the rest is shown all the same; the answer is then no better than it was."""
    gone = TemporalUnavailable("Temporal does not answer at 127.0.0.1:7233 (connection refused).")
    lines = drawn(seen(0, runs=gone, ended=gone, watched=gone, verdicts=[]))
    assert lines[0].startswith(" NOT KNOWN   Temporal does not answer")
    assert any(line.startswith("  not known: Temporal does not answer") for line in lines)
    assert any(line.startswith("  chat ") for line in lines)


def test_a_hold_and_errors_of_users_are_said() -> None:
    """By words, not by colour alone."""
    hold = Hold(by="ada", why="a migration", since=NOW, until=None)
    lines = drawn(seen(0, hold=hold))
    assert any("HELD by ada, nothing starts by itself: a migration" in line for line in lines)
    assert any("1200 requests  5.0 % without a good answer" in line for line in lines)


class Terminal:
    """A pty with a program on it, and what its screen shows. `over`: the program has ended, and all that it said was read.

    A thread reads: whatever becomes of the tests' event loop, a program is never held up by a pty that is full.
    """

    def __init__(self, argv: list[str], environ: dict[str, str], rows: int = 24, columns: int = 80) -> None:
        self.process = ptyprocess.PtyProcess.spawn(argv, env=environ, dimensions=(rows, columns))
        self.before = termios.tcgetattr(self.process.fd)
        self.screen = pyte.Screen(columns, rows)
        self.raw, self.over = b"", False
        self._stream, self._drawing = pyte.ByteStream(self.screen), threading.Lock()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        with contextlib.suppress(OSError, EOFError):
            while got := os.read(self.process.fd, 65536):
                with self._drawing:
                    self.raw += got
                    self._stream.feed(got)
        self.over = True

    @property
    def lines(self) -> list[str]:
        with self._drawing:
            return [line.rstrip() for line in self.screen.display]

    def resize(self, rows: int, columns: int) -> None:
        with self._drawing:
            self.screen.resize(rows, columns)
        self.process.setwinsize(rows, columns)

    async def until(self, good: Callable[[list[str]], bool]) -> list[str]:
        try:
            async with asyncio.timeout(PATIENCE):
                while not good(self.lines):
                    await asyncio.sleep(0.05)
        except TimeoutError:
            self.process.kill(signal.SIGABRT)  # It says where it stands.
            await self._end()
            pytest.fail("\n".join([*self.lines, self.raw[-4000:].decode(errors="replace")]))
        return self.lines

    async def ended(self) -> int:
        """Wait for its end, and for its last words → exit code."""
        await self._end()
        return int(self.process.exitstatus)

    async def _end(self) -> None:
        async with asyncio.timeout(PATIENCE):
            while self.process.isalive() or not self.over:
                await asyncio.sleep(0.05)


@asynccontextmanager
async def terminal(scraped: Scraped, **environ: str) -> AsyncIterator[Terminal]:
    state = scraped.stack.addresses.state
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("FAILOVER_", "NO_COLOR", "COL"))}
    argv = [sys.executable, "-m", "starter", "status", "--state", state, "--dashboard", "failover", "--refresh", "1"]
    shown = Terminal(
        argv, kept | {"TERM": "xterm-256color", "PYTHONPATH": str(ROOT), "PYTHONFAULTHANDLER": "1"} | environ
    )
    try:
        yield shown
    finally:
        shown.process.terminate(force=True)
        async with asyncio.timeout(PATIENCE):
            while not shown.over:  # A descriptor that is closed while somebody reads it may be another's by then.
                await asyncio.sleep(0.05)
        shown.process.close()


def fits(lines: list[str]) -> bool:
    """The picture's parts, in their order, each once: nothing scrolled away, and nothing was left of an older one."""
    heads = [line for line in lines if line in ("Runs", "Providers", "Routes", "Automation")]
    return heads == ["Runs", "Providers", "Routes", "Automation"]


WORDS = (" ALL WELL", " HANDLED", " WORKING", " ACT NOW", " NOT KNOWN")

LEFT = b"\x1b[?1049l"
"""Back from the alternate screen."""

SHOWN = b"\x1b[?25h"
"""The cursor is."""


async def test_a_terminal_of_80_by_24_that_changes_its_size_and_q(scraped: Scraped) -> None:
    """Drawn, drawn anew at each size, and gone without a trace."""
    async with terminal(scraped) as shown:
        lines = await shown.until(fits)
        assert lines[0].startswith(WORDS) and lines[1].startswith("Do:")
        assert b"\x1b[3" in shown.raw or b"\x1b[1;3" in shown.raw, "colours"
        shown.resize(9, 60)
        smaller = await shown.until(lambda lines: any("more lines; a taller window" in line for line in lines))
        assert smaller[0].startswith(WORDS)
        shown.resize(40, 120)
        await shown.until(fits)
        shown.process.write(b"q")
        assert await shown.ended() == 0
        assert LEFT in shown.raw and SHOWN in shown.raw
        assert shown.raw.rindex(SHOWN) > shown.raw.rindex(b"\x1b[?25l")
        assert termios.tcgetattr(shown.process.fd) == shown.before


async def test_ctrl_c_and_no_colours(scraped: Scraped) -> None:
    """Nothing is said by colour alone, and an interrupt is the usual way out, not an error."""
    async with terminal(scraped, NO_COLOR="1") as shown:
        lines = await shown.until(fits)
        assert any(line.startswith("  chat ") and "█" in line for line in lines)
        colours = [code for code in shown.raw.split(b"\x1b[") if code[:2] in (b"31", b"32", b"33", b"34", b"41", b"43")]
        assert colours == []
        shown.process.write(b"\x03")
        assert await shown.ended() == 0
        assert LEFT in shown.raw and b"Traceback" not in shown.raw
        assert termios.tcgetattr(shown.process.fd) == shown.before
