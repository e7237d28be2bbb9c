"""`failoverctl schedules`: apply and list."""

import asyncio
from pathlib import Path

from failover.units import render_duration
from starter.connection import connect
from starter.output import as_json, table
from starter.running import Stack, find
from starter.schedules import HEALTH_CHECK, Applied, Listed, apply, listed
from starter.settings import Settings
from starter.showing import named
from starter.stack import load


def run_apply(settings: Settings, config: Path | None, state: Path | None, *, json: bool) -> int:
    stack = find(settings, state)
    path = config or stack.config or named(settings, config)
    applied = asyncio.run(_apply(settings, stack, path))
    if json:
        as_json("schedules-applied", {HEALTH_CHECK: applied})
    else:
        print(f"Schedule {HEALTH_CHECK}: {applied}.")
    return 0


async def _apply(settings: Settings, stack: Stack, path: Path) -> Applied:
    config = load(path).config
    return await apply(await connect(settings, stack), config)


def run_list(settings: Settings, state: Path | None, *, json: bool) -> int:
    schedules = asyncio.run(_list(settings, find(settings, state)))
    if json:
        as_json("schedules", schedules)
        return 0
    rows = [
        (
            entry.id,
            render_duration(entry.every) if entry.every else "",
            "paused" if entry.paused else "active",
            f"{entry.last_at:%Y-%m-%d %H:%M:%S}" if entry.last_at else "never",
            f"{entry.next_at:%Y-%m-%d %H:%M:%S}" if entry.next_at else "none",
        )
        for entry in schedules
    ]
    table("Schedules", ("id", "every", "state", "last run (UTC)", "next run (UTC)"), rows)
    return 0


async def _list(settings: Settings, stack: Stack) -> list[Listed]:
    return await listed(await connect(settings, stack))
