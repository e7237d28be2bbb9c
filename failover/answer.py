"""Is it handled, and what do I need to do? One answer for every door, from everything that is known now.

The worst that is true is the answer, whatever else is well, and what cannot be asked never makes anything better. In this
order, for somebody who was woken:

1. Users are in trouble, and no run is at it. Nothing else costs users anything, so a canary that waits for orders all day does
   not stand before it. Where a run tried and left a command, it is that command: to start the same once more fails once more.
   Nor is a run at it of which nobody has heard for a while, or of which nobody can know since Temporal does not answer: what
   helps then is the command that needs neither.
2. A run waits for a person: it has a deadline, and users are no worse off meanwhile.
3. A run ended and left things to people (`Left`).
4. No health check completes: what is shown as well may be hours old, and the next outage would move nothing. That is not
   doubt about one part, it is a watch that has stopped, and there is something to do about it.
5. Something that matters cannot be told: a part does not answer, a provider that has traffic, a run.
6. All the rest goes by itself. That automation is held is said with it, and changes nothing: somebody wanted it so.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TypeVar

from failover.automation import Hold
from failover.errors import FailoverError
from failover.health import Condition, Health, Verdict
from failover.policy import TrafficPolicy, is_drill
from failover.troubles import Need, RunNow, Trouble, Waiting, troubles

T = TypeVar("T")

REMEMBERED = timedelta(hours=24)
"""How long a run that ended in a person's hands is held up, if nobody changed its routes since: longer than one
shift, and not for ever, since a route may be right as it stands."""

SETTLING = timedelta(seconds=15)
"""A run that has just begun, or whose worker has just died, is given this long to tell where it stands."""

NEEDS_HUMAN = "NEEDS_HUMAN"
"""How a run ends that can do no more, and says what a person can."""

BROKEN_OFF = frozenset({"FAILED", "TIMED_OUT", "TERMINATED"})
"""Ends at which a run could neither finish nor leave a word."""

DOCTOR = "failoverctl doctor"


class Word(StrEnum):
    """The answer in a word, worst first."""

    ACT = "ACT NOW"
    UNKNOWN = "NOT KNOWN"
    WORKING = "WORKING"
    HANDLED = "HANDLED"
    WELL = "ALL WELL"


class Case(StrEnum):
    """What the answer is about."""

    TROUBLE = "trouble"
    UNSEEN = "unseen"
    """Trouble, and nobody can tell whether a run is at it."""
    WAITING = "waiting"
    LEFT = "left"
    UNWATCHED = "unwatched"
    UNKNOWN = "unknown"
    AFFECTED = "affected"
    """Trouble, and a run is at it."""
    UNDER_WAY = "under way"
    SPARED = "spared"
    """The providers that are down have no traffic."""
    WELL = "well"


_WORDS: Mapping[Case, Word] = {
    Case.TROUBLE: Word.ACT,
    Case.UNSEEN: Word.ACT,
    Case.WAITING: Word.ACT,
    Case.LEFT: Word.ACT,
    Case.UNWATCHED: Word.ACT,
    Case.UNKNOWN: Word.UNKNOWN,
    Case.AFFECTED: Word.WORKING,
    Case.UNDER_WAY: Word.WORKING,
    Case.SPARED: Word.HANDLED,
    Case.WELL: Word.WELL,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """`why` in a sentence or two; `do`: what to type, "" where that is nothing. `run`: the workflow id that it is about, ""
    where that is none; `waits`: what that run waits for. `sentences`: everything that is not as it should be, worst first."""

    case: Case
    why: str
    do: str = ""
    run: str = ""
    waits: Waiting | None = None
    sentences: Sequence[str] = ()

    @property
    def word(self) -> Word:
        return _WORDS[self.case]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunEnded:
    """A run that ended. `routes` are those that it was about, none where that is not told; `said` and `command`: what a run
    that needs a person left, where it is known."""

    workflow_id: str
    run_id: str
    outcome: str
    closed_at: datetime
    routes: Sequence[str] = ()
    said: str = ""
    command: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What was asked; a FailoverError where it could not be, and says why.

    `ended`: runs that ended lately, dry ones left out. `unwatched`: why nobody watches the providers, None where checks
    complete. `notes`: what else should be known, and changes nothing.
    """

    verdicts: Sequence[Verdict] | FailoverError
    policies: Sequence[TrafficPolicy] | FailoverError
    runs: Sequence[RunNow] | FailoverError
    ended: Sequence[RunEnded] | FailoverError
    unwatched: str | FailoverError | None
    hold: Hold | FailoverError | None
    notes: Sequence[str] = ()


def answer(known: Known, now: datetime) -> Answer:
    """The worst that is true."""
    told = _Told.of(known, now)
    looks = (_tried, _unattended, _waiting, _left, _unwatched, _unknown, _attended, _under_way)
    found = next((one for look in looks if (one := look(told)) is not None), None) or _quiet(told)
    return replace(found, sentences=list(dict.fromkeys(_sentences(told, found))))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Told:
    """What is known, with nothing in place of what could not be asked; `silent` says what that is."""

    now: datetime
    verdicts: Sequence[Verdict]
    verdicts_known: bool
    policies: Sequence[TrafficPolicy]
    runs: Sequence[RunNow]
    runs_known: bool
    unwatched: str | None
    hold: Hold | FailoverError | None
    notes: Sequence[str]
    silent: Sequence[str]
    troubles: Sequence[Trouble]
    left: Sequence[RunEnded]

    @classmethod
    def of(cls, known: Known, now: datetime) -> "_Told":
        verdicts, policies = _told(known.verdicts), _told(known.policies)
        runs, ended = _told(known.runs), _told(known.ended)
        asked = (known.verdicts, known.policies, known.runs, known.unwatched, known.ended)
        return cls(
            now=now,
            verdicts=verdicts,
            verdicts_known=verdicts is known.verdicts,
            policies=policies,
            runs=runs,
            runs_known=runs is known.runs,
            unwatched=None if isinstance(known.unwatched, FailoverError) else known.unwatched,
            hold=known.hold,
            notes=known.notes,
            silent=[str(part) for part in asked if isinstance(part, FailoverError)],
            troubles=troubles(policies, verdicts, runs),
            left=left_to_people(ended, runs, policies, now),
        )

    def serves(self, provider: str) -> bool:
        return any(policy.distribution.get(provider) for policy in self.policies)

    def is_mute(self, run: RunNow) -> bool:
        """Whether nobody has heard of it for longer than a restart takes."""
        return self.now - (run.told_at or run.started_at) > SETTLING


def _told(part: Sequence[T] | FailoverError) -> Sequence[T]:
    return () if isinstance(part, FailoverError) else part


def left_to_people(
    ended: Sequence[RunEnded], runs: Sequence[RunNow], policies: Sequence[TrafficPolicy], now: datetime
) -> list[RunEnded]:
    """The runs that ended, lately, with something left to do, newest first.

    Of an id the last run speaks, and one that is under way: somebody has taken it up. Who needs a person needs one until all
    of its routes were changed since. Who was broken off left something only where it had changed a route, and that stands so:
    a start that could not be meant, or a watch that somebody ended, leaves nothing to put right. Drills never count.
    """
    last = {run.workflow_id: run for run in sorted(ended, key=lambda run: run.closed_at)}
    for run in runs:
        last.pop(run.workflow_id, None)
    lately = [run for run in last.values() if now - run.closed_at < REMEMBERED and not is_drill(run.workflow_id)]
    newest_first = sorted(lately, key=lambda run: run.closed_at, reverse=True)
    return [left for run in newest_first if (left := _left_behind(run, policies)) is not None]


def _left_behind(run: RunEnded, policies: Sequence[TrafficPolicy]) -> RunEnded | None:
    """The run with what it left to do; None where that is nothing."""
    if run.outcome == NEEDS_HUMAN:
        return run if _stands(run, policies) else None
    route = next((one.route for one in policies if _is_its(one, run)), None)
    if route is None or run.outcome not in BROKEN_OFF:
        return None
    return replace(run, said=f"route {route} stands as it left it", command=f"failoverctl restore {route}")


def _is_its(policy: TrafficPolicy, run: RunEnded) -> bool:
    """Whether the run wrote the policy, or holds the route; another run of the same id may have written it long ago."""
    by = policy.changed_by
    return policy.claim == run.workflow_id or (by.workflow_id, by.run_id) == (run.workflow_id, run.run_id)


def _stands(run: RunEnded, policies: Sequence[TrafficPolicy]) -> bool:
    known = [policy.changed_at for policy in policies if policy.route in run.routes]
    return not known or any(at <= run.closed_at for at in known)


def _tried(told: _Told) -> Answer | None:
    """Trouble that a run has tried to end, and told how a person does."""
    routes = {one.route for one in told.troubles if _alone(told, one)}
    spoke = [run for run in told.left if run.outcome == NEEDS_HUMAN and run.command]
    return next((_left_by(run) for run in spoke if routes & {*run.routes}), None)


def _unattended(told: _Told) -> Answer | None:
    alone = [one for one in told.troubles if _alone(told, one)]
    # Of several, one for which something can be done.
    worst = next((one for one in alone if one.run is None), next(iter(alone), None))
    if worst is None:
        return None
    if worst.run is not None:
        why = f"{worst.said}, and {worst.run.workflow_id}, which should be at it, tells nothing."
    elif told.runs_known:
        return Answer(case=Case.TROUBLE, why=f"{worst.said}, and no run is at it.", do=worst.do)
    else:
        why = f"{worst.said}; whether a run is at it is not known."
    return Answer(case=Case.UNSEEN, why=why, do=worst.by_hand or DOCTOR)


def _alone(told: _Told, trouble: Trouble) -> bool:
    return trouble.run is None or told.is_mute(trouble.run)


def _waiting(told: _Told) -> Answer | None:
    """The nearest deadline first; a paused run, which waits for ever, last."""
    waiting = [(run, run.waits) for run in told.runs if run.waits is not None]
    if not waiting:
        return None
    run, waits = min(waiting, key=lambda one: _urgency(one[1], told.now))
    why = f"{run.workflow_id} waits for {waits.what}."
    return Answer(
        case=Case.WAITING, why=why, do=f"failoverctl watch {run.workflow_id}", run=run.workflow_id, waits=waits
    )


def _urgency(waits: Waiting, now: datetime) -> tuple[bool, bool, datetime]:
    return waits.need is Need.RESUME, waits.deadline is None, waits.deadline or now


def _left(told: _Told) -> Answer | None:
    return next((_left_by(run) for run in told.left), None)


def _left_by(run: RunEnded) -> Answer:
    do = run.command or "failoverctl report"
    return Answer(case=Case.LEFT, why=_ended(run), do=do, run=run.workflow_id)


def _ended(run: RunEnded) -> str:
    said = f": {run.said.rstrip('.')}" if run.said else ""
    return f"{run.workflow_id} ended as {run.outcome} at {run.closed_at:%H:%M:%S} UTC{said}."


def _unwatched(told: _Told) -> Answer | None:
    if told.unwatched is None:
        return None
    return Answer(case=Case.UNWATCHED, why="No health check completes: nobody watches the providers.", do=DOCTOR)


def _unknown(told: _Told) -> Answer | None:
    first = next(_doubts(told), None)
    return None if first is None else Answer(case=Case.UNKNOWN, why=first, do=DOCTOR)


def _doubts(told: _Told) -> Iterator[str]:
    """What cannot be told, and matters: parts that do not answer, providers that have traffic, runs."""
    yield from told.silent
    known = {one.provider: one for one in told.verdicts}
    serving = sorted({name for policy in told.policies for name, share in policy.distribution.items() if share})
    if told.verdicts_known and not known:
        yield "The worker has no verdict about any provider yet."
    elif told.verdicts_known:
        yield from (_blind(name, known.get(name)) for name in serving if _is_blind(known.get(name)))
    for run in told.runs:
        if told.is_mute(run):
            since = f"since {run.told_at:%H:%M:%S} UTC" if run.told_at else "of where it stands"
            yield f"{run.workflow_id} has told nothing {since}: no worker answers for it."


def _is_blind(verdict: Verdict | None) -> bool:
    return verdict is None or verdict.health is Health.UNKNOWN


def _blind(provider: str, verdict: Verdict | None) -> str:
    why = verdict.reason.rstrip(".") if verdict is not None else "there is no verdict about it"
    return f"Nobody can tell how {provider} is: {why}."


def _attended(told: _Told) -> Answer | None:
    for one in told.troubles:
        if one.run is not None:
            return Answer(case=Case.AFFECTED, why=f"{one.said}; {_at(one.run)}.", run=one.run.workflow_id)
    return None


def _under_way(told: _Told) -> Answer | None:
    if not told.runs:
        return None
    run, more = told.runs[0], len(told.runs) - 1
    return Answer(case=Case.UNDER_WAY, why=f"{_at(run)}{f', and {more} more' if more else ''}.", run=run.workflow_id)


def _at(run: RunNow) -> str:
    return f"{run.workflow_id} is at {run.phase or 'its beginning'}"


def _quiet(told: _Told) -> Answer:
    held = " Automation is held: nothing starts by itself." if isinstance(told.hold, Hold) else ""
    down = sorted(one.provider for one in told.verdicts if one.down)
    if not down:
        return Answer(case=Case.WELL, why=f"Nobody who is down has traffic, and service is normal.{held}")
    are, have = ("is", "has") if len(down) == 1 else ("are", "have")
    return Answer(case=Case.SPARED, why=f"{', '.join(down)} {are} down and {have} no traffic.{held}")


def _sentences(told: _Told, found: Answer) -> Iterator[str]:
    """Everything that is not as it should be; of the runs that wait for people, those that the answer is not about."""
    others = sum(1 for run in told.runs if run.waits is not None) - (found.case is Case.WAITING)
    if others:
        more = " more" if found.case is Case.WAITING else ""
        yield f"{others}{more} {'run waits' if others == 1 else 'runs wait'} for a person."
    yield from (one.sentence for one in told.troubles)
    yield from (_ended(run) for run in told.left)
    if told.unwatched is not None:
        yield f"{told.unwatched}."
    yield from _doubts(told)
    yield from _spared(told)
    yield from _noted(told)


def _spared(told: _Told) -> Iterator[str]:
    for one in told.verdicts:
        if one.down and told.policies and not told.serves(one.provider):
            yield f"{one.provider} is down, and has no traffic: {one.reason.rstrip('.')}."


def _noted(told: _Told) -> Iterator[str]:
    if isinstance(told.hold, FailoverError):
        yield f"Whether automation is held is not known: {told.hold}"
    elif told.hold is not None:
        yield f"{told.hold}. Nothing starts by itself."
    yield from told.notes
    for one in told.verdicts:
        if one.condition is Condition.BLIND and not told.serves(one.provider):
            yield _blind(one.provider, one)
        elif not one.down and one.condition not in (Condition.HEALTHY, Condition.BLIND):
            yield f"{one.provider} is {one.condition.value.replace('_', ' ')}: {one.reason.rstrip('.')}."
