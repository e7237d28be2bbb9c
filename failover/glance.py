"""The first thing that the on-call reads: is it handled, and what do I need to do? Pure: from what was seen."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from failover.incident import Outcome, RunRecord
from failover.policy import TrafficPolicy

REMEMBERED = timedelta(hours=24)
"""For how long a run that ended in a person's hands is held up, where nobody changed its routes since."""


class Need(StrEnum):
    """What a run wants of a person."""

    APPROVAL = "approval"
    ANSWER = "answer"
    ORDERS = "orders"
    RESUME = "resume"


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """A run that waits for a person's word. `default`: what happens by itself at the deadline."""

    run: str
    need: Need
    text: str
    deadline: datetime | None = None
    default: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """Everything that the answer is made from. `troubles`: why users are in trouble, in sentences; `unknown`: what could
    not be asked, in sentences; `spared`: providers that are down and hurt nobody, in sentences; `runs_known`: whether
    `open_runs` is all of them; `unattended`: the troubles that none of them is at."""

    open_runs: Sequence[str] = ()
    runs_known: bool = True
    waiting: Sequence[Waiting] = ()
    left_to_people: Sequence[RunRecord] = ()
    troubles: Sequence[str] = ()
    unattended: Sequence[str] = ()
    unknown: Sequence[str] = ()
    spared: Sequence[str] = ()
    notes: Sequence[str] = ()


class Level(StrEnum):
    ACT = "act"
    UNKNOWN = "unknown"
    AFFECTED = "affected"
    HANDLED = "handled"
    WELL = "well"


@dataclass(frozen=True, slots=True, kw_only=True)
class Glance:
    """The answer: the headline, what is to be done, and why. `waiting` is the run that the one needed action is about;
    `command` is what a person must type where no button helps; `start`: a procedure should be started."""

    level: Level
    headline: str
    todo: str
    why: Sequence[str] = ()
    waiting: Waiting | None = None
    command: str = ""
    start: bool = False


_TODO: Mapping[Need, tuple[str, str]] = {
    Need.APPROVAL: ("A decision is needed.", "Approve or reject this:"),
    Need.ANSWER: ("A run is in doubt.", "Say how it goes on:"),
    Need.ORDERS: ("A canary waits for orders.", "Give it its next percent, or roll it back:"),
    Need.RESUME: ("A run is paused.", "Resume it, or abort it:"),
}


def glance(scene: Scene) -> Glance:
    """What needs a person comes first, then what nobody can tell, then what is being handled."""
    why = [*scene.troubles, *scene.unknown, *scene.spared, *scene.notes]
    if scene.waiting:
        first = min(scene.waiting, key=lambda one: (one.need is Need.RESUME, one.deadline is None, one.deadline))
        headline, todo = _TODO[first.need]
        others = len(scene.waiting) - 1
        more = [f"{others} more {'run waits' if others == 1 else 'runs wait'} for a person."] if others else []
        return Glance(level=Level.ACT, headline=headline, todo=todo, why=[*more, *why], waiting=first)
    if scene.left_to_people:
        return _left_to_people(scene.left_to_people[0], why)
    if scene.unattended:
        idle = "no run is at it" if scene.open_runs else "nothing is under way"
        nothing = idle if scene.runs_known else "it cannot be told whether anything is under way"
        todo = "Start a failover, or an emergency where no provider is left."
        return Glance(level=Level.ACT, headline=f"Users are in trouble, and {nothing}.", todo=todo, why=why, start=True)
    if scene.unknown:
        return Glance(
            level=Level.UNKNOWN,
            headline="Nobody can tell whether all is well.",
            todo="Look at what does not answer. Traffic keeps its last shares meanwhile.",
            why=why,
        )
    if scene.troubles:
        return Glance(
            level=Level.AFFECTED,
            headline="It is being handled. Users are affected.",
            todo="You need to do nothing now.",
            why=why,
        )
    if scene.open_runs:
        return Glance(level=Level.HANDLED, headline="It is being handled.", todo="You need to do nothing now.", why=why)
    if scene.spared:
        return Glance(
            level=Level.HANDLED,
            headline="It is handled: users are served.",
            todo="You need to do nothing now.",
            why=why,
        )
    return Glance(level=Level.WELL, headline="All is well.", todo="You need to do nothing.", why=why)


def _left_to_people(record: RunRecord, why: Sequence[str]) -> Glance:
    return Glance(
        level=Level.ACT,
        headline=f"{record.workflow_id} could not finish: a person is needed.",
        todo="Run this command:" if record.command else "Put the traffic right by hand.",
        why=[record.reason, *why],
        command=record.command or "",
    )


def left_to_people(records: Sequence[RunRecord], policies: Sequence[TrafficPolicy], now: datetime) -> list[RunRecord]:
    """Runs that ended in NEEDS_HUMAN, lately, and of whose routes one still stands as the run left it."""
    changed = {policy.route: policy.changed_at for policy in policies}
    return [
        record
        for record in records
        if record.outcome is Outcome.NEEDS_HUMAN
        and record.moments.closed is not None
        and now - record.moments.closed < REMEMBERED
        and _stands(record, changed, record.moments.closed)
    ]


def _stands(record: RunRecord, changed: Mapping[str, datetime], closed: datetime) -> bool:
    known = [changed[shift.route] for shift in record.routes if shift.route in changed]
    return not known or any(at <= closed for at in known)
