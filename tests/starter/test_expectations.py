"""What each fault must lead to, and how it is told from what it must not."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from failover.failure import Failure, FailureKind
from failover.health import Condition, Verdict
from failover.incident import Impact, Moments, Outcome, RunRecord
from simulator.faults import FaultKind
from starter.demo.conclusion import excused
from starter.demo.expectations import BLIP, CONVINCING_TRIES, Expectation, Seen, expected, judge, known
from tests.records import run_record

NOW = datetime(2026, 1, 1, tzinfo=UTC)

MOVED = frozenset(FaultKind) - {FaultKind.CONTROL_PLANE_DOWN, FaultKind.THROTTLED, FaultKind.SLOW}


def verdict(condition: Condition, kind: FailureKind | None = None, reason: str = "because") -> Verdict:
    cause = Failure(kind=kind, provider="bedrock", detail="x") if kind else None
    return Verdict(provider="bedrock", condition=condition, reason=reason, at=NOW, cause=cause)


def record(found: Verdict, outcome: Outcome = Outcome.COMPLETED) -> RunRecord:
    return run_record(
        run_id="r",
        verdict=found,
        outcome=outcome,
        reason="done",
        moments=Moments(decided=NOW),
    )


def of(fault: str) -> Expectation:
    expectation = expected(fault)
    assert expectation is not None
    return expectation


def moved() -> Seen:
    found = verdict(Condition.UNAVAILABLE, FailureKind.SERVER_ERROR)
    tries = {"bedrock": 0, "google": CONVINCING_TRIES}
    return Seen(
        provider="bedrock", verdicts=[found], share_before=7000, policy_share=0, first_tries=tries, record=record(found)
    )


def stayed(condition: Condition = Condition.HEALTHY) -> Seen:
    tries = {"bedrock": 70, "google": 30}
    return Seen(
        provider="bedrock",
        verdicts=[verdict(condition)],
        share_before=7000,
        policy_share=7000,
        first_tries=tries,
        record=None,
    )


def good(fault: str, seen: Seen) -> bool:
    return all(check.met for check in judge(of(fault), seen))


@pytest.mark.parametrize("fault", known())
def test_every_fault_has_an_expected_outcome(fault: str) -> None:
    """No kind of the simulator is without a right end; those that are down move, the others do not."""
    expectation = of(fault)
    assert expectation.moves == (fault in MOVED)
    assert expectation.conditions and bool(expectation.causes) == expectation.moves


def test_a_fault_that_does_not_exist_has_none() -> None:
    """Unknown names are for the caller to refuse."""
    assert expected("flood") is None


def test_traffic_that_moved_is_seen_as_moved() -> None:
    """Found, named, completed, at 0 in the policy, and at 0 of the first tries."""
    assert good(FaultKind.SERVER_ERROR, moved())


@pytest.mark.parametrize(
    "change",
    [
        {"record": None},
        {"policy_share": 100},
        {"first_tries": {"bedrock": 1, "google": 100}},
        {"first_tries": {"google": CONVINCING_TRIES - 1}},
        {"first_tries": {}},
        {"record": record(verdict(Condition.UNUSABLE, FailureKind.SERVER_ERROR))},
        {"record": record(verdict(Condition.UNAVAILABLE, FailureKind.TIMEOUT))},
        {"record": record(verdict(Condition.UNAVAILABLE, FailureKind.SERVER_ERROR), Outcome.NEEDS_HUMAN)},
    ],
    ids=["no run", "a share left", "a first try", "too few tries", "no tries", "condition", "cause", "outcome"],
)
def test_anything_short_of_it_is_not(change: dict[str, Any]) -> None:
    """One missing piece of evidence fails the whole."""
    assert not good(FaultKind.SERVER_ERROR, replace(moved(), **change))


@pytest.mark.parametrize("fault", [FaultKind.SLOW, BLIP])
def test_traffic_that_stayed_is_seen_as_stayed(fault: str) -> None:
    """Found healthy, the policy as before, and still getting first tries."""
    assert good(fault, stayed())
    assert not good(fault, moved())
    assert not good(fault, stayed(Condition.UNAVAILABLE))
    condemned = [verdict(Condition.HEALTHY), verdict(Condition.UNAVAILABLE)]
    assert not good(fault, replace(stayed(), verdicts=condemned)), "condemned once is condemned"


def test_without_a_verdict_nothing_was_seen() -> None:
    """With nobody watching, even a fault that moves nothing does not pass."""
    assert not good(FaultKind.SLOW, replace(stayed(), verdicts=[]))
    assert not good(FaultKind.SLOW, stayed(Condition.BLIND))


def test_a_red_control_plane_must_be_noted() -> None:
    """Healthy is not enough: the verdict says what it saw."""
    seen = stayed()
    assert not good(FaultKind.CONTROL_PLANE_DOWN, seen)
    noted = verdict(Condition.HEALTHY, reason="answered, though the control plane does not answer")
    assert good(FaultKind.CONTROL_PLANE_DOWN, replace(seen, verdicts=[*seen.verdicts, noted]))


def test_throttling_must_be_found_and_must_not_move_all() -> None:
    """A part of the share goes and a part stays; a probe that was throttled leaves a blind moment, which is no harm."""
    found = [verdict(Condition.BLIND), verdict(Condition.THROTTLED)]
    seen = replace(stayed(), verdicts=found, policy_share=4900)
    assert good(FaultKind.THROTTLED, seen)
    assert not good(FaultKind.THROTTLED, replace(seen, verdicts=stayed().verdicts)), "it was not found"
    assert not good(FaultKind.THROTTLED, replace(seen, policy_share=seen.share_before)), "nothing was taken away"
    assert not good(FaultKind.THROTTLED, replace(seen, policy_share=0)), "all was taken away"


def test_what_nobody_can_know_yet_is_not_held_against_a_run() -> None:
    """Requests that hang when it closes; a loss that is missed without them is missed."""
    hang = expected(FaultKind.HANG)
    assert hang is not None
    impact = Impact(requests=100, failed=0, lost=0, baseline_p95=None, after_p95=None, pending=50)
    told = record(verdict(Condition.UNAVAILABLE))
    assert excused(hang, replace(told, impact=replace(impact, pending=0))) == {}
    assert set(excused(hang, replace(told, impact=impact))) >= {"request loss", "user error rate"}
    assert "request loss" not in excused(hang, replace(told, impact=replace(impact, lost=50)))
