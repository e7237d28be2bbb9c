"""The runbook's after-care of one incident: what is to be done, by whom, until when, and what became of it.

Pure: who calls says what time it is.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum

from pydantic import AwareDatetime, Field

from failover import kinds
from failover.communications import CommunicationsState, Stage
from failover.config.communications import ChannelName
from failover.config.drills import Drills
from failover.config.follow_up import FollowUp
from failover.driving import Answer, Order
from failover.incident import Outcome, RunRecord, Sample
from failover.requests import Request
from failover.section import Name
from failover.told import channel_line

NAME = kinds.FOLLOW_UP

FOLLOWED = (*kinds.FAILOVERS, kinds.EMERGENCY)
"""Procedures that can be incidents."""


class FollowUpRequest(Request):
    """The run to follow up. `routes` are the first twenty that it changed; `decided` and `closed` are its own moments.

    `settings` are those of the moment at which it begins: dates that people were told do not move.
    """

    workflow_id: str = Field(min_length=1, max_length=1000)
    run_id: str = Field(min_length=1, max_length=64)
    procedure: str
    provider: str = ""
    subject: str = Field(default="", max_length=500)
    outcome: Outcome
    requested_by: str = ""
    routes: list[Name] = Field(default_factory=list)
    decided: AwareDatetime
    closed: AwareDatetime
    settings: FollowUp = FollowUp()


FOLLOWED_ROUTES = 20


def request_about(record: RunRecord) -> FollowUpRequest:
    """The follow-up of a run that is over."""
    moments = record.moments
    return FollowUpRequest(
        workflow_id=record.workflow_id,
        run_id=record.run_id,
        procedure=record.procedure,
        provider=record.provider,
        subject=(record.subject or record.provider)[:500],
        outcome=record.outcome,
        requested_by=record.requested_by,
        routes=[shift.route for shift in record.routes[:FOLLOWED_ROUTES]],
        decided=moments.decided,
        closed=moments.closed or (record.timeline[-1].at if record.timeline else moments.decided),
    )


def follow_up_id(workflow_id: str, run_id: str) -> str:
    """The workflow id of the one follow-up of a run."""
    return f"follow-up/{workflow_id[:900]}/{run_id[-8:]}"


def why_none(request: FollowUpRequest) -> str | None:
    """Why a run needs no after-care; None where it does."""
    settings = request.settings
    if not settings.enabled:
        return "follow_up.enabled is false"
    if kinds.WORDS.get(request.procedure) not in settings.procedures:
        return f"follow_up.procedures does not name {request.procedure}"
    if request.outcome is Outcome.SUPERSEDED:
        return "another run took it over, and has a follow-up of its own"
    if not request.routes and request.outcome is not Outcome.NEEDS_HUMAN:
        return "no traffic was moved"
    return None


class Phase(StrEnum):
    """The phases after an incident."""

    IMMEDIATE = "immediate"
    SHORT_TERM = "short term"
    LONG_TERM = "long term"


class State(StrEnum):
    OPEN = "open"
    DONE = "done"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True, kw_only=True)
class CareItem:
    """One thing to be done. `begins`: when the product tries it by itself; None: it is people's, or was tried.

    `command` does it by hand. `by` and `at`: who settled it, and when; `note`: what was found, or why not.
    """

    key: str
    phase: Phase
    title: str
    due: datetime
    begins: datetime | None = None
    command: str = ""
    owner: str = ""
    state: State = State.OPEN
    by: str = ""
    at: datetime | None = None
    note: str = ""
    file: str = ""

    @property
    def settled(self) -> bool:
        return self.state is not State.OPEN


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemResult:
    """What the product's own work on an item came to. Not `done`: it is left to people, with what was found."""

    done: bool
    said: str
    file: str = ""


VALIDATION = "validation"
INCIDENT_REPORT = "incident-report"
STATUS_PAGE = "status-page"
PERFORMANCE = "performance-analysis"
ROOT_CAUSE = "root-cause"
EFFECTIVENESS = "effectiveness"
THRESHOLDS = "monitoring-thresholds"
NEXT_DRILL = "next-drill"

_IMMEDIATE = {
    VALIDATION: ("Verify service restoration", "failoverctl validate --post-failover --comprehensive"),
    INCIDENT_REPORT: ("Document the incident", "failoverctl report --type incident --event failover"),
    STATUS_PAGE: ("Tell stakeholders: update the status page", ""),
}
_SHORT_TERM = {
    PERFORMANCE: (
        "Performance analysis",
        "failoverctl report --type performance-impact --period failover-window --compare baseline",
    ),
    ROOT_CAUSE: (
        "Root cause investigation",
        "failoverctl analyze --event failover --root-cause-analysis --include-logs",
    ),
    EFFECTIVENESS: ("Failover effectiveness review", "failoverctl report --type failover-effectiveness"),
}
_LONG_TERM = {
    "failover-procedures": ("Review failover procedures", ""),
    "automation-scripts": ("Update automation", ""),
    THRESHOLDS: ("Enhance monitoring thresholds", "failoverctl replay --policy new.yaml"),
    "runbook-update": ("Update runbooks based on learnings", ""),
    "failover-automation": ("Improve failover automation", ""),
    "monitoring-coverage": ("Enhance monitoring coverage", ""),
    "drill-review": ("Conduct failover drill review", ""),
    "training-materials": ("Update team training materials", ""),
    NEXT_DRILL: ("Schedule the next failover drill", "failoverctl drill schedule"),
}

BY_ITSELF = (*_IMMEDIATE, *_SHORT_TERM, THRESHOLDS, NEXT_DRILL)
"""What the product tries before people are asked."""

PRODUCT = "failover"
"""The name under which the product itself settles items."""


def items(request: FollowUpRequest) -> list[CareItem]:
    """Everything that the runbook wants done after this incident."""
    settings = request.settings
    owner = settings.owner or request.requested_by or "on-call"
    phases = (
        (Phase.IMMEDIATE, _IMMEDIATE, timedelta(0), settings.immediate_within),
        (Phase.SHORT_TERM, _SHORT_TERM, settings.short_term_after, settings.short_term_within),
        (Phase.LONG_TERM, _LONG_TERM, settings.short_term_after, settings.long_term_within),
    )
    return [
        CareItem(
            key=key,
            phase=phase,
            title=title,
            due=request.closed + within,
            begins=request.closed + (settings.immediate_within / 2 if key == STATUS_PAGE else after)
            if key in BY_ITSELF
            else None,
            command=command,
            owner=owner,
        )
        for phase, entries, after, within in phases
        for key, (title, command) in entries.items()
    ]


class ItemVerb(StrEnum):
    DONE = "done"
    SKIP = "skip"
    ASSIGN = "assign"
    REOPEN = "reopen"


class ItemOrder(Order):
    """A person's word on one item; the comment stands beside it."""

    item: str = Field(min_length=1, max_length=100)


class Assign(ItemOrder):
    """Give an item another owner, another date, or both."""

    owner: str | None = Field(default=None, min_length=1, max_length=200)
    due: AwareDatetime | None = None


@dataclass(slots=True, kw_only=True)
class Care:
    """The after-care of one incident, while it lasts."""

    items: list[CareItem] = field(default_factory=list)
    settings: FollowUp = field(default_factory=FollowUp)
    reminded_at: datetime | None = None
    answers: dict[str, Answer] = field(default_factory=dict)

    @property
    def open(self) -> list[CareItem]:
        return [item for item in self.items if not item.settled]

    def next_work(self, now: datetime) -> CareItem | None:
        """What the product is to try now."""
        return next((item for item in self.open if item.begins is not None and item.begins <= now), None)

    def overdue(self, now: datetime) -> list[CareItem]:
        return [item for item in self.open if item.due <= now]

    def reminder_at(self) -> datetime | None:
        """The moment at which people are next reminded of what is overdue; None if no item is open."""
        first = min((item.due for item in self.open), default=None)
        if first is None or self.reminded_at is None:
            return first
        return max(first, self.reminded_at + self.settings.remind_every)

    def next_moment(self, now: datetime) -> datetime:
        """The next moment with something to do, unless somebody gives an order before; `now` if nothing is open."""
        begins = [item.begins for item in self.open if item.begins is not None]
        reminder = self.reminder_at()
        return min([*begins, *([reminder] if reminder else [])], default=now)

    def found(self, key: str, result: ItemResult, now: datetime) -> None:
        """What the product's own work came to. What a person settled meanwhile stays as it is."""
        item = self._item(key)
        if item is None or item.settled:
            return
        tried = replace(item, begins=None, note=result.said[:2000], file=result.file)
        self._put(replace(tried, state=State.DONE, by=PRODUCT, at=now) if result.done else tried)

    def take(self, verb: ItemVerb, order: ItemOrder, now: datetime) -> Answer:
        """Take one order; the same id again gets the same answer and changes nothing."""
        if order.id and order.id in self.answers:
            return self.answers[order.id]
        item = self._item(order.item)
        why = _unknown(order.item, self.items) if item is None else why_not(verb, order, item)
        if why is not None or item is None:
            now_possible = [] if item is None else ["reopen"] if item.settled else ["done", "skip", "assign"]
            answer = Answer(accepted=False, said=f"Refused: {why}.", accepted_now=now_possible)
        else:
            self._put(changed(verb, order, item, now))
            answer = Answer(accepted=True, said=_told(verb, order, item))
        if order.id:
            self.answers[order.id] = answer
        return answer

    def _item(self, key: str) -> CareItem | None:
        return next((item for item in self.items if item.key == key), None)

    def _put(self, changed: CareItem) -> None:
        self.items = [changed if item.key == changed.key else item for item in self.items]


def why_not(verb: ItemVerb, order: ItemOrder, item: CareItem) -> str | None:
    """Why an order about an item is refused; None where it is obeyed."""
    if verb is ItemVerb.REOPEN:
        return None if item.settled else f"{item.key} is open"
    if item.settled:
        return f"{item.key} is {item.state.value} already, by {item.by}; reopen it first"
    if verb is ItemVerb.SKIP and not order.comment:
        return "whoever skips an item says why (comment)"
    if isinstance(order, Assign) and order.owner is None and order.due is None:
        return "say to whom (owner) or until when (due)"
    return None


def changed(verb: ItemVerb, order: ItemOrder, item: CareItem, now: datetime) -> CareItem:
    """The item after an order that is obeyed."""
    if isinstance(order, Assign):
        return replace(item, owner=order.owner or item.owner, due=order.due or item.due)
    if verb is ItemVerb.REOPEN:
        begins = now if item.key in BY_ITSELF else None
        return replace(item, state=State.OPEN, by="", at=None, begins=begins)
    state = State.DONE if verb is ItemVerb.DONE else State.SKIPPED
    return replace(item, state=state, by=order.actor, at=now, begins=None, note=order.comment or item.note)


def _unknown(key: str, known: Sequence[CareItem]) -> str:
    return f"there is no item {key!r}; the items are {', '.join(item.key for item in known)}"


def _told(verb: ItemVerb, order: ItemOrder, item: CareItem) -> str:
    if isinstance(order, Assign):
        to = f" to {order.owner}" if order.owner else ""
        until = f" until {order.due:%Y-%m-%d %H:%M} UTC" if order.due else ""
        return f"{item.key} is assigned{to}{until}."
    return f"{item.key} is {'open again' if verb is ItemVerb.REOPEN else _word(verb)}."


def _word(verb: ItemVerb) -> str:
    return "done" if verb is ItemVerb.DONE else "skipped"


def line(item: CareItem) -> str:
    """An item as one line of a checklist, in Markdown."""
    box = {State.OPEN: " ", State.DONE: "x", State.SKIPPED: "-"}[item.state]
    who = f"{item.by}, {item.at:%m-%d %H:%M}" if item.at else f"{item.owner}, until {item.due:%m-%d %H:%M}"
    note = f": {' '.join(item.note.split())}" if item.note else ""
    return f"- [{box}] {item.title} ({who}){note[:200]}"


def sentence(item: CareItem) -> str:
    """An item as the report tells it."""
    if item.at is None:
        return f"open: {item.title}; {item.owner}, until {item.due:%Y-%m-%d %H:%M} UTC"
    note = f". {' '.join(item.note.split())}" if item.note else ""
    return f"{item.state.value}: {item.title}, by {item.by}, {item.at:%Y-%m-%d %H:%M} UTC{note}"


def users_side(sample: Sample) -> str:
    """What a validation saw; without users, our own questions through the routes are all there is to go by."""
    if sample.requests:
        return f"{sample.requests} requests in a minute: {sample.reason}"
    questions = "questions through the routes were answered well" if sample.good else sample.reason
    return f"nobody asked in the last minute; {questions}"


def status_page(told: CommunicationsState | None) -> ItemResult:
    """Whether the public knows that it is over."""
    page = next((one for one in told.channels if one.name is ChannelName.STATUS_PAGE), None) if told else None
    if page is None or page.left_out:
        return ItemResult(
            done=False,
            said="No status page is told by itself (communications.status_page): tell your users that it is over.",
        )
    closed = any(one.stage is Stage.CLOSED for one in page.said) and not page.leaves_open
    return ItemResult(done=closed, said=f"Status page: {channel_line(page)}")


def next_drill(provider: str, drills: Drills) -> ItemResult:
    """Whether the calendar has a drill of the provider, or of anybody where no provider failed."""
    named = [name for name, one in sorted(drills.schedules.items()) if provider in ("", one.provider)]
    if not named:
        about = f" of {provider}" if provider else ""
        return ItemResult(done=False, said=f"No drill{about} is on the calendar: add one to drills.schedules.")
    return ItemResult(done=True, said=f"On the calendar: {', '.join(named)}; `failoverctl drill schedule` tells when.")


def summary(items: Sequence[CareItem]) -> str:
    """How far it is, in one sentence."""
    counts = {state: sum(item.state is state for item in items) for state in State}
    return (
        f"{counts[State.DONE]} of {len(items)} items done, {counts[State.SKIPPED]} skipped, {counts[State.OPEN]} open"
    )
