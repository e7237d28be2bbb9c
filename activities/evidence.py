"""Evidence: what is kept of a closed run, outside Temporal, whose retention ends."""

import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter
from temporalio import activity

from failover.communications import CommunicationsState, Kept
from failover.incident import RunRecord
from failover.report import file_name, markdown

_RECORD = TypeAdapter(RunRecord)
_COMMUNICATIONS = TypeAdapter(CommunicationsState)

RECORD = "record.json"
COMMUNICATIONS = "communications.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidenceRef:
    """Where a run's record and its report lie."""

    path: str
    report: str


class EvidenceStore:
    """A directory of incidents, one folder a run: record.json, communications.json and the report."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def keep(self, record: RunRecord) -> EvidenceRef:
        """Write both files, whole; a second time for the same run replaces the first."""
        folder = self.folder_of(record)
        folder.mkdir(parents=True, exist_ok=True)
        _replace(folder / RECORD, _RECORD.dump_json(record, indent=2))
        return EvidenceRef(path=str(folder), report=str(self._report(folder, record)))

    def keep_communications(self, kept: Kept, communications: CommunicationsState) -> None:
        """Beside a run's record, which may come later; whoever comes second writes a report of both."""
        folder = self._folder(kept)
        folder.mkdir(parents=True, exist_ok=True)
        _replace(folder / COMMUNICATIONS, _COMMUNICATIONS.dump_json(communications, indent=2))
        if (folder / RECORD).is_file():
            self._report(folder, self.load(folder))

    def communications(self, folder: Path) -> CommunicationsState | None:
        """What was told of a run; None where nothing was to be, or nothing is kept yet."""
        file = folder / COMMUNICATIONS
        return _COMMUNICATIONS.validate_json(file.read_bytes()) if file.is_file() else None

    def _folder(self, kept: Kept) -> Path:
        slug = re.sub(r"[^A-Za-z0-9]+", "-", kept.workflow_id).strip("-")[:60]
        return self._directory / f"{kept.decided:%Y%m%dT%H%M%S}-{slug}-{kept.run_id[:8]}"

    def _report(self, folder: Path, record: RunRecord) -> Path:
        report = folder / file_name(record)
        _replace(report, markdown(record, self.communications(folder)).encode())
        return report

    def folder_of(self, record: RunRecord) -> Path:
        """Where the evidence of a run lies."""
        return self._folder(Kept(decided=record.moments.decided, workflow_id=record.workflow_id, run_id=record.run_id))

    def list(self) -> Sequence[Path]:
        """The folders of all runs, newest first."""
        if not self._directory.is_dir():
            return []
        return sorted((record.parent for record in self._directory.glob(f"*/{RECORD}")), reverse=True)

    def load(self, folder: Path) -> RunRecord:
        return _RECORD.validate_json((folder / RECORD).read_bytes())

    def latest(self) -> RunRecord | None:
        """Of the run that closed last; None where there was none."""
        records = [self.load(folder) for folder in self.list()[:20]]
        return max(records, key=lambda record: record.moments.closed or record.moments.decided, default=None)


def _replace(path: Path, content: bytes) -> None:
    part = path.with_name(f".{path.name}.part")
    part.write_bytes(content)
    part.replace(path)


class Evidence:
    """The activity that keeps it."""

    def __init__(self, store: EvidenceStore) -> None:
        self._store = store

    @activity.defn(name="evidence.keep")
    async def keep(self, record: RunRecord) -> EvidenceRef:
        """Keep a run's record and write its report."""
        return await asyncio.to_thread(self._store.keep, record)
