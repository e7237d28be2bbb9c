"""`failoverctl runs`: what goes on, what it waits for, and how the last ones ended."""

import asyncio
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from textwrap import shorten

from starter.connection import connect
from starter.exit_codes import ExitCode
from starter.output import as_json, console, table
from starter.running import Stack, find
from starter.runs.finding import DRY, Found, open_runs, recent_runs
from starter.settings import Settings

ROOMY = 96
"""Columns from which on every column of the list has room."""


def run_list(settings: Settings, state: Path | None, *, recent: int, dry: bool, json: bool) -> int:
    found = asyncio.run(_runs(settings, find(settings, state), recent))
    runs = [run for run in found if dry or not run.workflow_id.startswith(DRY)]
    if json:
        as_json("runs", runs)
    else:
        _show(runs)
    return ExitCode.DONE


async def _runs(settings: Settings, stack: Stack, recent: int) -> list[Found]:
    client = await connect(settings, stack)
    return [*await open_runs(client), *(await recent_runs(client, recent) if recent else [])]


def _show(runs: Sequence[Found]) -> None:
    if not runs:
        print("No procedure is under way, and none was lately.")
        return
    now = datetime.now(UTC)
    columns: dict[str, Callable[[Found], str]] = {
        "run": lambda run: run.workflow_id,
        "procedure": lambda run: run.procedure,
        "subject": lambda run: run.subject,
        "stands at": lambda run: run.outcome or run.phase,
        "since": lambda run: _moment(run.started_at, now),
        "waits for": lambda run: shorten(_waits(run, now), 48, placeholder=" …"),
    }
    if console().width < ROOMY:
        del columns["procedure"]  # The run's id says it, where we named the run.
    table("Runs", list(columns), [[cell(run) for cell in columns.values()] for run in runs], whole=2)


def _waits(run: Found, now: datetime) -> str:
    return run.waits_for or (f"over {_moment(run.closed_at, now)}" if run.closed_at else "nobody")


def _moment(at: datetime, now: datetime) -> str:
    """UTC, with the day where it is not today."""
    return f"{at:%H:%M:%S}" if at.date() == now.date() else f"{at:%m-%d %H:%M}"
