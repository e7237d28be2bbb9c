"""Driving a run: what people may order, when, and what they are answered. Pure: who calls says what time it is.

Orders are taken in at any moment, checked here, and acted on by the run's own loop. An id makes an order idempotent.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Literal

from pydantic import Field

from failover.config.routes import ApprovalPoint, Approvals
from failover.gates import Action, Decision
from failover.requests import Request

KEPT_ANSWERS = 200
"""How many orders' ids are remembered."""


class Order(Request):
    """What every order carries. `actor` is who gives it; `id`, where given, makes a repetition harmless."""

    actor: str = Field(min_length=1, max_length=200)
    comment: str = Field(default="", max_length=1000)
    id: str = Field(default="", max_length=200)


class Decide(Order):
    """A word on an approval that is asked for: it names the step and the plan's digest, so that it can mean no other."""

    step: str = Field(min_length=1, max_length=100)
    digest: str = Field(min_length=1, max_length=64)


class Abort(Order):
    """End the run: put back what was found, or hold what is in force."""

    mode: Literal["restore", "hold"] = "restore"


class SetPercent(Order):
    """Where a canary goes next, in percent of what the source held."""

    percent: float = Field(gt=0, le=100)


class Verb(StrEnum):
    APPROVE = "approve"
    REJECT = "reject"
    ABORT = "abort"
    PAUSE = "pause"
    RESUME = "resume"
    ADVANCE = "advance"
    ESCALATE = "escalate"
    RETRY = "retry"
    SET_PERCENT = "set_percent"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What became of an order. A refused one says why; `accepted_now` is what would be accepted at this moment."""

    accepted: bool
    said: str
    accepted_now: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalRequest:
    """What people are asked to agree to. `granted`: who has, by name, with the comment."""

    point: ApprovalPoint
    step: str
    digest: str
    text: str
    quorum: int
    requester: str
    barred: bool
    asked_at: datetime
    deadline: datetime
    granted: dict[str, str] = field(default_factory=dict)
    rejected_by: str = ""
    reminders: int = 0

    @property
    def agreed(self) -> bool:
        return len(self.granted) >= self.quorum and not self.rejected_by


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A run in doubt: what it asks, until when, and what it does by itself after that. `text` is why, as of now.

    `failed`: what is asked about has failed, and only a person lets the run go on; else good news is an answer too.
    """

    step: str
    text: str
    asked_at: datetime
    deadline: datetime
    default: str
    failed: bool = False
    reminders: int = 0


class Stage(StrEnum):
    """The stage of a run, as far as orders are concerned."""

    STARTING = "starting"
    WRITING = "writing"
    HOLDING = "holding"
    ORDERS = "waiting for orders"
    WATCHING = "watching"
    PUTTING_BACK = "putting back"
    CLOSED = "closed"


_WAITING = (Stage.HOLDING, Stage.ORDERS, Stage.WATCHING)

_MOVING = (Verb.ADVANCE, Verb.RETRY, Verb.SET_PERCENT)
"""Orders that let the run move at once, and stand for nobody's approval."""


@dataclass(slots=True, kw_only=True)
class Driving:
    """What was ordered and not acted on yet. The loop reads and clears; `take` is the only door in."""

    verbs: Sequence[Verb] = tuple(Verb)
    stage: Stage = Stage.STARTING
    paused: bool = False
    advance: bool = False
    retry: bool = False
    escalated: bool = False
    percent: float | None = None
    abort: Abort | None = None
    approval: ApprovalRequest | None = None
    question: Question | None = None
    answers: dict[str, Answer] = field(default_factory=dict)
    orders: int = 0

    def take(self, verb: Verb, order: Order, now: datetime) -> Answer:
        """Accept or refuse one order; a repeated id gets the first answer again."""
        before = self.answered(verb, order)
        if before is not None:
            return before
        why = self._why_not(verb, order, now)
        if why is None:
            said = self._obey(verb, order)
            self.orders += 1
            answer = Answer(accepted=True, said=said, accepted_now=self.accepted_now())
        else:
            answer = Answer(accepted=False, said=f"Refused: {why}", accepted_now=self.accepted_now())
        if order.id:
            self.answers = dict([*self.answers.items(), (_key(verb, order), answer)][-KEPT_ANSWERS:])
        return answer

    def answered(self, verb: Verb, order: Order) -> Answer | None:
        """What an order of this id was answered before; None where there was none."""
        return self.answers.get(_key(verb, order)) if order.id else None

    def accepted_now(self) -> list[str]:
        """The verbs that would be accepted at this moment."""
        return [verb.value for verb in self.verbs if self._why_not_now(verb) is None]

    def _why_not(self, verb: Verb, order: Order, now: datetime) -> str | None:
        why = self._why_not_now(verb)
        if why is None and isinstance(order, Decide):
            return self._why_not_decide(verb, order, now)
        return why

    def _why_not_now(self, verb: Verb) -> str | None:
        if verb not in self.verbs:
            return f"this procedure knows no {verb.value}"
        if self.stage is Stage.CLOSED:
            return "the run is over"
        if self.abort is not None:
            return f"the run is being aborted, as {self.abort.actor} ordered"
        if self.stage is Stage.PUTTING_BACK and verb is not Verb.ABORT:
            return "the run is putting back what it found"
        return self._why_not_in_stage(verb)

    def _why_not_in_stage(self, verb: Verb) -> str | None:
        if verb in _MOVING and self.paused:
            return "the run is paused, and nothing moves; resume it first"
        if verb in _MOVING and self.approval is not None:
            return f"{self.approval.step} waits for an approval, and no other order replaces that"
        waiting = self.stage in _WAITING or self.question is not None
        refusals: dict[Verb, tuple[bool, str]] = {
            Verb.APPROVE: _why_undecidable(self.approval),
            Verb.REJECT: _why_undecidable(self.approval),
            Verb.PAUSE: (self.paused, "the run is paused already"),
            Verb.RESUME: (not self.paused, "the run is not paused"),
            Verb.ADVANCE: (not waiting, "there is no wait that could be ended"),
            Verb.RETRY: (self.question is None, "no step has failed or is in doubt"),
            Verb.ESCALATE: self._why_not_escalate(),
            Verb.SET_PERCENT: (
                self.stage not in (Stage.HOLDING, Stage.ORDERS) and self.question is None,
                "a percent can be set once the canary holds",
            ),
        }
        refused, why = refusals.get(verb, (False, ""))
        return why if refused else None

    def _why_not_escalate(self) -> tuple[bool, str]:
        if self.approval is not None and self.approval.point is ApprovalPoint.DOUBTFUL_ROLLBACK:
            return (
                True,
                "the run goes no further, and waits for an approval to go back; approve it, reject it, or abort",
            )
        return self.escalated, "the run goes straight to its last step already"

    def _why_not_decide(self, verb: Verb, order: Decide, now: datetime) -> str | None:
        asked = self.approval
        assert asked is not None
        if order.step != asked.step:
            return f"the approval that waits is for {asked.step}, not {order.step}"
        if order.digest != asked.digest:
            return (
                f"the plan has the digest {asked.digest}, not {order.digest}: it is another plan than the one approved"
            )
        if now >= asked.deadline:
            return f"the deadline was {asked.deadline:%H:%M:%S} UTC"
        if verb is Verb.APPROVE and asked.barred and _same_person(order.actor, asked.requester):
            return f"{order.actor} asked for this run, and this route wants somebody else's approval"
        if verb is Verb.APPROVE and any(_same_person(order.actor, name) for name in asked.granted):
            return f"{order.actor} has approved it already; {asked.quorum} different people are needed"
        return None

    def _obey(self, verb: Verb, order: Order) -> str:
        match verb:
            case Verb.APPROVE | Verb.REJECT:
                return self._decide(verb, order)
            case Verb.ABORT:
                assert isinstance(order, Abort)
                self.abort = order
                return "Aborting: " + ("what was found is put back" if order.mode == "restore" else "held as it stands")
            case Verb.PAUSE:
                self.paused = True
                return "Paused: nothing moves, the gates are still watched."
            case Verb.RESUME:
                self.paused = False
                return "Resumed."
            case Verb.ADVANCE:
                self.advance = True
                return "The present wait ends now."
            case Verb.ESCALATE:
                self.escalated, self.paused = True, False
                return "Going straight to the last step, without further waits or approvals."
            case Verb.RETRY:
                self.retry = True
                return "The step is tried again."
            case Verb.SET_PERCENT:
                assert isinstance(order, SetPercent)
                self.percent = order.percent
                return f"Going to {order.percent:g} %."

    def _decide(self, verb: Verb, order: Order) -> str:
        asked = self.approval
        assert asked is not None
        if verb is Verb.REJECT:
            self.approval = replace(asked, rejected_by=order.actor)
            return f"Rejected {asked.step}."
        self.approval = replace(asked, granted={**asked.granted, order.actor: order.comment})
        missing = self.approval.quorum - len(self.approval.granted)
        return f"Approved {asked.step}." if missing <= 0 else f"Approved {asked.step}; {missing} more must agree."


def _why_undecidable(asked: ApprovalRequest | None) -> tuple[bool, str]:
    if asked is None:
        return True, "nothing waits for an approval"
    if asked.rejected_by:
        return True, f"{asked.rejected_by} has rejected it already"
    return asked.agreed, "it is approved already"


def ask_approval(
    point: ApprovalPoint, step: str, digest: str, text: str, requester: str, settings: Approvals, now: datetime
) -> ApprovalRequest:
    """The request for one approval point."""
    return ApprovalRequest(
        point=point,
        step=step,
        digest=digest,
        text=text,
        quorum=settings.quorum,
        requester=requester,
        barred=settings.approver_is_not_requester,
        asked_at=now,
        deadline=now + settings.deadline,
    )


def next_reminder(asked: ApprovalRequest | Question, settings: Approvals) -> datetime | None:
    """The moment at which an unanswered request is told again; None if it was told often enough."""
    due = sorted(settings.remind_after)[asked.reminders :]
    return asked.asked_at + due[0] if due else None


def wants(settings: Approvals, *, first: bool, last: bool, emergency: bool) -> ApprovalPoint | None:
    """The approval point that stands before a step; None if nobody is asked."""
    if emergency:
        return None
    for point, applies in (
        (ApprovalPoint.EACH_STEP, True),
        (ApprovalPoint.FIRST_SHIFT, first),
        (ApprovalPoint.FULL, last),
    ):
        if applies and point in settings.points:
            return point
    return None


def wants_before_return(settings: Approvals, *, emergency: bool) -> bool:
    """Whether people are asked before traffic goes back by itself to a provider whose health is in doubt."""
    return ApprovalPoint.DOUBTFUL_ROLLBACK in settings.points and not emergency


def as_of_now(question: Question, decision: Decision) -> Question:
    """The question with what its gates say now; once one has failed, it has failed until a person says otherwise."""
    failed = question.failed or decision.action is Action.FAIL
    if decision.action in (Action.FAIL, Action.ASK):
        return replace(question, text=decision.reason, failed=failed)
    good = decision.action is Action.PROCEED and question.failed
    return replace(question, text=f"It failed, and does well now: {decision.reason}") if good else question


def _key(verb: Verb, order: Order) -> str:
    return f"{verb.value}/{order.id}"


def _same_person(left: str, right: str) -> bool:
    return left.strip().casefold() == right.strip().casefold()
