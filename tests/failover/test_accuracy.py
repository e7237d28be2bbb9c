"""How much worse is worse: intervals, baselines, and the few prompts that prove nothing."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from failover.accuracy import (
    Assessment,
    Baseline,
    Examination,
    Quality,
    Score,
    age,
    assess,
    baseline_of,
    drop,
    why_no_baseline,
    wilson,
)

NOON = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)


def score(passed: int, of: int, asked: int | None = None) -> Score:
    return Score(asked=asked or of, answered=of, passed=passed)


def examination(found: Score) -> Examination:
    return Examination(
        provider="bedrock", model="m", suite="quick", digest="d", at=NOON, took=timedelta(seconds=1), score=found
    )


def judged(before: Score | None, after: Score) -> Assessment:
    baseline = None if before is None else baseline_of(examination(before), "anna")
    return assess(examination(after), baseline, limit_points=10, confidence_percent=95, answered_percent=80)


@pytest.mark.parametrize(
    ("passed", "total", "low", "high"),
    [(20, 20, 83.89, 100.0), (19, 20, 76.39, 99.11), (0, 10, 0.0, 27.75), (81, 263, 25.53, 36.62), (0, 0, 0.0, 100.0)],
)
def test_wilsons_interval(passed: int, total: int, low: float, high: float) -> None:
    """As statistics packages and Newcombe's paper (81 of 263) have it."""
    found = wilson(passed, total)
    assert [found.low, found.high] == pytest.approx([low, high], abs=0.01)


@pytest.mark.parametrize(
    ("before", "after", "points", "low", "high"),
    [
        (score(56, 70), score(48, 80), 20.0, 5.24, 33.39),
        (score(9, 10), score(3, 10), 60.0, 17.05, 80.90),
        (score(10, 10), score(0, 10), 100.0, 60.75, 100.0),
    ],
)
def test_the_interval_of_a_drop(before: Score, after: Score, points: float, low: float, high: float) -> None:
    """Newcombe's published examples of his tenth method."""
    found = drop(before, after)
    assert found is not None
    assert found.points == pytest.approx(points)
    assert found.interval.low == pytest.approx(low, abs=0.01)
    assert found.interval.high == pytest.approx(high, abs=0.01)


@given(st.integers(1, 200), st.data())
def test_an_interval_holds_its_estimate(total: int, data: st.DataObject) -> None:
    """Whatever was counted; and more confidence never makes it narrower."""
    passed = data.draw(st.integers(0, total))
    narrow, wide = wilson(passed, total, 80), wilson(passed, total, 99)
    assert wide.low <= narrow.low <= 100 * passed / total + 1e-9
    assert 100 * passed / total - 1e-9 <= narrow.high <= wide.high


@pytest.mark.parametrize(
    ("before", "after", "quality"),
    [
        (score(20, 20), score(20, 20), Quality.GOOD),
        (score(20, 20), score(19, 20), Quality.GOOD),
        (score(20, 20), score(18, 20), Quality.GOOD),
        (score(20, 20), score(17, 20), Quality.DOUBTFUL),
        (score(20, 20), score(15, 20), Quality.DEGRADED),
        (score(5, 5), score(4, 5), Quality.DOUBTFUL),
        (score(60, 60), score(54, 60), Quality.GOOD),
        (score(60, 60), score(53, 60), Quality.DEGRADED),
        (score(1000, 1000), score(950, 1000), Quality.GOOD),
        (score(50, 60), score(60, 60), Quality.GOOD),
        (None, score(2, 20), Quality.UNKNOWN),
        (score(20, 20), score(1, 15, asked=20), Quality.UNKNOWN),
        (score(20, 20), score(0, 0, asked=20), Quality.UNKNOWN),
        (score(20, 20), score(9, 16, asked=20), Quality.DEGRADED),
    ],
)
def test_who_is_condemned(before: Score | None, after: Score, quality: Quality) -> None:
    """Only by a drop over the limit whose interval excludes none: no single miss of a few prompts does it.

    A proved drop under the limit is good enough, and prompts without an answer are no wrong answers.
    """
    assert judged(before, after).quality is quality


def test_the_drop_is_told_with_its_interval() -> None:
    """People see how sure it is, and against what."""
    reason = judged(score(20, 20), score(15, 20)).reason
    assert "15 of 20" in reason and "25.0 points (3.8 to 46.9)" in reason and "2026-01-01" in reason


@pytest.mark.parametrize(
    ("found", "why"),
    [(score(18, 20), None), (score(19, 19, asked=20), "only 19 of 20"), (score(0, 20), "no golden prompt")],
)
def test_what_may_be_a_baseline(found: Score, why: str | None) -> None:
    """A complete run of a provider that knows something."""
    told = why_no_baseline(examination(found))
    assert told is None if why is None else told is not None and why in told


@pytest.mark.parametrize(
    ("old", "told"),
    [(timedelta(days=3, hours=5), "3d"), (timedelta(minutes=90), "1h"), (timedelta(seconds=3), "under 1m")],
)
def test_the_age_of_a_baseline(old: timedelta, told: str) -> None:
    """In the largest unit that fills."""
    baseline: Baseline = baseline_of(examination(score(20, 20)), "anna")
    assert age(baseline, NOON + old) == told
