"""Turn probes and counted tries into a verdict about one provider.

Three failed probes in a row condemn it, one good probe resets the count, and users' failed tries condemn it even while
every probe is green. No data never condemns and never acquits.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from failover.accuracy import Assessment, Quality
from failover.config.detection import Detection
from failover.failure import UNAVAILABLE_KINDS, UNUSABLE_KINDS, Failure, FailureKind
from failover.telemetry import ProviderWindow, Telemetry
from failover.units import milliseconds, render_duration


class Health(StrEnum):
    HEALTHY = "HEALTHY"
    UNHEALTHY = "UNHEALTHY"
    UNKNOWN = "UNKNOWN"


class Condition(StrEnum):
    """What a provider is found to be; each but the first and last can start a procedure (`detection.triggers`)."""

    HEALTHY = "healthy"
    UNAVAILABLE = "unavailable"
    UNUSABLE = "unusable"
    INVALID_ANSWERS = "invalid_answers"
    THROTTLED = "throttled"
    SLOW = "slow"
    DEGRADED_QUALITY = "degraded_quality"
    BLIND = "blind"


_BELIEVED = 3
"""The number of its cadences for which an assessment of golden prompts is believed."""

DOWN = frozenset({Condition.UNAVAILABLE, Condition.UNUSABLE, Condition.INVALID_ANSWERS})
"""Conditions in which a provider may not be given traffic."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """One real, tiny completion: when it began, how long it took, and how it failed (None: a sensible answer).

    `control_plane_up` is what the provider's listing of models said when last asked, None where it never was.
    """

    provider: str
    at: datetime
    latency: timedelta
    failure: Failure | None = None
    control_plane_up: bool | None = None

    @property
    def inconclusive(self) -> bool:
        """Whether the probe was throttled: the provider serves, only not us, not now."""
        return self.failure is not None and self.failure.kind is FailureKind.THROTTLED


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeHistory:
    """What is remembered of a provider between probes, across health checks and worker deaths.

    `failures` are the consecutive failed probes, oldest first; `good_at` is when the last good one began; `slow_since` is
    when P95 rose over its limit for good; `assessment` is what golden prompts said last, `condition` the
    last verdict: a rate that condemned acquits only well below its limit.
    """

    failures: Sequence[Probe] = ()
    last: Probe | None = None
    good_at: datetime | None = None
    slow_since: datetime | None = None
    assessment: Assessment | None = None
    condition: Condition = Condition.HEALTHY


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What a provider is found to be, why in one sentence, the classified cause and when the trouble was first seen."""

    provider: str
    condition: Condition
    reason: str
    at: datetime
    cause: Failure | None = None
    first_bad_at: datetime | None = None
    share_percent: float | None = None

    @property
    def health(self) -> Health:
        if self.condition is Condition.BLIND:
            return Health.UNKNOWN
        return Health.UNHEALTHY if self.condition in DOWN else Health.HEALTHY

    @property
    def down(self) -> bool:
        return self.condition in DOWN


def note(history: ProbeHistory, probe: Probe, detection: Detection) -> ProbeHistory:
    """The history after one more probe. Probes overlap and end out of order: "in a row" is by when they began."""
    oldest = probe.at - detection.failure_memory
    failures = [failure for failure in history.failures if failure.at >= oldest]
    good_at = history.good_at
    if probe.failure is None:
        good_at = probe.at if good_at is None else max(good_at, probe.at)
        failures = [failure for failure in failures if failure.at > probe.at]
    elif not probe.inconclusive and (good_at is None or probe.at > good_at):
        failures = sorted([*failures, probe], key=lambda failure: failure.at)[-detection.failure_threshold :]
    return replace(history, failures=failures, last=_newer(history.last, probe), good_at=good_at)


def _newer(last: Probe | None, probe: Probe) -> Probe:
    """The later of the two, with the last word of the control plane."""
    if last is None:
        return probe
    up = last.control_plane_up if probe.control_plane_up is None else probe.control_plane_up
    return replace(probe if probe.at >= last.at else last, control_plane_up=up)


def note_latency(
    history: ProbeHistory, telemetry: Telemetry | None, provider: str, detection: Detection
) -> ProbeHistory:
    """The history after one more reading of users' latency; without enough tries it says nothing either way."""
    tries = _Tries.of(telemetry, provider)
    if telemetry is None or tries is None or tries.count < detection.latency.minimum_tries or tries.p95 is None:
        return history
    if tries.p95 <= detection.latency.p95 * _part(history, Condition.SLOW, detection):
        return replace(history, slow_since=None)
    return history if history.slow_since else replace(history, slow_since=telemetry.at)


def _part(history: ProbeHistory, condition: Condition, detection: Detection) -> float:
    """The part of a limit that applies, 0 to 1: all of it condemns, only well below it is acquitted."""
    return detection.clear_percent / 100 if history.condition is condition else 1.0


def judge(
    provider: str,
    history: ProbeHistory,
    telemetry: Mapping[timedelta, Telemetry | None],
    detection: Detection,
    now: datetime,
) -> Verdict:
    """The verdict from the probes and from what the data plane counted, by window length."""
    for condemn in (_by_probes, _by_users, _by_throttling, _by_latency, _by_accuracy):
        verdict = condemn(provider, history, telemetry, detection, now)
        if verdict is not None:
            return verdict
    return _acquit(provider, history, detection, now)


def _by_probes(
    provider: str, history: ProbeHistory, _: Mapping[timedelta, Telemetry | None], detection: Detection, now: datetime
) -> Verdict | None:
    failures = [probe for probe in history.failures if probe.at >= now - detection.failure_memory]
    if len(failures) < detection.failure_threshold:
        return None
    cause = failures[-1].failure
    assert cause is not None
    return Verdict(
        provider=provider,
        condition=condition_of(cause.kind),
        reason=f"{len(failures)} probes in a row failed; the last: {cause}",
        at=now,
        cause=cause,
        first_bad_at=failures[0].at,
    )


def condition_of(kind: FailureKind) -> Condition:
    """What a provider is, that goes on failing in this way."""
    if kind in UNUSABLE_KINDS:
        return Condition.UNUSABLE
    if kind is FailureKind.INVALID_ANSWER:
        return Condition.INVALID_ANSWERS
    return Condition.THROTTLED if kind is FailureKind.THROTTLED else Condition.UNAVAILABLE


@dataclass(frozen=True, slots=True, kw_only=True)
class _Tries:
    """Tries at one provider on all routes together."""

    windows: Sequence[ProviderWindow]

    @classmethod
    def of(cls, telemetry: Telemetry | None, provider: str) -> "_Tries | None":
        return None if telemetry is None else cls(windows=telemetry.of_provider(provider))

    @property
    def count(self) -> int:
        """The number of tries that reached the provider: what a drill made fail on the way did not."""
        return sum(window.tries - sum(window.injected.values()) for window in self.windows)

    @property
    def p95(self) -> timedelta | None:
        """The worst route's: an average of percentiles would hide it."""
        return max((window.latency_p95 for window in self.windows if window.latency_p95 is not None), default=None)

    def first_failure(self, kinds: frozenset[FailureKind]) -> datetime | None:
        firsts = [at for window in self.windows for kind, at in window.first_failures.items() if kind in kinds]
        return min(firsts, default=None)

    def failures(self, kinds: frozenset[FailureKind]) -> dict[FailureKind, int]:
        counts: dict[FailureKind, int] = {}
        for window in self.windows:
            for kind, count in window.failures.items():
                if kind in kinds:
                    counts[kind] = counts.get(kind, 0) + count - window.injected.get(kind, 0)
        return counts


def _by_users(
    provider: str,
    history: ProbeHistory,
    telemetry: Mapping[timedelta, Telemetry | None],
    detection: Detection,
    now: datetime,
) -> Verdict | None:
    trigger = detection.server_errors
    tries = _Tries.of(telemetry.get(trigger.window), provider)
    if tries is None or tries.count < trigger.minimum_tries:
        return None
    for condition, kinds in (
        (Condition.UNAVAILABLE, UNAVAILABLE_KINDS),
        (Condition.UNUSABLE, UNUSABLE_KINDS),
        (Condition.INVALID_ANSWERS, frozenset({FailureKind.INVALID_ANSWER})),
    ):
        limit = trigger.percent * _part(history, condition, detection)
        verdict = _over(provider, condition, tries, kinds, limit, now)
        if verdict is not None:
            return verdict
    return None


def _by_throttling(
    provider: str,
    history: ProbeHistory,
    telemetry: Mapping[timedelta, Telemetry | None],
    detection: Detection,
    now: datetime,
) -> Verdict | None:
    trigger = detection.throttling
    tries = _Tries.of(telemetry.get(trigger.window), provider)
    if tries is None or tries.count < trigger.minimum_tries:
        return None
    limit = trigger.percent * _part(history, Condition.THROTTLED, detection)
    return _over(provider, Condition.THROTTLED, tries, frozenset({FailureKind.THROTTLED}), limit, now)


def _over(
    provider: str, condition: Condition, tries: _Tries, kinds: frozenset[FailureKind], limit: float, now: datetime
) -> Verdict | None:
    failures = tries.failures(kinds)
    share = 100 * sum(failures.values()) / tries.count
    if share <= limit:
        return None
    worst = max(failures, key=lambda kind: failures[kind])
    counted = f"{sum(failures.values())} of {tries.count} tries of users failed ({share:.1f} %, limit {limit:g} %)"
    return Verdict(
        provider=provider,
        condition=condition,
        reason=f"{counted}, mostly {worst.value.replace('_', ' ')}",
        at=now,
        cause=Failure(kind=worst, provider=provider, detail=counted),
        first_bad_at=tries.first_failure(kinds),
        share_percent=share,
    )


def _by_latency(
    provider: str, history: ProbeHistory, _: Mapping[timedelta, Telemetry | None], detection: Detection, now: datetime
) -> Verdict | None:
    limit = detection.latency
    if history.slow_since is None or now - history.slow_since < limit.window:
        return None
    return Verdict(
        provider=provider,
        condition=Condition.SLOW,
        reason=f"P95 of users' answers has been over {milliseconds(limit.p95)} ms for {render_duration(limit.window)}",
        at=now,
        first_bad_at=history.slow_since,
    )


def _by_accuracy(
    provider: str, history: ProbeHistory, _: Mapping[timedelta, Telemetry | None], detection: Detection, now: datetime
) -> Verdict | None:
    found = history.assessment
    if (
        found is None
        or found.quality is not Quality.DEGRADED
        or now - found.at > _BELIEVED * detection.accuracy.cadence
    ):
        return None
    return Verdict(
        provider=provider, condition=Condition.DEGRADED_QUALITY, reason=found.reason, at=now, first_bad_at=found.at
    )


def _acquit(provider: str, history: ProbeHistory, detection: Detection, now: datetime) -> Verdict:
    last = history.last
    stale = detection.probe.cadence * 2 + detection.probe.timeout
    if last is None or now - last.at > stale:
        reason = (
            "nothing was measured yet"
            if last is None
            else f"the last probe is {(now - last.at).total_seconds():.0f} s old"
        )
        return Verdict(provider=provider, condition=Condition.BLIND, reason=reason, at=now)
    if last.inconclusive:
        return Verdict(
            provider=provider, condition=Condition.BLIND, reason=f"the last probe was throttled: {last.failure}", at=now
        )
    if last.failure is not None:
        count = f"{len(history.failures)} of {detection.failure_threshold} failed probes in a row"
        return Verdict(
            provider=provider,
            condition=Condition.HEALTHY,
            reason=f"{count}: {last.failure}",
            at=now,
            cause=last.failure,
        )
    reason = f"the last probe was answered in {milliseconds(last.latency)} ms"
    if last.control_plane_up is False:
        reason += ", though the control plane does not answer"
    return Verdict(provider=provider, condition=Condition.HEALTHY, reason=reason, at=now)
