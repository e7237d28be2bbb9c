"""What a drill may break, what ends it, whether it passed, and when none begins."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from failover.config import Config
from failover.config.drills import Blackout, DrillSchedule, Stop
from failover.config_file import parse
from failover.drill import (
    FailoverDrillRequest,
    Scenario,
    as_practised,
    judge,
    wanted,
    why_interrupted,
    why_not_inject,
    why_stop,
)
from failover.errors import ConfigError
from failover.failure import FailureKind
from failover.health import Condition, Verdict
from failover.immediate import RouteNow, plan, why_not_drill
from failover.incident import Impact, Moments, Outcome, RunRecord, Trigger
from failover.policy import Change, ChangedBy, Revision, RouteRecord, TrafficPolicy, apply
from failover.requests import ImmediateFailoverRequest
from failover.telemetry import ProviderWindow, RouteWindow, Telemetry
from tests.records import run_record

NOW = datetime(2026, 11, 27, 12, 0, tzinfo=UTC)  # a Friday
FOUND = {"a": 7000, "b": 3000}

TEXT = """
providers:
  a: {kind: llama, model: m}
  b: {kind: llama, model: m}
routes:
  chat: {distribution: {a: 70, b: 30}}
  practice: {distribution: {a: 70, b: 30}}
failover_chains: {a: [b], b: [a]}
drills:
  routes: [practice]
  schedules:
    weekly: {provider: a, every: 7d, fault: timeout}
    little: {provider: b, route: chat, percent: 2, days: [tue], at: 18:30, time_zone: Europe/Berlin}
"""


@pytest.fixture
def config() -> Config:
    return parse(TEXT, "drills.yaml").config


# What is wanted


def test_a_schedule_fills_in_what_the_request_leaves_out(config: Config) -> None:
    """Provider, fault, route and percent; the only drill route where it names none."""
    found = wanted(FailoverDrillRequest(schedule="weekly"), config)
    assert isinstance(found, Scenario)
    assert (found.route, found.provider, found.fault, found.is_live) == ("practice", "a", "timeout", False)
    little = wanted(FailoverDrillRequest(schedule="little"), config)
    assert isinstance(little, Scenario) and (little.route, little.percent) == ("chat", 2)


def test_without_a_drill_route_one_is_told_how_to_have_one(config: Config) -> None:
    bare = config.model_copy(update={"drills": config.drills.model_copy(update={"routes": []})})
    said = wanted(FailoverDrillRequest(provider="a"), bare)
    assert isinstance(said, str) and "drills: {routes: [drill]}" in said and "restart" in said


@pytest.mark.parametrize(
    ("route", "provider", "percent", "words"),
    [
        ("practice", "a", None, None),
        ("chat", "a", 5, None),
        ("chat", "a", None, "is live"),
        ("chat", "a", 5.1, "live_percent_limit"),
        ("practice", "a", 5, "drilled whole"),
        ("nowhere", "a", None, "no route"),
        ("practice", "z", None, "no provider"),
    ],
)
def test_what_may_be_broken(
    route: str, provider: str, percent: float | None, words: str | None, config: Config
) -> None:
    """A drill route whole, a live one a little, and nothing else."""
    why = why_not_inject(config, route, provider, percent)
    assert (why is None) if words is None else (why is not None and words in why)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"routes": ["nowhere"]}, "drills.routes names 'nowhere'"),
        ({"routes": ["practice"], "schedules": {"x": {"provider": "z", "every": "1d"}}}, "no provider"),
        ({"routes": [], "schedules": {"x": {"provider": "a", "every": "1d"}}}, "names no route"),
        ({"routes": [], "schedules": {"x": {"provider": "a", "route": "chat", "every": "1d"}}}, "needs a percent"),
    ],
)
def test_a_configuration_that_could_not_be_drilled_is_refused(change: dict[str, Any], words: str) -> None:
    import yaml

    told = yaml.safe_load(TEXT)
    told["drills"] = change
    with pytest.raises(ConfigError, match=words):
        parse(yaml.safe_dump(told), "drills.yaml")


# When


@pytest.mark.parametrize(
    ("window", "at", "covered"),
    [
        ({"start": "09:00", "end": "17:00"}, "2026-11-27T08:59:59+00:00", False),
        ({"start": "09:00", "end": "17:00"}, "2026-11-27T09:00:00+00:00", True),
        ({"start": "09:00", "end": "17:00"}, "2026-11-27T17:00:00+00:00", False),
        # Berlin is an hour ahead in winter, two in summer.
        ({"start": "09:00", "end": "17:00", "time_zone": "Europe/Berlin"}, "2026-11-27T08:30:00+00:00", True),
        ({"start": "09:00", "end": "17:00", "time_zone": "Europe/Berlin"}, "2026-07-01T07:30:00+00:00", True),
        ({"start": "09:00", "end": "17:00", "time_zone": "Europe/Berlin"}, "2026-07-01T15:30:00+00:00", False),
        # Over midnight the day on which it starts counts: Friday's window ends on Saturday.
        ({"start": "18:00", "end": "08:00", "days": ["fri"]}, "2026-11-27T18:00:00+00:00", True),
        ({"start": "18:00", "end": "08:00", "days": ["fri"]}, "2026-11-28T07:59:00+00:00", True),
        ({"start": "18:00", "end": "08:00", "days": ["fri"]}, "2026-11-27T07:59:00+00:00", False),
        ({"start": "18:00", "end": "08:00", "days": ["fri"]}, "2026-11-28T18:00:00+00:00", False),
        ({"start": "2026-11-26T00:00", "end": "2026-11-28T00:00"}, "2026-11-27T12:00:00+00:00", True),
        ({"start": "2026-11-26T00:00", "end": "2026-11-28T00:00"}, "2026-11-28T00:00:00+00:00", False),
    ],
)
def test_a_blackout_covers_its_window_in_its_own_time_zone(window: dict[str, Any], at: str, covered: bool) -> None:
    assert Blackout.model_validate(window).covers(datetime.fromisoformat(at)) is covered


def test_times_that_yaml_reads_as_numbers_are_times() -> None:
    """A bare 18:00 is 1080 to YAML 1.1."""
    assert Blackout.model_validate({"start": 1080, "end": "8:00"}).start == "18:00"
    assert DrillSchedule.model_validate({"provider": "a", "at": 1110}).at == "18:30"


@pytest.mark.parametrize(
    ("shape", "told", "words"),
    [
        (Blackout, {"start": "18:00", "end": "2026-01-01T00:00"}, "both be"),
        (Blackout, {"start": "2026-02-01T00:00", "end": "2026-01-01T00:00"}, "before it starts"),
        (Blackout, {"start": "25:00", "end": "08:00"}, "no time"),
        (Blackout, {"start": "18:00", "end": "08:00", "time_zone": "Mars/Olympus"}, "no time zone"),
        (DrillSchedule, {"provider": "a"}, "either every"),
        (DrillSchedule, {"provider": "a", "every": "7d", "at": "03:00"}, "either every"),
        (DrillSchedule, {"provider": "a", "every": "7d", "days": ["mon"]}, "without days"),
    ],
)
def test_windows_and_schedules_that_cannot_be_meant(shape: Any, told: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        shape.model_validate(told)


# What ends it


def users(requests: int = 100, **other: Any) -> RouteWindow:
    return RouteWindow(**{"route": "chat", "requests": requests, "failed": 0, "lost": 0, "empty": 0, **other})


@pytest.mark.parametrize(
    ("window", "words"),
    [
        (None, None),
        (users(19, failed=19), None),
        (users(failed=2), None),
        (users(failed=3), "3.0 % of 100 requests of users failed"),
        (users(empty=3), "failed"),
        (users(failed=2, lost=2), "were lost"),
        (users(latency_p95=timedelta(milliseconds=3001)), "P95"),
        (users(latency_p95=timedelta(milliseconds=3000)), None),
    ],
)
def test_what_stops_a_live_drill(window: RouteWindow | None, words: str | None) -> None:
    """Too few requests say nothing; a limit that is reached is not passed."""
    why = why_stop(window, Stop())
    assert (why is None) if words is None else (why is not None and words in why)


@pytest.mark.parametrize(
    ("claim", "author", "interrupted"),
    [
        ("drill/x", "drill/x", False),
        ("drill/x", "drill/x/failover", False),
        ("drill/x", "drill/xy", True),
        ("drill/x", "otto", True),
        (None, "failover/a", True),
        ("gradual/chat", "gradual/chat", True),
    ],
)
def test_whose_the_route_is(claim: str | None, author: str, interrupted: bool) -> None:
    assert (why_interrupted("drill/x", claim, author) is not None) is interrupted


# Whether it passed


def record(**moments: float) -> RunRecord:
    at = {name: NOW + timedelta(seconds=seconds) for name, seconds in moments.items()}
    return run_record(
        procedure="FailoverDrill",
        workflow_id="drill/x",
        run_id="r",
        trigger=Trigger.MANUAL,
        requested_by="anna",
        provider="a",
        reason="",
        moments=Moments(**{"decided": NOW, **at}),
        impact=Impact(requests=1000, failed=0, lost=0, baseline_p95=None, after_p95=None),
        is_drill=True,
    )


GOOD = record(first_bad=0, unhealthy=10, decided=10, in_force=11, verified=12, restored=15)


@pytest.mark.parametrize(
    ("given_", "failover", "after", "outcome", "words"),
    [
        (GOOD, Outcome.COMPLETED, None, Outcome.PASSED, "put back"),
        (GOOD, Outcome.FAILED, None, Outcome.FAILED, "did not save"),
        (GOOD, None, None, Outcome.FAILED, "did not save"),
        (GOOD, Outcome.COMPLETED, "slow", Outcome.FAILED, "slow"),
        (replace(GOOD, impact=None), Outcome.COMPLETED, None, Outcome.FAILED, "request loss unknown"),
        (
            replace(GOOD, impact=Impact(requests=100, failed=6, lost=0, baseline_p95=None, after_p95=None)),
            Outcome.COMPLETED,
            None,
            Outcome.FAILED,
            "user error rate 6.0 %",
        ),
        (
            record(first_bad=0, unhealthy=31, decided=31, in_force=32, verified=33, restored=34),
            Outcome.COMPLETED,
            None,
            Outcome.FAILED,
            "detection 31.0 s, target < 30s",
        ),
        (record(first_bad=0, unhealthy=1), Outcome.COMPLETED, None, Outcome.FAILED, "restoration unknown"),
    ],
)
def test_a_drill_passes_where_every_target_is_known_to_be_met(
    given_: RunRecord, failover: Outcome | None, after: str | None, outcome: Outcome, words: str
) -> None:
    """What is not known is not met."""
    found = judge(given_, failover, "nobody could", after)
    assert found.outcome is outcome and words in found.reason, found.reason


# What others know of it


def policy(**other: Any) -> TrafficPolicy:
    given_ = {
        "route": "chat",
        "revision": Revision("e", 1),
        "distribution": FOUND,
        "changed_by": ChangedBy(actor="x"),
        "reason": "",
        "changed_at": NOW,
    }
    return TrafficPolicy(**{**given_, **other})


def write(record: RouteRecord, number: int, **other: Any) -> RouteRecord:
    change = Change(
        route="chat",
        decided_on=record.policy.revision,
        key=str(number),
        changed_by=ChangedBy(actor="x"),
        reason="",
        **{"distribution": FOUND, **other},
    )
    after, result = apply(record, change, NOW)
    assert after is not None and result.in_force, result.reason
    return after


CLAIMS = st.sampled_from([None, "", "drill/x", "gradual/chat"])
SHARES = st.integers(0, 10_000).map(lambda points: {"a": points, "b": 10_000 - points})


@given(st.lists(st.tuples(CLAIMS, SHARES), max_size=8))
def test_the_clean_weights_are_those_that_the_drill_found(changes: list[tuple[str | None, dict[str, int]]]) -> None:
    """From the claim on, whatever the drill writes; and only while it holds the claim."""
    now, before = RouteRecord(policy=policy()), FOUND
    for number, (claim, shares) in enumerate(changes):
        drilling = now.policy.claim == "drill/x"
        before = before if drilling else dict(now.policy.distribution)
        now = write(now, number, distribution=shares, claim=claim, evict_claim=now.policy.claim if claim else None)
        expected = before if now.policy.claim == "drill/x" else None
        assert now.policy.clean == expected
        assert now.policy.undrilled == (expected if expected is not None else shares)


def route(**other: Any) -> RouteNow:
    given_ = {"route": "chat", "revision": Revision("e", 3), "distribution": FOUND, "chain": ["b"]}
    return RouteNow(**{**given_, **other})


def test_a_real_failover_decides_on_clean_weights() -> None:
    """The whole share that the provider really has; and what a drill brought to it goes back to where it was."""
    drilled = route(distribution={"a": 10_000, "b": 0}, drilled={"a": 0, "b": 10_000}, claim="drill/x")
    shift = plan(ImmediateFailoverRequest(failed_provider="a"), [drilled], {}, {}).shifts[0]
    assert shift.after == {"a": 0, "b": 10_000}
    back = plan(ImmediateFailoverRequest(failed_provider="b"), [drilled], {}, {}).shifts[0]
    assert (back.before, back.after) == ({"a": 0, "b": 10_000}, {"a": 10_000, "b": 0})
    clean = plan(ImmediateFailoverRequest(failed_provider="b"), [route(distribution={"a": 10_000})], {}, {})
    assert clean.shifts == [] and clean.untouched == ["chat"]


def test_a_drills_failover_moves_only_its_percent() -> None:
    """One point at least, and never more than there is."""
    request = ImmediateFailoverRequest(failed_provider="a", is_drill=True, share_percent=5)
    assert plan(request, [route()], {}, {}).shifts[0].after == {"a": 6650, "b": 3350}
    little = route(distribution={"a": 500, "b": 9500})
    assert plan(request, [little], {}, {}).shifts[0].after == {"a": 400, "b": 9600}


@pytest.mark.parametrize(
    ("claim", "allowed"), [("drill/x", True), ("drill/y", False), (None, False), ("gradual/chat", False)]
)
def test_a_drills_failover_writes_only_under_its_own_claim(claim: str | None, allowed: bool) -> None:
    assert (why_not_drill("drill/x/failover", [route(claim=claim)]) is None) is allowed


def test_a_drills_detection_takes_what_was_made_up_for_real_on_its_route_alone() -> None:
    windows = [
        ProviderWindow(
            provider="a",
            route=name,
            tries=10,
            first_tries=10,
            failures={FailureKind.SERVER_ERROR: 5},
            injected={FailureKind.SERVER_ERROR: 5},
        )
        for name in ("practice", "chat")
    ]
    seen = as_practised(Telemetry(at=NOW, since=NOW, providers=windows, routes=[users()]), "practice")
    assert seen is not None and [(one.route, one.injected) for one in seen.providers] == [("practice", {})]
    assert seen.routes == [] and as_practised(None, "practice") is None


def test_only_a_drill_moves_a_part() -> None:
    """A failover that left most of it where nobody answers would call itself done."""
    with pytest.raises(ValidationError, match="share_percent is a drill's"):
        ImmediateFailoverRequest(failed_provider="a", share_percent=5)


def test_the_way_out_of_a_drill_leads_to_nobody_who_is_down() -> None:
    """What the drill had found is down as well: the chain is asked, as always."""
    found = route(distribution={"a": 10_000}, drilled={"b": 10_000}, chain=["a", "c"])
    down = {name: Verdict(provider=name, condition=Condition.UNAVAILABLE, reason="503", at=NOW) for name in ("a", "b")}
    [shift] = plan(ImmediateFailoverRequest(failed_provider="b"), [found], down, {}).shifts
    assert (shift.target, shift.after) == ("c", {"b": 0, "c": 10_000})
