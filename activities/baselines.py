"""Recording performance baselines, beside the health watch: only in healthy time, seldom, and never in its way."""

import asyncio
import re
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta

import structlog
from pydantic import TypeAdapter, ValidationError

from activities.board import VerdictBoard
from activities.evidence import EvidenceStore, folder_of
from failover.baselines import (
    USERS,
    PerformanceBaseline,
    is_younger,
    measured,
    why_no_time_for_baselines,
)
from failover.config import Config
from failover.incident import RunRecord
from failover.ports import Archive, TrafficPlane

log = structlog.get_logger(__name__)

FOLDER = "performance-baselines"
"""The folder of baselines, beside the folders of runs, where the evidence is."""

BESIDE = "baselines.json"
"""The file, beside a run's record, with the baselines of its routes from before it began."""

KEPT_ROUTES = 20

TRY_EVERY = timedelta(minutes=1)

_BASELINE = TypeAdapter(PerformanceBaseline)
_BASELINES = TypeAdapter(list[PerformanceBaseline])


class PerformanceBaselines:
    """One file a route, provider and model. Blocking, as the archive is."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive

    def keep(self, baseline: PerformanceBaseline) -> None:
        self._archive.put(
            _key(baseline.route, baseline.provider, baseline.model), _BASELINE.dump_json(baseline, indent=2)
        )

    def find(self, route: str, provider: str, model: str) -> PerformanceBaseline | None:
        """The recorded baseline; None if there is none, or none that can be read: it counts as missing."""
        content = self._archive.get(_key(route, provider, model))
        try:
            return _BASELINE.validate_json(content) if content is not None else None
        except ValidationError as error:
            log.warning("a baseline cannot be read", route=route, provider=provider, errors=error.error_count())
            return None

    def of(self, config: Config, routes: Sequence[str]) -> list[PerformanceBaseline]:
        """What is recorded of these routes, and of the models that the providers are configured with now."""
        models = {USERS: "", **{name: config.model_id(name) for name in config.providers}}
        found = (self.find(route, name, model) for route in routes for name, model in models.items())
        return [one for one in found if one is not None]


class KeptBaselines:
    """What was normal when a run began, beside its record: the baselines themselves go on. Blocking."""

    def __init__(self, evidence: EvidenceStore, config: Config) -> None:
        self._evidence = evidence
        self._config = config

    def keep(self, record: RunRecord) -> None:
        """Keep the baselines from before the run began; nothing if there are none."""
        recorded = PerformanceBaselines(self._evidence.archive).of(self._config, record.concerns[:KEPT_ROUTES])
        older = [one for one in recorded if not is_younger(one, record)]
        folder = folder_of(record.moments.decided, record.workflow_id, record.run_id)
        if older:
            self._evidence.attach(folder, BESIDE, _BASELINES.dump_json(older, indent=2))


def kept_beside(evidence: EvidenceStore, record: RunRecord) -> list[PerformanceBaseline]:
    """The baselines that were kept of a run; none of runs from before any were kept."""
    content = evidence.read(folder_of(record.moments.decided, record.workflow_id, record.run_id), BESIDE)
    try:
        return _BASELINES.validate_json(content or b"[]")
    except ValidationError as error:
        log.warning("the baselines of a run cannot be read", run=record.workflow_id, errors=error.error_count())
        return []


def _key(route: str, provider: str, model: str) -> str:
    parts = (route, provider or "users", model or "all")
    return f"{FOLDER}/{'--'.join(re.sub(r'[^A-Za-z0-9.-]', '_', part) for part in parts)}.json"


class BaselineRecorder:
    """What the health watches of one worker give a chance to now and then; it decides itself whether there is anything to do.

    `open_runs` lists what Temporal knows to be open; what it raises means: not now.
    """

    def __init__(
        self,
        config: Config,
        plane: TrafficPlane,
        board: VerdictBoard,
        store: PerformanceBaselines,
        open_runs: Callable[[], Awaitable[Sequence[str]]],
    ) -> None:
        self._config, self._settings = config, config.baselines
        self._plane, self._board, self._store, self._open_runs = plane, board, store, open_runs
        self._due: datetime | None = None
        self._kept: dict[str, datetime] = {}
        self.last: asyncio.Task[None] | None = None

    def consider(self) -> None:
        """Record baselines in the background if it is time for it; never raises."""
        now = datetime.now(UTC)
        if not self._settings.enabled or (self._due is not None and now < self._due):
            return
        self._due = now + min(TRY_EVERY, self._settings.refresh)
        self.last = asyncio.create_task(self._safely())

    async def _safely(self) -> None:
        try:
            kept = await self.record()
        except Exception as error:  # noqa: BLE001 (a baseline that cannot be taken must not stop the watching)
            log.warning("no baseline could be taken", error=str(error))
        else:
            log.debug("baselines", subjects=[one.subject for one in kept])

    async def record(self) -> list[PerformanceBaseline]:
        """Take what the last window allows and is due → what was kept; nothing where it was no healthy time."""
        telemetry = await self._plane.observe(window=self._settings.window)
        if telemetry is None:
            return []
        policies = await self._plane.read()
        verdicts = self._board.fresh(datetime.now(UTC), self._config.procedures.immediate.verdict_max_age * 6)
        why = why_no_time_for_baselines(policies, verdicts, await self._open_runs(), telemetry.since)
        if why is not None:
            log.debug("no time for baselines", why=why)
            return []
        models = {name: self._config.model_id(name) for name in self._config.providers}
        found = measured(telemetry, models, [verdict.provider for verdict in verdicts], self._settings)
        due = [one for one in found if self._is_due(one)]
        for baseline in due:
            await asyncio.to_thread(self._store.keep, baseline)
            self._kept[baseline.subject] = baseline.at
        return due

    def _is_due(self, baseline: PerformanceBaseline) -> bool:
        last = self._kept.get(baseline.subject)
        return last is None or baseline.at - last >= self._settings.refresh
