"""Routes: what each owes its users, and who must agree to a change of it."""

from datetime import timedelta
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import BeforeValidator

from failover.config.automation import Levels, unquoted_off
from failover.config.readiness import RouteReadiness
from failover.distribution import Shares
from failover.section import Count, Name, Section, Text
from failover.units import Percent, PositiveDuration


class Targets(Section):
    """What a route owes its users."""

    response_time: PositiveDuration = timedelta(milliseconds=1500)
    """P95 of answers."""
    success_percent: Percent = 98
    availability_percent: Percent = 99.9


class ApprovalPoint(StrEnum):
    """Where a ramp waits for a person's word."""

    FIRST_SHIFT = "first_shift"
    EACH_STEP = "each_step"
    FULL = "full"
    """Before the last step, which moves all that is to be moved."""
    DOUBTFUL_ROLLBACK = "doubtful_rollback"
    """Before traffic goes back to a provider whose health is in doubt."""


class Approvals(Section):
    """Who must agree to a ramp, and when; without points nobody is asked."""

    points: list[ApprovalPoint] = []
    quorum: Count = 1
    """How many different people must agree."""
    approver_is_not_requester: bool = False
    deadline: PositiveDuration = timedelta(minutes=30)
    """After it the request counts as rejected: nothing is ever approved by silence."""
    remind_after: list[PositiveDuration] = [timedelta(minutes=1), timedelta(minutes=5)]
    """When an unanswered request is told again, urgently."""


class Route(Section):
    distribution: Shares
    targets: Targets = Targets()
    chains: dict[Name, list[Name]] = {}
    """Overrides of the top-level chains for this route."""
    failback: Annotated[Literal["auto", "propose", "off"], BeforeValidator(unquoted_off)] = "propose"
    """What follows an automatic failover: a watch that returns by itself, one that asks first, or none."""
    automation: Levels = Levels()
    """What may be started for this route without a person, where it differs from `detection.automation`."""
    approvals: Approvals = Approvals()
    readiness: RouteReadiness = RouteReadiness()
    template: Text | None = None
    """What its users are answered when nothing better is left; None: the emergency section's."""
