"""Degraded service while nobody serves, and the way back."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from failover import emergency
from failover.capacity import Headroom
from failover.config.emergency import Emergency
from failover.config.kpis import Kpis
from failover.config.providers import Capacity
from failover.distribution import WHOLE
from failover.emergency import ProviderWatch, back, distribution_over, next_look, why_not_normal, why_not_start
from failover.health import Condition
from failover.requests import EmergencyRequest
from tests.failover.conftest import FOUND, NOW, verdict

SETTINGS = Emergency()
LATER = NOW + timedelta(minutes=1)


def standing(*conditions: Condition) -> ProviderWatch:
    found = ProviderWatch(provider="bedrock", since=NOW)
    for condition in conditions:
        found = found.seen(verdict("bedrock", condition), LATER)
    return found


@pytest.mark.parametrize(
    ("conditions", "good"),
    [
        ([], 0),
        ([Condition.HEALTHY], 1),
        ([Condition.HEALTHY] * 3, 3),
        ([Condition.HEALTHY, Condition.UNAVAILABLE], 0),
        ([Condition.HEALTHY, Condition.BLIND], 1),
        ([Condition.BLIND, Condition.BLIND], 0),
        ([Condition.HEALTHY, Condition.BLIND, Condition.HEALTHY], 2),
        ([Condition.UNUSABLE, Condition.HEALTHY], 1),
    ],
)
def test_good_probes_are_counted_in_a_row_and_blindness_says_nothing(conditions: list[Condition], good: int) -> None:
    """One bad one begins anew; no data is neither good nor bad."""
    assert standing(*conditions).good == good


def test_since_when_is_kept_while_nothing_changes() -> None:
    """The clock of a state starts when the state does."""
    assert standing(Condition.UNAVAILABLE).since == NOW
    assert standing(Condition.HEALTHY, Condition.HEALTHY).since == LATER


def test_a_provider_counts_as_back_after_two_good_probes() -> None:
    """One may be luck."""
    assert back([standing(Condition.HEALTHY)], SETTINGS) == []
    assert back([standing(Condition.HEALTHY, Condition.HEALTHY)], SETTINGS) == ["bedrock"]


BY_REQUESTS = {"bedrock": Capacity(requests_per_minute=600), "google": Capacity(requests_per_minute=200)}
BY_TOKENS = {"bedrock": Capacity(tokens_per_minute=100), "google": Capacity(tokens_per_minute=300)}


@pytest.mark.parametrize(
    ("able", "capacities", "shares"),
    [
        ([], {}, None),
        (["google"], {}, {"google": WHOLE}),
        (["bedrock", "google", "meta"], BY_REQUESTS, FOUND),
        (["bedrock", "google"], BY_REQUESTS, {"bedrock": 7500, "google": 2500}),
        (["bedrock", "google"], BY_TOKENS, {"bedrock": 2500, "google": 7500}),
        (["google", "meta"], BY_REQUESTS, {"google": 6667, "meta": 3333}),
        (["other", "some"], {}, {"other": 5000, "some": 5000}),
    ],
    ids=[
        "nobody",
        "the first one back",
        "all of the route's",
        "by requests",
        "by tokens",
        "not all declare: by what they had",
        "nobody had any",
    ],
)
def test_traffic_goes_by_capacity_to_who_is_back(
    able: list[str], capacities: dict[str, Capacity], shares: dict[str, int] | None
) -> None:
    """The first one back gets all; as before once everybody of the route's is there."""
    assert distribution_over(FOUND, able, capacities) == shares


@given(
    st.sets(st.sampled_from(["bedrock", "google", "meta", "other"]), min_size=1),
    st.dictionaries(st.sampled_from(["bedrock", "google", "meta", "other"]), st.integers(1, 10_000)),
)
def test_whoever_is_back_only_they_get_traffic(able: set[str], declared: dict[str, int]) -> None:
    """All of it, and nobody else any."""
    capacities = {name: Capacity(requests_per_minute=limit) for name, limit in declared.items()}
    shares = distribution_over(FOUND, able, capacities)
    assert shares is not None
    assert sum(shares.values()) == WHOLE
    assert {name for name, share in shares.items() if share} <= able


@pytest.mark.parametrize(
    ("able", "most", "good", "said"),
    [
        ([], {}, 9, "no provider is back"),
        (["google"], {"google": 60}, 9, "google can take 60 % of the demand, not 100 %"),
        (["google"], {}, 2, "2 of 3 good samples in a row"),
        (["google"], {}, 3, None),
        (["google"], {"google": 100}, 3, None),
    ],
)
def test_service_is_normal_once_the_demand_fits_and_users_are_served(
    able: list[str], most: dict[str, int], good: int, said: str | None
) -> None:
    """Not before: a provider that is back and overrun would be down again."""
    demand = Headroom(requests_per_minute=100, requests_left=most)
    assert why_not_normal(able, {"google": WHOLE}, demand, good, SETTINGS) == said


@pytest.mark.parametrize(("minutes", "seconds"), [(0, 6), (2, 12), (8, 30), (60 * 24, 30)])
def test_providers_are_looked_at_often_at_first(minutes: int, seconds: int) -> None:
    """Five times as often in the first minutes, then at the interval, for days."""
    assert next_look(timedelta(minutes=minutes), SETTINGS) == timedelta(seconds=seconds)


def test_an_unknown_route_is_refused_by_name() -> None:
    """And what there is, is named; without a list it is every route."""
    assert why_not_start(EmergencyRequest(), ["chat"]) is None
    why = why_not_start(EmergencyRequest(routes=["chat", "chet"]), ["chat", "other"])
    assert why == "routes names 'chet'; the routes are chat, other."


def test_what_is_switched_on_is_said_in_one_sentence() -> None:
    """With the runbook's numbers."""

    brief = emergency.EmergencyBrief(
        routes=[],
        providers={},
        settings=SETTINGS,
        kpis=Kpis(),
        verify_timeout=timedelta(1),
        probe_timeout=timedelta(1),
        abort_timeout=timedelta(1),
    )
    assert emergency.describe(brief) == (
        "degraded service on 0 routes: cached answers for 7200 s, stale ones without limit, a queue of 10000 for 300 s, "
        "banner and templates"
    )


@pytest.mark.parametrize(
    ("routes", "command"),
    [
        (["chat"], "failoverctl restore chat --yes"),
        (["chat", "search", "mail"], "failoverctl restore chat search mail --yes"),
        ([f"route-{number}" for number in range(21)], "failoverctl restore --degraded --yes"),
        ([], "failoverctl restore --degraded --yes"),
    ],
)
def test_the_command_restores_every_route(routes: list[str], command: str) -> None:
    """Not the first of them; more than can be read are named by what they have in common."""
    assert emergency.command(routes) == command
