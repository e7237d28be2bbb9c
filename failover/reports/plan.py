"""A ramp against its own plan: which steps it took, when, and how long each was watched."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from failover.distribution import Shares
from failover.incident import PlannedStep, PolicyWrite, RunRecord

SLACK = timedelta(seconds=2)
"""How much longer than planned a step may take before it is worth a word: it is proved, too."""

PUT_BACK, LESS = "put back", "less was moved than planned"

_NOT_STEPS = ("claim", "again", "release")


@dataclass(frozen=True, slots=True, kw_only=True)
class StepTaken:
    """One step as planned, and as it went. `set_at` None: it was not reached; `held` is until the next change or the end."""

    planned: PlannedStep
    set_at: datetime | None
    held: timedelta | None
    shares: Shares | None
    went: str

    @property
    def as_planned(self) -> bool:
        return self.went == "as planned"


def taken(record: RunRecord) -> list[StepTaken]:
    """Every step of the plan, in order."""
    writes = [write for write in record.writes if write.step not in _NOT_STEPS]
    return [_taken(step, writes, record) for step in record.steps]


def _taken(step: PlannedStep, writes: Sequence[PolicyWrite], record: RunRecord) -> StepTaken:
    at = next((number for number, write in enumerate(writes) if write.step == step.name), None)
    if at is None:
        return StepTaken(planned=step, set_at=None, held=None, shares=None, went="not reached")
    write, after = writes[at], writes[at + 1 :]
    end = after[0].at if after else record.moments.closed
    held = end - write.at if end is not None else None
    went = _went(step, write, after, held)
    return StepTaken(planned=step, set_at=write.at, held=held, shares=write.shares, went=went)


def _went(step: PlannedStep, write: PolicyWrite, after: Sequence[PolicyWrite], held: timedelta | None) -> str:
    if dict(write.shares) != dict(step.shares):
        return LESS
    if after and after[0].step == "put-back":
        return PUT_BACK
    if held is None or held < step.hold:
        return "cut short"
    return "as planned" if held <= step.hold + max(SLACK, step.hold / 2) else "took longer"
