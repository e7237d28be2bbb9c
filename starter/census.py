"""The runs under way, counted from Temporal's own list: the same for every worker that asks."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from temporalio.client import Client

from failover.errors import TemporalUnavailable
from starter.runs.finding import DRY, OPEN, executions
from workflows.journal import PHASE

ASKING = frozenset({"approval", "question", "ask"})
"""Phases in which a run waits for somebody's word."""

MOST = 1000
"""The most open runs that are looked at."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """One run under way. `asks`: it waits for somebody's word."""

    procedure: str
    age: timedelta
    asks: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Census:
    """`answered`: whether Temporal did."""

    answered: bool
    runs: Sequence[Counted] = ()


async def census(client: Client) -> Census:
    """Count the runs under way; dry runs are none."""
    try:
        found = await executions(client, OPEN, MOST)
    except TemporalUnavailable:
        return Census(answered=False)
    now = datetime.now(UTC)
    return Census(
        answered=True,
        runs=[
            Counted(
                procedure=run.workflow_type,
                age=max(timedelta(0), now - run.start_time),
                asks=run.typed_search_attributes.get(PHASE) in ASKING,
            )
            for run in found
            if not run.id.startswith(DRY)
        ],
    )
