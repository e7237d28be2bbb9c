"""What all ramps share: the way from one distribution to another, what may be written, and what people approve."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from failover import canary
from failover.capacity import Headroom
from failover.config.procedures import Gating
from failover.config.routes import ApprovalPoint, Approvals
from failover.distribution import WHOLE, apportion
from failover.errors import RequestError
from failover.failure import Failure, FailureKind
from failover.health import Condition, Verdict
from failover.policy import Mode, Revision
from failover.ramp import (
    Fallback,
    RampPlan,
    approvals_of,
    cool_down_left,
    in_doubt,
    may_write,
    rising,
    towards,
    why_not_rise,
    within_budget,
)
from failover.requests import CanaryFailoverRequest
from tests.failover.conftest import FOUND, NOW, brief, verdict

CANARY = CanaryFailoverRequest(route="chat", source_provider="bedrock", target_provider="google")
NAMES = ["a", "b", "c", "d", "e"]


def whole(weights: list[int]) -> dict[str, int]:
    parts = [WHOLE * weight // sum(weights) for weight in weights]
    parts[parts.index(max(parts))] += WHOLE - sum(parts)
    return dict(zip(NAMES, parts, strict=True))


SHARES = st.lists(st.integers(0, 100), min_size=5, max_size=5).filter(any).map(whole)


@given(SHARES, SHARES)
def test_the_way_begins_at_the_start_and_ends_at_the_goal(start: dict[str, int], goal: dict[str, int]) -> None:
    """Exactly, to the basis point."""
    assert towards(start, goal, 0) == start
    assert towards(start, goal, WHOLE) == goal


@given(SHARES, SHARES, st.integers(0, WHOLE), st.integers(0, WHOLE))
def test_nobody_goes_back_on_the_way(start: dict[str, int], goal: dict[str, int], one: int, other: int) -> None:
    """The sum is 100 % everywhere; who is to gain never loses from step to step, nor the other way round."""
    before, after = (towards(start, goal, points) for points in sorted((one, other)))
    assert sum(before.values()) == sum(after.values()) == WHOLE
    for name in NAMES:
        low, high = sorted((start[name], goal[name]))
        assert low <= after[name] <= high
        assert after[name] >= before[name] if goal[name] >= start[name] else after[name] <= before[name]


@given(st.integers(0, WHOLE), st.lists(st.integers(0, 500), min_size=1, max_size=6).filter(any))
def test_apportioning_gives_all_of_it_and_takes_nothing_back_when_there_is_more(total: int, weights: list[int]) -> None:
    """Nobody's part shrinks because the total grew by one."""
    named = {str(index): weight for index, weight in enumerate(weights)}
    less, more = apportion(total, named), apportion(total + 1, named)
    assert sum(less.values()) == total
    assert all(less[name] <= more[name] for name in named)
    assert all(not less[name] for name, weight in named.items() if not weight)


def test_rising_and_why_not() -> None:
    """More than it has, a provider that was not there included; the refusal names who is down and why."""
    wanted = {"bedrock": 5000, "google": 3000, "new": 2000}
    assert rising(FOUND, wanted) == ["google", "new"]
    assert why_not_rise(FOUND, wanted, {"meta": "it hangs"}) is None
    assert why_not_rise(FOUND, wanted, {"new": "it hangs"}) == "new would get more traffic, and is down: it hangs"


WOBBLING = replace(
    verdict("bedrock", Condition.HEALTHY),
    reason="1 of 3 failed probes in a row",
    cause=Failure(kind=FailureKind.TIMEOUT, provider="bedrock", detail="no answer"),
)


@pytest.mark.parametrize(
    ("known", "doubt"),
    [
        ([], "nothing is known of its health"),
        ([verdict("bedrock", Condition.HEALTHY)], None),
        ([WOBBLING], "healthy, 1 of 3 failed probes in a row"),
        ([verdict("bedrock", Condition.BLIND)], "blind, so it was measured"),
        ([verdict("bedrock", Condition.THROTTLED)], "throttled, so it was measured"),
        ([verdict("bedrock", Condition.SLOW)], "slow, so it was measured"),
        ([verdict("bedrock", Condition.DEGRADED_QUALITY)], "degraded quality, so it was measured"),
        *(([verdict("bedrock", down)], None) for down in Condition if verdict("x", down).down),
        ([verdict("google", Condition.BLIND)], "nothing is known of its health"),
    ],
)
def test_whose_health_is_in_doubt(known: list[Verdict], doubt: str | None) -> None:
    """Only of those who would get more; known to be down is no doubt: that is held in any case."""
    moved = {"bedrock": 0, "google": 9000, "meta": 1000}
    assert in_doubt(moved, FOUND, known) == ({} if doubt is None else {"bedrock": doubt})
    assert in_doubt(FOUND, moved, [verdict("google", Condition.HEALTHY), *known]) == (
        {"google": "blind, so it was measured"} if known == [verdict("google", Condition.BLIND)] else {}
    )


MOVED = {"bedrock": 0, "google": 9000, "meta": 1000}


@pytest.mark.parametrize(
    ("down", "most", "written", "said"),
    [
        ({}, {}, FOUND, []),
        ({"google": "x"}, {}, FOUND, []),
        ({"bedrock": "it hangs"}, {}, MOVED, ["bedrock would get more traffic, and is down: it hangs"]),
        (
            {},
            {"bedrock": 50},
            {"bedrock": 5000, "google": 4000, "meta": 1000},
            ["bedrock can take 50 % of the route, not 70 %", "20 % fit nowhere else and stay with google"],
        ),
        ({}, {"bedrock": 0}, MOVED, ["bedrock can take 0 %", "70 % fit nowhere else"]),
        ({}, {"google": 10}, FOUND, []),
    ],
    ids=[
        "all is well",
        "who loses is down",
        "who rises is down",
        "it can take less now",
        "nothing",
        "who loses is full",
    ],
)
def test_putting_back_asks_the_same_as_going_on(
    down: dict[str, str], most: dict[str, int], written: dict[str, int], said: list[str]
) -> None:
    """Nothing for a provider that is down, no more than one can take now; the rest stays where it is, and that is said."""
    allowed = may_write(MOVED, FOUND, down, Headroom(requests_per_minute=100, requests_left=most))
    assert allowed.distribution == written
    assert len(allowed.said) == len(said)
    assert all(words in sentence for words, sentence in zip(said, allowed.said, strict=True))


@given(SHARES, SHARES, st.sets(st.sampled_from(NAMES)), st.dictionaries(st.sampled_from(NAMES), st.integers(0, 100)))
def test_whatever_is_to_be_written_is_safe(
    now: dict[str, int], wanted: dict[str, int], down: set[str], most: dict[str, int]
) -> None:
    """Whole; nobody down rises, nobody rises over its limit, and nothing moves that was not wanted to."""
    demand = Headroom(requests_per_minute=100, requests_left=most)
    written = may_write(now, wanted, dict.fromkeys(down, "x"), demand).distribution
    assert sum(written.values()) == WHOLE
    for name in NAMES:
        low, high = sorted((now[name], wanted[name]))
        assert low <= written[name] <= high
        if written[name] > now[name]:
            assert name not in down
            assert written[name] <= most.get(name, 100) * 100


def plan(**changes: Any) -> RampPlan:
    return replace(canary.plan(CANARY, brief()), **changes)


def with_step(index: int, **changes: Any) -> Callable[[RampPlan], RampPlan]:
    def changed(one: RampPlan) -> RampPlan:
        steps = list(one.steps)
        steps[index] = replace(steps[index], **changes)
        return replace(one, steps=steps)

    return changed


def with_gate(**changes: Any) -> Callable[[RampPlan], RampPlan]:
    def changed(one: RampPlan) -> RampPlan:
        gates = list(one.steps[0].gates)
        gates[0] = replace(gates[0], **changes)
        return with_step(0, gates=gates)(one)

    return changed


CHANGES: dict[str, Callable[[RampPlan], RampPlan]] = {
    "the route": lambda one: replace(one, route="other"),
    "the procedure": lambda one: replace(one, procedure="Other"),
    "what was found": lambda one: replace(one, found=replace(one.found, distribution={"bedrock": WHOLE})),
    "the revision": lambda one: replace(one, found=replace(one.found, revision=Revision("e", 2))),
    "the mode to put back": lambda one: replace(one, found=replace(one.found, mode=Mode.DEGRADED)),
    "a share": with_step(2, distribution={"bedrock": 6999, "google": 2001, "meta": 1000}),
    "a hold": with_step(0, hold=timedelta(seconds=299)),
    "a time to settle": with_step(0, settle=timedelta(seconds=1)),
    "a step fewer": lambda one: replace(one, steps=one.steps[:-1]),
    "the order of steps": lambda one: replace(one, steps=one.steps[::-1]),
    "who orders the next": with_step(0, waits_for_orders=True),
    "a threshold": with_gate(pass_at=97.0),
    "a band": with_gate(fail_at=90.0),
    "what is watched": with_gate(provider="meta"),
    "enforcement": with_gate(enforce=False),
    "no gate": with_step(0, gates=[]),
    "what a failure does": lambda one: replace(one, on_failure=Fallback.HOLD),
    "what silence does": lambda one: replace(one, on_doubt=Fallback.HOLD),
    "who must agree": lambda one: replace(one, approvals=Approvals(quorum=2)),
    "how it is sampled": lambda one: replace(one, gating=Gating(failures=3)),
    "how long an abort may take": lambda one: replace(one, abort_timeout=timedelta(seconds=61)),
    "who gets requests of ours": lambda one: replace(one, synthetic="meta"),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_the_digest_changes_with_anything_that_people_approve(change: Callable[[RampPlan], RampPlan]) -> None:
    """Approvals are bound to it: what is changed afterwards was not approved."""
    assert change(plan()).digest != plan().digest


def test_the_same_plan_has_the_same_digest() -> None:
    """Planned twice, in another order of providers, or carried to another run: it is the plan that was approved."""
    shuffled = brief(dict(reversed(FOUND.items())))
    assert canary.plan(CANARY, brief()).digest == canary.plan(CANARY, shuffled).digest
    carried = TypeAdapter(RampPlan).validate_json(TypeAdapter(RampPlan).dump_json(plan()))
    assert TypeAdapter(RampPlan).validate_json(TypeAdapter(RampPlan).dump_json(carried)).digest == carried.digest


@pytest.mark.parametrize(("minutes_ago", "left"), [([], 0), ([3], 7), ([30, 3], 7), ([3, 30], 7), ([10], 0), ([59], 0)])
def test_an_automatic_ramp_rests_after_the_last_automatic_change(minutes_ago: list[int], left: int) -> None:
    """Ten minutes by default, from the newest, in whatever order they were found."""
    told = brief(automatic=[NOW - timedelta(minutes=one) for one in minutes_ago], cool_down=timedelta(minutes=10))
    assert cool_down_left(told, NOW) == timedelta(minutes=left)


@pytest.mark.parametrize(("runs", "asks"), [(3, False), (4, True), (9, True)])
def test_past_the_budget_people_decide(runs: int, asks: bool) -> None:
    """The first shift waits for them; what was asked for anyway is still asked."""
    told = brief(automatic=[NOW] * runs, automatic_per_hour=4)
    wanted = within_budget(Approvals(points=[ApprovalPoint.FULL]), told).points
    assert (ApprovalPoint.FIRST_SHIFT in wanted) is asks
    assert ApprovalPoint.FULL in wanted
    already = Approvals(points=[ApprovalPoint.FIRST_SHIFT])
    assert within_budget(already, told).points == [ApprovalPoint.FIRST_SHIFT]


STRICT = Approvals(points=[ApprovalPoint.FULL], approver_is_not_requester=True)


def test_a_requests_own_approvals_stand_in_for_the_routes() -> None:
    """Where it says nothing, the route's hold."""
    told = brief(approvals=Approvals(quorum=3))
    assert approvals_of(CANARY, told).quorum == 3
    assert approvals_of(CANARY.model_copy(update={"approvals": Approvals(quorum=2)}), told).quorum == 2


@pytest.mark.parametrize(
    ("request_changes", "approvals", "refused"),
    [
        ({}, STRICT, True),
        ({"requested_by": "  "}, STRICT, True),
        ({"requested_by": "anna"}, STRICT, False),
        ({"emergency": True}, STRICT, False),
        ({}, STRICT.model_copy(update={"points": []}), False),
    ],
)
def test_an_approval_by_somebody_else_needs_to_know_who_asks(
    request_changes: dict[str, Any], approvals: Approvals, refused: bool
) -> None:
    """Else anybody could approve what they asked for themselves, without saying so."""
    request = CANARY.model_copy(update=request_changes)
    if not refused:
        assert approvals_of(request, brief(approvals=approvals)) == approvals
        return
    with pytest.raises(RequestError, match="requested_by"):
        approvals_of(request, brief(approvals=approvals))
