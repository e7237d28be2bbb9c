"""Closed runs, as their evidence tells them: read once, and again where a record has changed."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import structlog
from pydantic import ValidationError

from activities.evidence import EvidenceStore
from failover.errors import RequestError
from failover.incident import RunRecord

log = structlog.get_logger("console")

LATEST = 50
"""Records that one look at the stack considers."""


class Incidents:
    """Over the store that the worker writes; None: this server sees no evidence."""

    def __init__(self, store: EvidenceStore | None) -> None:
        self._store = store
        self._read: dict[str, tuple[float, RunRecord]] = {}

    @property
    def known(self) -> bool:
        return self._store is not None

    async def latest(self, most: int = LATEST) -> Sequence[RunRecord]:
        """Newest first, the last to have closed leading."""
        return [record for _, record in await self.all(most)]

    async def all(self, most: int) -> list[tuple[str, RunRecord]]:
        """(The folder's name, its record), newest first."""
        return await asyncio.to_thread(self._all, most)

    async def one(self, name: str) -> tuple[Path, RunRecord]:
        """By the folder's name. RequestError where there is none of that name."""
        return await asyncio.to_thread(self._one, name)

    def _all(self, most: int) -> list[tuple[str, RunRecord]]:
        folders = self._store.list()[:most] if self._store else []
        return [(folder.name, record) for folder in folders if (record := self._record(folder)) is not None]

    def _one(self, name: str) -> tuple[Path, RunRecord]:
        # Compared with what is there, and never joined to a path: a name from outside leads nowhere else.
        folder = next((folder for folder in (self._store.list() if self._store else []) if folder.name == name), None)
        record = self._record(folder) if folder is not None else None
        if folder is None or record is None:
            raise RequestError(f"There is no incident {name!r}; the list of incidents says what there is.")
        return folder, record

    def _record(self, folder: Path) -> RunRecord | None:
        assert self._store is not None
        try:
            changed = (folder / "record.json").stat().st_mtime
            before = self._read.get(folder.name)
            if before is None or before[0] != changed:
                before = self._read[folder.name] = (changed, self._store.load(folder))
            return before[1]
        except (OSError, ValidationError) as error:
            log.warning("a record cannot be read", folder=folder.name, error=type(error).__name__)
            return None
