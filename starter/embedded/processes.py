"""Child processes that never outlive this one, and whose death is never silent."""

import asyncio
import ctypes
import json
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from failover.errors import FailoverError

POLL_SECONDS = 0.02
"""The seconds between two looks for a ready file."""

_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Child:
    """A process of ours, in a session of its own so that Ctrl-C reaches only us. Its output is in `log`."""

    name: str
    process: asyncio.subprocess.Process
    log: Path

    def ending(self) -> str:
        """How it ended, with the last lines of its log, for people."""
        code = self.process.returncode
        how = f"was killed by signal {-code}" if code is not None and code < 0 else f"ended with exit code {code}"
        tail = "\n".join(f"    {line}" for line in last_lines(self.log, 12))
        return f"The {self.name} {how}. Its log is {self.log}" + (
            f"; it ends with:\n{tail}" if tail else ", and empty."
        )

    async def stop(self, grace: timedelta) -> None:
        """Ask it to end; after `grace`, make it."""
        if self.process.returncode is None:
            self._signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(grace.total_seconds()):
                await self.process.wait()
        except TimeoutError:
            self._signal(signal.SIGKILL)
            await self.process.wait()

    def _signal(self, number: signal.Signals) -> None:
        try:
            os.killpg(self.process.pid, number)
        except ProcessLookupError:
            pass


async def start(name: str, command: Sequence[str], *, log: Path, environ: Mapping[str, str]) -> Child:
    """Start a process whose output goes to `log` (begun anew)."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=dict(environ),
            start_new_session=True,
            preexec_fn=_die_with_parent,
        )
    return Child(name=name, process=process, log=log)


def _die_with_parent() -> None:
    """The kernel kills the child when its parent is gone, even by kill -9. Survives exec; Linux only."""
    if _LIBC is not None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


async def ready(child: Child, file: Path, timeout: timedelta) -> dict[str, Any]:
    """What the child wrote into its ready file; FailoverError where it ends or dawdles before."""
    try:
        async with asyncio.timeout(timeout.total_seconds()):
            while (answer := _read(file)) is None:
                if child.process.returncode is not None:
                    raise FailoverError(f"{child.ending()}\nIt never became ready.")
                await asyncio.sleep(POLL_SECONDS)
    except TimeoutError:
        raise FailoverError(
            f"The {child.name} was not ready within {timeout.total_seconds():g} s; see {child.log}."
        ) from None
    return answer


def _read(file: Path) -> dict[str, Any] | None:
    try:
        answer = json.loads(file.read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        return None
    return answer if isinstance(answer, dict) else None


def last_lines(log: Path, count: int) -> list[str]:
    try:
        with log.open("rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - 16_384))
            return file.read().decode(errors="replace").splitlines()[-count:]
    except FileNotFoundError:
        return []


async def first_to_end(children: Sequence[Child]) -> Child:
    """Wait until any of them ends."""
    waits = {asyncio.create_task(child.process.wait()): child for child in children}
    try:
        done, _ = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
    return waits[next(iter(done))]
