"""The answer in the console's words. What it is has been decided; here it is only said."""

from collections.abc import Mapping
from dataclasses import dataclass

from failover.answer import Answer, Case
from failover.troubles import Need


@dataclass(frozen=True, slots=True, kw_only=True)
class Worded:
    """`command` is what a person must type where no button helps; `start`: a procedure should be started."""

    level: str
    headline: str
    todo: str
    command: str = ""
    start: bool = False


_WAITING: Mapping[Need, tuple[str, str]] = {
    Need.APPROVAL: ("A decision is needed.", "Approve or reject this:"),
    Need.ANSWER: ("A run is in doubt.", "Say how it goes on:"),
    Need.ORDERS: ("A canary waits for orders.", "Give it its next percent, or roll it back:"),
    Need.RESUME: ("A run is paused.", "Resume it, or abort it:"),
}

_RUN_THIS = "Run this command:"

_START = "Start a failover, or an emergency where no provider is left."

_NOTHING = "You need to do nothing now."

_OTHERS: Mapping[Case, tuple[str, str, str]] = {
    Case.TROUBLE: ("act", "Users are in trouble, and no run is at it.", _START),
    Case.UNSEEN: ("act", "Users are in trouble. Whether a run is at it is not known.", _RUN_THIS),
    Case.LEFT: ("act", "{run} could not finish: a person is needed.", _RUN_THIS),
    Case.UNWATCHED: ("act", "Nobody watches the providers.", _RUN_THIS),
    Case.UNKNOWN: (
        "unknown",
        "Nobody can tell whether all is well.",
        "Look at what does not answer. Traffic keeps its last shares meanwhile.",
    ),
    Case.AFFECTED: ("affected", "It is being handled. Users are affected.", _NOTHING),
    Case.UNDER_WAY: ("handled", "It is being handled.", _NOTHING),
    Case.SPARED: ("handled", "It is handled: users are served.", _NOTHING),
    Case.WELL: ("well", "All is well.", "You need to do nothing."),
}


def worded(answer: Answer) -> Worded:
    """How loud, the headline, and what is to be done."""
    if answer.waits is not None:
        headline, todo = _WAITING[answer.waits.need]
        return Worded(level="act", headline=headline, todo=todo)
    level, headline, todo = _OTHERS[answer.case]
    start = answer.case is Case.TROUBLE
    return Worded(
        level=level,
        headline=headline.format(run=answer.run),
        todo=todo,
        command="" if start else answer.do,
        start=start,
    )
