"""Automation that demands a passed drill: ramps ask people first, and nobody waits while a provider is down."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from failover.alerts import Alert, Status, decide
from failover.automation import Permission, gate, permission, permitted
from failover.config import Config
from failover.config_file import parse
from failover.health import Condition, Verdict
from failover.starting import orders_for
from failover.triggers import Response

NOW = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)
DAY = timedelta(days=1)

TEXT = """
providers:
  a: {kind: llama, model: m}
  b: {kind: llama, model: m}
routes:
  chat: {distribution: {a: 100}}
  quiet: {distribution: {a: 100}, automation: {slow: off}}
failover_chains: {a: [b], b: [a]}
detection:
  automation: {require_drill_within: 30d}
"""


@pytest.fixture
def config() -> Config:
    return parse(TEXT, "test.yaml").config


def allowed(config: Config, condition: Condition, drilled: Mapping[str, datetime] | None, *routes: str) -> Permission:
    return permission(config, condition, routes or ["chat"], None, NOW, provider="a", drilled=drilled)


@pytest.mark.parametrize(
    ("drilled", "practised", "words"),
    [
        ({"a": NOW - 30 * DAY}, True, ""),
        ({"a": NOW - 31 * DAY}, False, "the last passed on 2025-12-31 12:00 UTC"),
        ({"b": NOW}, False, "none is on record"),
        ({}, False, "none is on record"),
        (None, False, "none is on record"),
    ],
)
def test_a_ramp_without_a_passed_drill_is_only_proposed(
    drilled: Mapping[str, datetime] | None, practised: bool, words: str, config: Config
) -> None:
    found = allowed(config, Condition.SLOW, drilled)
    assert (found.act, found.propose, found.all_act) == ((["chat"], [], True) if practised else ([], ["chat"], False))
    assert words in found.said and bool(found.said) is not practised
    assert "people are asked first" in found.said or practised


@pytest.mark.parametrize("condition", [Condition.UNAVAILABLE, Condition.UNUSABLE, Condition.INVALID_ANSWERS])
def test_the_way_out_of_who_is_down_waits_for_no_drill(condition: Condition, config: Config) -> None:
    """It is taken, and says so where people read of it: in the run's reason and in what is told."""
    found = allowed(config, condition, {})
    assert found.act == ["chat"] and found.all_act and "the way out is taken all the same" in found.said
    verdict = Verdict(provider="a", condition=condition, reason="gone", at=NOW)
    orders = orders_for("immediate", verdict, others=(), routes=["chat"], requested_by="x")
    (order,) = gate(orders, found, "a", "gone", "x", config)
    assert order.procedure == "ImmediateFailover"
    assert order.request["reason"].startswith("gone. No drill of a passed within 30d")
    told = permitted(Response(procedure="immediate", tell=True, reason="gone"), found)
    assert told.procedure == "immediate" and "No drill of a passed" in told.reason


def test_a_proposal_says_why_people_are_asked(config: Config) -> None:
    found = allowed(config, Condition.SLOW, {})
    verdict = Verdict(provider="a", condition=Condition.SLOW, reason="late", at=NOW)
    orders = orders_for("gradual", verdict, others=(), routes=["chat"], requested_by="x")
    (asking,) = gate(orders, found, "a", "late", "x", config)
    assert asking.procedure == "Proposal" and "No drill of a passed within 30d" in str(asking.request["reason"])


def test_what_is_off_stays_off(config: Config) -> None:
    """A demand for drills starts nothing."""
    assert allowed(config, Condition.SLOW, {}, "quiet").why_not
    assert allowed(config, Condition.SLOW, {}, "quiet", "chat").propose == ["chat"]


def test_without_the_demand_nothing_changes() -> None:
    bare = parse(TEXT.replace("{require_drill_within: 30d}", "{}"), "test.yaml").config
    assert allowed(bare, Condition.SLOW, None) == Permission(act=["chat"], all_act=True)


@pytest.mark.parametrize(("drilled", "procedure"), [({}, "Proposal"), ({"a": NOW}, "GradualFailover")])
def test_an_alert_is_no_other_door(drilled: Mapping[str, datetime], procedure: str, config: Config) -> None:
    given: dict[str, Any] = {"provider": "a", "trigger": "slow"}
    alert = Alert(key="k", name="late", status=Status.FIRING, labels=given)
    decision = decide(alert, "grafana", config, None, NOW, None, drilled)
    assert {order.procedure for order in decision.starts} == {procedure}
