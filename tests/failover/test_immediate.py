"""Who takes over, and why."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from failover import immediate
from failover.capacity import Headroom
from failover.distribution import WHOLE
from failover.errors import RequestError, refuse
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


def test_two_alerts_are_no_ping_pong() -> None:
    """Whom a route has just left is chosen last, however well its probes are answered; and where nobody else is, still."""
    after = replace(route(google=9000, meta=1000, bedrock=0), chain=["bedrock", "meta"], changed_by="failover/bedrock")
    google = ImmediateFailoverRequest(failed_provider="google")
    plan = immediate.plan(google, [after], known(verdict("bedrock")), {})
    assert plan.shifts[0].after == {"bedrock": 0, "google": 0, "meta": 10_000}
    alone = immediate.plan(google, [after], known(verdict("bedrock"), verdict("meta", Condition.UNAVAILABLE)), {})
    assert alone.shifts[0].target == "bedrock"
    long_ago = replace(after, changed_by="failback/chat")
    assert immediate.plan(google, [long_ago], known(verdict("bedrock")), {}).shifts[0].target == "bedrock"


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
        refuse(immediate.why_not_start(request, ["bedrock", "google", "meta"], ["chat"]))


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


def limited(most: dict[str, int]) -> RouteNow:
    """chat, where each provider can take so many percent of the route."""
    return replace(route(), headroom=Headroom(requests_per_minute=100, requests_left=most))


@pytest.mark.parametrize(
    ("request_changes", "most", "verdicts", "after", "said"),
    [
        ({}, {"google": 90}, [], [0, 90, 10], None),
        ({}, {"google": 60}, [], [0, 60, 40], "google can take 60 % of the route, not 90 %; 30 % more go to meta"),
        ({}, {"google": 10}, [], [0, 20, 80], "70 % more go to meta"),
        (
            {},
            {"google": 60, "meta": 20},
            [],
            [0, 80, 20],
            "20 % fit nowhere and go to google beyond what it declared: bedrock serves none",
        ),
        ({}, {"google": 0, "meta": 0}, [], [0, 90, 10], "70 % fit nowhere and go to google beyond what it declared"),
        (
            {},
            {"google": 60},
            [verdict("meta", Condition.UNAVAILABLE)],
            [0, 90, 10],
            "30 % fit nowhere and go to google beyond what it declared",
        ),
        ({"target_provider": "google"}, {"google": 60}, [], [0, 90, 10], "go to google beyond what it declared"),
    ],
    ids=[
        "it fits",
        "the rest to the next",
        "the first has more than it can take already",
        "some of it fits nowhere",
        "nobody has capacity",
        "the next is down",
        "a named target is the only one",
    ],
)
def test_capacity_divides_what_moves_and_never_keeps_it_on_who_is_down(
    request_changes: dict[str, str],
    most: dict[str, int],
    verdicts: list[Verdict],
    after: list[int],
    said: str | None,
) -> None:
    """What does not fit goes to the next in the chain; what fits nowhere moves all the same, and that is said."""
    request = BEDROCK.model_copy(update=request_changes)
    [shift] = immediate.plan(request, [limited(most)], known(*verdicts), {}).shifts
    assert [shift.after[name] // 100 for name in ("bedrock", "google", "meta")] == after
    assert shift.target == "google"
    assert "; " not in shift.reason if said is None else said in shift.reason


@given(
    st.dictionaries(st.sampled_from(["google", "meta"]), st.integers(0, 100)), st.sampled_from(["google", "meta", None])
)
def test_whatever_anybody_can_take_all_of_it_leaves_the_failed_provider(most: dict[str, int], down: str | None) -> None:
    """Nothing stays, and nothing goes to another that is down."""
    verdicts = known(verdict(down, Condition.UNUSABLE)) if down else {}
    [shift] = immediate.plan(BEDROCK, [limited(most)], verdicts, {}).shifts
    assert sum(shift.after.values()) == WHOLE
    assert shift.after["bedrock"] == 0
    assert down is None or shift.after[down] == shift.before[down]
