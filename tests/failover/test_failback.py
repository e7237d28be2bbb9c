"""When a provider is well again, and how its traffic returns: each sentence of the runbook's words."""

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from failover import failback
from failover.capacity import Headroom
from failover.config.procedures import Failback
from failover.config.routes import ApprovalPoint, Approvals
from failover.distribution import WHOLE
from failover.errors import FailoverError, Refusal, RequestError
from failover.failback import Recovery, RecoveryProbe, longest_gap, next_look, why_not_recovered
from failover.ramp import Fallback, RampPlan
from failover.requests import FailbackRequest
from tests.failover.conftest import FOUND, NOW, brief

PROVIDERS = ["bedrock", "google", "meta"]
MOVED = {"bedrock": 0, "google": 9000, "meta": 1000}
WINDOW = timedelta(minutes=30)
SETTINGS = Failback()


def asked(**request: Any) -> FailbackRequest:
    return FailbackRequest.model_validate({"route": "chat", "original_provider": "bedrock", **request})


def shares(plan: RampPlan) -> list[list[float]]:
    return [[step.distribution.get(name, 0) / 100 for name in PROVIDERS] for step in plan.steps]


def test_percents_are_of_the_share_that_was_moved_away() -> None:
    """10, 25, 50, 75, 100 of the 70 come back from where they went; 100 is the distribution before the failover."""
    assert shares(failback.plan(asked(), brief(MOVED, before=FOUND))) == [
        [7, 83, 10],
        [17.5, 72.5, 10],
        [35, 55, 10],
        [52.5, 37.5, 10],
        [70, 20, 10],
    ]


def test_three_minutes_at_each_step_and_the_original_is_judged() -> None:
    """180 s, its success and its P95."""
    for step in failback.plan(asked(), brief(MOVED, before=FOUND)).steps:
        assert step.hold == timedelta(seconds=180)
        assert [gate.provider for gate in step.gates] == ["bedrock", "bedrock"]


def test_a_failed_validation_goes_back_to_the_last_good_step_and_stops() -> None:
    """Where the runbook's break stops where it is; silence does the same."""
    plan = failback.plan(asked(), brief(MOVED, before=FOUND))
    assert (plan.on_failure, plan.on_doubt) == (Fallback.STEP_BACK, Fallback.STEP_BACK)


@pytest.mark.parametrize(
    ("found", "current", "goal"),
    [
        (MOVED, None, [70, 20, 10]),
        (MOVED, "google", [70, 20, 10]),
        ({"bedrock": 0, "google": 7000, "meta": 3000}, None, [70, 20, 10]),
        ({"bedrock": 0, "google": 7000, "meta": 3000}, "google", [50, 20, 30]),
        ({"bedrock": 0, "google": 7000, "meta": 3000}, "meta", [20, 70, 10]),
        ({"bedrock": 0, "google": 0, "meta": 10_000}, None, [70, 0, 30]),
        ({"bedrock": 3000, "google": 6000, "meta": 1000}, None, [70, 20, 10]),
        ({"bedrock": 0, "google": 500, "meta": 9500}, "meta", [70, 5, 25]),
    ],
    ids=[
        "from one",
        "from one, named",
        "from both, as much from each as it gained",
        "only what google gained",
        "only what meta gained",
        "google was failed over from since: it gets nothing back here",
        "some is back already",
        "meta gained more than bedrock lost",
    ],
)
def test_it_comes_back_from_where_it_went_and_nobody_else_rises(
    found: dict[str, int], current: str | None, goal: list[int]
) -> None:
    """Only the original was proved to be well: what others lost since is not returned with it."""
    end = failback.goal_of(asked(current_provider=current), brief(found, before=FOUND))
    assert [end.get(name, 0) // 100 for name in PROVIDERS] == goal


SHARES = st.lists(st.integers(0, 100), min_size=3, max_size=3).filter(any)


def whole(weights: list[int]) -> dict[str, int]:
    parts = [WHOLE * weight // sum(weights) for weight in weights]
    parts[parts.index(max(parts))] += WHOLE - sum(parts)
    return dict(zip(PROVIDERS, parts, strict=True))


@given(SHARES.map(whole), SHARES.map(whole), st.sampled_from([None, "google", "meta"]))
def test_whatever_happened_since_only_the_original_rises_and_never_over_what_it_had(
    found: dict[str, int], before: dict[str, int], current: str | None
) -> None:
    """And nobody falls below what it had before, or has now."""
    goal = failback.goal_of(asked(current_provider=current), brief(found, before=before))
    assert sum(goal.values()) == WHOLE
    assert found["bedrock"] <= goal["bedrock"] <= max(found["bedrock"], before["bedrock"])
    for name in ("google", "meta"):
        assert min(found[name], before[name]) <= goal[name] <= found[name]
    if current is None:
        assert goal["bedrock"] == max(found["bedrock"], before["bedrock"])


def test_what_the_original_cannot_take_stays_where_it_is_served() -> None:
    """It is served well there; nobody who had nothing to do with it gets it."""
    full = Headroom(requests_per_minute=100, requests_left={"bedrock": 40})
    plan = failback.plan(asked(), brief(MOVED, before=FOUND, chain=["meta"], headroom=full))
    assert shares(plan)[-1] == [40, 50, 10]
    assert "30 % fit nowhere else and stay with google" in plan.steps[-1].said


@pytest.mark.parametrize(
    ("auto", "points", "asks"),
    [
        (True, [], []),
        (False, [], [ApprovalPoint.FIRST_SHIFT]),
        (False, [ApprovalPoint.FULL], [ApprovalPoint.FIRST_SHIFT, ApprovalPoint.FULL]),
        (False, [ApprovalPoint.FIRST_SHIFT], [ApprovalPoint.FIRST_SHIFT]),
    ],
)
def test_one_that_only_proposes_asks_before_its_first_shift(
    auto: bool, points: list[ApprovalPoint], asks: list[ApprovalPoint]
) -> None:
    """Whatever else the route wants to be asked."""
    told = brief(MOVED, before=FOUND, approvals=Approvals(points=points))
    assert failback.plan(asked(auto=auto), told).approvals.points == asks


@pytest.mark.parametrize(
    ("request_changes", "said"),
    [
        ({"original_provider": "azure"}, "original_provider 'azure' is no provider"),
        ({"current_provider": "azure"}, "they are bedrock, google, meta"),
        ({"current_provider": "bedrock"}, "are both 'bedrock'"),
        ({"percents": [50, 10]}, "percents: [50, 10] must rise"),
        ({"percents": []}, "there is no step"),
        ({"percents": [30]}, None),
        ({}, None),
    ],
)
def test_what_cannot_be_meant_is_refused_with_a_sentence(request_changes: dict[str, Any], said: str | None) -> None:
    """Before anything is read; None where it can be meant."""
    why = failback.why_not_start(asked(**request_changes), PROVIDERS)
    assert why is None if said is None else why is not None and said in why


@pytest.mark.parametrize(
    ("found", "told", "said", "error"),
    [
        (FOUND, {}, "nothing is to be returned", RequestError),
        (
            {"bedrock": 8000, "google": 1000, "meta": 1000},
            {},
            "bedrock held 70 % before: nothing is to be returned",
            RequestError,
        ),
        (
            MOVED,
            {"headroom": Headroom(requests_per_minute=9, requests_left={"bedrock": 0})},
            "bedrock has no capacity for more",
            Refusal,
        ),
    ],
)
def test_what_cannot_be_planned_says_why(
    found: dict[str, int], told: dict[str, Any], said: str, error: type[FailoverError]
) -> None:
    """It has what it had, or more, or it can take nothing."""
    with pytest.raises(error, match=said):
        failback.plan(asked(), brief(found, before=FOUND, **told))


def watched(minutes: list[tuple[float, bool]], gap: timedelta | None = None) -> Recovery:
    """Probes by minute since the watch began, good or bad."""
    recovery = Recovery(since=NOW)
    for minute, healthy in minutes:
        probe = RecoveryProbe(at=NOW + timedelta(minutes=minute), healthy=healthy, reason="as measured")
        recovery = recovery.seen(probe, WINDOW, gap)
    return recovery


def every(interval: float, until: float, bad: tuple[float, ...] = ()) -> list[tuple[float, bool]]:
    return [(n * interval, n * interval not in bad) for n in range(int(until / interval) + 1)]


@pytest.mark.parametrize(
    ("minutes", "at", "said"),
    [
        ([], 0, "it was not probed yet"),
        (every(0.5, 29.5), 29.5, "it was watched for 29.5 min of 30.0 min"),
        (every(0.5, 30), 30, None),
        (every(0.5, 30, bad=(30,)), 30, "its last probe failed: as measured"),
        (every(0.5, 30, bad=(10,)), 30, "98.4 % of its last 61 probes were good, 99 % are asked for"),
        (every(0.5, 40, bad=(9,)), 40, None),
        (every(0.25, 30, bad=(10,)), 30, None),
        (
            [(minute, False) for minute in range(0, 60, 5)] + [(60 + m / 2, True) for m in range(60)],
            89.5,
            "of its last",
        ),
        ([(minute, False) for minute in range(0, 60, 5)] + [(60 + m / 2, True) for m in range(62)], 90.5, None),
    ],
    ids=[
        "no probe",
        "too short",
        "well",
        "the last one failed",
        "one of 61 failed",
        "one failed long ago",
        "one of 121 failed",
        "down for an hour, well for half of one",
        "and a little more",
    ],
)
def test_a_provider_is_well_after_the_whole_window_at_99_percent(
    minutes: list[tuple[float, bool]], at: float, said: str | None
) -> None:
    """30 minutes, and the last probe good; what was bad before the window is forgotten."""
    why = why_not_recovered(watched(minutes), WINDOW, 99, NOW + timedelta(minutes=at))
    assert why is None if said is None else why is not None and said in why


def test_a_watch_that_nobody_kept_begins_anew() -> None:
    """Two good probes an hour apart are no recovery: nobody knows what was in between."""
    seldom = [*every(0.5, 5), (65.0, True)]
    now = NOW + timedelta(minutes=65)
    assert why_not_recovered(watched(seldom, longest_gap(SETTINGS)), WINDOW, 99, now) is not None
    later = [*seldom, *((65 + m / 2, True) for m in range(1, 61))]
    after = NOW + timedelta(minutes=95)
    assert why_not_recovered(watched(later, longest_gap(SETTINGS)), WINDOW, 99, after) is None


@pytest.mark.parametrize(("failures", "times"), [(0, 1), (1, 1), (2, 2), (9, 9), (10, 10), (500, 10)])
def test_the_longer_it_is_down_the_more_seldom_it_is_probed(failures: int, times: int) -> None:
    """Up to ten times the interval; never so seldom that the watch thinks nobody kept it."""
    recovery = watched([(-1 - m / 100, False) for m in range(failures)])
    assert next_look(recovery, SETTINGS) == SETTINGS.watch_interval * times
    assert next_look(recovery, SETTINGS) < longest_gap(SETTINGS)
