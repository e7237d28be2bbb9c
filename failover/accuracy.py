"""Is a model worse than it was? Golden prompts counted, compared with a baseline, told with the interval of the drop.

Few prompts prove little: a provider is condemned only when its drop is over the limit and the interval of the drop
excludes none at all. Both counts are estimates, so the interval is that of a difference (Newcombe's, from two Wilson
intervals): with a perfect baseline every single miss would be outside the interval of a baseline taken for certain.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from math import sqrt
from statistics import NormalDist

from failover.units import render_duration


@dataclass(frozen=True, slots=True, kw_only=True)
class Miss:
    """A golden prompt that was answered wrongly, and what was wrong; never the prompt itself."""

    prompt: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """Prompts asked, those of them that were answered at all, and the answers that passed."""

    asked: int
    answered: int
    passed: int

    @property
    def complete(self) -> bool:
        return self.answered == self.asked > 0

    @property
    def percent(self) -> float | None:
        return 100 * self.passed / self.answered if self.answered else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Examination:
    """One run of a suite at one provider's model. `digest` is the suite's, "" where only a part of it was asked;
    `first_failure` is why a prompt was not answered."""

    provider: str
    model: str
    suite: str
    digest: str
    at: datetime
    took: timedelta
    score: Score
    misses: Sequence[Miss] = ()
    first_failure: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """What a provider's model scored on a suite when it was known to be good, and who took that for the baseline."""

    provider: str
    model: str
    suite: str
    digest: str
    at: datetime
    score: Score
    recorded_by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """Percents, or points of percent, that an estimate lies between."""

    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Drop:
    """Points that accuracy fell, and their interval; negative where it rose."""

    points: float
    interval: Interval

    def __str__(self) -> str:
        return f"{self.points:.1f} points ({self.interval.low:.1f} to {self.interval.high:.1f})"


class Quality(StrEnum):
    """What an examination says of a provider: DOUBTFUL is a drop over the limit that so few prompts cannot prove."""

    GOOD = "good"
    DOUBTFUL = "doubtful"
    DEGRADED = "degraded"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Assessment:
    """An examination judged by its baseline. `drop` None: there was none to compare with, or too little to compare."""

    provider: str
    suite: str
    at: datetime
    quality: Quality
    reason: str
    score: Score
    drop: Drop | None = None
    baseline_at: datetime | None = None


def wilson(passed: int, total: int, confidence_percent: float = 95) -> Interval:
    """Wilson's score interval of a share, in percent; the whole range where nothing was counted."""
    if not total:
        return Interval(low=0.0, high=100.0)
    z = NormalDist().inv_cdf(0.5 + confidence_percent / 200)
    share, shrunk = passed / total, 1 + z * z / total
    middle = (share + z * z / (2 * total)) / shrunk
    half = z * sqrt(share * (1 - share) / total + z * z / (4 * total * total)) / shrunk
    # At none and at all the bounds are exact; floating point would miss them by a hair.
    return Interval(
        low=100 * max(0.0, middle - half) if passed else 0.0,
        high=100 * min(1.0, middle + half) if passed < total else 100.0,
    )


def drop(before: Score, after: Score, confidence_percent: float = 95) -> Drop | None:
    """How far accuracy fell, by Newcombe's interval of the difference of two shares; None where either is empty."""
    if before.percent is None or after.percent is None:
        return None
    old = wilson(before.passed, before.answered, confidence_percent)
    new = wilson(after.passed, after.answered, confidence_percent)
    points = before.percent - after.percent
    below = sqrt((before.percent - old.low) ** 2 + (new.high - after.percent) ** 2)
    above = sqrt((old.high - before.percent) ** 2 + (after.percent - new.low) ** 2)
    return Drop(points=points, interval=Interval(low=points - below, high=points + above))


def assess(
    found: Examination,
    baseline: Baseline | None,
    *,
    limit_points: float,
    confidence_percent: float,
    answered_percent: float,
) -> Assessment:
    """Compare an examination with its baseline. Prompts that were not answered are no evidence of wrong answers."""
    quality, reason, fell = _compare(found, baseline, limit_points, confidence_percent, answered_percent)
    return Assessment(
        provider=found.provider,
        suite=found.suite,
        at=found.at,
        quality=quality,
        reason=reason,
        score=found.score,
        drop=fell,
        baseline_at=baseline.at if baseline else None,
    )


def _compare(
    found: Examination, baseline: Baseline | None, limit: float, confidence: float, answered_percent: float
) -> tuple[Quality, str, Drop | None]:
    score = found.score
    if score.answered * 100 < answered_percent * score.asked or not score.answered:
        why = f": {found.first_failure}" if found.first_failure else ""
        return Quality.UNKNOWN, f"only {score.answered} of {score.asked} golden prompts were answered{why}", None
    told = f"{score.passed} of {score.answered} golden prompts ({found.suite}) were answered right"
    if baseline is None:
        return Quality.UNKNOWN, f"{told}; there is no baseline to compare with", None
    fell = drop(baseline.score, score, confidence)
    assert fell is not None
    told += f"; the baseline of {baseline.at:%Y-%m-%d} is {baseline.score.passed} of {baseline.score.answered}"
    told += f": a drop of {fell} at {confidence:g} % confidence, limit {limit:g}"
    if fell.points <= limit:
        return Quality.GOOD, told, fell
    if fell.interval.low <= 0:
        return Quality.DOUBTFUL, f"{told}; so few prompts do not prove it", fell
    return Quality.DEGRADED, told, fell


def unknown(provider: str, at: datetime, reason: str) -> Assessment:
    """An assessment of a provider of which nothing could be examined: it neither condemns nor acquits."""
    return Assessment(
        provider=provider,
        suite="",
        at=at,
        quality=Quality.UNKNOWN,
        reason=reason,
        score=Score(asked=0, answered=0, passed=0),
    )


def why_no_baseline(found: Examination) -> str | None:
    """Why an examination cannot be a baseline; None where it can."""
    if not found.digest:
        return "only a part of the suite was asked"
    if not found.score.complete:
        return f"only {found.score.answered} of {found.score.asked} golden prompts were answered"
    return "no golden prompt was answered right" if not found.score.passed else None


def baseline_of(found: Examination, recorded_by: str) -> Baseline:
    return Baseline(
        provider=found.provider,
        model=found.model,
        suite=found.suite,
        digest=found.digest,
        at=found.at,
        score=found.score,
        recorded_by=recorded_by,
    )


def age(baseline: Baseline, now: datetime) -> str:
    """How old a baseline is, in whole days, hours or minutes."""
    old = max(now - baseline.at, timedelta(0))
    for unit in (timedelta(days=1), timedelta(hours=1), timedelta(minutes=1)):
        if old >= unit:
            return render_duration(old // unit * unit)
    return "under 1m"


def rejudged(found: Assessment, limit_points: float) -> Assessment:
    """The same assessment by another limit; one without a comparison stays what it was."""
    if found.drop is None:
        return found
    if found.drop.points <= limit_points:
        return replace(found, quality=Quality.GOOD)
    return replace(found, quality=Quality.DOUBTFUL if found.drop.interval.low <= 0 else Quality.DEGRADED)
