"""`failoverctl automation`: the hold, and what may start by itself."""

import asyncio
import getpass
from datetime import UTC, datetime
from pathlib import Path

from failover.automation import Hold, levels_of
from starter.arguments import moment
from starter.configuration import in_force
from starter.output import as_json, say, table
from starter.parts import plane_of
from starter.running import Stack, find
from starter.settings import Settings


def run_hold(settings: Settings, why: str, until: str | None, by: str | None, state: Path | None, *, json: bool) -> int:
    now = datetime.now(UTC)
    hold = Hold(by=by or getpass.getuser(), why=why, since=now, until=moment("--until", until))
    asyncio.run(_keep(find(settings, state), hold))
    _tell(hold, json=json)
    return 0


def run_resume(settings: Settings, state: Path | None, *, json: bool) -> int:
    asyncio.run(_keep(find(settings, state), None))
    _tell(None, json=json)
    return 0


def run_show(settings: Settings, config: Path | None, state: Path | None, *, json: bool) -> int:
    stack = find(settings, state)
    hold = asyncio.run(hold_in(stack))
    levels = levels_of(in_force(settings, stack, config).config)
    if json:
        as_json("automation", {"hold": hold, "levels": levels})
        return 0
    _tell(hold, json=False)
    rows = [(route, verdict.replace("_", " "), level) for route, by in levels.items() for verdict, level in by.items()]
    table("What starts by itself", ("route", "verdict", "level"), rows)
    return 0


async def hold_in(stack: Stack) -> Hold | None:
    """The hold that is in force; None where there is none."""
    store = plane_of(stack)
    try:
        hold = await store.hold()
    finally:
        await store.aclose()
    return hold if hold is not None and hold.in_force(datetime.now(UTC)) else None


async def _keep(stack: Stack, hold: Hold | None) -> None:
    store = plane_of(stack)
    try:
        await store.keep_hold(hold)
    finally:
        await store.aclose()


def _tell(hold: Hold | None, *, json: bool) -> None:
    if json:
        as_json("automation", {"hold": hold})
    elif hold is None:
        print("Automation is not held.")
    else:
        print(f"{hold}.")
        say("What people start goes on. End it with `failoverctl automation resume`.")
