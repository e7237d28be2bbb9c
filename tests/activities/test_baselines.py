"""Recording baselines over the data plane in memory: what is kept, when, and that nothing is taken in bad time."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from temporalio.testing import ActivityEnvironment

from activities.archive import DirectoryArchive
from activities.baselines import BaselineRecorder, KeptBaselines, PerformanceBaselines, kept_beside
from activities.evidence import Evidence, EvidenceStore
from failover.config.baselines import Baselines
from failover.errors import Unavailable
from failover.health import Condition, Verdict
from failover.incident import Moments, RunRecord
from starter import worker_parts as composition
from tests.records import run_record
from traffic.memory import MemoryPlane

MakeParts = Callable[..., composition.Parts]


class Recorder:
    """One recorder and what it stands on."""

    def __init__(self, parts: composition.Parts, directory: Path) -> None:
        assert isinstance(parts.plane, MemoryPlane)
        self.parts, self.plane = parts, parts.plane
        self.plane.requests = 1000
        self.plane.skew = timedelta(minutes=1)  # Long after the routes were first set.
        self.archive = directory
        self.store = PerformanceBaselines(DirectoryArchive(directory))
        self.open: Sequence[str] = ()
        self.recorder = BaselineRecorder(parts.config, parts.plane, parts.board, self.store, self.runs)

    async def runs(self) -> Sequence[str]:
        return self.open

    def well(self, *names: str, condition: Condition = Condition.HEALTHY) -> None:
        for name in names:
            at = datetime.now(UTC)
            self.parts.board.post(Verdict(provider=name, condition=condition, reason="x", at=at))

    async def kept(self) -> list[str]:
        return sorted(one.provider or "users" for one in await self.recorder.record())


@pytest.fixture
def found(make_parts: MakeParts, tmp_path: Path) -> Recorder:
    parts = make_parts(baselines=Baselines.model_validate({"window": "1ms", "refresh": "1h"}))
    return Recorder(parts, tmp_path / "archive")


async def test_everybody_who_serves_gets_one(found: Recorder) -> None:
    """Of the model that is configured now; once an hour."""
    found.well("bedrock", "google", "meta")
    assert await found.kept() == ["bedrock", "google", "meta", "users"]
    model = found.parts.config.model_id("google")
    baseline = found.store.find("chat", "google", model)
    assert baseline is not None and baseline.requests == 200 and baseline.model == model
    assert found.store.find("chat", "google", "another-model") is None
    assert await found.kept() == []


async def test_nothing_is_taken_in_bad_time(found: Recorder) -> None:
    """A run is open, somebody is ill or unknown, or nothing is counted."""
    assert await found.kept() == []
    found.well("bedrock", "google", "meta")
    found.open = ["failover/bedrock"]
    assert await found.kept() == []
    found.open = []
    found.well("meta", condition=Condition.UNAVAILABLE)
    assert await found.kept() == []
    found.well("meta")
    found.plane.blind = True
    assert await found.kept() == []
    found.plane.blind = False
    assert await found.kept() == ["bedrock", "google", "meta", "users"]


async def test_nobody_is_disturbed_by_what_fails(found: Recorder) -> None:
    """Temporal that does not list its runs: no baseline, and the watch goes on."""

    async def away() -> Sequence[str]:
        raise Unavailable("away")

    found.well("bedrock", "google", "meta")
    recorder = BaselineRecorder(found.parts.config, found.plane, found.parts.board, found.store, away)
    recorder.consider()
    task = recorder.last
    assert task is not None
    await task
    assert found.store.find("chat", "", "") is None


async def test_switched_off_nothing_is_taken(make_parts: MakeParts, tmp_path: Path) -> None:
    """By configuration."""
    off = Recorder(make_parts(baselines=Baselines(enabled=False)), tmp_path)
    off.recorder.consider()
    assert off.recorder.last is None


def test_a_baseline_that_cannot_be_read_counts_as_missing(tmp_path: Path) -> None:
    """It is taken anew."""
    archive = DirectoryArchive(tmp_path)
    archive.put("performance-baselines/chat--users--all.json", b"{")
    assert PerformanceBaselines(archive).find("chat", "", "") is None


def run_of(began: datetime) -> RunRecord:
    return run_record(moments=Moments(first_bad=began, decided=began + timedelta(seconds=10)), concerns=["chat"])


async def test_what_was_normal_is_kept_with_a_run(found: Recorder) -> None:
    """The baselines go on, and one that was taken once the trouble had begun is none of the run's."""
    found.well("bedrock", "google", "meta")
    before = {one.subject: one for one in await found.recorder.record()}
    store, began = EvidenceStore(found.archive), next(iter(before.values())).at + timedelta(seconds=1)
    late = before.pop("users of route chat")
    found.store.keep(replace(late, at=began + timedelta(hours=1)))
    evidence = Evidence(store, None, KeptBaselines(store, found.parts.config).keep)
    await ActivityEnvironment().run(evidence.keep, run_of(began))
    for one in before.values():
        found.store.keep(replace(one, at=began + timedelta(hours=1)))
    assert {one.subject: one for one in kept_beside(store, run_of(began))} == before


class Full(DirectoryArchive):
    """Holds records, and takes nothing else."""

    def put(self, key: str, content: bytes) -> None:
        if key.endswith("/baselines.json"):
            raise Unavailable("full")
        super().put(key, content)


async def test_baselines_that_cannot_be_kept_lose_no_record(found: Recorder) -> None:
    """And a run without any has none."""
    found.well("bedrock", "google", "meta")
    await found.recorder.record()
    store, run = EvidenceStore(Full(found.archive)), run_of(datetime.now(UTC) + timedelta(hours=1))
    await ActivityEnvironment().run(Evidence(store, None, KeptBaselines(store, found.parts.config).keep).keep, run)
    assert store.latest() is not None and kept_beside(store, run) == []
