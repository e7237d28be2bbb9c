"""Drills that are on record, as commands tell of them."""

import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from activities.evidence import EvidenceStore
from failover.incident import Moments, Outcome, Trigger
from starter.cli import run
from tests.records import run_record

NOW = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)

PASSED = run_record(
    procedure="FailoverDrill",
    workflow_id="drill/practice",
    trigger=Trigger.MANUAL,
    requested_by="anna",
    provider="meta",
    outcome=Outcome.PASSED,
    reason="Noticed, moved, proved and put back.",
    moments=Moments(decided=NOW, closed=NOW),
    is_drill=True,
)


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No stack of whoever runs the tests is found."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith(("FAILOVER_", "TEMPORAL_"))]:
        monkeypatch.delenv(name)


def test_a_record_that_cannot_be_read_hides_no_other(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of another version, or cut: the list and the report tell of the drills that can be read."""
    store = EvidenceStore(tmp_path / "state" / "incidents")
    store.keep(PASSED)
    store.archive.put("20260131T130000-drill-practice-another1/record.json", b'{"procedure": "FailoverDrill"')
    assert run(["drill", "list", "--state", "state"]) == 0
    assert "meta: a drill passed last on 2026-01-31 12:00 UTC." in capsys.readouterr().out
    assert run(["drill", "show", "--state", "state"]) == 0
    assert "Noticed, moved, proved and put back." in capsys.readouterr().out
