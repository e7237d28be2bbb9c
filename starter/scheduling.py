"""`failoverctl schedules`: apply, list, pause and resume."""

import asyncio
import getpass
from pathlib import Path

from failover.config import Config
from failover.errors import RequestError
from failover.units import render_duration
from starter.configuration import in_force
from starter.connection import connect
from starter.output import alarm, as_json, table
from starter.running import Stack, find
from starter.schedules import Applied, Listed, apply, listed, pause, resume
from starter.settings import Settings


def run_apply(settings: Settings, config: Path | None, state: Path | None, *, json: bool) -> int:
    stack = find(settings, state)
    applied = asyncio.run(_apply(settings, stack, _config(settings, stack, config)))
    if json:
        as_json("schedules-applied", applied)
    else:
        for name, done in applied.items():
            print(f"Schedule {name}: {done}.")
    return 0


def _config(settings: Settings, stack: Stack, config: Path | None) -> Config:
    return in_force(settings, stack, config).config


async def _apply(settings: Settings, stack: Stack, config: Config) -> dict[str, Applied]:
    return await apply(await connect(settings, stack), config)


def run_list(settings: Settings, config: Path | None, state: Path | None, *, json: bool) -> int:
    """Exit code 0 also where something differs: it is said, and `apply` puts it right."""
    stack = find(settings, state)
    schedules = asyncio.run(_list(settings, stack, _config(settings, stack, config)))
    if json:
        as_json("schedules", schedules)
        return 0
    rows = [
        (
            entry.id,
            render_duration(entry.every) if entry.every else entry.calendar,
            "paused" if entry.paused else "differs" if entry.drift else "active",
            f"{entry.last_at:%Y-%m-%d %H:%M:%S}" if entry.last_at else "never",
            f"{entry.next_at:%Y-%m-%d %H:%M:%S}" if entry.next_at else "none",
        )
        for entry in schedules
    ]
    table("Schedules", ("id", "every", "state", "last run (UTC)", "next run (UTC)"), rows)
    for entry in schedules:
        for said in (*([entry.note] if entry.note else ()), *entry.drift):
            alarm(f"{entry.id}: {said}.")
    return 0


async def _list(settings: Settings, stack: Stack, config: Config) -> list[Listed]:
    return await listed(await connect(settings, stack), config)


def run_pause(settings: Settings, name: str, why: str, by: str | None, state: Path | None, *, json: bool) -> int:
    if not why.strip():
        raise RequestError("--why must say something: whoever finds nothing running will want to know.")
    who = by or getpass.getuser()
    asyncio.run(_pause(settings, find(settings, state), name, who, why))
    _tell(name, "paused", json=json)
    return 0


async def _pause(settings: Settings, stack: Stack, name: str, by: str, why: str) -> None:
    await pause(await connect(settings, stack), name, by=by, why=why)


def run_resume(settings: Settings, name: str, state: Path | None, *, json: bool) -> int:
    asyncio.run(_resume(settings, find(settings, state), name))
    _tell(name, "active", json=json)
    return 0


async def _resume(settings: Settings, stack: Stack, name: str) -> None:
    await resume(await connect(settings, stack), name)


def _tell(name: str, state: str, *, json: bool) -> None:
    if json:
        as_json("schedule", {name: state})
    else:
        print(f"Schedule {name}: {state}.")
