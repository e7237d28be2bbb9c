"""Closed runs, as their evidence tells them: the records that were wanted lately are kept, since they do not change.

But for what is still to be measured: requests that had not ended when the run did.
"""

import asyncio
from datetime import datetime
from functools import lru_cache

import structlog
from pydantic import ValidationError

from activities.evidence import EvidenceStore
from failover.errors import FailoverError, RequestError
from failover.incident import RunRecord
from failover.reports.document import Report
from failover.reports.incident import incident

log = structlog.get_logger("console")

REMEMBERED = 500
"""Records that are not read again: a server lives for months."""


class Incidents:
    """The closed runs in the store that the worker writes; None: this server sees no evidence."""

    def __init__(self, store: EvidenceStore | None) -> None:
        self._store = store
        self._load = lru_cache(REMEMBERED)(store.load) if store else None

    @property
    def known(self) -> bool:
        return self._store is not None

    async def all(self, since: datetime | None = None) -> list[tuple[str, RunRecord]]:
        """(The folder's name, its record) of every run decided since, newest first."""
        return await asyncio.to_thread(self._all, since)

    async def one(self, name: str) -> RunRecord:
        """The record in the folder of that name. RequestError if there is none."""
        return await asyncio.to_thread(self._one, name)

    async def report(self, name: str) -> Report:
        """The report, made anew of the record and of what lies beside it."""
        record = await self.one(name)
        assert self._store is not None
        return incident(record, await asyncio.to_thread(self._store.beside, name))

    async def pages(self, name: str) -> list[str]:
        """Names of the reports in HTML that lie beside a record."""
        await self.one(name)
        assert self._store is not None
        return [file for file in await asyncio.to_thread(self._store.files, name) if file.endswith(".html")]

    async def page(self, name: str, file: str) -> bytes | None:
        """The content of one of them; None if there is none of that name."""
        if file not in await self.pages(name):
            return None
        assert self._store is not None
        return await asyncio.to_thread(self._store.read, name, file)

    def _all(self, since: datetime | None) -> list[tuple[str, RunRecord]]:
        folders = list(self._store.list(since)) if self._store else []
        return [(folder, record) for folder in folders if (record := self._record(folder)) is not None]

    def _one(self, name: str) -> RunRecord:
        # Compared with what is there, and never joined to a path: a name from outside leads nowhere else.
        there = self._store is not None and name in self._store.list()
        record = self._record(name) if there else None
        if record is None:
            raise RequestError(f"There is no incident {name!r}; the list of incidents says what there is.")
        return record

    def _record(self, folder: str) -> RunRecord | None:
        assert self._load is not None and self._store is not None
        try:
            record = self._load(folder)
            return record if record.impact is None or record.impact.settled else self._store.load(folder)
        except (FailoverError, OSError, ValidationError) as error:
            log.warning("a record cannot be read", folder=folder, error=type(error).__name__)
            return None
