"""`failoverctl watch`: one run, live, until it is over."""

import asyncio
import sys
from contextlib import AsyncExitStack
from pathlib import Path

from failover import kinds
from starter.connection import connect
from starter.output import as_json_line, interactive
from starter.parts import closing, plane_of
from starter.running import Stack, find
from starter.runs.finding import DRIVEABLE, the_one, type_of
from starter.runs.following import View, follow
from starter.runs.lines import JsonLines, Lines
from starter.settings import Settings


def run_watch(settings: Settings, run: str | None, state: Path | None, *, json: bool) -> int:
    """Exit code: that of the run's outcome."""
    return asyncio.run(_watch(settings, find(settings, state), run, json=json))


async def _watch(settings: Settings, stack: Stack, named: str | None, *, json: bool) -> int:
    client = await connect(settings, stack)
    run = await the_one(client, named, (*DRIVEABLE, kinds.IMMEDIATE))
    procedure, _ = await type_of(run)
    async with AsyncExitStack() as held:
        plane = await held.enter_async_context(closing(plane_of(stack))) if stack.gateway else None
        ended = await follow(run, _view(procedure, json=json), plane=plane)
    assert ended is not None
    if json:
        as_json_line("run", ended)
    else:
        print(ended.sentence(), flush=True)
    return ended.code


def _view(procedure: str, *, json: bool) -> View:
    """The live picture for a person at a terminal; plain lines for pipes; JSON lines for machines."""
    if json:
        return JsonLines()
    if not interactive():
        return Lines(sys.stdout)
    from starter.runs.picture import Picture

    return Picture(procedure)
