"""One incident as its claims look at it: whom it is about, who failed with it, who answered meanwhile."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from failover.analysis.case import Case, Place, ProviderStatus, Span, Trouble, first_bad_of, span_of
from failover.analysis.failures import FEW, Seen, narrowed, seen
from failover.analysis.statuses import then
from failover.failure import FailureKind
from failover.health import Condition
from failover.incident import RunRecord, Trigger
from failover.replay import DetectorSample

TOGETHER = timedelta(seconds=30)
"""Providers whose first failures are no further apart failed at the same time."""

SKEW = timedelta(seconds=2)
"""Clocks of our own processes that differ by more make the order of what they tell uncertain."""


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """`focus`: the provider that the run was about, or else that failed first; "" where neither is known."""

    case: Case
    span: Span
    seen: Mapping[str, Seen]
    focus: str
    together: Sequence[str] = ()
    """Other providers that began to fail at the same time."""
    well: Sequence[str] = ()
    """Other providers that answered meanwhile, and did not fail."""
    skew: timedelta = timedelta(0)
    """How far the data plane's clock is ahead of the detectors'."""
    statuses: Mapping[str, Sequence[tuple[ProviderStatus, Trouble]]] = field(default_factory=dict)
    """Provider → what it reported for the time of the incident."""

    @property
    def record(self) -> RunRecord:
        return self.case.record

    @property
    def of_focus(self) -> Seen:
        return self.seen.get(self.focus, Seen(provider=self.focus))

    @property
    def began(self) -> datetime:
        """When the trouble began, as far as anybody knows."""
        return first_bad_of(self.record) or self.of_focus.first or self.record.moments.decided

    @property
    def by_hand(self) -> bool:
        return self.record.trigger is Trigger.MANUAL

    @property
    def quiet(self) -> bool:
        """Whether nothing was wrong before the decision, as far as the verdict and the samples tell."""
        verdict, decided, found = self.record.verdict, self.record.moments.decided, self.of_focus
        troubled = verdict is not None and verdict.condition not in (Condition.HEALTHY, Condition.BLIND)
        return not troubled and (found.failures < FEW or found.first is None or found.first > decided)

    @property
    def worst(self) -> FailureKind | None:
        """What failed most; where nothing was sampled, what the verdict names."""
        return self.of_focus.worst or self._named

    def part(self, kinds: Collection[FailureKind]) -> float:
        """The share of the failures that are of these kinds; if none was sampled, 1 or 0 by what the verdict names."""
        return self.of_focus.part(kinds) if self.of_focus.failures else float(self._named in kinds)

    @property
    def _named(self) -> FailureKind | None:
        verdict = self.record.verdict
        return verdict.cause.kind if verdict is not None and verdict.cause is not None else None

    def place(self, provider: str) -> Place:
        return self.case.places.get(provider, Place())


def span_for(record: RunRecord, samples: Sequence[DetectorSample], now: datetime, lookback: timedelta) -> Span:
    """The time that is looked at."""
    span = span_of(record, now, lookback)
    if first_bad_of(record) is not None:
        return span
    return narrowed(span, samples, record.provider, record.moments.decided)


def view(case: Case) -> View:
    span = span_for(case.record, case.samples, case.now, case.lookback)
    found = seen(case.samples, span)
    focus = _focus(case.record, found)
    others = [one for name, one in found.items() if name != focus]
    began = found[focus].first if focus in found else None
    together = [
        one.provider
        for one in others
        if one.fails and one.first is not None and began is not None and abs(one.first - began) <= TOGETHER
    ]
    return View(
        case=case,
        span=span,
        seen=found,
        focus=focus,
        together=together,
        well=[one.provider for one in others if not one.fails and (one.good_probes or one.good_tries)],
        skew=_skew(case),
        statuses=_reported(case, span),
    )


def _focus(record: RunRecord, found: Mapping[str, Seen]) -> str:
    if record.provider:
        return record.provider
    failing = [one for one in found.values() if one.fails and one.first is not None]
    return min(failing, key=lambda one: (one.first is None, one.first)).provider if failing else ""


def _skew(case: Case) -> timedelta:
    apart = sorted(told.at - one.at for one in case.samples for told in one.counted)
    return apart[len(apart) // 2] if apart else timedelta(0)


def _reported(case: Case, span: Span) -> dict[str, list[tuple[ProviderStatus, Trouble]]]:
    found: dict[str, list[tuple[ProviderStatus, Trouble]]] = {}
    for status in case.statuses:
        for trouble in then(status, span.onset, span.until):
            kept = found.setdefault(status.provider, [])
            if all(trouble.name != other.name for _, other in kept):
                kept.append((status, trouble))
    return found
