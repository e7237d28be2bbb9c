"""What the detectors saw of each provider: failures by class, good answers, load and latency; before and during."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from failover.analysis.case import Span
from failover.failure import FailureKind
from failover.health import Probe
from failover.replay import Counted, DetectorSample
from failover.telemetry import ProviderWindow

FEW = 3
"""Fewer failures than this prove no class of failure."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failing:
    """Failures of one class. Tries are counted over windows that do not overlap, so they are a lower bound."""

    kind: FailureKind
    probes: Sequence[Probe] = ()
    tries: int = 0

    @property
    def count(self) -> int:
        return len(self.probes) + self.tries

    @property
    def codes(self) -> list[str]:
        """The vendor's own words for it, most frequent first."""
        seen = Counter(probe.failure.code for probe in self.probes if probe.failure and probe.failure.code)
        return [code for code, _ in seen.most_common(3)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """One provider, as the detectors saw it. `good_before`: answered probes before the onset; `first`: of its failures."""

    provider: str
    failing: Mapping[FailureKind, Failing] = field(default_factory=dict)
    probes: Sequence[Probe] = ()
    tries: int = 0
    good_before: Sequence[Probe] = ()
    first: datetime | None = None
    last: datetime | None = None
    p95_before: timedelta | None = None
    p95_during: timedelta | None = None
    rate_before: float | None = None
    rate_during: float | None = None
    samples: int = 0
    assessed: str = ""

    @property
    def failures(self) -> int:
        return sum(one.count for one in self.failing.values())

    @property
    def good_probes(self) -> list[Probe]:
        return [probe for probe in self.probes if probe.failure is None]

    @property
    def bad_probes(self) -> list[Probe]:
        return [probe for probe in self.probes if probe.failure is not None]

    @property
    def good_tries(self) -> int:
        return max(0, self.tries - sum(one.tries for one in self.failing.values()))

    @property
    def fails(self) -> bool:
        """Whether failures are enough, and frequent enough, to say that the provider fails."""
        return self.failures >= FEW and self.failures * 50 >= len(self.probes) + self.tries

    def of(self, kinds: Iterable[FailureKind]) -> int:
        return sum(self.failing[kind].count for kind in kinds if kind in self.failing)

    def part(self, kinds: Iterable[FailureKind]) -> float:
        """The share of its failures that are of these kinds, 0 to 1; 0 if nothing failed."""
        return self.of(kinds) / self.failures if self.failures else 0.0

    @property
    def worst(self) -> FailureKind | None:
        return max(self.failing, key=lambda kind: self.failing[kind].count, default=None)


APART = timedelta(seconds=60)
"""Failures with a longer silence between them are two troubles, and the first was over."""


def narrowed(span: Span, samples: Sequence[DetectorSample], provider: str, decided: datetime) -> Span:
    """Set the onset where no first bad sample was noted: the first failure of the trouble there at the decision.

    If there was none, the end of the last trouble before.
    """
    mine = [one for one in samples if provider in ("", one.provider)]
    failed = sorted(at for one in mine for at in _failed_at(one) if span.onset <= at <= decided)
    onset = decided
    for at in reversed(failed):
        if onset - at > APART:
            break
        onset = at
    if onset == decided and failed:
        onset = failed[-1] + timedelta(seconds=1)
    elif onset == decided:
        onset = span.onset
    return replace(span, onset=onset, since=span.since + (onset - span.onset))


def _failed_at(sample: DetectorSample) -> list[datetime]:
    """The moments at which probes and users' tries failed, by the clock of whoever sampled."""
    tried = [
        window.first_failure_at - (told.at - sample.at)
        for told in sample.counted
        for window in told.windows
        if window.first_failure_at
    ]
    return [*(probe.at for probe in sample.probes if probe.failure is not None), *tried]


def seen(samples: Sequence[DetectorSample], span: Span) -> dict[str, Seen]:
    """Provider → what was seen of it, for whoever was watched in that time."""
    inside = [one for one in samples if span.since <= one.at <= span.until + timedelta(seconds=10)]
    return {name: _seen(name, [one for one in inside if one.provider == name], span) for name in _names(inside)}


def _names(samples: Sequence[DetectorSample]) -> list[str]:
    return sorted({one.provider for one in samples})


def _seen(provider: str, samples: Sequence[DetectorSample], span: Span) -> Seen:
    ordered = sorted(samples, key=lambda one: one.at)
    probes = sorted((probe for one in ordered for probe in one.probes), key=lambda probe: probe.at)
    during = [probe for probe in probes if span.onset <= probe.at <= span.until]
    windows = _apart(ordered, span.onset, span.until)
    before = _apart([one for one in ordered if one.at < span.onset], span.since, span.onset)
    failing = _failing(during, windows)
    failed = [probe.at for probe in during if probe.failure is not None]
    tried = [window.first_failure_at for one in windows for window in one.windows if window.first_failure_at]
    firsts = [moment for moment in [*failed, *tried] if moment >= span.onset]
    lasts = [*failed, *(one.at for one in windows if any(window.failures for window in one.windows))]
    return Seen(
        provider=provider,
        failing=failing,
        probes=during,
        tries=sum(window.tries for one in windows for window in one.windows),
        good_before=[probe for probe in probes if probe.at < span.onset and probe.failure is None],
        first=min(firsts, default=None),
        last=max(lasts, default=None),
        p95_before=_p95(before),
        p95_during=_p95(windows),
        rate_before=_rate(before),
        rate_during=_rate(windows[:1]),
        samples=len(ordered),
        assessed=next((one.assessment.reason for one in reversed(ordered) if one.assessment), ""),
    )


def _apart(samples: Sequence[DetectorSample], since: datetime, until: datetime) -> list[Counted]:
    """Readings of the longest window that do not overlap, oldest first: the rest would count the same tries again.

    Tries of before `since` are in the first of them, where its window reaches back; their failures would be the onset.
    """
    read = [_by_our_clock(one) for one in samples if one.counted]
    taken: list[Counted] = []
    for one in sorted(read, key=lambda told: told.at, reverse=True):
        fits = not taken or one.at <= taken[-1].since
        if fits and one.at > since and one.at <= until:
            taken.append(one)
    return taken[::-1]


def _by_our_clock(sample: DetectorSample) -> Counted:
    """The reading of the longest window, its moments by the clock of whoever read it: the data plane's may differ."""
    told = max(sample.counted, key=lambda one: one.window)
    ahead = told.at - sample.at
    windows = [
        replace(one, first_failures={kind: at - ahead for kind, at in one.first_failures.items()})
        for one in told.windows
    ]
    return replace(told, at=sample.at, since=told.since - ahead, windows=windows)


def _failing(probes: Sequence[Probe], counted: Sequence[Counted]) -> dict[FailureKind, Failing]:
    tries: Counter[FailureKind] = Counter()
    for window in (window for one in counted for window in one.windows):
        tries.update(window.failures)
    by_kind: dict[FailureKind, list[Probe]] = {}
    for probe in probes:
        if probe.failure is not None:
            by_kind.setdefault(probe.failure.kind, []).append(probe)
    kinds = [*by_kind, *(kind for kind, count in tries.items() if count and kind not in by_kind)]
    return {kind: Failing(kind=kind, probes=by_kind.get(kind, []), tries=tries[kind]) for kind in kinds}


def _p95(counted: Sequence[Counted]) -> timedelta | None:
    """The worst window's."""
    told = [window.latency_p95 for window in _windows(counted) if window.latency_p95 is not None]
    return max(told, default=None)


def _windows(counted: Sequence[Counted]) -> list[ProviderWindow]:
    return [window for one in counted for window in one.windows]


def _rate(counted: Sequence[Counted]) -> float | None:
    """Tries a second."""
    long = sum((one.at - one.since for one in counted), timedelta(0)).total_seconds()
    return sum(window.tries for window in _windows(counted)) / long if long else None
