"""What may start by itself: levels by route and verdict, a hold over all of it, and rates that do not flutter."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from failover.automation import Hold, Permission, ProposalRequest, gate, level, permission, permitted, proposal
from failover.config import Config
from failover.config.automation import Level
from failover.config.detection import Detection
from failover.config_file import parse
from failover.errors import ConfigError
from failover.failure import FailureKind
from failover.health import Condition, Probe, ProbeHistory, Verdict, judge, note_latency
from failover.starting import StartOrder
from failover.telemetry import ProviderWindow, Telemetry
from failover.triggers import Response, WatchState, after, respond, takers

NOW = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)

CONFIG = """
providers:
  a: {kind: llama, model: m}
  b: {kind: llama, model: m}
routes:
  calm: {distribution: {a: 100}, automation: {unavailable: propose, slow: off}}
  chat: {distribution: {a: 100}}
detection:
  automation: {slow: propose, degraded_quality: off, deadline: 5m, at_deadline: act}
"""


@pytest.fixture(scope="module")
def config() -> Config:
    return parse(CONFIG, "test.yaml").config


@pytest.mark.parametrize(
    ("route", "condition", "expected"),
    [
        ("chat", Condition.UNAVAILABLE, Level.ACT),
        ("calm", Condition.UNAVAILABLE, Level.PROPOSE),
        ("chat", Condition.SLOW, Level.PROPOSE),
        ("calm", Condition.SLOW, Level.OFF),
        ("chat", Condition.DEGRADED_QUALITY, Level.OFF),
        ("calm", Condition.DEGRADED_QUALITY, Level.OFF),
        ("unknown", Condition.THROTTLED, Level.ACT),
    ],
)
def test_a_route_may_differ(route: str, condition: Condition, expected: Level, config: Config) -> None:
    """Where it says nothing, the deployment's level stands; YAML's bare off is meant as it is written."""
    assert level(config, route, condition) is expected


def hold(**changes: Any) -> Hold:
    return replace(Hold(by="anna", why="migration", since=NOW - MINUTE), **changes)


@pytest.mark.parametrize(
    ("condition", "routes", "expected"),
    [
        (Condition.UNAVAILABLE, ["chat"], Permission(act=["chat"], all_act=True)),
        (Condition.UNAVAILABLE, ["calm", "chat"], Permission(act=["chat"], propose=["calm"])),
        (Condition.UNAVAILABLE, [], Permission(act=["chat"], propose=["calm"])),
        (Condition.SLOW, ["calm", "chat"], Permission(propose=["chat"])),
        (Condition.SLOW, ["calm"], Permission(why_not="Automation is off for slow on calm")),
    ],
)
def test_permission_is_by_route(condition: Condition, routes: list[str], expected: Permission, config: Config) -> None:
    """Some routes act while others ask; where the users are not known, every route counts."""
    assert permission(config, condition, routes, None, NOW) == expected


@pytest.mark.parametrize(
    ("held", "in_force"),
    [
        (hold(), True),
        (hold(until=NOW + MINUTE), True),
        (hold(until=NOW), False),
        (hold(until=NOW - MINUTE), False),
        (None, False),
    ],
)
def test_a_hold_stops_everything_until_it_is_over(held: Hold | None, in_force: bool, config: Config) -> None:
    """And says who, why and until when."""
    found = permission(config, Condition.UNAVAILABLE, ["chat"], held, NOW)
    assert found.held is in_force
    assert bool(found.act) is not in_force
    if in_force:
        assert "anna: migration" in found.why_not


def test_what_is_not_permitted_is_told_in_its_place() -> None:
    """People hear what would have been started."""
    response = Response(procedure="immediate", tell=True, reason="3 probes failed")
    told = permitted(response, Permission(held=True, why_not="On hold by anna"))
    assert (told.procedure, told.tell, told.held) == (None, True, True)
    assert told.reason == "3 probes failed. On hold by anna; an immediate failover is people's to start"
    assert permitted(response, Permission(act=["chat"], all_act=True)) is response
    nothing = Response(procedure=None, tell=True, reason="healthy")
    assert permitted(nothing, Permission(held=True, why_not="x")) is nothing


USED = {"chat": {"a": 10000}}
WELL = [Verdict(provider="b", condition=Condition.HEALTHY, reason="ok", at=NOW)]
DOWN = Verdict(provider="a", condition=Condition.UNAVAILABLE, reason="3 probes", at=NOW)
SLOW = Verdict(provider="a", condition=Condition.SLOW, reason="slow", at=NOW)
DETECTION = Detection()


def test_what_a_hold_kept_back_is_owed_once_it_ends() -> None:
    """Though the verdict has not changed since, and though nobody healthy is known: the first answer was never given."""
    before = WatchState(provider="a", started_at=NOW - timedelta(days=1))
    response = respond(DOWN, before, USED, [], DETECTION, NOW)
    held = after(before, DOWN, permitted(response, Permission(held=True, why_not="held")), NOW)
    assert (held.condition, held.held, held.started_at) == (Condition.UNAVAILABLE, True, before.started_at)
    again = respond(DOWN, held, USED, [], DETECTION, NOW + timedelta(seconds=1))
    assert (again.procedure, again.tell) == ("immediate", False)
    started = after(held, DOWN, again, NOW)
    assert not started.held
    assert respond(DOWN, started, USED, WELL, DETECTION, NOW + timedelta(seconds=5)).procedure is None


@pytest.mark.parametrize(
    ("verdict", "asks", "later", "procedure"),
    [
        (DOWN, False, DETECTION.schedule_interval, "immediate"),
        (DOWN, True, DETECTION.schedule_interval, None),
        (DOWN, True, DETECTION.cool_down, "immediate"),
        (SLOW, False, DETECTION.schedule_interval, None),
        (SLOW, False, DETECTION.cool_down, "gradual"),
    ],
)
def test_who_rests_for_how_long(verdict: Verdict, asks: bool, later: timedelta, procedure: str | None) -> None:
    """The way out of a provider that is down is never held by a cool-down; a ramp and a question to people are."""
    state = WatchState(provider="a", condition=verdict.condition, started_at=NOW)
    response = respond(verdict, state, USED, WELL, DETECTION, NOW + later, asks_people=asks)
    assert response.procedure == procedure


def test_takers_are_those_of_the_chain_that_are_known_to_be_well() -> None:
    """Best first; one with a failed probe, a slow one and an unknown one are not."""
    verdicts = [
        Verdict(provider="b", condition=Condition.SLOW, reason="", at=NOW),
        Verdict(provider="c", condition=Condition.HEALTHY, reason="", at=NOW),
        Verdict(provider="d", condition=Condition.HEALTHY, reason="", at=NOW),
    ]
    assert takers(["b", "unknown", "d", "c"], verdicts) == ["d", "c"]


def test_a_proposal_is_bound_to_what_it_would_start(config: Config) -> None:
    """Another order has another digest; old verdicts do not travel along."""
    order = StartOrder(
        procedure="ImmediateFailover",
        workflow_id="failover/a",
        request={"failed_provider": "a", "verdicts": [1]},
        summary="a is down",
    )
    asked = proposal(order, "a", ["calm"], "3 probes", "health-check", config.detection.automation)
    request = ProposalRequest.model_validate(asked.request)
    assert (asked.workflow_id, request.deadline_seconds, request.at_deadline) == ("proposal/failover/a", 300, "act")
    assert request.request == {"failed_provider": "a"}
    assert request.digest != request.model_copy(update={"request": {"failed_provider": "b"}}).digest


def immediate(routes: list[str] | None = None) -> StartOrder:
    return StartOrder(
        procedure="ImmediateFailover",
        workflow_id="failover/a",
        request={"failed_provider": "a", "routes": routes},
        summary="a is down",
    )


def ramp(route: str) -> StartOrder:
    return StartOrder(
        procedure="GradualFailover", workflow_id=f"gradual/{route}", request={"route": route}, summary=route
    )


@pytest.mark.parametrize(
    ("orders", "allowed", "expected"),
    [
        ([immediate()], Permission(act=["chat"], all_act=True), [("failover/a", None)]),
        (
            [immediate()],
            Permission(act=["chat"], propose=["calm"]),
            [("failover/a", ["chat"]), ("proposal/failover/a", ["calm"])],
        ),
        ([immediate(["calm"])], Permission(act=["chat"], propose=["calm"]), [("proposal/failover/a", ["calm"])]),
        ([immediate()], Permission(act=["chat"]), [("failover/a", ["chat"])]),
        ([immediate()], Permission(why_not="held", held=True), []),
        (
            [ramp("chat"), ramp("calm"), ramp("off")],
            Permission(act=["chat"], propose=["calm"]),
            [("gradual/chat", None), ("proposal/gradual/calm", ["calm"])],
        ),
    ],
)
def test_only_what_is_allowed_of_an_order_is_started(
    orders: list[StartOrder], allowed: Permission, expected: list[tuple[str, list[str] | None]], config: Config
) -> None:
    """Some routes act, of others people are asked, the rest is left; a hold leaves nothing."""
    gated = gate(orders, allowed, "a", "3 probes", "health-check", config)
    assert [(order.workflow_id, order.request.get("routes")) for order in gated] == expected
    for order in gated:
        if order.procedure == "Proposal":
            assert ProposalRequest.model_validate(order.request).request.get("routes") in (["calm"], None)


def telemetry(tries: int, failed: int, kind: FailureKind, p95_ms: int = 100) -> Telemetry:
    window = ProviderWindow(
        provider="a",
        route="chat",
        tries=tries,
        first_tries=tries,
        failures={kind: failed},
        latency_p95=timedelta(milliseconds=p95_ms),
    )
    return Telemetry(at=NOW, since=NOW - MINUTE, providers=[window], routes=[])


@pytest.mark.parametrize(
    ("kind", "condition", "limit"),
    [(FailureKind.THROTTLED, Condition.THROTTLED, 10), (FailureKind.SERVER_ERROR, Condition.UNAVAILABLE, 5)],
)
def test_a_rate_that_condemned_acquits_only_well_below_its_limit(
    kind: FailureKind, condition: Condition, limit: int
) -> None:
    """Around its limit a rate does not flutter: over it condemns, 90 % of it does neither, under 80 % acquits."""
    history = ProbeHistory(last=Probe(provider="a", at=NOW, latency=timedelta(0)), good_at=NOW)

    def found(parts: float) -> Condition:
        reading = telemetry(1000, round(limit * 10 * parts), kind)
        return judge("a", history, {MINUTE: reading}, DETECTION, NOW).condition

    assert (found(0.9), found(1.1)) == (Condition.HEALTHY, condition)
    history = replace(history, condition=condition)
    assert (found(0.9), found(0.7)) == (condition, Condition.HEALTHY)


def test_a_slow_provider_is_acquitted_only_well_below_the_limit() -> None:
    """P95 at 2.9 s of 3 s ends no slowness that was found; 2.3 s does. One that was not found yet ends at the limit."""
    slow = ProbeHistory(slow_since=NOW - timedelta(minutes=6), condition=Condition.SLOW)
    for p95_ms, condition, still in (
        (2900, Condition.SLOW, True),
        (2300, Condition.SLOW, False),
        (2900, Condition.HEALTHY, False),
    ):
        history = replace(slow, condition=condition)
        reading = telemetry(100, 0, FailureKind.THROTTLED, p95_ms)
        assert (note_latency(history, reading, "a", DETECTION).slow_since is not None) is still


def test_a_level_that_is_not_there_is_refused() -> None:
    """With what is allowed."""
    with pytest.raises(ConfigError, match=r"routes\.calm\.automation\.slow: 'maybe' is not allowed"):
        parse(CONFIG.replace("slow: off", "slow: maybe"), "test.yaml")
