"""What an analysis is made of, on disk and over HTTP: deploys, status pages, samples, and the analysis beside its record."""

import asyncio
import json
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from activities.aftercare import Aftercare
from activities.analyzing import Analysing, Gatherer, Sources
from activities.deploys import DeployLog
from activities.evidence import EvidenceStore
from activities.json_lines import JsonLines
from activities.samples import SampleLog
from activities.statuses import AskingResponder, StatusLog
from failover import aftercare
from failover.aftercare import ItemResult
from failover.analysis.deploys import DeployNote
from failover.automation import Permission
from failover.config.analysis import Analysis as Settings
from failover.errors import RequestError, Unavailable
from failover.failure import Failure, FailureKind
from failover.health import Condition, Probe, Verdict
from failover.incident import Moments
from failover.replay import DetectorSample
from failover.triggers import Response as Reply
from gateway.process import listening
from providers.status_page import StatusPages
from starter.configuration import demo_config, load
from tests.records import run_record

T0 = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)
RECORD = run_record(
    reason="", moments=Moments(first_bad=T0, decided=T0 + timedelta(seconds=5), closed=T0 + timedelta(seconds=20))
)


@dataclass(frozen=True, slots=True)
class Entry:
    number: int


def test_a_log_is_bounded_and_forgets_the_oldest(tmp_path: Path) -> None:
    lines = JsonLines(tmp_path / "entries.jsonl", Entry, 2000)
    for number in range(1000):
        assert lines.append(Entry(number))
    assert sum(file.stat().st_size for file in tmp_path.glob("entries.jsonl*")) <= 2000
    kept = [entry.number for entry in lines.read()]
    assert kept == list(range(kept[0], 1000)) and len(kept) > 50


def test_what_a_kill_cut_is_left_out(tmp_path: Path) -> None:
    lines = JsonLines(tmp_path / "entries.jsonl", Entry, 4096)
    lines.append(Entry(1))
    with (tmp_path / "entries.jsonl").open("ab") as file:
        file.write(b'{"numb\n')
    lines.append(Entry(2))
    assert [entry.number for entry in lines.read()] == [1, 2]


def test_what_comes_after_a_cut_line_is_kept(tmp_path: Path) -> None:
    """A kill leaves no newline behind; what was answered as noted must not be lost with the line that it cut."""
    lines = JsonLines(tmp_path / "entries.jsonl", Entry, 4096)
    lines.append(Entry(1))
    with (tmp_path / "entries.jsonl").open("ab") as file:
        file.write(b'{"numb')
    lines.append(Entry(2))
    lines.append(Entry(3))
    assert [entry.number for entry in lines.read()] == [1, 2, 3]


def test_the_same_deploy_told_by_many_at_once_is_kept_once(tmp_path: Path) -> None:
    """Each with a log of its own, as processes have."""
    note = DeployNote(service="gateway", version="v2")

    def tell(_: int) -> bool:
        return DeployLog(tmp_path, 1_000_000, timedelta(minutes=5)).note(note, "ci", datetime.now(UTC))[1]

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(tell, range(40))) == 1


def test_a_full_disk_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Unavailable, match="could not be kept"):
        DeployLog(tmp_path / "file", 4096, timedelta(0)).note(
            DeployNote(service="s", version="v"), "ci", datetime.now(UTC)
        )


@pytest.fixture
async def pages() -> AsyncIterator[str]:
    """Status pages, good and bad."""

    async def good(_: Request) -> Response:
        trouble = {"name": "Elevated errors", "created_at": T0.isoformat(), "impact": "major"}
        return JSONResponse({"status": {"description": "Major outage"}, "incidents": [trouble]})

    async def html(_: Request) -> Response:
        return PlainTextResponse("<html>")

    async def broken(_: Request) -> Response:
        return PlainTextResponse("a secret of theirs", status_code=500)

    async def moved(_: Request) -> Response:
        return Response(status_code=302, headers={"Location": "http://127.0.0.1:1/"})

    async def slow(_: Request) -> Response:
        await asyncio.sleep(60)
        return Response()

    routes = [Route(f"/{one.__name__}", one) for one in (good, html, broken, moved, slow)]
    async with listening(Starlette(routes=routes), "127.0.0.1", 0) as url:
        yield url


def statuses(url: str, page: str, state: Path) -> StatusLog:
    settings = Settings.model_validate(
        {"status_pages": {"bedrock": {"url": f"{url}/{page}"}}, "status_timeout": "500ms"}
    )
    return StatusLog(settings, StatusPages(0.5), state)


@pytest.mark.parametrize(
    ("page", "why_not"),
    [
        ("good", ""),
        ("html", "its status page did not answer in JSON"),
        ("broken", "its status page answered 500"),
        ("moved", "its status page answered 302"),
        ("slow", "its status page did not answer"),
    ],
)
async def test_a_page_is_asked_and_its_silence_is_told(pages: str, tmp_path: Path, page: str, why_not: str) -> None:
    status = await statuses(pages, page, tmp_path).ask("bedrock")
    assert status is not None and status.why_not.startswith(why_not) and bool(status.troubles) == (page == "good")
    assert "secret" not in status.why_not


class Told:
    """A responder that notes what it was told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    async def start(self, procedure: str, *_: Any) -> bool:
        self.told.append(procedure)
        return True

    async def tell(self, verdict: Verdict, response: Reply) -> None:
        self.told.append(verdict.provider)


async def test_a_changed_verdict_makes_the_page_be_asked_and_kept(pages: str, tmp_path: Path) -> None:
    """Once within a while; people are told all the same, and a start waits for no page."""
    log, told = statuses(pages, "good", tmp_path), Told()
    responder = AskingResponder(told, log)
    verdict = Verdict(provider="bedrock", condition=Condition.UNAVAILABLE, reason="", at=datetime.now(UTC))
    for _ in range(3):
        await responder.tell(verdict, Reply(procedure=None, tell=True, reason=""))
    await responder.start("immediate", verdict, [], [], Permission())
    assert told.told == ["bedrock"] * 3 + ["immediate"]
    now = datetime.now(UTC)
    [kept] = log.kept(now - timedelta(minutes=1), now)
    assert kept.said == "Major outage"


def sources(tmp_path: Path, log: StatusLog, settings: Settings | None = None) -> Sources:
    return Sources(
        settings=settings or Settings(),
        evidence=EvidenceStore(tmp_path / "incidents"),
        samples=SampleLog(tmp_path / "samples", 0),
        deploys=DeployLog(tmp_path, 1_000_000, timedelta(0)),
        statuses=log,
        logs=tmp_path / "logs",
    )


async def test_an_analysis_is_kept_beside_its_record(pages: str, tmp_path: Path) -> None:
    """From what lies in the directory; the run's own record stays as it is; again is the same place."""
    samples = SampleLog(tmp_path / "samples", 1_000_000)
    for second in range(-30, 15):
        bad = Failure(kind=FailureKind.AUTHENTICATION, provider="bedrock", detail="expired") if second >= 0 else None
        at = T0 + timedelta(seconds=second)
        probe = Probe(provider="bedrock", at=at, latency=timedelta(milliseconds=100), failure=bad)
        await samples.keep(DetectorSample(at=at, provider="bedrock", probes=[probe]))
    settings = Settings.model_validate({"status_pages": {"bedrock": {"url": f"{pages}/good"}}})
    source = sources(tmp_path, statuses(pages, "good", tmp_path), settings)
    before = (Path(source.evidence.keep(RECORD).path) / "record.json").read_bytes()
    source.deploys.note(
        DeployNote(service="gateway", version="v2", at=T0 - timedelta(seconds=10)), "ci", datetime.now(UTC)
    )
    analysing = Analysing(Gatherer(source), source.evidence)
    for _ in range(2):
        analysis = await analysing.keep("run-1")
        assert analysis.headline == "gateway v2 was deployed 10 s before the first bad sample."
    [folder] = source.evidence.list()
    assert source.evidence.read(folder, "record.json") == before
    told = json.loads(source.evidence.read(folder, "analysis.json") or b"")
    assert told["claims"][0]["cause"] == "a deploy shortly before"
    assert told["statuses"][0]["troubles"][0]["name"] == "Elevated errors"
    assert "asked afterwards" in (source.evidence.read(folder, "analysis.md") or b"").decode()
    with pytest.raises(RequestError, match="no record of a run 'another'"):
        await analysing.keep("another")
    settled = await root_cause(source)
    assert settled.done and settled.said == "gateway v2 was deployed 10 s before the first bad sample."


async def test_a_cause_that_nobody_knows_is_left_to_people(tmp_path: Path) -> None:
    """The after-care's item stays open, with what was found."""
    source = sources(tmp_path, statuses("http://127.0.0.1:1", "none", tmp_path))
    source.evidence.keep(RECORD)
    found = await root_cause(source)
    assert not found.done and found.said.startswith("health-check said that something failed; our own samples")


async def root_cause(source: Sources) -> ItemResult:
    """What the after-care's own work on its item comes to."""
    analyst, nothing = Analysing(Gatherer(source), source.evidence), cast(Any, None)
    care = Aftercare(load(demo_config()).config, nothing, "queue", source.evidence, nothing, None, analyst)
    return await care.root_cause(aftercare.request_about(RECORD))


async def test_only_the_samples_of_that_time_are_read(tmp_path: Path) -> None:
    """Files that were over before are not even opened."""
    directory = tmp_path / "samples"
    directory.mkdir()
    (directory / "20260101T000000000000.jsonl").mkdir()
    log = SampleLog(directory, 1_000_000)
    (directory / f"{T0 - timedelta(hours=1):%Y%m%dT%H%M%S%f}.jsonl").write_text("")
    await log.keep(DetectorSample(at=T0, provider="bedrock"))
    assert [one.at for one in log.read(T0 - timedelta(minutes=15))] == [T0]
