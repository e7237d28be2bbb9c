"""What a ramp knows of itself: where it is in its plan, and what a run that continues as new is handed."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from activities.traffic import Written
from failover.driving import Driving
from failover.failback import Recovery
from failover.gates import GateState
from failover.health import Verdict
from failover.incident import Moments, Outcome, PolicyWrite, Sample, TimelineEntry
from failover.messages import MessageRef
from failover.observing import OwnRequests
from failover.policy import Revision
from failover.ramp import Fallback, RampBrief, RampPlan, Step


class Place(StrEnum):
    """The place in the plan where a run is."""

    APPROVE = "approve"
    SET = "set"
    HOLD = "hold"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stopping:
    """A ramp that goes no further: how it is to end, and what it does with the traffic that it moved."""

    outcome: Outcome
    reason: str
    fallback: Fallback


@dataclass(slots=True, kw_only=True)
class RampState:
    """All that a run knows of itself; what a run that continues as new is handed.

    `index` is the step that `place` speaks of, `held` the one whose gates are sampled; `revision` and `now` are what this
    run wrote last, `good` the last distribution that passed. `settle_left` and `left` are what remains of the hold. `written`:
    a write may have been applied; `writes` numbers their keys. `stopping`: people are asked whether it may go back.
    """

    brief: RampBrief
    plan: RampPlan
    place: Place = Place.APPROVE
    index: int = 0
    revision: Revision
    now: dict[str, int] = field(default_factory=dict)
    good: dict[str, int] = field(default_factory=dict)
    settle_left: timedelta = timedelta(0)
    left: timedelta = timedelta(0)
    since: datetime | None = None
    seen_at: datetime | None = None
    held: Step | None = None
    gates: list[GateState] = field(default_factory=list)
    orders_until: datetime | None = None
    synthetic: int = 0
    ours: OwnRequests = field(default_factory=OwnRequests)
    waited: timedelta = timedelta(0)
    samples: list[Sample] = field(default_factory=list)
    verdicts: list[Verdict] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    read_back: Written | None = None
    written: bool = False
    writes: int = 0
    steps_set: int = 0
    stopping: Stopping | None = None


@dataclass(slots=True, kw_only=True)
class Carried:
    """What a run leaves to the one that continues it."""

    state: RampState | None
    recovery: Recovery | None
    driving: Driving
    moments: Moments
    timeline: list[TimelineEntry]
    notes: list[str]
    phase: str
    subject: str
    thread: MessageRef | None
    writes: list[PolicyWrite] = field(default_factory=list)
    outward: str | None = None
