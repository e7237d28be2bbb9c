"""Suggested thresholds: only by what was recorded, only where they would have gained, with what they would have cost."""

from dataclasses import replace
from datetime import timedelta

from failover.incident import RunRecord
from failover.replay import DetectorSample
from failover.suggestions import suggest
from tests.failover.test_replay import NOON, policy, sample
from tests.failover.test_reports import record

STEADY = "{cool_down: 0s, probe: {cadence: 5s}, failure_threshold: 3}"


def incident(started: float) -> RunRecord:
    found = record()
    return replace(
        found, provider="a", moments=replace(found.moments, first_bad=NOON, decided=NOON + timedelta(seconds=started))
    )


def outage(*failed: float, started: float) -> list[DetectorSample]:
    seconds = sorted({*range(-60, 60, 5), *failed})
    return [sample(at, failed=at in failed, started="immediate" if at == started else None) for at in seconds]


def test_a_lower_threshold_that_gains_seconds_and_starts_nothing_else() -> None:
    kept = outage(0, 5, 10, 15, started=10)
    [best, *_] = suggest(incident(10), kept, policy(STEADY))
    assert (best.setting, best.now, best.instead, best.sooner, best.also) == (
        "detection.failure_threshold",
        "3",
        "2",
        timedelta(seconds=5),
        0,
    )
    assert best.said == (
        "detection.failure_threshold: 2 instead of 3 would have started this 5 s sooner, and nothing else"
    )


def test_what_the_same_threshold_would_have_started_beside_is_said() -> None:
    """Two failures half a minute before would have been an incident of their own."""
    kept = outage(-50, -45, 0, 5, 10, 15, started=10)
    [best, *_] = suggest(incident(10), kept, policy(STEADY))
    assert best.also == 1
    assert best.said.endswith("5 s sooner, and 1 start more in what was recorded")


def test_nothing_is_suggested_without_evidence() -> None:
    assert suggest(incident(10), [], policy(STEADY)) == []
    manual = replace(incident(10), verdict=None)
    assert suggest(manual, outage(0, 5, 10, started=10), policy(STEADY)) == []


def test_nothing_is_suggested_where_nothing_would_have_been_sooner() -> None:
    kept = outage(10, started=10)
    assert suggest(incident(10), kept, policy("{cool_down: 0s, failure_threshold: 1, failure_memory: 60s}")) == []
