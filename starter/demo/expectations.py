"""What each fault must lead to, by the design's table. Pure: printed before a demo starts, and judged at its end."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from failover.failure import FailureKind
from failover.health import DOWN, Condition, Verdict
from failover.incident import Outcome, RunRecord
from simulator.faults import FaultKind


class Kpi(StrEnum):
    """Names of the indicators that an expectation may excuse, as they are measured."""

    REQUEST_LOSS = "request loss"
    USER_ERROR_RATE = "user error rate"


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectation:
    """The right end of a fault.

    `moves`: the provider's share of first tries must fall to 0, and stay where it is otherwise. `conditions`, `causes`:
    one of each must be found (empty: none need be). `shrinks`: a part of its share must go, and a part must stay.
    `excused`: indicators that the fault itself puts out of reach.
    `options`: how the fault is injected. `noted`: words that a verdict's reason must hold.
    """

    moves: bool
    sentence: str
    conditions: frozenset[Condition]
    causes: frozenset[FailureKind] = frozenset()
    options: Mapping[str, float] = field(default_factory=dict)
    noted: str = ""
    excused: Mapping[Kpi, str] = field(default_factory=dict)
    shrinks: bool = False


BLIP = "blip"
"""A fault of the demo's own: failures too few to condemn."""

_LOST_STREAMS = "a stream that breaks after its first piece cannot be tried again, so what was streaming is lost"


def _moves(condition: Condition, *causes: FailureKind, excused: Mapping[Kpi, str] | None = None) -> Expectation:
    named = " or ".join(cause.value.replace("_", " ") for cause in causes)
    return Expectation(
        moves=True,
        sentence=f"found {condition.value.replace('_', ' ')} ({named}); all traffic moved off it at once",
        conditions=frozenset({condition}),
        causes=frozenset(causes),
        excused=excused or {},
    )


def _stays(
    sentence: str, *conditions: Condition, options: Mapping[str, float] | None = None, noted: str = ""
) -> Expectation:
    found = frozenset(conditions)
    return Expectation(moves=False, sentence=sentence, conditions=found, options=options or {}, noted=noted)


_EXPECTED: Mapping[str, Expectation] = {
    FaultKind.SERVER_ERROR: _moves(Condition.UNAVAILABLE, FailureKind.SERVER_ERROR),
    FaultKind.QUOTA: _moves(Condition.UNUSABLE, FailureKind.HARD_QUOTA),
    FaultKind.AUTHENTICATION: _moves(Condition.UNUSABLE, FailureKind.AUTHENTICATION),
    FaultKind.PERMISSION: _moves(Condition.UNUSABLE, FailureKind.PERMISSION),
    FaultKind.MODEL_NOT_READY: _moves(Condition.UNAVAILABLE, FailureKind.MODEL_LOADING),
    FaultKind.MODEL_MISSING: _moves(Condition.UNAVAILABLE, FailureKind.MODEL_UNAVAILABLE),
    FaultKind.REGION_DOWN: _moves(Condition.UNAVAILABLE, FailureKind.REGION, FailureKind.SERVER_ERROR),
    FaultKind.CAPACITY: _moves(Condition.UNAVAILABLE, FailureKind.CAPACITY),
    FaultKind.HANG: _moves(Condition.UNAVAILABLE, FailureKind.TIMEOUT),
    FaultKind.REFUSED: _moves(Condition.UNAVAILABLE, FailureKind.NETWORK),
    FaultKind.EMPTY: _moves(Condition.INVALID_ANSWERS, FailureKind.INVALID_ANSWER),
    FaultKind.WRONG: _moves(Condition.INVALID_ANSWERS, FailureKind.INVALID_ANSWER),
    FaultKind.GARBAGE: _moves(Condition.INVALID_ANSWERS, FailureKind.INVALID_ANSWER),
    FaultKind.STREAM_CUT: _moves(
        Condition.UNAVAILABLE, FailureKind.CUT_STREAM, excused={Kpi.REQUEST_LOSS: _LOST_STREAMS}
    ),
    FaultKind.STREAM_ERROR: _moves(
        Condition.UNAVAILABLE,
        *(FailureKind.CUT_STREAM, FailureKind.SERVER_ERROR, FailureKind.MODEL_UNAVAILABLE),
        excused={Kpi.REQUEST_LOSS: _LOST_STREAMS},
    ),
    FaultKind.CONTROL_PLANE_DOWN: _stays(
        "found healthy and noted, since inference is fine; traffic stays",
        Condition.HEALTHY,
        noted="control plane",
    ),
    FaultKind.THROTTLED: Expectation(
        moves=False,
        shrinks=True,
        sentence="found throttled; a gradual failover takes the throttled share away, and it keeps what it can serve",
        conditions=frozenset({Condition.THROTTLED}),
        options={"rate": 30},
    ),
    FaultKind.SLOW: _stays(
        "found healthy: right answers that come late must last five minutes before anything starts; traffic stays",
        Condition.HEALTHY,
        options={"milliseconds": 3500},
    ),
    BLIP: _stays(
        "found healthy: fewer failures in a row than condemn, and fewer than the users' share that does; traffic stays",
        Condition.HEALTHY,
        options={"calls": 2},
    ),
}


def expected(fault: str) -> Expectation | None:
    """The right end of a fault; None where there is no such fault."""
    return _EXPECTED.get(fault)


def known() -> Sequence[str]:
    return [*FaultKind, BLIP]


def injected_kind(fault: str) -> FaultKind:
    """What the simulator is told."""
    return FaultKind.SERVER_ERROR if fault == BLIP else FaultKind(fault)


CONVINCING_TRIES = 40
"""First tries on the route, counted since the shift, without which no share is believed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What was seen after the fault.

    `verdicts` about the faulty provider, in order; `policy_share` its share now in basis points, `share_before` that
    before the fault; `first_tries` by provider since the shift, or since the fault where none came. `failure`: why the
    provider's run failed, where it did.
    """

    provider: str
    verdicts: Sequence[Verdict]
    share_before: int
    policy_share: int
    first_tries: Mapping[str, int]
    record: RunRecord | None
    failure: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One part of the expected outcome, and whether it was seen."""

    met: bool
    text: str


def judge(expectation: Expectation, seen: Seen) -> list[Check]:
    """Every part of the expected outcome."""
    return _judge_moved(expectation, seen) if expectation.moves else _judge_stayed(expectation, seen)


def _judge_moved(expectation: Expectation, seen: Seen) -> list[Check]:
    record = seen.record
    condition = record.condition if record else None
    cause = record.verdict.cause.kind if record and record.verdict and record.verdict.cause else None
    return [
        Check(
            met=condition in expectation.conditions,
            text=f"{seen.provider} was found {_word(condition)}, expected {_either(expectation.conditions)}",
        ),
        Check(
            met=cause in expectation.causes,
            text=f"the report names the cause {_word(cause)}, expected {_either(expectation.causes)}",
        ),
        Check(
            met=record is not None and record.outcome is Outcome.COMPLETED,
            text=f"the failover ended {_ending(seen)}, expected COMPLETED",
        ),
        Check(
            met=seen.policy_share == 0,
            text=f"{seen.provider} has {seen.policy_share / 100:g} % in the policy, expected 0 %",
        ),
        _first_tries(seen, moved=True),
    ]


def _ending(seen: Seen) -> str:
    if seen.failure:
        return f"FAILED ({seen.failure})"
    return seen.record.outcome.value if seen.record else "not at all"


def _judge_stayed(expectation: Expectation, seen: Seen) -> list[Check]:
    conditions = {verdict.condition for verdict in seen.verdicts}
    found = conditions & expectation.conditions and not conditions & (DOWN - expectation.conditions)
    checks = [
        Check(
            met=bool(found),
            text=f"{seen.provider} was found {_either(conditions)}, expected {_either(expectation.conditions)}",
        ),
        _share_kept(expectation, seen),
        _first_tries(seen, moved=False),
    ]
    if expectation.noted:
        noted = any(expectation.noted in verdict.reason for verdict in seen.verdicts)
        checks.append(Check(met=noted, text=f"a verdict notes the {expectation.noted}"))
    return checks


def _share_kept(expectation: Expectation, seen: Seen) -> Check:
    has, had = f"{seen.policy_share / 100:g} %", f"{seen.share_before / 100:g} %"
    if expectation.shrinks:
        return Check(
            met=0 < seen.policy_share < seen.share_before,
            text=f"{seen.provider} has {has} in the policy, expected some, and less than {had}",
        )
    return Check(
        met=seen.policy_share == seen.share_before and seen.record is None,
        text=f"{seen.provider} has {has} in the policy, expected {had}",
    )


def _first_tries(seen: Seen, *, moved: bool) -> Check:
    total, faulty = sum(seen.first_tries.values()), seen.first_tries.get(seen.provider, 0)
    enough = total >= CONVINCING_TRIES
    wanted = "none" if moved else "some"
    return Check(
        met=enough and (faulty == 0) == moved,
        text=f"{seen.provider} got {faulty} of {total} first tries since, expected {wanted} of at least {CONVINCING_TRIES}",
    )


def _word(name: StrEnum | None) -> str:
    return name.value.replace("_", " ") if name else "nothing"


def _either(names: Collection[StrEnum]) -> str:
    return " or ".join(sorted(_word(name) for name in names)) or "nothing"
