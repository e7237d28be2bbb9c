"""Another policy over recorded samples: what it would have started, when, against what was started."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from activities.samples import SEGMENTS, SampleLog
from failover.accuracy import Assessment, Drop, Interval, Quality, Score
from failover.config import Config
from failover.config_file import parse
from failover.failure import Failure, FailureKind
from failover.health import Condition, Probe
from failover.replay import Counted, DetectorSample, Replay, replay
from failover.telemetry import ProviderWindow

NOON = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)
SECOND, MINUTE = timedelta(seconds=1), timedelta(minutes=1)

POLICY = """
providers:
  a: {{kind: llama, model: m}}
  b: {{kind: llama, model: m}}
routes:
  chat: {{distribution: {{a: 60, b: 40}}}}
failover_chains: {{a: [b]}}
detection: {detection}
"""


def policy(detection: str = "{}") -> Config:
    return parse(POLICY.format(detection=detection), "new.yaml").config


def sample(
    seconds: float,
    *,
    provider: str = "a",
    failed: bool = False,
    errors: int = 0,
    p95_ms: int = 200,
    started: str | None = None,
    share: int | None = 6000,
    window: timedelta = MINUTE,
    assessment: Assessment | None = None,
) -> DetectorSample:
    at = NOON + seconds * SECOND
    failure = Failure(kind=FailureKind.SERVER_ERROR, provider=provider, detail="x") if failed else None
    tries = ProviderWindow(
        provider=provider,
        route="chat",
        tries=1000,
        first_tries=1000,
        failures={FailureKind.SERVER_ERROR: errors},
        latency_p95=timedelta(milliseconds=p95_ms),
    )
    return DetectorSample(
        at=at,
        provider=provider,
        probes=[Probe(provider=provider, at=at, latency=0.1 * SECOND, failure=failure)],
        counted=[Counted(window=window, at=at, since=at - window, windows=[tries])],
        shares=None if share is None else {"chat": share},
        condition=Condition.UNAVAILABLE if started else Condition.HEALTHY,
        started=started,
        assessment=assessment,
    )


def told(found: Replay) -> list[tuple[float, str | None, str | None, str]]:
    return [
        (
            (pair.at - NOON).total_seconds(),
            pair.then.procedure if pair.then else None,
            pair.now.procedure if pair.now else None,
            pair.said,
        )
        for pair in found.starts
    ]


def outage(fails_at: int, started_at: int | None) -> list[DetectorSample]:
    """Probes every five seconds that fail from a moment on; b is well all the time, and has the traffic after the start."""
    samples = []
    for seconds in range(0, 60, 5):
        started = "immediate" if seconds == started_at else None
        share = 6000 if started_at is None or seconds <= started_at else 0
        samples.append(sample(seconds, failed=seconds >= fails_at, started=started, share=share))
        samples.append(sample(seconds + 0.1, provider="b", share=4000))
    return samples


def test_the_policy_of_then_starts_what_was_started() -> None:
    """Three failed probes, five seconds apart: the same start, at the same moment."""
    found = replay(outage(10, 20), policy())
    assert told(found) == [(20, "immediate", "immediate", "the same")]
    assert (found.samples, found.since, found.until) == (24, NOON, NOON + 55.1 * SECOND)
    assert found.doubts == []


@pytest.mark.parametrize(
    ("detection", "expected"),
    [
        ("{failure_threshold: 2}", [(20, "immediate", "immediate", "5 s earlier")]),
        ("{failure_threshold: 5}", [(20, "immediate", "immediate", "10 s later")]),
        (
            "{failure_threshold: 11, failure_memory: 1h}\nkpis: {detection: 1m}",
            [(20, "immediate", None, "not with this policy")],
        ),
        ("{triggers: {unavailable: none}}", [(20, "immediate", None, "not with this policy")]),
        ("{automation: {unavailable: off}}", [(20, "immediate", None, "not with this policy")]),
        ("{automation: {unavailable: propose}}", [(20, "immediate", "immediate", "the same")]),
        ("{triggers: {unavailable: gradual}}", [(20, "immediate", "gradual", "0 s earlier, as gradual")]),
    ],
)
def test_another_policy_is_told_apart(detection: str, expected: list[tuple[float, str, str | None, str]]) -> None:
    """Earlier, later, otherwise or not at all."""
    assert told(replay(outage(10, 20), policy(detection))) == expected


def test_what_a_hold_kept_back_is_one_start() -> None:
    """It would have left the provider, so that no second start was due, until somebody really started it."""
    samples = [replace(one, shares={"chat": 6000}) for one in outage(10, None) if one.provider == "a"]
    samples = [replace(one, started="immediate", held=True) if one.at == NOON + 20 * SECOND else one for one in samples]
    others = [one for one in outage(10, None) if one.provider == "b"]
    later = [sample(60 + s, failed=True) for s in range(0, 60, 5)] + [
        sample(60 + s, provider="b") for s in range(0, 60, 5)
    ]
    assert told(replay([*samples, *others, *later], policy())) == [
        (20, "immediate", "immediate", "a hold kept it back")
    ]


def test_what_nobody_started_then_is_found() -> None:
    """Users' errors of 4 %: under the limit of then, over the one that is tried."""
    samples = [sample(seconds, errors=40) for seconds in range(0, 30, 5)]
    assert told(replay(samples, policy())) == []
    found = replay(samples, policy("{server_errors: {percent: 3}}"))
    assert told(found) == [(0, None, "immediate", "only with this policy")]
    assert found.starts[0].now is not None and "4.0 %, limit 3 %" in found.starts[0].now.reason


def test_slowness_and_accuracy_are_replayed_too() -> None:
    """A lower limit of latency, and of the drop of golden prompts, by what was measured then."""
    slow = [sample(seconds, p95_ms=2500) for seconds in range(0, 400, 5)]
    assert told(replay(slow, policy())) == []
    assert told(replay(slow, policy("{latency: {p95: 2s}}")))[0] == (300, None, "gradual", "only with this policy")
    drop = Drop(points=8, interval=Interval(low=2, high=14))
    score = Score(asked=60, answered=60, passed=55)
    found = Assessment(
        provider="a", suite="quick", at=NOON, quality=Quality.GOOD, reason="55 of 60", score=score, drop=drop
    )
    samples = [sample(0), sample(5, assessment=found), sample(10)]
    assert told(replay(samples, policy())) == []
    assert told(replay(samples, policy("{accuracy_drop_points: 5}"))) == [(5, None, "canary", "only with this policy")]


def test_a_provider_that_nobody_used_is_not_left() -> None:
    """The shares of then are those of the replay; where they were not known, a start is not held back."""
    assert told(replay([sample(s, failed=True, share=0) for s in (0, 5, 10)], policy())) == []
    assert len(replay([sample(s, failed=True, share=None) for s in (0, 5, 10)], policy()).starts) == 1


def test_what_the_recording_cannot_tell_is_said() -> None:
    """A window that was never counted, a provider that is gone, a timeout that would have failed good probes."""
    samples = [sample(0), sample(1, provider="gone")]
    found = replay(samples, policy("{server_errors: {percent: 5, window: 5m}, probe: {timeout: 50ms}}"))
    assert [doubt.split(";")[0] for doubt in found.doubts] == [
        "Nothing was counted over 5m",
        "Samples of gone are left out: the policy has no such provider.",
        "Probes were answered after up to 100ms",
    ]


async def test_samples_are_kept_as_they_were(tmp_path: Path) -> None:
    """Whole, in order, by the next process too; a line that a kill cut in two is left out."""
    samples = outage(10, 20)
    first, second = (SampleLog(tmp_path / "samples", 1_000_000) for _ in range(2))
    for one in samples[:12]:
        await first.keep(one)
    for one in samples[12:]:
        await second.keep(one)
    assert list(first.read()) == samples
    assert len(first.segments()) == 1
    assert list(first.read(since=NOON + 50 * SECOND)) == samples[-4:]
    with first.segments()[-1].open("ab") as file:
        file.write(b'{"at": "2026')
    assert list(first.read()) == samples
    assert told(replay(list(first.read()), policy())) == [(20, "immediate", "immediate", "the same")]


async def test_samples_are_bounded(tmp_path: Path) -> None:
    """The oldest go first; 0 keeps nothing."""
    log, none = SampleLog(tmp_path / "samples", 20_000), SampleLog(tmp_path / "none", 0)
    for seconds in range(500):
        await log.keep(sample(seconds))
        await none.keep(sample(seconds))
    size = sum(segment.stat().st_size for segment in log.segments())
    kept = list(log.read())
    assert len(log.segments()) <= SEGMENTS and size <= 20_000
    assert size > 20_000 * (SEGMENTS - 2) // SEGMENTS
    assert kept[-1].at == NOON + 499 * SECOND
    assert not none.segments()
