"""What each workflow is asked, and what it answers: the shapes that cross the Temporal boundary.

Unknown keys, missing fields and wrong types are refused with the field's name; nobody's values are repeated.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from failover.config import Name
from failover.health import Verdict
from failover.incident import Moments, Outcome, RouteShift, TimelineEntry, Trigger


class Request(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ImmediateFailoverRequest(Request):
    """Move all traffic off a provider, now. Only `failed_provider` is required.

    `routes` None: every route that uses the provider. `target_provider` None: the chain chooses. `emergency` skips
    approvals and skippable waits, never verification. `verdicts` are handed over by the health check that saw it.
    """

    failed_provider: Name
    target_provider: Name | None = None
    routes: list[Name] | None = Field(default=None, min_length=1)
    reason: str = Field(default="", max_length=1000)
    requested_by: str = Field(default="", max_length=200)
    emergency: bool = False
    dry_run: bool = False
    trigger: Trigger = Trigger.MANUAL
    verdicts: list[Verdict] = []


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
