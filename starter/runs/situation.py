"""The situation of a run: the details of its `status` answer, typed; and what a person can do about it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from pydantic import TypeAdapter

from failover.incident import TimelineEntry
from failover.policy import TrafficPolicy
from failover.requests import RunStatus
from failover.troubles import Need, Waiting


@dataclass(frozen=True, slots=True, kw_only=True)
class Approval:
    """What waits for people's word."""

    step: str
    digest: str
    text: str
    granted: Sequence[str]
    quorum: int
    deadline: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """A gate's last word."""

    name: str
    verdict: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """One sample of the users' side."""

    requests: int
    failed: int
    first_tries: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """What a run tells of itself beside its timeline; what a procedure does not know of has its default."""

    subject: str = ""
    digest: str = ""
    steps: Sequence[str] = ()
    step: int = 0
    distribution: Mapping[str, float] = field(default_factory=dict)
    left_seconds: float = 0
    paused: bool = False
    stage: str = ""
    gates: Sequence[Verdict] = ()
    approval: Approval | None = None
    question: str | None = None
    question_deadline: datetime | None = None
    question_default: str | None = None
    """What the run does by itself where nobody answers until then."""
    waited_seconds: float = 0
    accepted_now: Sequence[str] = ()
    samples: Sequence[Tally] = ()

    @property
    def frozen(self) -> bool:
        """Paused, and could be resumed: a run that puts back what it found no longer can."""
        return self.paused and self.stage != "putting back"


_SITUATION = TypeAdapter(Situation)


def situation(details: Mapping[str, Any]) -> Situation:
    """Read a situation from the details of a status; keys that are not known here are left out."""
    return _SITUATION.validate_python({name: details[name] for name in Situation.__slots__ if name in details})


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """One look at a run. `status` is None while no worker has told any; `policies` are those of its routes, where known."""

    workflow_id: str
    at: datetime
    status: RunStatus | None = None
    timeline: Sequence[TimelineEntry] = ()
    policies: Sequence[TrafficPolicy] = ()

    @property
    def situation(self) -> Situation:
        return situation(self.status.details) if self.status else Situation()

    @property
    def is_over(self) -> bool:
        return self.status is not None and self.status.outcome is not None

    def total(self) -> timedelta:
        """How long it has gone on, or went; zero while nobody tells."""
        if self.status is None:
            return timedelta(0)
        return max(timedelta(0), (self.status.moments.closed or self.at) - self.status.moments.decided)


def until(now: Situation) -> str:
    """How long a person's word is waited for, and what happens then; "" where it is not waited for, or nobody tells."""
    if now.approval is not None:
        return f"until {now.approval.deadline:%H:%M:%S} UTC, then it counts as rejected"
    if now.question is not None and now.question_deadline is not None:
        return f"until {now.question_deadline:%H:%M:%S} UTC, then: {now.question_default}"
    return ""


def waiting(workflow_id: str, now: Situation) -> Waiting | None:
    """The person's word that a run waits for; None if it goes on by itself."""
    if now.approval is not None:
        return _approval(now.approval)
    if now.question is not None:
        return Waiting(
            need=Need.ANSWER,
            what=f"an answer: {now.question}",
            text=now.question,
            deadline=now.question_deadline,
            default=now.question_default or "",
        )
    text = f"{workflow_id}: {now.subject}"
    if now.stage == "waiting for orders":
        return Waiting(need=Need.ORDERS, what="orders: the next percent, or an abort", text=text)
    return Waiting(need=Need.RESUME, what="resume", text=text) if now.frozen else None


def _approval(asked: Approval) -> Waiting:
    of_many = f", {len(asked.granted)} of {asked.quorum} given" if asked.quorum > 1 else ""
    agreed = f" {', '.join(asked.granted)} agreed; {asked.quorum} must." if asked.granted else ""
    return Waiting(
        need=Need.APPROVAL,
        what=f"approval of {asked.step}{of_many}",
        text=f"{asked.text}{agreed}",
        deadline=asked.deadline,
        default="it counts as rejected",
    )


def waits_for(now: Situation) -> str:
    """The same in a few words; "" where it goes on by itself."""
    found = waiting("", now)
    return found.what if found is not None else ""


def commands(workflow_id: str, now: Situation) -> list[str]:
    """What a person types for what the run waits for; a paused run takes none of what moves before it is resumed."""
    resume = [f"failoverctl resume {workflow_id}"] if now.frozen else []
    if now.approval is not None:
        bound = f"{workflow_id} --step {now.approval.step} --digest {now.approval.digest}"
        return [f"failoverctl approve {bound}", f"failoverctl reject {bound}"]
    if now.question is not None:
        verbs = ("abort",) if now.frozen else ("retry", "advance", "abort")
        return [*resume, *(f"failoverctl {verb} {workflow_id}" for verb in verbs)]
    if now.stage == "waiting for orders":
        steer = f"failoverctl canary --update-traffic PERCENT --run {workflow_id}"
        return [*(resume or [steer]), f"failoverctl canary --rollback --run {workflow_id}"]
    return resume
