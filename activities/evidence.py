"""Evidence: what is kept of a closed run, outside Temporal, whose retention ends."""

import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter
from temporalio import activity

from failover.incident import RunRecord
from failover.report import file_name, markdown

_RECORD = TypeAdapter(RunRecord)


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidenceRef:
    """Where a run's record and its report lie."""

    path: str
    report: str


class EvidenceStore:
    """A directory of incidents, one folder a run: record.json and the report."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def keep(self, record: RunRecord) -> EvidenceRef:
        """Write both files, whole; a second time for the same run replaces the first."""
        slug = re.sub(r"[^A-Za-z0-9]+", "-", record.workflow_id).strip("-")[:60]
        folder = self._directory / f"{record.moments.decided:%Y%m%dT%H%M%S}-{slug}-{record.run_id[-8:]}"
        folder.mkdir(parents=True, exist_ok=True)
        report = folder / file_name(record)
        _replace(report, markdown(record).encode())
        _replace(folder / "record.json", _RECORD.dump_json(record, indent=2))
        return EvidenceRef(path=str(folder), report=str(report))

    def list(self) -> Sequence[Path]:
        """The folders of all runs, newest first."""
        if not self._directory.is_dir():
            return []
        return sorted((record.parent for record in self._directory.glob("*/record.json")), reverse=True)

    def load(self, folder: Path) -> RunRecord:
        return _RECORD.validate_json((folder / "record.json").read_bytes())

    def latest(self) -> RunRecord | None:
        """Of the run that closed last, drills left out; None where there was none."""
        records = [record for folder in self.list()[:50] if not (record := self.load(folder)).is_drill][:20]
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
