"""The time of a run in phases, and what was counted in each: before, in trouble, while it settled, after."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from failover.failure import FailureKind
from failover.incident import RunRecord, Slice


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """Counts added up; `pending` had not ended when they were read, and are none of `requests`.

    `latency_p95` is the mean over the slices, each weighted by its requests; None without any.
    """

    requests: int = 0
    failed: int = 0
    lost: int = 0
    empty: int = 0
    latency_p50: timedelta | None = None
    latency_p95: timedelta | None = None
    pending: int = 0

    @property
    def error_percent(self) -> float | None:
        return 100 * (self.failed + self.empty) / self.requests if self.requests else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """A stretch of a run, and what its slices hold; one that spans a border counts where most of it lies."""

    name: str
    since: datetime
    until: datetime
    slices: Sequence[Slice]

    @property
    def users(self) -> Tally:
        return Tally(
            requests=sum(one.requests for one in self.slices),
            failed=sum(one.failed for one in self.slices),
            lost=sum(one.lost for one in self.slices),
            empty=sum(one.empty for one in self.slices),
            latency_p50=mean([(one.latency_p50, one.requests) for one in self.slices]),
            latency_p95=mean([(one.latency_p95, one.requests) for one in self.slices]),
            pending=sum(one.pending for one in self.slices),
        )

    def provider(self, name: str) -> Tally:
        """Tries at one provider, before any retry."""
        windows = [one for each in self.slices for one in each.providers if one.provider == name]
        return Tally(
            requests=sum(one.tries for one in windows),
            failed=sum(one.failed for one in windows),
            latency_p50=mean([(one.latency_p50, one.tries) for one in windows]),
            latency_p95=mean([(one.latency_p95, one.tries) for one in windows]),
        )


def phases(record: RunRecord) -> list[Phase]:
    """The phases that the run came to, in order; "before" ends where the trouble (or a ramp) begins."""
    moments = record.moments
    borders = [
        ("before", None),
        ("in trouble" if moments.first_bad else "until it moved", moments.first_bad or moments.decided),
        ("settling" if moments.first_bad else "while it moved", moments.in_force),
        ("after", moments.restored),
    ]
    reached = [(name, at) for name, at in borders if name == "before" or at is not None]
    found = []
    for number, (name, at) in enumerate(reached):
        until = reached[number + 1][1] if number + 1 < len(reached) else None
        inside = [one for one in record.course if _within(one, at, until)]
        if inside:
            found.append(Phase(name=name, since=inside[0].since, until=inside[-1].until, slices=inside))
    return found


def _within(one: Slice, since: datetime | None, until: datetime | None) -> bool:
    middle = one.since + (one.until - one.since) / 2
    return (since is None or middle >= since) and (until is None or middle < until)


def mean(weighted: Sequence[tuple[timedelta | None, int]]) -> timedelta | None:
    known = [(latency, weight) for latency, weight in weighted if latency is not None and weight]
    total = sum(weight for _, weight in known)
    return sum((latency * weight for latency, weight in known), timedelta(0)) / total if total else None


def providers_of(record: RunRecord) -> list[str]:
    return sorted({one.provider for each in record.course for one in each.providers})


def failures_of(record: RunRecord, provider: str) -> Mapping[FailureKind, int]:
    """How often each class of failure was counted at a provider, the most frequent first."""
    found: dict[FailureKind, int] = {}
    for each in record.course:
        for one in each.providers:
            if one.provider == provider:
                for kind, count in one.failures.items():
                    found[kind] = found.get(kind, 0) + count
    return dict(sorted(found.items(), key=lambda item: (-item[1], item[0])))
