"""Who takes over, and why."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from failover import immediate
from failover.distribution import WHOLE
from failover.errors import RequestError
from failover.failure import Failure, FailureKind
from failover.health import Condition, Verdict
from failover.immediate import RouteNow
from failover.policy import Revision
from failover.requests import ImmediateFailoverRequest

NOW = datetime(2026, 1, 1, tzinfo=UTC)
BEDROCK = ImmediateFailoverRequest(failed_provider="bedrock")


def route(name: str = "chat", **shares: int) -> RouteNow:
    return RouteNow(
        route=name,
        revision=Revision("e", 1),
        distribution=shares or {"bedrock": 7000, "google": 2000, "meta": 1000},
        chain=["google", "meta"],
    )


def verdict(provider: str, condition: Condition = Condition.HEALTHY, *, shaky: bool = False) -> Verdict:
    cause = Failure(kind=FailureKind.SERVER_ERROR, provider=provider, detail="x") if shaky else None
    return Verdict(provider=provider, condition=condition, reason="so it was measured", at=NOW, cause=cause)


def known(*verdicts: Verdict) -> dict[str, Verdict]:
    return {one.provider: one for one in verdicts}


def test_the_chain_chooses() -> None:
    """Without a target: the first of the chain takes the whole share, 70/20/10 → 0/90/10."""
    plan = immediate.plan(BEDROCK, [route()], known(verdict("google"), verdict("meta")), {})
    assert [(shift.target, shift.after) for shift in plan.shifts] == [
        ("google", {"bedrock": 0, "google": 9000, "meta": 1000})
    ]


@pytest.mark.parametrize(
    ("verdicts", "target"),
    [
        ([verdict("google", Condition.UNAVAILABLE), verdict("meta")], "meta"),
        ([verdict("google", Condition.BLIND), verdict("meta")], "meta"),
        ([verdict("google", shaky=True), verdict("meta")], "meta"),
        ([verdict("google", Condition.THROTTLED), verdict("meta")], "google"),
        ([], "google"),
        ([verdict("google", Condition.BLIND)], "google"),
    ],
)
def test_the_known_healthy_come_before_the_unknown_and_never_the_down(verdicts: list[Verdict], target: str) -> None:
    """Health goes before the chain's order; of equals, the first of the chain."""
    plan = immediate.plan(BEDROCK, [route()], known(*verdicts), {})
    assert plan.shifts[0].target == target


def test_no_step_raises_the_share_of_a_provider_known_to_be_down() -> None:
    """With every candidate down nothing moves, and the reasons are said."""
    down = known(verdict("google", Condition.UNAVAILABLE), verdict("meta", Condition.UNUSABLE))
    plan = immediate.plan(BEDROCK, [route()], down, {})
    assert not plan.shifts
    assert "google is unavailable" in plan.stranded["chat"]
    assert "meta is unusable" in plan.stranded["chat"]


def test_a_named_target_that_is_down_is_not_replaced_by_another() -> None:
    """The operator named it; the product does not send traffic elsewhere behind their back."""
    request = ImmediateFailoverRequest(failed_provider="bedrock", target_provider="google")
    plan = immediate.plan(request, [route()], known(verdict("google", Condition.UNAVAILABLE), verdict("meta")), {})
    assert not plan.shifts
    assert plan.stranded


def test_who_failed_a_validation_is_passed_over() -> None:
    """The next in the chain gets its turn."""
    plan = immediate.plan(BEDROCK, [route()], {}, {"google": "P95 9000 ms"})
    assert plan.shifts[0].target == "meta"
    assert "P95 9000 ms" in plan.shifts[0].reason


def test_routes_without_the_provider_are_left_alone() -> None:
    """Only where it has a share is anything written."""
    plan = immediate.plan(BEDROCK, [route("a", google=10000), route("b")], {}, {})
    assert plan.untouched == ["a"]
    assert [shift.route for shift in plan.shifts] == ["b"]


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        ({"failed_provider": "bedrok"}, "'bedrok' is no provider"),
        ({"failed_provider": "bedrock", "target_provider": "x"}, "target_provider 'x'"),
        ({"failed_provider": "bedrock", "target_provider": "bedrock"}, "equals failed_provider"),
        ({"failed_provider": "bedrock", "routes": ["chat", "nope"]}, "'nope'; the routes are chat"),
    ],
)
def test_a_request_that_cannot_be_meant_is_refused_by_name(request_: dict[str, object], said: str) -> None:
    """What is wrong is named, with what is known."""
    request = ImmediateFailoverRequest.model_validate(request_)
    with pytest.raises(RequestError, match=said):
        immediate.refuse(immediate.why_not_start(request, ["bedrock", "google", "meta"], ["chat"]))


@pytest.mark.parametrize("body", [{}, {"failed_provider": 3}, {"failed_provider": "a", "extra": 1}, {"routes": []}])
def test_a_request_of_another_shape_is_refused(body: dict[str, object]) -> None:
    """Missing, mistyped and unknown fields are errors."""
    with pytest.raises(ValidationError):
        ImmediateFailoverRequest.model_validate(body)


@given(
    st.lists(st.integers(0, 100), min_size=4, max_size=4),
    st.sets(st.sampled_from(["google", "meta", "other"])),
)
def test_any_plan_keeps_the_invariants(parts: list[int], down: set[str]) -> None:
    """Sums stay whole, the failed provider ends at nothing, nobody who is down gains."""
    total = sum(parts) or 1
    points = [part * WHOLE // total for part in parts]
    points[0] += WHOLE - sum(points)
    names = ["bedrock", "google", "meta", "other"]
    now = route("chat", **dict(zip(names, points, strict=True)))
    plan = immediate.plan(BEDROCK, [now], known(*(verdict(name, Condition.UNAVAILABLE) for name in down)), {})
    for shift in plan.shifts:
        assert sum(shift.after.values()) == WHOLE
        assert shift.after["bedrock"] == 0
        assert all(shift.after[name] <= now.distribution[name] for name in down)
