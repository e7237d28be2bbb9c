"""The runs of a stack, looked at again and again: what they told is kept between looks."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from temporalio.client import Client
from temporalio.exceptions import ApplicationError

from failover.answer import RunEnded
from failover.errors import FailoverError
from failover.policy import is_drill
from failover.troubles import RunNow
from starter.runs.finding import DRY, OPEN, Found, executions, handle_of, listed, recent_runs
from starter.runs.following import Closed, closed, look_at
from starter.runs.situation import Look, waiting

MOST = 100
"""Runs under way that are asked."""

MOST_ENDED = 50
"""Runs that ended lately, of which the last ones may have left something to people."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenRun:
    """A procedure under way, and what it tells of itself; `phase` and `provider` as Temporal lists them, who is late."""

    workflow_id: str
    procedure: str
    started_at: datetime
    look: Look
    phase: str = ""
    provider: str = ""

    def now(self) -> RunNow:
        status = self.look.status
        return RunNow(
            workflow_id=self.workflow_id,
            procedure=self.procedure,
            phase=status.phase if status else self.phase,
            started_at=self.started_at,
            told_at=self.look.at if status else None,
            provider=status.provider if status else self.provider,
            waits=waiting(self.workflow_id, self.look.situation),
        )


class RunMemory:
    """What was told last stands until it is told anew; what a run left at its end does not change."""

    def __init__(self) -> None:
        self._told: dict[tuple[str, str], Look] = {}
        self._left: dict[tuple[str, str], Closed] = {}

    async def open(self, client: Client) -> Sequence[OpenRun]:
        """The runs under way, dry runs left out, newest first."""
        found = [run for run in await executions(client, OPEN, MOST) if not run.id.startswith(DRY)]
        looks = await asyncio.gather(*(look_at(handle_of(client, run.id)) for run in found))
        # A worker that is slow for a moment must not make a decision disappear that people are about to take.
        ids = [(run.id, run.run_id) for run in found]
        looks = [
            self._told.get(id_, look) if look.status is None else look for id_, look in zip(ids, looks, strict=True)
        ]
        self._told = {id_: look for id_, look in zip(ids, looks, strict=True) if look.status is not None}
        # Temporal's list is late: what is over says so itself.
        going = [(listed(run), look) for run, look in zip(found, looks, strict=True) if not look.is_over]
        return [_open(run, look) for run, look in going]

    async def ended(self, client: Client) -> Sequence[RunEnded]:
        """The runs that ended lately, dry runs left out, newest first."""
        found = [run for run in await recent_runs(client, MOST_ENDED) if not run.workflow_id.startswith(DRY)]
        lefts = await asyncio.gather(*(self._last_words(client, run) for run in found))
        self._left = {_id(run): self._left[_id(run)] for run in found if _id(run) in self._left}
        return [_ended(run, run.closed_at, left) for run, left in zip(found, lefts, strict=True) if run.closed_at]

    async def _last_words(self, client: Client, run: Found) -> Closed | None:
        """The end of a run that needs a person, and does not only practise it; None if nobody can read it."""
        if run.outcome != "NEEDS_HUMAN" or is_drill(run.workflow_id):
            return None
        if _id(run) in self._left:
            return self._left[_id(run)]
        try:
            # Known from now on, also where another one takes so long that this look is given up.
            self._left[_id(run)] = left = await closed(handle_of(client, run.workflow_id, run.run_id))
            return left
        except (FailoverError, ApplicationError):
            # Encrypted with a key that is not here, or forgotten meanwhile: that a person is needed is known all the same.
            return None


def _id(run: Found) -> tuple[str, str]:
    return run.workflow_id, run.run_id


def _open(run: Found, look: Look) -> OpenRun:
    return OpenRun(
        workflow_id=run.workflow_id,
        procedure=run.procedure,
        started_at=run.started_at,
        look=look,
        phase=run.phase,
        provider=run.provider,
    )


def _ended(run: Found, at: datetime, left: Closed | None) -> RunEnded:
    return RunEnded(
        workflow_id=run.workflow_id,
        run_id=run.run_id,
        outcome=run.outcome,
        closed_at=at,
        routes=run.routes,
        said=left.said if left else "",
        command=left.command if left else "",
    )
