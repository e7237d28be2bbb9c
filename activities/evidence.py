"""Evidence: what is kept of a closed run, outside Temporal, whose retention ends."""

import asyncio
import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any

import structlog
from pydantic import TypeAdapter, ValidationError
from temporalio import activity

from activities.archive import DirectoryArchive
from failover.errors import FailoverError, RequestError, Unavailable
from failover.incident import MeasuredAgain, RunRecord
from failover.ports import Archive
from failover.reports.incident import incident
from failover.reports.markdown import markdown
from failover.units import count

log = structlog.get_logger(__name__)

RECORD = "record.json"

AGAIN = "measured-again.json"
"""The file, beside a record, which never changes, with the figures that were not settled when the run closed."""

PATIENCE = timedelta(seconds=5)
"""The longest wait for what lies beside a record."""

_RECORD = TypeAdapter(RunRecord)
_AGAIN = TypeAdapter(MeasuredAgain)
_FILE = re.compile(r"[a-z0-9][a-z0-9._-]{0,99}")


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidenceRef:
    """The places of a run's record and of its report."""

    path: str
    report: str


def folder_of(decided: datetime, workflow_id: str, run_id: str) -> str:
    """The name of a run's folder; names sort by the moment at which the run was decided."""
    return f"{decided:%Y%m%dT%H%M%S}-{_slug(workflow_id)}-{_tail(run_id)}"


def _slug(workflow_id: str) -> str:
    return re.sub(r"[^A-Za-z0-9]+", "-", workflow_id).strip("-")[:60]


def _tail(run_id: str) -> str:
    """The end of a run id: ids of one minute begin alike."""
    return re.sub(r"[^A-Za-z0-9]", "", run_id)[-8:]


class EvidenceStore:
    """One folder a run: record.json, its report, and whatever else was said of the run. Blocking.

    Everything raises Unavailable where the archive does not answer.
    """

    def __init__(self, archive: Archive | Path) -> None:
        self._archive = DirectoryArchive(archive) if isinstance(archive, Path) else archive

    @property
    def archive(self) -> Archive:
        return self._archive

    @property
    def where(self) -> str:
        """The place of the evidence, for people: the directory, or the bucket's address."""
        return self._archive.where("")

    def keep(self, record: RunRecord) -> EvidenceRef:
        """Write both files, whole; a second time for the same run replaces the first."""
        folder = folder_of(record.moments.decided, record.workflow_id, record.run_id)
        self._archive.put(f"{folder}/{RECORD}", _RECORD.dump_json(record, indent=2))
        return EvidenceRef(path=self._archive.where(folder), report=self._report(folder, record))

    def _report(self, folder: str, record: RunRecord) -> str:
        """Write the Markdown report of a record and what lies beside it; → its place, "" if it cannot be made."""
        try:
            told = incident(record, self.beside(folder))
        except Unavailable:
            raise
        except Exception:
            log.exception("the report could not be made", folder=folder)
            return ""
        report = f"{folder}/{told.file_name}.md"
        self._archive.put(report, markdown(told).encode())
        return self._archive.where(report)

    def beside(self, folder: str) -> dict[str, Any]:
        """What other parts left in a run's folder as JSON, by file name; None for what cannot be read."""
        names = [name for name in self.files(folder) if name.endswith(".json") and name != RECORD]
        return {name: _parsed(self.read(folder, name)) for name in names}

    def list(self, since: datetime | None = None, until: datetime | None = None) -> Sequence[str]:
        """The folders of runs decided in [since, until), newest first."""
        first = f"{since:%Y%m%dT%H%M%S}" if since else ""
        last = f"{until:%Y%m%dT%H%M%S}" if until else "~"
        keys = self._archive.keys(after=first)
        folders = {folder for key in keys for folder, _, name in [key.partition("/")] if name == RECORD}
        return sorted((folder for folder in folders if first <= folder < last), reverse=True)

    def load(self, folder: str) -> RunRecord:
        """Load a record as it was measured last. RequestError if there is none; ValueError if it cannot be read."""
        content = self._archive.get(f"{folder}/{RECORD}")
        if content is None:
            raise RequestError(f"There is no record in {self._archive.where(folder)}.")
        record = _RECORD.validate_json(content)
        return record if record.impact is None or record.impact.settled else self._measured_last(folder, record)

    def _measured_last(self, folder: str, record: RunRecord) -> RunRecord:
        content = self._archive.get(f"{folder}/{AGAIN}")
        if content is None:
            return record
        again = _AGAIN.validate_json(content)
        return replace(record, impact=again.impact, course=again.course)

    def measured_again(self, folder: str, again: MeasuredAgain) -> None:
        """Replace the run's figures by these from now on."""
        left = again.impact.pending
        said = f"{count(left, 'request')} had not ended even then" if left else "every request had ended"
        lines = [
            f"Not every request of its time had ended when the run closed; measured again at {again.at:%H:%M:%S}: {said}."
        ]
        told = {**_AGAIN.dump_python(again, mode="json"), "report": {"title": "Measured again", "lines": lines}}
        self.attach(folder, AGAIN, json.dumps(told, indent=2).encode())

    def records(self, since: datetime | None = None, until: datetime | None = None) -> Iterator[tuple[str, RunRecord]]:
        """Folder and record of the runs decided then, newest first; what cannot be read is left out, and logged."""
        for folder in self.list(since, until):
            try:
                yield folder, self.load(folder)
            except ValidationError as error:
                log.warning("a record cannot be read", folder=folder, errors=error.error_count())

    def latest(self) -> RunRecord | None:
        """The record of the run that closed last, drills left out; None if there was none."""
        real = (record for _, record in self.records() if not record.is_drill)
        records = list(islice(real, 20))
        return max(records, key=lambda record: record.moments.closed or record.moments.decided, default=None)

    def find(self, workflow_id: str, run_id: str | None = None, *, among: Sequence[str] | None = None) -> str | None:
        """The folder of a run, the newest of that id where no run is named. `among`: what `list` told before."""
        for folder in self.list() if among is None else among:
            slug, _, run = folder.partition("-")[2].rpartition("-")
            named = slug == _slug(workflow_id) and (run_id is None or run == _tail(run_id))
            # Ids that were given out within a minute begin alike: only the record tells for sure.
            if named and (run_id is None or self.load(folder).run_id == run_id):
                return folder
        return None

    def attach(self, folder: str, name: str, content: bytes) -> str:
        """A file beside the record, which may come later; the same name again replaces it. → where it lies.

        Of what is told as JSON the run's report speaks too, whoever comes second.
        """
        if not _FILE.fullmatch(name) or name == RECORD:
            raise RequestError(f"{name!r} is no name for a file beside a record.")
        self._archive.put(f"{folder}/{name}", content)
        if name.endswith(".json") and self._archive.get(f"{folder}/{RECORD}") is not None:
            self._report(folder, self.load(folder))
        return self._archive.where(f"{folder}/{name}")

    def read(self, folder: str, name: str) -> bytes | None:
        """A file of a run's folder; None where there is none."""
        return self._archive.get(f"{folder}/{name}")

    def files(self, folder: str) -> Sequence[str]:
        """Names of everything that a run's folder holds."""
        return sorted(key.removeprefix(f"{folder}/") for key in self._archive.keys(folder=folder))


def _parsed(content: bytes | None) -> Any:
    try:
        return json.loads(content or b"null")
    except ValueError:
        return None


class Evidence:
    """The activity that keeps it; `closed` is told of every run that ended, whatever becomes of the files.

    `beside` keeps what else there is to keep of it; that it fails, or takes long, loses no record.
    """

    def __init__(
        self,
        store: EvidenceStore,
        closed: Callable[[RunRecord], None] | None = None,
        beside: Callable[[RunRecord], None] | None = None,
    ) -> None:
        self._store = store
        self._closed = closed
        self._beside = beside

    @activity.defn(name="evidence.keep")
    async def keep(self, record: RunRecord) -> EvidenceRef:
        """Keep a run's record and write its report."""
        if self._closed is not None and activity.info().attempt == 1:
            self._closed(record)
        kept = await asyncio.to_thread(self._store.keep, record)
        if self._beside is not None:
            try:
                await asyncio.wait_for(asyncio.to_thread(self._beside, record), PATIENCE.total_seconds())
            except (TimeoutError, FailoverError) as error:
                log.warning(
                    "not all could be kept beside a record", run=record.workflow_id, why=str(error) or "no answer"
                )
        return kept
