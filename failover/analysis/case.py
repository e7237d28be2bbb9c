"""What an analysis is given: one run's record and everything that was noted around it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from failover.incident import RunRecord
from failover.replay import DetectorSample


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """The model and region that a provider answers from, as configured now."""

    model: str = ""
    region: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyChange:
    """One change of a route's shares (basis points). `by` is empty where nobody recorded who made it.

    `after` is seen at `at`; where the detectors saw it, the change was made within `within` before that.
    """

    at: datetime
    route: str
    before: Mapping[str, int]
    after: Mapping[str, int]
    by: str = ""
    reason: str = ""
    within: timedelta = timedelta(0)

    def rise(self, provider: str) -> int:
        """Basis points that it gave to a provider; negative: that it took."""
        return self.after.get(provider, 0) - self.before.get(provider, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Deploy:
    """A deployment that somebody noted: of what, which version, when it was, by whom; and who told us, when."""

    service: str
    version: str
    at: datetime
    by: str = ""
    noted_at: datetime
    noted_by: str = ""

    @property
    def told(self) -> str:
        who = f" by {self.by}" if self.by else ""
        return f"{self.service} {self.version}{who}"


@dataclass(frozen=True, slots=True, kw_only=True)
class LogLine:
    """One line of a process's log, with nothing secret in it. `source` is the process."""

    at: datetime
    source: str
    level: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Logs:
    """The lines that belong to the incident; how many more there were, and how many could not be read as JSON.

    `wanted` False: nobody asked for logs.
    """

    wanted: bool = False
    files: Sequence[str] = ()
    lines: Sequence[LogLine] = ()
    more: int = 0
    unread: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """One incident on a provider's own status page. `until` None: it was not over when we asked."""

    name: str
    since: datetime | None
    until: datetime | None = None
    impact: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderStatus:
    """What a provider said of itself, when we asked. `why_not`: why nothing was learnt."""

    provider: str
    asked_at: datetime
    said: str = ""
    troubles: Sequence[Trouble] = ()
    why_not: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """Everything that is known of one incident.

    `deploys`: None where nothing was ever noted here, so that none before the incident proves nothing. `others`: records
    of other runs. `lookback`: how long before the first bad sample a change still counts as shortly before.
    """

    record: RunRecord
    now: datetime
    samples: Sequence[DetectorSample] = ()
    changes: Sequence[PolicyChange] = ()
    deploys: Sequence[Deploy] | None = None
    logs: Logs = field(default_factory=Logs)
    statuses: Sequence[ProviderStatus] = ()
    watched: Sequence[str] = ()
    """Providers whose status pages are configured."""
    places: Mapping[str, Place] = field(default_factory=dict)
    others: Sequence[RunRecord] = ()
    lookback: timedelta = timedelta(minutes=15)


LONGEST = timedelta(minutes=30)
"""The most time after the decision that is analysed: a ramp may take hours, and the cause lies at its beginning."""

LEAD = timedelta(minutes=5)
"""How long before the decision the trouble is taken to begin if nobody recorded a first bad sample."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """The time that is looked at: changes since `since`, failures from `onset` to `until`."""

    since: datetime
    onset: datetime
    until: datetime


def first_bad_of(record: RunRecord) -> datetime | None:
    """The moment of the first bad sample, as the run noted it, else as the verdict that it began with says."""
    return record.moments.first_bad or (record.verdict.first_bad_at if record.verdict else None)


def span_of(record: RunRecord, now: datetime, lookback: timedelta) -> Span:
    """The time to analyse; if the record's moments contradict one another, the order of the run decides."""
    moments = record.moments
    onset = min(first_bad_of(record) or moments.decided - LEAD, moments.decided)
    ended = max(moments.closed or now, moments.decided)
    return Span(since=onset - lookback, onset=onset, until=min(ended, moments.decided + LONGEST))


def seconds(span: timedelta) -> str:
    """Render a time span for people: "0.4 s", "95 s", "11 min 40 s", "3 h"."""
    if span < timedelta(seconds=10):
        return f"{max(0.0, span.total_seconds()):.1f} s"
    minutes, rest = divmod(round(span.total_seconds()), 60)
    if minutes >= 60:
        return f"{minutes / 60:.3g} h"
    return f"{minutes} min {rest} s" if minutes >= 2 else f"{minutes * 60 + rest} s"


def clock(at: datetime) -> str:
    return f"{at:%H:%M:%S}"
