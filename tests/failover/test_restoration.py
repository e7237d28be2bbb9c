"""Is it good again? From the users' side, and never for lack of data."""

from datetime import UTC, datetime, timedelta

import pytest

from failover.config.routes import Targets
from failover.restoration import Asked, Expectation, contradictions, enough_tries, judge_sample
from failover.telemetry import ProviderWindow, RouteWindow, Telemetry

NOW = datetime(2026, 1, 1, tzinfo=UTC)
TARGETS = {"chat": Targets()}
SENSIBLE = [Asked(route="chat", served_by="google", complaint=None)]


def reading(requests: int = 0, failed: int = 0, empty: int = 0, p95_ms: int = 200, **first_tries: int) -> Telemetry:
    window = RouteWindow(
        route="chat",
        requests=requests,
        failed=failed,
        lost=failed,
        empty=empty,
        latency_p95=timedelta(milliseconds=p95_ms),
    )
    tries = [
        ProviderWindow(provider=name, route="chat", tries=count, first_tries=count)
        for name, count in first_tries.items()
    ]
    return Telemetry(at=NOW, since=NOW - timedelta(seconds=5), providers=tries, routes=[window] if requests else [])


@pytest.mark.parametrize(
    ("telemetry", "asked", "said"),
    [
        (reading(100), SENSIBLE, None),
        (reading(100, failed=2), SENSIBLE, None),
        (reading(0), SENSIBLE, None),
        (reading(100, failed=3), SENSIBLE, "97.0 % of 100"),
        (reading(100, empty=3), SENSIBLE, "without content"),
        (reading(100, p95_ms=1501), SENSIBLE, "P95 1501 ms, target 1500 ms"),
        (reading(0), [], "no data"),
        (reading(100), [Asked(route="chat", served_by="google", complaint="no sense")], "no sense"),
        (reading(100), [Asked(route="chat", served_by="bedrock", complaint=None)], "served by bedrock"),
    ],
)
def test_a_sample_is_good_only_if_users_and_the_route_itself_say_so(
    telemetry: Telemetry, asked: list[Asked], said: str | None
) -> None:
    """Errors, fast answers without content, slowness, senselessness, silence, the wrong server: none of it is good."""
    sample = judge_sample(telemetry, asked, TARGETS, "bedrock", ["chat"])
    assert sample.good is (said is None)
    if said:
        assert said in sample.reason


def test_the_targets_in_force_judge() -> None:
    """In an emergency the same users' side passes that fails in normal service."""
    relaxed = {"chat": Targets(response_time=timedelta(seconds=5), success_percent=80, availability_percent=95)}
    telemetry = reading(100, failed=15, p95_ms=4000)
    assert judge_sample(telemetry, SENSIBLE, relaxed, "bedrock", ["chat"]).good
    assert not judge_sample(telemetry, SENSIBLE, TARGETS, "bedrock", ["chat"]).good


def test_first_tries_at_the_evacuated_provider_contradict_the_policy() -> None:
    """A data plane that stores a policy and does not obey it is found out by where the tries go."""
    expected = [Expectation(route="chat", share={"google": 10000}, evacuated="bedrock")]
    assert contradictions(reading(10, bedrock=1, google=9), expected)
    assert not contradictions(reading(10, google=10), expected)


def test_enough_tries_means_on_every_route() -> None:
    """One busy route does not speak for another."""
    expected = [Expectation(route=name, share={}, evacuated="bedrock") for name in ("chat", "other")]
    assert enough_tries(reading(50, google=50), expected[:1], 20)
    assert not enough_tries(reading(50, google=50), expected, 20)
