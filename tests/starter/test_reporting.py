"""`failoverctl report` and `evidence` over records alone: nothing of the stack that made them is there any more."""

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pydantic import TypeAdapter

from activities.evidence import EvidenceStore, folder_of
from failover.baselines import PerformanceBaseline
from failover.errors import BadInput
from failover.incident import Moments, Outcome, RouteShift, RunRecord, Slice
from starter.cli import run_app
from starter.parts import EVIDENCE
from tests.records import run_record

NOW = datetime.now(UTC).replace(microsecond=0)


def record(run_id: str, age: timedelta, **changes: object) -> RunRecord:
    decided = NOW - age
    base = run_record(
        run_id=run_id,
        reason=f"This is {run_id}.",
        moments=Moments(decided=decided, in_force=decided, restored=decided, closed=decided + timedelta(seconds=9)),
        routes=[
            RouteShift(
                route="chat", before={"bedrock": 10_000}, after={"google": 10_000}, target="google", revision="1"
            )
        ],
        concerns=["chat"],
    )
    return replace(base, **changes)  # type: ignore[arg-type]


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A state directory with four runs on record, and an empty directory to stand in."""
    store = EvidenceStore(tmp_path / "state" / EVIDENCE)
    store.keep(record("old", timedelta(days=20), outcome=Outcome.NEEDS_HUMAN))
    store.keep(record("newer", timedelta(hours=30)))
    store.keep(record("newest", timedelta(hours=2)))
    store.keep(record("back", timedelta(hours=1), procedure="Failback", workflow_id="failback/chat"))
    store.keep(record("asked", timedelta(minutes=1), procedure="Proposal", workflow_id="propose/x"))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path


def report(desk: Path, *options: str) -> int:
    return run_app(["report", "--state", str(desk / "state"), *options])


def here(desk: Path) -> Sequence[str]:
    return sorted(path.name for path in (desk / "here").iterdir())


def test_the_latest_incident_by_default(desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In Markdown, on the screen and in a file of type and time; a proposal is no incident."""
    assert report(desk) == 0
    assert here(desk) == [f"failover-incident-{NOW - timedelta(hours=1):%Y%m%d-%H%M%S}.md"]
    out = capsys.readouterr().out
    assert out.startswith("# Failback: bedrock, COMPLETED") and out == (desk / "here" / here(desk)[0]).read_text()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--event", "failover"], "This is newest."),
        (["--event", "failback"], "This is back."),
        (["--event", "any"], "This is asked."),
        (["--run", "old"], "This is old."),
        (["--run", "newes"], "This is newest."),
        (["--run", "o"], "This is old."),
        (["--run", "failover/bedrock"], "This is newest."),
        (["--event", "failover", "--period", f"..{NOW - timedelta(days=10):%Y-%m-%d}"], "This is old."),
    ],
)
def test_the_run_that_is_meant(desk: Path, capsys: pytest.CaptureFixture[str], options: list[str], said: str) -> None:
    """By event, by id, by period; `-` prints and writes nothing."""
    assert report(desk, *options, "--output", "-") == 0
    assert said in capsys.readouterr().out
    assert here(desk) == []


@pytest.mark.parametrize(
    ("options", "name", "begins"),
    [
        (["--output", "x.md"], "x.md", "# Failback"),
        (["--output", "x.html"], "x.html", "<!doctype html>"),
        (["--output", "x.json"], "x.json", '{\n  "version": 1,\n  "kind": "report"'),
        (["--output", "x.txt", "--format", "html"], "x.txt", "<!doctype html>"),
        (["--output", "."], "failover-incident-{1}.md", "# Failback"),
        (["--format", "json"], "failover-incident-{1}.json", "{"),
        (
            ["--type", "performance-impact"],
            "performance-impact-{2}.md",
            "# Performance",
        ),
    ],
)
def test_forms_by_name_and_by_option(desk: Path, options: list[str], name: str, begins: str) -> None:
    """The ending decides, unless --format does; a name of our own tells the type, and when it was (here `{hours ago}`)."""
    assert report(desk, *options) == 0
    moments = [f"{NOW - timedelta(hours=hours):%Y%m%d-%H%M%S}" for hours in range(3)]
    assert here(desk) == [name.format(*moments)]
    assert (desk / "here" / name.format(*moments)).read_text().startswith(begins)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--output", "x.pdf"], r"\.pdf is no form of a report"),
        (["--period", "yesterday"], "is no period"),
        (["--type", "failover-effectiveness", "--metrics", "joy"], "there is no metric 'joy'"),
        (["--run", "nobody"], "There is no run 'nobody' on record"),
        (["--run", ""], "There is no run '' on record"),
        (
            ["--run", "new"],
            r"--run new is the beginning of newest \(failover/bedrock, .*\), newer \(failover/bedrock, .*\);",
        ),
        (["--event", "emergency"], "There is no emergency on record"),
        (["--event", "failover", "--period", "1h"], "There is no failover on record in the last 1h"),
        (["--json", "--output", "x.json"], "--json prints"),
        (["--output", "/dev/null/x.md"], "cannot be written"),
    ],
)
def test_what_cannot_be_reported(desk: Path, options: list[str], said: str) -> None:
    """Said at once; nothing is written."""
    with pytest.raises(BadInput, match=said):
        report(desk, *options)
    assert here(desk) == []


def told(desk: Path, capsys: pytest.CaptureFixture[str], *options: str) -> dict[str, object]:
    capsys.readouterr()
    assert report(desk, *options, "--json") == 0
    envelope = json.loads(capsys.readouterr().out)
    assert envelope["kind"] == "report"
    data: dict[str, object] = envelope["data"]
    return data


def test_rates_are_of_the_period(desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """30 days beside one run; with a period, that period's runs and rates; an empty one says so and fails nothing."""

    def automated(*options: str) -> tuple[int, int]:
        data = told(desk, capsys, "--type", "failover-effectiveness", *options)
        rates = {one["name"]: one for one in data["rates"]}  # type: ignore[attr-defined]
        return rates["automated failover"]["succeeded"], rates["automated failover"]["counted"]

    assert automated() == (2, 3)
    assert automated("--period", "7d") == (2, 2)
    assert automated("--period", "24h") == (1, 1)
    assert automated("--period", "30m") == (0, 0)
    assert len(told(desk, capsys, "--type", "failover-effectiveness", "--period", "7d")["runs"]) == 2  # type: ignore[arg-type]


def test_what_lies_beside_a_record_is_in_its_report(desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Also where it came later, or cannot be read."""
    store = EvidenceStore(desk / "state" / EVIDENCE)
    folder = store.find("failback/chat")
    assert folder is not None
    store.attach(folder, "communications.json", b'{"report": {"title": "People", "lines": ["Told everybody."]}}')
    store.attach(folder, "broken.json", b"{")
    assert report(desk, "--output", "-") == 0
    out = capsys.readouterr().out
    assert "## People\n\n- Told everybody." in out and "- `broken.json`" in out


def test_the_list_of_what_is_on_record(desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Newest first, by period, with where it lies."""
    assert run_app(["evidence", "--state", str(desk / "state"), "--period", "24h", "--json"]) == 0
    data = json.loads(capsys.readouterr().out)["data"]
    assert [one["run_id"] for one in data["runs"]] == ["asked", "back", "newest"]
    assert data["where"] == str(desk / "state" / EVIDENCE)
    assert "record.json" in data["runs"][0]["files"]
    assert run_app(["evidence", "--state", str(desk / "state")]) == 0
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 100


def test_a_run_is_compared_with_what_was_kept_of_it(desk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Also where no baseline is recorded any more, or nobody knows the configuration."""
    began = NOW - timedelta(hours=2)
    counted = Slice(
        since=began,
        until=began + timedelta(seconds=9),
        requests=50,
        failed=0,
        lost=0,
        empty=0,
        latency_p95=timedelta(milliseconds=300),
    )
    run = record("newest", timedelta(hours=2), course=[counted])
    normal = PerformanceBaseline(
        route="chat",
        provider="",
        model="",
        at=began - timedelta(hours=1),
        window=timedelta(minutes=10),
        requests=500,
        success_percent=100,
        latency_p50=None,
        latency_p95=timedelta(milliseconds=200),
    )
    store = EvidenceStore(desk / "state" / EVIDENCE)
    kept = TypeAdapter(list[PerformanceBaseline]).dump_json([normal])
    store.keep(run)
    store.attach(folder_of(run.moments.decided, run.workflow_id, run.run_id), "baselines.json", kept)
    assert report(desk, "--type", "performance-impact", "--run", "newest", "--compare", "baseline") == 0
    assert "users of route chat | 200 ms | 300 ms | +50.0 % | 60m old" in capsys.readouterr().out
