"""Is it handled, and what does a person need to do? One answer from everything that is known now."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from failover.health import Health, Verdict
from failover.policy import TrafficPolicy, is_drill
from failover.troubles import RunNow, troubles

LATELY = timedelta(hours=1)
"""For so long a run that ended in need of a person is the first thing that is said."""

NEED = frozenset({"NEEDS_HUMAN", "FAILED", "TIMED_OUT", "TERMINATED"})
"""Outcomes after which nobody knows what to do but a person."""


class Word(StrEnum):
    """The answer in a word, worst first."""

    ACT = "ACT NOW"
    UNKNOWN = "NOT KNOWN"
    WORKING = "WORKING"
    HANDLED = "HANDLED"
    WELL = "ALL WELL"


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """The answer, why in one sentence, and what to do; `do` is "" where that is nothing."""

    word: Word
    why: str
    do: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What could be asked; None: it could not, and `missing` says why, by part."""

    providers: Sequence[Verdict] | None
    policies: Sequence[TrafficPolicy] | None
    runs: Sequence[RunNow] | None
    ended: Sequence[RunNow] | None = None
    unwatched: str | None = None
    """Why nobody watches the providers; None: checks complete."""
    held: bool = False
    missing: Mapping[str, str] | None = None


def standing(known: Known, now: datetime) -> Standing:
    """The worst that is true. What cannot be asked never makes anything better."""
    for look in (_waiting, _in_trouble, _unwatched):
        found = look(known)
        if found is not None and found.word is Word.ACT:
            return found
    return _ended_in_need(known, now) or _not_known(known) or _under_way(known) or _quiet(known)


def _waiting(known: Known) -> Standing | None:
    for run in known.runs or ():
        if run.waits_for:
            return Standing(
                word=Word.ACT,
                why=f"{run.workflow_id} waits for {run.waits_for}.",
                do=f"failoverctl watch {run.workflow_id}",
            )
    return None


def _in_trouble(known: Known) -> Standing | None:
    """Users are in trouble: a run is at it, or a person must be."""
    found = troubles(known.policies or (), known.providers or (), known.runs or ())
    worst = next((one for one in found if one.run is None), next(iter(found), None))
    if worst is None:
        return None
    if worst.run is not None:
        return Standing(word=Word.WORKING, why=f"{worst.said}; {worst.run.workflow_id} is at {worst.run.phase}.")
    if known.runs is None:
        return Standing(word=Word.UNKNOWN, why=f"{worst.said}; whether a run is at it is not known.")
    return Standing(word=Word.ACT, why=f"{worst.said}, and no run is at it.", do=worst.do)


def _unwatched(known: Known) -> Standing | None:
    if known.unwatched is None:
        return None
    return Standing(
        word=Word.ACT, why="No health check completes: nobody watches the providers.", do="failoverctl doctor"
    )


def _ended_in_need(known: Known, now: datetime) -> Standing | None:
    """The newest of those that ended, unless another run is under way since."""
    ended = [run for run in known.ended or () if run.closed_at is not None and not is_drill(run.workflow_id)]
    newest = max(ended, key=lambda run: run.closed_at or now, default=None)
    if newest is None or newest.closed_at is None or known.runs:
        return None
    if newest.outcome not in NEED or now - newest.closed_at > LATELY:
        return None
    return Standing(
        word=Word.ACT,
        why=f"{newest.workflow_id} ended as {newest.outcome} at {newest.closed_at:%H:%M:%S} UTC.",
        do="failoverctl report",
    )


def _not_known(known: Known) -> Standing | None:
    for why in (known.missing or {}).values():
        return Standing(word=Word.UNKNOWN, why=why, do="failoverctl doctor")
    serving = {name for policy in known.policies or () for name, share in policy.distribution.items() if share}
    seen = {verdict.provider for verdict in known.providers or () if verdict.health is not Health.UNKNOWN}
    unknown = sorted(serving - seen)
    if not unknown:
        return None
    return Standing(
        word=Word.UNKNOWN,
        why=f"Nobody knows how {', '.join(unknown)} {'does' if len(unknown) == 1 else 'do'}.",
        do="failoverctl doctor",
    )


def _under_way(known: Known) -> Standing | None:
    trouble = _in_trouble(known)
    if trouble is not None:
        return trouble
    if not known.runs:
        return None
    run = known.runs[0]
    more = f", and {len(known.runs) - 1} more" if len(known.runs) > 1 else ""
    return Standing(word=Word.WORKING, why=f"{run.workflow_id} is at {run.phase or 'its beginning'}{more}.")


def _quiet(known: Known) -> Standing:
    held = " Automation is held: nothing starts by itself." if known.held else ""
    down = sorted(verdict.provider for verdict in known.providers or () if verdict.down)
    if down:
        verb = "is" if len(down) == 1 else "are"
        return Standing(word=Word.HANDLED, why=f"{', '.join(down)} {verb} down and {_have(down)} no traffic.{held}")
    return Standing(word=Word.WELL, why=f"Nobody who is down has traffic, and service is normal.{held}")


def _have(names: Sequence[str]) -> str:
    return "has" if len(names) == 1 else "have"
