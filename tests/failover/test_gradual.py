"""A provider's share falls in phases, or the route moves to a distribution: each sentence of the runbook's words."""

from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest

from failover import gradual
from failover.capacity import Headroom
from failover.config.procedures import Procedures
from failover.config.routes import Approvals
from failover.errors import FailoverError, Refusal, RequestError
from failover.gates import Consequence, Metric
from failover.gradual import phase_of
from failover.ramp import Fallback, RampPlan
from failover.requests import GradualFailoverRequest
from tests.failover.conftest import FOUND, brief

PROVIDERS = ["bedrock", "google", "meta"]


def asked(**request: Any) -> GradualFailoverRequest:
    return GradualFailoverRequest.model_validate({"route": "chat", **request})


BEDROCK = asked(failed_provider="bedrock")


def shares(plan: RampPlan) -> list[list[int]]:
    """Percents of bedrock, google and meta after each step."""
    return [[step.distribution.get(name, 0) // 100 for name in PROVIDERS] for step in plan.steps]


@pytest.mark.parametrize(
    ("found", "down", "steps"),
    [
        (FOUND, (), [[50, 30, 20], [25, 50, 25], [0, 70, 30]]),
        ({"bedrock": 10_000}, (), [[50, 30, 20], [25, 50, 25], [0, 70, 30]]),
        ({"bedrock": 4000, "google": 5000, "meta": 1000}, (), [[25, 50, 25], [0, 70, 30]]),
        ({"bedrock": 1000, "google": 8000, "meta": 1000}, (), [[0, 70, 30]]),
        (FOUND, ("google",), [[50, 20, 30], [25, 20, 55], [0, 20, 80]]),
        (FOUND, ("meta",), [[50, 40, 10], [25, 65, 10], [0, 90, 10]]),
        ({"bedrock": 8000, "google": 2000}, ("google",), [[50, 20, 30], [25, 20, 55], [0, 20, 80]]),
    ],
    ids=[
        "the runbook's",
        "all on the failed one",
        "below the first cap",
        "below the second",
        "the secondary is down",
        "the tertiary is down",
        "it serves and is down",
    ],
)
def test_the_phases_are_caps(found: dict[str, int], down: tuple[str, ...], steps: list[list[int]]) -> None:
    """50/30/20, 25/50/25, 0/70/30; no rise of the failed one, none for who is down, and what is met already is left out."""
    assert shares(gradual.plan(BEDROCK, brief(found, down=down))) == steps


def test_a_phase_is_a_minute_to_settle_and_a_monitored_window_after_each_but_the_last() -> None:
    """60 s, then 2 minutes; the last one is verified, and the run is over."""
    *before, last = gradual.plan(BEDROCK, brief()).steps
    assert [(step.settle, step.hold) for step in before] == [(timedelta(seconds=60), timedelta(minutes=2))] * 2
    assert (last.settle, last.hold, last.gates) == (timedelta(0), timedelta(0), ())


def test_whoever_gains_is_watched_and_the_source_can_only_hurry() -> None:
    """Success and P95 of who gains, by the route's targets; the failed one's getting worse does not stop anything."""
    gates = gradual.plan(BEDROCK, brief()).steps[0].gates
    assert [(gate.provider, gate.metric, gate.consequence) for gate in gates] == [
        ("google", Metric.SUCCESS_PERCENT, Consequence.FAIL),
        ("google", Metric.LATENCY_P95_MS, Consequence.FAIL),
        ("meta", Metric.SUCCESS_PERCENT, Consequence.FAIL),
        ("meta", Metric.LATENCY_P95_MS, Consequence.FAIL),
        ("bedrock", Metric.SUCCESS_PERCENT, Consequence.HASTEN),
    ]
    assert [gate.pass_at for gate in gates[:2]] == [98, 1500]


def test_secondary_and_tertiary_are_the_chains() -> None:
    """The order of the chain, not of the names; who serves already comes after it."""
    assert shares(gradual.plan(BEDROCK, brief(chain=["meta", "google"])))[-1] == [0, 30, 70]
    assert shares(gradual.plan(BEDROCK, brief(chain=["meta"])))[-1] == [0, 30, 70]
    assert shares(gradual.plan(BEDROCK, brief(chain=[])))[-1] == [0, 70, 30]


def test_a_fourth_provider_keeps_its_share() -> None:
    """The phase divides what is left among secondary and tertiary as it says."""
    found = {"bedrock": 6000, "google": 1000, "meta": 1000, "other": 2000}
    assert phase_of(found, "bedrock", ["google", "meta"], [0, 70, 30]) == {
        "bedrock": 0,
        "google": 5600,
        "meta": 2400,
        "other": 2000,
    }


def test_a_cap_above_what_it_has_raises_nobody() -> None:
    """The share of the failed one never rises."""
    found = {"bedrock": 1000, "google": 8000, "meta": 1000}
    assert phase_of(found, "bedrock", ["google", "meta"], [50, 30, 20])["bedrock"] == 1000


def test_who_takes_over_alone_takes_all() -> None:
    """A missing tertiary leaves its part to the secondary, also where the phase names it nothing."""
    assert phase_of(FOUND, "bedrock", ["google"], [50, 30, 20]) == {"bedrock": 5000, "google": 4000, "meta": 1000}
    assert phase_of(FOUND, "bedrock", ["google"], [50, 0, 50]) == {"bedrock": 5000, "google": 4000, "meta": 1000}


def test_the_target_suffering_asks_a_person_and_silence_holds() -> None:
    """What a failed gate does, and what nobody's answer does."""
    plan = gradual.plan(BEDROCK, brief())
    assert (plan.on_failure, plan.on_doubt) == (Fallback.ASK, Fallback.HOLD)


@pytest.mark.parametrize(
    ("request_changes", "holds", "steps"),
    [
        ({"transition_seconds": 0}, [0], [[0, 80, 20]]),
        ({"transition_seconds": 9}, [0], [[0, 80, 20]]),
        ({"transition_seconds": 10}, [10, 0], [[35, 50, 15], [0, 80, 20]]),
        ({"transition_seconds": 19}, [19, 0], [[35, 50, 15], [0, 80, 20]]),
        ({"transition_seconds": 60}, [10] * 6 + [0], None),
        ({}, [33] * 9 + [0], None),
        ({"transition_seconds": 3600}, [400] * 9 + [0], None),
    ],
    ids=["at once", "too short for two", "10 s", "19 s", "a minute", "the default: 300 s", "an hour"],
)
def test_a_transition_goes_in_equal_steps_at_least_ten_seconds_apart(
    request_changes: dict[str, Any], holds: list[int], steps: list[list[int]] | None
) -> None:
    """The first at once, the last when the time is over, ten at most; without a transition it is one step."""
    request = asked(target_distribution={"bedrock": 0, "google": 80, "meta": 20}, **request_changes)
    plan = gradual.plan(request, brief())
    assert [step.hold.total_seconds() for step in plan.steps] == holds
    assert steps is None or shares(plan) == steps
    assert shares(plan)[-1] == [0, 80, 20]
    given = [FOUND["bedrock"], *(step.distribution["bedrock"] for step in plan.steps)]
    differences = [before - after for before, after in pairwise(given)]
    assert max(differences) - min(differences) <= 2


def test_providers_left_out_of_a_distribution_get_nothing() -> None:
    """Whatever they had."""
    plan = gradual.plan(asked(target_distribution={"google": 100}, transition_seconds=0), brief())
    assert shares(plan) == [[0, 100, 0]]


def test_gates_of_a_transition_can_be_told_only() -> None:
    """`enforce_gates: false` watches and stops nothing."""
    plan = gradual.plan(asked(target_distribution={"google": 100}, transition_seconds=20, enforce_gates=False), brief())
    assert plan.steps[0].gates
    assert not any(gate.enforce for gate in plan.steps[0].gates)


@pytest.mark.parametrize(("throttled", "left"), [(10, 6300), (12.5, 6125), (100, 0)])
def test_only_the_throttled_part_leaves_a_provider_that_throttles(throttled: float, left: int) -> None:
    """The rest is served well; what leaves is divided as the others already share."""
    [step] = gradual.plan(asked(failed_provider="bedrock", throttled_share_percent=throttled), brief()).steps
    assert step.distribution["bedrock"] == left
    assert step.distribution["google"] == pytest.approx(2 * step.distribution["meta"], abs=2)
    assert step.hold == timedelta(minutes=2)


@pytest.mark.parametrize(
    ("measured", "taken", "steps"),
    [(20, 1, ["step-2"]), (10, 1, []), (5, 1, []), (None, 1, []), (20, 5, []), (20, 4, ["step-5"])],
    ids=["throttles on", "at the limit", "below it", "nobody knows", "often enough", "once more"],
)
def test_a_provider_that_goes_on_throttling_is_measured_anew(
    measured: float | None, taken: int, steps: list[str]
) -> None:
    """Until it throttles little, or people must decide; no data moves nothing."""
    request = asked(failed_provider="bedrock", throttled_share_percent=30)
    more = gradual.further(request, brief(throttled_percent=measured, throttling_limit=10), taken)
    assert [step.name for step in more] == steps


@pytest.mark.parametrize(
    ("request_changes", "said"),
    [
        ({}, "either failed_provider or target_distribution"),
        ({"failed_provider": "bedrock", "target_distribution": {"google": 100}}, "and not both"),
        ({"failed_provider": "azure"}, "'azure' is no provider of this deployment; they are bedrock, google, meta"),
        ({"target_distribution": {"azure": 100}}, "'azure' is no provider"),
        ({"target_distribution": {"google": 100}, "phases": [[0, 100]]}, "phases go with failed_provider"),
        ({"failed_provider": "bedrock", "phases": [[50, 30]]}, "phases: [50, 30] sums to 80 %"),
        ({"failed_provider": "bedrock", "phases": [[25, 75], [50, 50]]}, "must fall"),
        ({"failed_provider": "bedrock", "phases": [[40, 20, 20, 20]]}, "and nobody else"),
        ({"failed_provider": "bedrock"}, None),
        ({"failed_provider": "bedrock", "phases": [[50, 50]]}, None),
    ],
)
def test_what_cannot_be_meant_is_refused_with_a_sentence(request_changes: dict[str, Any], said: str | None) -> None:
    """Before anything is read; None where it can be meant."""
    why = gradual.why_not_start(asked(**request_changes), PROVIDERS)
    assert why is None if said is None else why is not None and said in why


@pytest.mark.parametrize(
    ("request_", "told", "said", "error"),
    [
        (BEDROCK, brief({"google": 10_000}), "google:100: there is nothing to move", RequestError),
        (
            BEDROCK,
            brief(down=("google", "meta")),
            "Nobody can take over from bedrock on route 'chat': google: so it",
            Refusal,
        ),
        (BEDROCK, brief({"bedrock": 10_000}, chain=[]), "its chain is empty", Refusal),
        (
            BEDROCK,
            brief(headroom=Headroom(requests_per_minute=9, requests_left={"google": 0, "meta": 0})),
            "nobody has capacity for more of it",
            Refusal,
        ),
        (
            asked(target_distribution={"google": 100}),
            brief(down=("google",)),
            "stays at bedrock:70,google:20,meta:10: google would get more traffic, and is down",
            Refusal,
        ),
        (
            asked(target_distribution={"google": 50, "meta": 50}),
            brief(down=("google", "meta")),
            "google would get more traffic, and is down: so it was measured; meta would get more",
            Refusal,
        ),
        (
            asked(target_distribution=dict.fromkeys(["bedrock"], 100)),
            brief({"bedrock": 10_000}),
            "nothing to move",
            RequestError,
        ),
    ],
)
def test_what_cannot_be_planned_says_why(
    request_: GradualFailoverRequest, told: Any, said: str, error: type[FailoverError]
) -> None:
    """Nothing to move is a mistake of whoever asks; nobody to take it, or a target that is down, a refusal."""
    with pytest.raises(error, match=said):
        gradual.plan(request_, told)


def test_what_the_secondary_cannot_take_goes_to_the_tertiary_watched() -> None:
    """A step never sends more than a provider can take; who gets the rest has gates of its own, and it is said."""
    told = brief(headroom=Headroom(requests_per_minute=100, requests_left={"google": 40}))
    plan = gradual.plan(BEDROCK, told)
    assert shares(plan) == [[50, 30, 20], [25, 40, 35], [0, 40, 60]]
    assert plan.steps[1].said == ["google can take 40 % of the route, not 50 %", "10 % more go to meta"]
    told = brief(headroom=Headroom(requests_per_minute=100, requests_left={"google": 30}))
    alone = gradual.plan(asked(failed_provider="bedrock", phases=[[50, 50], [0, 100]]), told)
    assert shares(alone) == [[50, 30, 20], [0, 30, 70]]
    assert {gate.provider for gate in alone.steps[0].gates} == {"google", "meta", "bedrock"}


def test_what_does_not_fit_of_a_distribution_goes_to_nobody_who_is_to_lose() -> None:
    """It stays where it is instead: a transition never raises who was to get less."""
    found = {"bedrock": 500, "google": 6000, "meta": 3500}
    full = Headroom(requests_per_minute=100, requests_left={"google": 70})
    request = asked(target_distribution={"google": 100}, transition_seconds=0)
    plan = gradual.plan(request, brief(found, chain=["bedrock", "meta"], headroom=full))
    assert shares(plan) == [[0, 70, 30]]


def test_an_unknown_demand_is_said_before_the_first_step() -> None:
    """Limits that could not be held against anything are no check that was passed."""
    plan = gradual.plan(BEDROCK, brief(headroom=Headroom(requests_left={"google": 40})))
    assert "nobody knows the demand" in plan.steps[0].said[0]
    assert plan.steps[1].said == []


def test_waits_and_phases_can_be_given() -> None:
    """The request's before the configuration's; the route's approvals unless it brings its own."""
    settings = Procedures.model_validate({"gradual": {"settle": "5s", "monitor": "7s", "phases": [[40, 60], [0, 100]]}})
    plan = gradual.plan(BEDROCK, brief(procedures=settings, approvals=Approvals(quorum=2)))
    assert (plan.steps[0].settle, plan.steps[0].hold) == (timedelta(seconds=5), timedelta(seconds=7))
    assert shares(plan) == [[40, 60, 0], [0, 100, 0]]
    assert plan.approvals.quorum == 2
    given = asked(failed_provider="bedrock", settle_seconds=1, monitor_seconds=2, phases=[[10, 90], [0, 100]])
    plan = gradual.plan(given, brief(procedures=settings))
    assert (plan.steps[0].settle, plan.steps[0].hold) == (timedelta(seconds=1), timedelta(seconds=2))
    assert shares(plan) == [[10, 90, 0], [0, 100, 0]]
