"""Indicators and the report: every figure from the record, nothing unknown called met."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from activities.evidence import EvidenceStore
from failover.failure import Failure, FailureKind
from failover.health import Condition, Verdict
from failover.incident import Impact, Moments, Outcome, RouteShift, RunRecord, Sample, TimelineEntry
from failover.kpis import clocks, measure
from failover.reports.incident import incident
from failover.reports.markdown import markdown as rendered
from tests.records import run_record


def markdown(of: RunRecord) -> str:
    return rendered(incident(of))


T0 = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return T0 + timedelta(seconds=seconds)


def record(**changes: Any) -> RunRecord:
    cause = Failure(kind=FailureKind.SERVER_ERROR, provider="bedrock", detail="503", code="503")
    verdict = Verdict(
        provider="bedrock", condition=Condition.UNAVAILABLE, reason="three probes failed", at=at(10), cause=cause
    )
    base = run_record(
        run_id="0123456789",
        verdict=verdict,
        reason="All is well.",
        moments=Moments(
            first_bad=T0,
            unhealthy=at(10),
            decided=at(10),
            in_force=at(11),
            verified=at(12),
            restored=at(15),
            closed=at(16),
        ),
        routes=[
            RouteShift(
                route="chat", before={"bedrock": 10000}, after={"google": 10000}, target="google", revision="e.2"
            )
        ],
        timeline=[TimelineEntry(at=at(10), step="observe", text="seen")],
        samples=[
            Sample(
                at=at(13),
                window=timedelta(seconds=3),
                requests=50,
                failed=1,
                lost=1,
                empty=0,
                latency_p95=timedelta(milliseconds=480),
                first_tries={"google": 50},
                good=True,
                reason="good",
            )
        ],
        impact=Impact(
            requests=1000,
            failed=20,
            lost=5,
            baseline_p95=timedelta(milliseconds=400),
            after_p95=timedelta(milliseconds=440),
        ),
    )
    return replace(base, **changes)


def test_every_indicator_starts_and_ends_where_the_table_says() -> None:
    """Values, targets, and whether they were met."""
    found = {kpi.name: (kpi.value, kpi.target, kpi.met) for kpi in measure(record())}
    assert found == {
        "detection": (10.0, 30.0, True),
        "execution": (2.0, 30.0, True),
        "restoration": (4.0, 120.0, True),
        "total": (15.0, 300.0, True),
        "request loss": (0.5, 1.0, True),
        "user error rate": (2.0, 5.0, True),
        "degradation": (pytest.approx(10.0), 20.0, True),
    }


@pytest.mark.parametrize(
    ("changes", "name", "met"),
    [
        ({"moments": Moments(first_bad=T0, unhealthy=at(31), decided=at(31))}, "detection", False),
        ({"moments": Moments(decided=T0)}, "detection", None),
        ({"moments": Moments(decided=T0)}, "execution", None),
        ({"moments": Moments(decided=T0, verified=at(31))}, "execution", False),
        ({"impact": None}, "request loss", None),
        ({"impact": Impact(requests=0, failed=0, lost=0, baseline_p95=None, after_p95=None)}, "request loss", None),
        (
            {"impact": Impact(requests=100, failed=6, lost=2, baseline_p95=None, after_p95=timedelta(1))},
            "user error rate",
            False,
        ),
        (
            {"impact": Impact(requests=100, failed=6, lost=2, baseline_p95=None, after_p95=timedelta(1))},
            "degradation",
            None,
        ),
    ],
)
def test_what_is_unknown_is_neither_met_nor_missed(changes: dict[str, Any], name: str, met: bool | None) -> None:
    """No data is not good news here either."""
    assert {kpi.name: kpi.met for kpi in measure(record(**changes))}[name] is met


@pytest.mark.parametrize(
    ("lost", "pending", "value", "met"),
    [
        (0, 0, 0.0, True),
        (0, 52, None, None),
        (0, 9, 0.0, True),
        (5, 4, 500 / 1004, True),
        (5, 6, None, None),
        (20, 500, 2000 / 1500, False),
        (0, 10, 0.0, True),
        (0, 11, None, None),
    ],
)
def test_requests_that_have_not_ended_are_not_called_good(
    lost: int, pending: int, value: float | None, met: bool | None
) -> None:
    """Met is what is met even if all of them are lost, missed what is missed without them; all else is unknown."""
    impact = Impact(requests=1000, failed=lost, lost=lost, baseline_p95=None, after_p95=None, pending=pending)
    loss = {kpi.name: kpi for kpi in measure(record(impact=impact))}["request loss"]
    assert (loss.value, loss.met) == (pytest.approx(value) if value else value, met)
    told = f"{pending} requests of that time had not ended" in loss.explanation
    assert told is bool(pending) and (not pending or loss.explanation in markdown(record(impact=impact)))


def test_a_p95_that_pending_requests_could_change_is_unknown() -> None:
    """And says why; a trifle of them changes nothing."""
    impact = Impact(requests=9, failed=0, lost=0, baseline_p95=timedelta(1), after_p95=None, untimed=7)
    slower = {kpi.name: kpi for kpi in measure(record(impact=impact))}["degradation"]
    assert slower.met is None and "7 requests of that time had not ended" in slower.explanation


def test_time_spent_waiting_for_people_is_shown_apart() -> None:
    """Three clocks."""
    told = clocks(record(waited_for_people=timedelta(seconds=4)))
    assert (told.total, told.active, told.waiting_for_people) == (
        timedelta(seconds=6),
        timedelta(seconds=2),
        timedelta(seconds=4),
    )


DIFFERENT: list[dict[str, Any]] = [
    {"outcome": Outcome.REJECTED},
    {"reason": "Something else."},
    {"provider": "google"},
    {"impact": Impact(requests=1000, failed=21, lost=5, baseline_p95=timedelta(1), after_p95=timedelta(1))},
    {"moments": Moments(first_bad=T0, unhealthy=at(9), decided=at(9))},
    {"routes": []},
    {"timeline": [TimelineEntry(at=at(11), step="observe", text="seen")]},
    {"samples": []},
    {"unfinished_helpers": ["Slack was not reached."]},
    {"waited_for_people": timedelta(seconds=1)},
    {"workflow_id": "by-hand"},
]


@pytest.mark.parametrize("changes", DIFFERENT, ids=lambda changes: next(iter(changes)))
def test_records_that_differ_make_reports_that_differ(changes: dict[str, Any]) -> None:
    """In every figure that differs."""
    assert markdown(record(**changes)) != markdown(record())


def test_who_is_needed_and_what_to_run_stands_first() -> None:
    """The reader at 3 a.m. reads two lines."""
    text = markdown(record(outcome=Outcome.NEEDS_HUMAN, reason="Nobody is left.", command="failoverctl failover …"))
    first = text.split("## ")[0]
    assert "A person is needed" in first
    assert "failoverctl failover …" in first


def test_the_cause_is_named_as_classified() -> None:
    """By its class, with the measured reason."""
    assert "**server_error**" in markdown(record())


def test_evidence_is_kept_once_a_run_and_read_back(tmp_path: Path) -> None:
    """Record and report beside each other; keeping it again replaces it."""
    store = EvidenceStore(tmp_path)
    assert store.latest() is None
    kept = store.keep(record())
    assert store.keep(record()) == kept
    assert len(store.list()) == 1
    loaded = store.latest()
    assert loaded is not None
    assert markdown(loaded) == markdown(record())
    assert Path(kept.report).name == "failover-incident-20260131-120010.md"
    later = record(run_id="later67890", moments=replace(record().moments, closed=at(99)))
    store.keep(later)
    latest = store.latest()
    assert latest is not None
    assert latest.run_id == "later67890"


def test_what_happened_again_and_again_is_one_line() -> None:
    """With how often, and until when; what came between keeps its place."""
    said = ["not good: slow", "not good: slow", "not good: slow", "good: fast", "not good: slow"]
    timeline = [TimelineEntry(at=at(20 + n), step="validate", text=text) for n, text in enumerate(said)]
    lines = [line for line in markdown(record(timeline=timeline)).splitlines() if "**validate**" in line]
    assert len(lines) == 3
    assert lines[0].endswith("not good: slow (3 times, until 2026-01-31 12:00:22)")
    assert lines[2].endswith("not good: slow")
