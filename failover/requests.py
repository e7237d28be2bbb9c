"""What each workflow is asked, and what it answers: the shapes that cross the Temporal boundary.

Unknown keys, missing fields and wrong types are refused with the field's name; nobody's values are repeated.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from failover.config.routes import Approvals
from failover.distribution import Shares
from failover.health import Verdict
from failover.incident import Moments, Outcome, RouteShift, TimelineEntry, Trigger
from failover.section import Name
from failover.units import Percent, PositiveSeconds, Seconds


class Request(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ImmediateFailoverRequest(Request):
    """Move all traffic off a provider, now. Only `failed_provider` is required.

    `routes` None: every route that uses the provider. `target_provider` None: the chain chooses. `emergency` skips
    approvals and skippable waits, never verification. `verdicts` are handed over by the health check that saw it.
    `uncertified`: it was agreed that targets need no certificate. `is_drill`: the failure is made up, whoever is told is told
    so, and the run belongs to a drill that holds the route's claim. `share_percent` moves only that much of what the
    provider has, which only a drill asks for.
    """

    failed_provider: Name
    target_provider: Name | None = None
    routes: list[Name] | None = Field(default=None, min_length=1)
    reason: str = Field(default="", max_length=1000)
    requested_by: str = Field(default="", max_length=200)
    emergency: bool = False
    dry_run: bool = False
    trigger: Trigger = Trigger.MANUAL
    uncertified: bool = False
    verdicts: list[Verdict] = []
    is_drill: bool = False
    share_percent: Annotated[float, Field(gt=0, le=100)] | None = None

    @model_validator(mode="after")
    def _only_drills_move_a_part(self) -> Self:
        if self.share_percent is not None and not self.is_drill:
            raise ValueError("share_percent is a drill's: a failover moves everything off a provider that has failed")
        return self

    @field_validator("verdicts")
    @classmethod
    def _when_it_was(cls, verdicts: list[Verdict]) -> list[Verdict]:
        for verdict in verdicts:
            if any(at is not None and at.tzinfo is None for at in (verdict.at, verdict.first_bad_at)):
                raise ValueError("a moment has no time zone; write it in UTC, such as 2026-01-31T12:00:00Z")
        return verdicts


class LongRequest(Request):
    """A request of a procedure that may take long. `carried`: what a run leaves to its continuation, given by no other."""

    carried: dict[str, Any] | None = Field(default=None, repr=False)


class RampRequest(LongRequest):
    """What every ramp is told of its route; the defaults come from the configuration.

    `emergency` skips approvals and waits that only settle, never verification. `approvals` replaces the route's own.
    """

    route: Name
    reason: str = Field(default="", max_length=1000)
    requested_by: str = Field(default="", max_length=200)
    approvals: Approvals | None = None
    synthetic_per_sample: int | None = Field(default=None, ge=0, le=20)
    emergency: bool = False
    dry_run: bool = False
    trigger: Trigger = Trigger.MANUAL


class GradualFailoverRequest(RampRequest):
    """Lower a provider's share in phases, or move to a given distribution over a time.

    `throttled_share_percent` takes only that part of the provider's share away. Durations are seconds.
    """

    failed_provider: Name | None = None
    target_distribution: Shares | None = None
    transition_seconds: Seconds | None = None
    phases: list[list[Percent]] | None = Field(default=None, min_length=1)
    settle_seconds: Seconds | None = None
    monitor_seconds: Seconds | None = None
    throttled_share_percent: Percent | None = None
    enforce_gates: bool = True


class CanaryFailoverRequest(RampRequest):
    """Give a provider a little of another's traffic, and more while it does well; roll back where it does not.

    `manual`: hold at `initial_percent`, and wait for orders (`set_percent`, abort) instead of ramping by itself.
    """

    source_provider: Name
    target_provider: Name
    initial_percent: float | None = Field(default=None, gt=0, le=100)
    initial_seconds: Seconds | None = None
    percents: list[Annotated[float, Field(gt=0, le=100)]] | None = None
    step_seconds: Seconds | None = None
    success_threshold_percent: Percent | None = None
    failure_threshold_percent: Percent | None = None
    manual: bool = False
    manual_deadline_seconds: PositiveSeconds | None = None


class FailbackRequest(RampRequest):
    """Return traffic to a provider that was failed over from, once it is proved to be well.

    `auto`: return when it has recovered; otherwise ask first. `undoes_workflow_id`, `undoes_run_id`: the failover that
    this run undoes; None: the last one on record, or else the configured distribution.
    """

    original_provider: Name
    current_provider: Name | None = None
    auto: bool = True
    health_threshold_percent: Percent | None = None
    recovery_seconds: Seconds | None = None
    percents: list[Annotated[float, Field(gt=0, le=100)]] | None = None
    step_seconds: Seconds | None = None
    undoes_workflow_id: str | None = Field(default=None, max_length=200)
    undoes_run_id: str | None = Field(default=None, max_length=64)


class EmergencyRequest(LongRequest):
    """Degraded service while no provider serves; every route unless some are named. It ends by itself."""

    routes: list[Name] | None = Field(default=None, min_length=1)
    mode: Literal["multi-provider-outage"] = "multi-provider-outage"
    reason: str = Field(default="", max_length=1000)
    requested_by: str = Field(default="", max_length=200)
    dry_run: bool = False
    trigger: Trigger = Trigger.MANUAL


class Note(Request):
    """A remark for a run that is already there: who says what."""

    by: str = Field(min_length=1, max_length=200)
    text: str = Field(min_length=1, max_length=1000)


class HealthCheckRequest(Request):
    """Watch every provider (or those named) until the next check is due."""

    providers: list[Name] | None = Field(default=None, min_length=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResult:
    """How a run ended. `routes` holds the first twenty; `evidence` says where the whole record lies, "" when nowhere."""

    outcome: Outcome
    reason: str
    command: str | None
    moments: Moments
    routes: Sequence[RouteShift]
    route_count: int
    evidence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStatus:
    """Answer of the `status` query: where the run is, and what comes next."""

    procedure: str
    phase: str
    provider: str
    outcome: Outcome | None
    reason: str
    routes: Sequence[str]
    moments: Moments
    timeline: Sequence[TimelineEntry]
    details: dict[str, Any]


class ReadinessAuditRequest(Request):
    """Look whether a failover would work now. `prove_context`: send each target a prompt as long as its routes need."""

    requested_by: str = Field(default="", max_length=200)
    prove_context: bool = False
