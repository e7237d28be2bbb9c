"""What an analysis needs, gathered from the state directory; and what keeps an analysis beside its record."""

import asyncio
import json
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path

from pydantic import TypeAdapter

from activities.deploys import DeployLog
from activities.evidence import EvidenceStore
from activities.samples import SampleLog
from activities.statuses import StatusLog
from failover.analysis.analysis import analyze
from failover.analysis.case import Case, Deploy, Logs, Place, ProviderStatus, Span, span_of
from failover.analysis.changes import policy_changes
from failover.analysis.findings import Analysis
from failover.analysis.logs import correlated
from failover.analysis.render import markdown
from failover.analysis.view import span_for
from failover.config import Config
from failover.config.analysis import Analysis as Settings
from failover.errors import RequestError
from failover.incident import RunRecord
from failover.replay import DetectorSample

LOGS = "logs"
"""The folder under the state directory that the processes of an embedded stack log to."""

FOREIGN = frozenset({"temporal", "simulator"})
"""Logs that are not ours."""

LOG_BYTES = 16 * 1024 * 1024
"""The most bytes that are read, from the end of each log."""

MOST_RECORDS = 200
"""The most runs that are looked at, newest first: changes of the policy, and incidents at the same time."""

_ANALYSIS = TypeAdapter(Analysis)


def places_of(config: Config) -> dict[str, Place]:
    return {
        name: Place(model=config.model_id(name), region=provider.region or "")
        for name, provider in config.providers.items()
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """The sources of an analysis. `secrets` are hidden wherever they stand in a log; `logs` None: not asked for."""

    settings: Settings
    evidence: EvidenceStore
    samples: SampleLog
    deploys: DeployLog
    statuses: StatusLog
    places: Mapping[str, Place] = field(default_factory=dict)
    secrets: Collection[str] = field(default=(), repr=False)
    logs: Path | None = None


class Gatherer:
    """Makes a case of a record."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources

    async def analysis(self, record: RunRecord, *, ask: bool = True) -> Analysis:
        """`ask`: also ask the status pages now, where nothing was kept at the time."""
        now = datetime.now(UTC)
        case = await asyncio.to_thread(self._case, record, now)
        asked = await self._asked(case) if ask else []
        return await asyncio.to_thread(analyze, _with(case, asked))

    async def _asked(self, case: Case) -> list[ProviderStatus]:
        kept = {one.provider for one in case.statuses}
        fresh = [name for name in self._sources.settings.status_pages if name not in kept]
        answers = await asyncio.gather(*(self._sources.statuses.ask(name) for name in fresh))
        return [one for one in answers if one is not None]

    def _case(self, record: RunRecord, now: datetime) -> Case:
        sources = self._sources
        lookback = sources.settings.lookback
        span = span_of(record, now, lookback)
        samples = self._samples(span)
        records = recent(sources.evidence)
        return Case(
            record=record,
            now=now,
            samples=samples,
            changes=policy_changes(samples, records),
            deploys=_known(sources.deploys),
            logs=self._logs(record, span_for(record, samples, now, lookback)),
            statuses=sources.statuses.kept(span.since, span.until + timedelta(minutes=5)),
            watched=sorted(sources.settings.status_pages),
            places=sources.places,
            others=[one for one in records if one.run_id != record.run_id],
            lookback=lookback,
        )

    def _samples(self, span: Span) -> list[DetectorSample]:
        until = span.until + timedelta(seconds=10)
        return [one for one in self._sources.samples.read(span.since) if one.at <= until]

    def _logs(self, record: RunRecord, span: Span) -> Logs:
        directory = self._sources.logs
        if directory is None:
            return Logs()
        files = sorted(one for one in directory.glob("*.log") if one.stem not in FOREIGN)
        told = ((one.stem, _tail(one)) for one in files)
        most = self._sources.settings.log_lines
        return correlated(told, record, span, list(self._sources.places), self._sources.secrets, most)


def _with(case: Case, asked: Sequence[ProviderStatus]) -> Case:
    return replace(case, statuses=[*case.statuses, *asked])


def _known(log: DeployLog) -> list[Deploy] | None:
    """The deploys on record; None if nobody ever noted one."""
    return log.read() or None


def _tail(file: Path) -> Iterator[str]:
    """The lines of its end; none where it cannot be read."""
    try:
        with file.open("rb") as log:
            size = log.seek(0, os.SEEK_END)
            log.seek(max(0, size - LOG_BYTES))
            for line in log:
                yield line.decode(errors="replace")
    except OSError:
        return


def recent(store: EvidenceStore) -> list[RunRecord]:
    """The newest records; what cannot be read is left out."""
    return [record for _, record in islice(store.records(), MOST_RECORDS)]


class Analysing:
    """Keeps an analysis beside the record that it is of."""

    def __init__(self, gatherer: Gatherer, store: EvidenceStore) -> None:
        self._gatherer = gatherer
        self._store = store

    async def keep(self, run_id: str) -> Analysis:
        """Analyse a closed run and keep it in its folder as analysis.json and analysis.md.

        Again for the same run, it replaces what was kept.
        """
        folder, record = await asyncio.to_thread(self._found, run_id)
        analysis = await self._gatherer.analysis(record)
        await asyncio.to_thread(self._attach, folder, analysis)
        return analysis

    def _found(self, run_id: str) -> tuple[str, RunRecord]:
        for folder, record in self._store.records():
            if record.run_id == run_id:
                return folder, record
        raise RequestError(f"There is no record of a run {run_id!r}.")

    def _attach(self, folder: str, analysis: Analysis) -> None:
        content = _ANALYSIS.dump_python(analysis, mode="json") | {
            "report": {"title": "Root cause", "lines": [analysis.headline]}
        }
        self._store.attach(folder, "analysis.json", json.dumps(content, indent=2).encode())
        self._store.attach(folder, "analysis.md", markdown(analysis).encode())
