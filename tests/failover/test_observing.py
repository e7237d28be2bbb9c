"""From counters to readings: what gates see, and what they must not."""

from datetime import datetime, timedelta

import pytest

from failover.config.routes import Targets
from failover.failure import FailureKind
from failover.gates import GateSample
from failover.observing import OwnRequests, Synthetic, counting_ours, gate_sample, throttled_percent, with_synthetic
from failover.policy import ChangedBy, Revision, TrafficPolicy
from failover.telemetry import ProviderWindow, RouteWindow, Telemetry
from tests.failover.conftest import FOUND, NOW

BEGAN = NOW - timedelta(seconds=30)


def policy(workflow_id: str = "run") -> TrafficPolicy:
    return TrafficPolicy(
        route="chat",
        revision=Revision("e", 7),
        distribution=FOUND,
        claim="run",
        changed_by=ChangedBy(actor="anna", workflow_id=workflow_id),
        reason="",
        changed_at=NOW,
    )


def counted(
    since: datetime, tries: int = 100, users: int = 100, failures: dict[FailureKind, int] | None = None
) -> Telemetry:
    google = ProviderWindow(
        provider="google",
        route="chat",
        tries=tries,
        first_tries=tries,
        failures=failures or {},
        latency_p95=timedelta(seconds=1),
    )
    elsewhere = ProviderWindow(provider="google", route="other", tries=999, first_tries=999)
    window = RouteWindow(route="chat", requests=users, failed=3, lost=1, empty=2, latency_p95=timedelta(seconds=2))
    return Telemetry(at=NOW, since=since, providers=[google, elsewhere], routes=[window])


def test_users_and_tries_are_read_apart() -> None:
    """Answers without content are no good ones; tries of another route are not this one's."""
    found = gate_sample(
        policy(), counted(NOW - timedelta(seconds=10), failures={FailureKind.TIMEOUT: 4}), None, BEGAN, Targets()
    )
    users, google = found.recent
    assert (users.provider, users.requests, users.good, users.latency_p95) == (None, 100, 95, timedelta(seconds=2))
    assert (google.provider, google.requests, google.good, google.latency_p95) == (
        "google",
        100,
        96,
        timedelta(seconds=1),
    )
    assert found.whole == []


@pytest.mark.parametrize(
    ("lately", "since", "whole", "requests"),
    [
        (timedelta(seconds=10), BEGAN, 500, 100),
        (timedelta(seconds=60), BEGAN, 500, 500),
        (timedelta(seconds=60), BEGAN, None, 100),
        (timedelta(seconds=60), None, None, None),
    ],
    ids=["within the step", "reaches back before it", "nobody knows the whole", "before the step"],
)
def test_lately_reaches_no_further_back_than_the_step(
    lately: timedelta, since: datetime | None, whole: int | None, requests: int | None
) -> None:
    """Before it other weights were in force; before it began, nothing is judged at all."""
    all_of_it = None if whole is None else counted(BEGAN, tries=whole)
    found = gate_sample(policy(), counted(NOW - lately), all_of_it, since, Targets())
    assert [reading.requests for reading in found.recent if reading.provider] == (
        [] if requests is None else [requests]
    )


def test_a_sample_says_who_rules_the_route() -> None:
    """The run that wrote last, or the person who did."""
    found = gate_sample(policy(), counted(BEGAN), None, None, Targets())
    assert (found.revision, found.author, found.claim, found.at) == ("e.7", "run", "run", NOW)
    assert gate_sample(policy(""), counted(BEGAN), None, None, Targets()).author == "anna"


def test_requests_of_ours_are_told_beside_the_users() -> None:
    """Counted, the good ones and the slowest; in no reading."""
    plain = gate_sample(policy(), counted(BEGAN), counted(BEGAN), BEGAN, Targets())
    ours = [Synthetic(good=True, latency=timedelta(seconds=1)), Synthetic(good=False, latency=timedelta(seconds=3))]
    found = with_synthetic(plain, ours)
    assert (found.synthetic, found.synthetic_good, found.synthetic_slowest) == (2, 1, timedelta(seconds=3))
    assert (found.recent, found.whole) == (plain.recent, plain.whole)
    assert with_synthetic(plain, []).synthetic_slowest is None


def taken(**ours: int) -> tuple[GateSample, OwnRequests]:
    sample = gate_sample(policy(), counted(BEGAN), counted(BEGAN), BEGAN, Targets())
    seen = with_synthetic(sample, [Synthetic(good=True, latency=timedelta(seconds=5))] * ours.get("good", 0))
    return sample, OwnRequests().and_those_of(seen).and_those_of(seen)


def test_requests_of_ours_fill_up_where_users_are_too_few() -> None:
    """Added to the tested provider's whole step alone, over all looks; the slowest of both is its latency."""
    sample, ours = taken(good=4)
    assert (ours.requests, ours.good) == (8, 8)
    found = {reading.provider: reading for reading in counting_ours(sample, "google", ours).whole}
    assert (found["google"].requests, found["google"].good) == (108, 108)
    assert found["google"].latency_p95 == timedelta(seconds=5)
    assert found[None].requests == 100
    assert counting_ours(sample, "google", ours).recent == sample.recent


def test_a_provider_without_any_user_is_known_by_ours_alone() -> None:
    """And where we sent none, nothing is made up."""
    sample, ours = taken(good=1)
    found = {reading.provider: reading for reading in counting_ours(sample, "meta", ours).whole}
    assert (found["meta"].requests, found["meta"].good) == (2, 2)
    assert counting_ours(sample, None, ours) is sample
    assert counting_ours(sample, "meta", OwnRequests()) is sample


@pytest.mark.parametrize(
    ("telemetry", "provider", "share"),
    [
        (counted(BEGAN, failures={FailureKind.THROTTLED: 12}), "google", 12),
        (counted(BEGAN, tries=3, failures={FailureKind.THROTTLED: 1}), "google", 33.33),
        (counted(BEGAN, failures={FailureKind.TIMEOUT: 50}), "google", 0),
        (counted(BEGAN), "meta", None),
        (counted(BEGAN), None, None),
        (None, "google", None),
    ],
    ids=["throttled", "rounded", "failed otherwise", "no tries", "nobody asked", "no telemetry"],
)
def test_the_throttled_share_is_of_the_routes_own_tries(
    telemetry: Telemetry | None, provider: str | None, share: float | None
) -> None:
    """None where nobody knows: that is not the same as none."""
    assert throttled_percent(telemetry, "chat", provider) == share
