"""A little of one provider's traffic on another: each sentence of the runbook's words."""

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from failover import canary
from failover.capacity import Headroom
from failover.config.procedures import Procedures
from failover.distribution import WHOLE, move_all
from failover.errors import FailoverError, Refusal, RequestError
from failover.gates import Metric
from failover.ramp import Fallback, RampPlan
from failover.requests import CanaryFailoverRequest
from tests.failover.conftest import FOUND, brief

PROVIDERS = ["bedrock", "google", "meta"]


def asked(**request: Any) -> CanaryFailoverRequest:
    wanted = {"route": "chat", "source_provider": "bedrock", "target_provider": "google", **request}
    return CanaryFailoverRequest.model_validate(wanted)


def shares(plan: RampPlan) -> list[list[float]]:
    return [[step.distribution.get(name, 0) / 100 for name in PROVIDERS] for step in plan.steps]


def test_percents_are_of_what_the_source_held_at_the_start() -> None:
    """5, then 10, 25, 50, 75, 100: the others keep theirs, and 70/20/10 ends at 0/90/10."""
    assert shares(canary.plan(asked(), brief())) == [
        [66.5, 23.5, 10],
        [63, 27, 10],
        [52.5, 37.5, 10],
        [35, 55, 10],
        [17.5, 72.5, 10],
        [0, 90, 10],
    ]


def test_five_minutes_at_first_then_two_at_each() -> None:
    """300 s, then 120 s, the last one too: a canary is proved at 100 % as well."""
    holds = [step.hold.total_seconds() for step in canary.plan(asked(), brief()).steps]
    assert holds == [300, 120, 120, 120, 120, 120]


def test_the_target_is_judged_at_each_step_by_98_percent_and_the_routes_latency() -> None:
    """Canary health: its success, and its P95."""
    for step in canary.plan(asked(), brief()).steps:
        assert [(gate.provider, gate.metric, gate.pass_at, gate.fail_at) for gate in step.gates] == [
            ("google", Metric.SUCCESS_PERCENT, 98, 98),
            ("google", Metric.LATENCY_P95_MS, 1500, 1500),
        ]


def test_a_failed_canary_is_rolled_back_to_the_snapshot_and_so_is_an_unanswered_one() -> None:
    """What was found stands in the plan."""
    plan = canary.plan(asked(), brief())
    assert (plan.on_failure, plan.on_doubt) == (Fallback.ROLL_BACK, Fallback.ROLL_BACK)
    assert plan.found.distribution == FOUND
    assert plan.synthetic == "google"


@pytest.mark.parametrize(
    ("held", "value", "gained"),
    [(7000, 5, 350), (2000, 5, 100), (1000, 5, 100), (500, 5, 100), (100, 5, 100), (50, 5, 50), (7000, 0.01, 100)],
)
def test_the_target_gains_a_point_at_least(held: int, value: float, gained: int) -> None:
    """Of the route, and no more than the source held: less would hardly be seen."""
    found = {"bedrock": held, "google": 0, "meta": WHOLE - held}
    assert canary.at(found, "bedrock", "google", value)["google"] == gained


@given(st.integers(1, WHOLE), st.floats(0.01, 100))
def test_a_canary_takes_from_its_source_alone(held: int, value: float) -> None:
    """At any percent: what one loses the other gains, and at 100 % it is all of it."""
    found = {"bedrock": held, "google": (WHOLE - held) // 2, "meta": WHOLE - held - (WHOLE - held) // 2}
    at = canary.at(found, "bedrock", "google", value)
    assert at["meta"] == found["meta"]
    assert 0 < found["bedrock"] - at["bedrock"] == at["google"] - found["google"] <= held
    assert canary.at(found, "bedrock", "google", 100) == move_all(found, "bedrock", "google")


def test_with_a_percentage_it_holds_there_and_waits_for_orders() -> None:
    """One step, until an order or the declared deadline: nothing ramps by itself."""
    plan = canary.plan(asked(initial_percent=20, initial_seconds=60, manual=True, manual_deadline_seconds=90), brief())
    [step] = plan.steps
    assert (step.waits_for_orders, step.hold) == (True, timedelta(seconds=60))
    assert plan.orders_deadline == timedelta(seconds=90)
    assert canary.plan(asked(manual=True), brief()).orders_deadline == timedelta(hours=1)


def test_an_ordered_percent_is_of_what_was_held_at_the_start_too() -> None:
    """Whatever the canary has now."""
    step = canary.ordered(asked(manual=True), brief(), 50, 3)
    assert (step.name, step.distribution) == ("step-3", {"bedrock": 3500, "google": 5500, "meta": 1000})
    full = Headroom(requests_per_minute=100, requests_left={"google": 20, "meta": 10})
    assert canary.ordered(asked(manual=True), brief(headroom=full), 50, 3).distribution == FOUND


def test_percents_below_the_first_are_left_out_of_the_configured_ones_only() -> None:
    """Who begins at 30 goes on at 50; who names both must mean both."""
    assert [row[1] for row in shares(canary.plan(asked(initial_percent=30), brief()))] == [41, 55, 72.5, 90]
    with pytest.raises(RequestError, match="percents begin at 3, and the canary itself at 5 already"):
        canary.plan(asked(percents=[3, 50]), brief())


@pytest.mark.parametrize(
    ("request_changes", "settings", "bounds"),
    [
        ({}, {}, (98, 98)),
        ({}, {"failure_threshold_percent": 90}, (98, 90)),
        ({"success_threshold_percent": 99}, {}, (99, 99)),
        ({"success_threshold_percent": 85}, {"failure_threshold_percent": 90}, (85, 85)),
        ({"failure_threshold_percent": 80}, {"failure_threshold_percent": 90}, (98, 80)),
    ],
)
def test_thresholds_come_from_the_request_then_from_the_configuration(
    request_changes: dict[str, Any], settings: dict[str, Any], bounds: tuple[float, float]
) -> None:
    """Between the two nobody can tell; a lowered bar never fails what it passes."""
    told = brief(procedures=Procedures.model_validate({"canary": settings}))
    gate = canary.plan(asked(**request_changes), told).steps[0].gates[0]
    assert (gate.pass_at, gate.fail_at) == bounds


@pytest.mark.parametrize(
    ("request_changes", "said"),
    [
        ({"source_provider": "azure"}, "source_provider 'azure' is no provider"),
        ({"target_provider": "azure"}, "they are bedrock, google, meta"),
        ({"target_provider": "bedrock"}, "are both 'bedrock'"),
        ({"percents": [50, 10]}, "percents: [50, 10] must rise"),
        ({"initial_percent": 50, "percents": [10, 100]}, "percents: [50, 10, 100] must rise"),
        ({"percents": [10, 100]}, None),
        ({}, None),
    ],
)
def test_what_cannot_be_meant_is_refused_with_a_sentence(request_changes: dict[str, Any], said: str | None) -> None:
    """Before anything is read; None where it can be meant."""
    why = canary.why_not_start(asked(**request_changes), PROVIDERS)
    assert why is None if said is None else why is not None and said in why


@pytest.mark.parametrize(
    ("request_changes", "told", "said", "error"),
    [
        ({}, brief({"google": WHOLE}), "sends nothing to bedrock", RequestError),
        ({}, brief(down=("google",)), "google is down: so it was measured. A canary needs a target", Refusal),
        (
            {"failure_threshold_percent": 99},
            brief(),
            "failure_threshold_percent 99 lies above the success threshold 98",
            RequestError,
        ),
        (
            {},
            brief(headroom=Headroom(requests_per_minute=9, requests_left={"google": 0, "meta": 0})),
            "no capacity for more",
            Refusal,
        ),
    ],
)
def test_what_cannot_be_planned_says_why(
    request_changes: dict[str, Any], told: Any, said: str, error: type[FailoverError]
) -> None:
    """Nothing to give and thresholds that contradict are mistakes; that nobody can take it now is a refusal."""
    with pytest.raises(error, match=said):
        canary.plan(asked(**request_changes), told)


def test_what_the_target_cannot_take_goes_to_the_next_in_the_chain_watched() -> None:
    """From the step on at which it is full; the next one is judged from then on."""
    told = brief(headroom=Headroom(requests_per_minute=100, requests_left={"google": 55}))
    plan = canary.plan(asked(), told)
    assert shares(plan)[-3:] == [[35, 55, 10], [17.5, 55, 27.5], [0, 55, 45]]
    assert [{gate.provider for gate in step.gates} for step in plan.steps[-3:]] == [
        {"google"},
        {"google", "meta"},
        {"google", "meta"},
    ]
    assert plan.steps[-1].said == ["google can take 55 % of the route, not 90 %", "35 % more go to meta"]
