"""Notes for runs that are open. A storm becomes a handful of them: a run in an incident has better things to do."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta

import structlog

from failover.errors import FailoverError
from failover.requests import Note
from starter.webhooks.temporal import Temporal

log = structlog.get_logger(__name__)

LISTED = 5
"""The most remarks, of many, that are repeated word for word."""


@dataclass(slots=True)
class _Line:
    """One run's remarks: the first on its way, the others waiting for the task that will hand them over."""

    first: asyncio.Task[bool]
    waiting: list[Note] = field(default_factory=list)
    later: asyncio.Task[None] | None = None


class Notes:
    """Hands over the first remark at once, and what comes within `interval` after it together."""

    def __init__(self, temporal: Temporal, interval: timedelta) -> None:
        self._temporal = temporal
        self._interval = interval.total_seconds()
        self._lines: dict[str, _Line] = {}
        self._stopping = asyncio.Event()

    async def leave(self, workflow_id: str, notes: Sequence[Note]) -> bool:
        """Leave notes; → False if the run is no longer open. Those that are gathered are handed over as well as it goes."""
        line = self._lines.get(workflow_id)
        if line is None:
            line = self._lines[workflow_id] = _Line(asyncio.create_task(self._hand_over(workflow_id, notes)))
        else:
            line.waiting += notes
        return await asyncio.shield(line.first)

    async def _hand_over(self, workflow_id: str, notes: Sequence[Note]) -> bool:
        reached = False
        try:
            reached = await self._temporal.tell(workflow_id, together(notes))
        finally:
            if reached:
                line = self._lines[workflow_id]
                line.later = asyncio.create_task(self._later(workflow_id, line))
            else:
                self._lines.pop(workflow_id)
        return reached

    async def _later(self, workflow_id: str, line: _Line) -> None:
        while True:
            try:
                await asyncio.wait_for(self._stopping.wait(), self._interval)
            except TimeoutError:
                pass
            if not line.waiting:
                self._lines.pop(workflow_id)
                return
            notes, line.waiting = line.waiting, []
            try:
                await self._temporal.tell(workflow_id, together(notes))
            except FailoverError as error:
                log.warning("a run could not be told of alerts", workflow_id=workflow_id, error=str(error))

    async def finish(self) -> None:
        """Hand over at once what waits; the server is ending."""
        self._stopping.set()
        await asyncio.gather(*(line.later for line in self._lines.values() if line.later is not None))


def together(notes: Sequence[Note]) -> Note:
    """Put many remarks into one, in the name of whoever made them."""
    if len(notes) == 1:
        return notes[0]
    texts = list(dict.fromkeys(note.text for note in notes))
    shown = "; ".join(text[:150] for text in texts[:LISTED]) + ("; …" if len(texts) > LISTED else "")
    by = ", ".join(dict.fromkeys(note.by for note in notes))
    return Note(by=by[:200], text=f"{len(notes)} more alerts: {shown}"[:1000])
