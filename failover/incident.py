"""The evidence record of one run: everything that its report, its KPIs and later questions are computed from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from failover.config.kpis import Kpis
from failover.config.routes import Targets
from failover.distribution import Shares
from failover.health import Condition, Verdict
from failover.policy import Mode
from failover.telemetry import ProviderWindow


class Outcome(StrEnum):
    COMPLETED = "COMPLETED"
    ROLLED_BACK = "ROLLED_BACK"
    HELD = "HELD"
    STOPPED = "STOPPED"
    SUPERSEDED = "SUPERSEDED"
    ABORTED = "ABORTED"
    REJECTED = "REJECTED"
    NEEDS_HUMAN = "NEEDS_HUMAN"
    # Of drills:
    PASSED = "PASSED"
    FAILED = "FAILED"
    INTERRUPTED = "INTERRUPTED"
    SKIPPED = "SKIPPED"


class Trigger(StrEnum):
    """What started a run; KPIs count automatic and manual runs apart."""

    AUTOMATIC = "automatic"
    MANUAL = "manual"


@dataclass(frozen=True, slots=True, kw_only=True)
class TimelineEntry:
    """One thing that happened: when, in which step of the procedure, in one sentence."""

    at: datetime
    step: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One reading of the users' side during a run, all its routes together. Latency is None without answers."""

    at: datetime
    window: timedelta
    requests: int
    failed: int
    lost: int
    empty: int
    latency_p95: timedelta | None
    first_tries: Mapping[str, int]
    good: bool
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """What was counted in one stretch of a run, its routes together, on the data plane's clock.

    Latencies are of answered requests, the worst route's; None without any. `providers` are tries, with `route` "".
    `pending` had not ended when it was read, and are none of `requests`.
    """

    since: datetime
    until: datetime
    requests: int
    failed: int
    lost: int
    empty: int
    latency_p50: timedelta | None = None
    latency_p95: timedelta | None = None
    providers: Sequence[ProviderWindow] = ()
    pending: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyWrite:
    """One change that a run brought into force: when, on which route, in which of its steps, and the shares since.

    `mode` None: the service's mode was left as it was.
    """

    at: datetime
    route: str
    step: str
    shares: Shares
    revision: str = ""
    mode: Mode | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedStep:
    """One step of a ramp as planned last: the shares it was to bring, and how long they were to be watched."""

    name: str
    shares: Shares
    hold: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class Impact:
    """What users felt between the first bad sample and the restoration, and latency before and after.

    `pending` of that time had not ended when it was measured, and are none of `requests`. A P95 that those which had not
    ended could change is None; `untimed` says how many they were.
    """

    requests: int
    failed: int
    lost: int
    baseline_p95: timedelta | None
    after_p95: timedelta | None
    pending: int = 0
    untimed: int = 0

    @property
    def settled(self) -> bool:
        """Whether nothing that is still to end could change it."""
        return not self.pending and not self.untimed


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredAgain:
    """What the data plane counted of a run, read anew at `at`: requests that had not ended before have."""

    at: datetime
    impact: Impact
    course: Sequence[Slice]


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteShift:
    """One route's part in a run: the distribution before, the one in force at the end as read back, and its target."""

    route: str
    before: Shares
    after: Shares
    target: str | None
    revision: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Moments:
    """The moments that KPIs start and end at; None: it did not come to that.

    Detection: first_bad → unhealthy. Execution: decided → verified. Restoration: in_force → restored.
    """

    first_bad: datetime | None = None
    unhealthy: datetime | None = None
    decided: datetime
    in_force: datetime | None = None
    verified: datetime | None = None
    restored: datetime | None = None
    closed: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """What is kept of a closed run, outside Temporal. Times are UTC; `reason` explains the outcome in one sentence."""

    procedure: str
    workflow_id: str
    run_id: str
    trigger: Trigger
    requested_by: str
    request_reason: str
    provider: str
    verdict: Verdict | None
    outcome: Outcome
    reason: str
    command: str | None
    moments: Moments
    waited_for_people: timedelta = timedelta(0)
    routes: Sequence[RouteShift] = ()
    timeline: Sequence[TimelineEntry] = ()
    samples: Sequence[Sample] = ()
    impact: Impact | None = None
    unfinished_helpers: Sequence[str] = ()
    notes: Sequence[str] = ()
    kpis: Kpis = field(default_factory=Kpis)
    subject: str = ""
    """What the run is about, where a provider's name does not say it."""
    plan: Sequence[str] = ()
    digest: str = ""
    undoes: str = ""
    """The workflow id of the failover that a failback undoes; "" for other procedures."""
    concerns: Sequence[str] = ()
    """The routes that it was about, whether or not anything was moved there."""
    writes: Sequence[PolicyWrite] = ()
    """The policy over time: every change of this run that came into force, oldest first."""
    course: Sequence[Slice] = ()
    """What the data plane counted, from before the trouble to the end of the run, as far back as it remembers."""
    steps: Sequence[PlannedStep] = ()
    """The steps that a ramp was measured against; empty for other procedures."""
    targets: Targets | None = None
    """The targets that a ramp's route owed to users."""
    contacts: Mapping[str, str] = field(default_factory=dict)
    """Provider → whom to call about it."""
    is_drill: bool = False
    """Whether it was a drill: nothing was really wrong, so that it is no incident and counts in no rate of those."""

    @property
    def condition(self) -> Condition | None:
        return self.verdict.condition if self.verdict else None
