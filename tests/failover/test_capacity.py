"""What providers can take, and where the rest goes."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from failover.capacity import Headroom, declares, fit, headroom
from failover.config.providers import Capacity
from failover.distribution import WHOLE
from failover.telemetry import ProviderWindow, RouteWindow, Telemetry
from tests.failover.conftest import FOUND, NOW

MINUTE = timedelta(minutes=1)
CAPACITIES = {
    "bedrock": Capacity(),
    "google": Capacity(requests_per_minute=600),
    "meta": Capacity(requests_per_minute=1000, tokens_per_minute=50_000),
}


def reading(window: timedelta = MINUTE, requests: int = 1000, tokens: int = 0, **others: int) -> Telemetry:
    """`others`: tries of another route at each provider, with a hundred tokens each where tokens are counted at all."""
    tries = [
        ProviderWindow(provider=name, route="other", tries=n, first_tries=n, tokens=100 * n if tokens else 0)
        for name, n in others.items()
    ]
    own = ProviderWindow(provider="google", route="chat", tries=200, first_tries=200, tokens=tokens)
    users = RouteWindow(route="chat", requests=requests, failed=0, lost=0, empty=0, tokens=tokens)
    return Telemetry(at=NOW, since=NOW - window, providers=[own, *tries], routes=[users])


@pytest.mark.parametrize(
    ("telemetry", "google", "meta"),
    [
        (reading(), 6000, 10_000),
        (reading(requests=2000), 3000, 5000),
        (reading(google=300), 3000, 10_000),
        (reading(google=900), 0, 10_000),
        (reading(MINUTE / 2, requests=500), 6000, 10_000),
        (reading(2 * MINUTE, requests=2000, google=600), 3000, 10_000),
        (reading(tokens=100_000), 6000, 5000),
        (reading(tokens=100_000, meta=250), 6000, 2500),
        (reading(requests=0), 10_000, 10_000),
        (None, 10_000, 10_000),
    ],
    ids=[
        "requests",
        "twice the demand",
        "another route has half of it",
        "another route has more than all",
        "half a minute",
        "two minutes",
        "tokens are the tighter limit",
        "another route's tokens",
        "no users",
        "no telemetry",
    ],
)
def test_a_share_fits_by_requests_and_by_tokens_a_minute(telemetry: Telemetry | None, google: int, meta: int) -> None:
    """Of the demand of this route, after what other routes send the provider; the route's own tries are not held against it."""
    found = headroom("chat", telemetry, CAPACITIES)
    assert (found.most("google"), found.most("meta"), found.most("bedrock")) == (google, meta, WHOLE)


@pytest.mark.parametrize(
    ("telemetry", "capacities", "unknown"),
    [
        (None, CAPACITIES, True),
        (reading(requests=0), CAPACITIES, True),
        (reading(), CAPACITIES, False),
        (None, {"bedrock": Capacity()}, False),
    ],
)
def test_an_unknown_demand_is_told_from_one_without_limits(
    telemetry: Telemetry | None, capacities: dict[str, Capacity], unknown: bool
) -> None:
    """Limits that nothing can be held against are no check that was passed."""
    assert headroom("chat", telemetry, capacities).unknown is unknown


def test_whether_anybody_declared_anything() -> None:
    """Where nobody did, nobody needs to count."""
    assert declares(CAPACITIES)
    assert not declares({"bedrock": Capacity()})


def limited(**most: int) -> Headroom:
    """Percent of the route that each provider can take."""
    return Headroom(requests_per_minute=100, requests_left=most)


@pytest.mark.parametrize(
    ("wanted", "most", "takers", "fitted", "said"),
    [
        ({"bedrock": 0, "google": 9000, "meta": 1000}, limited(), ["meta"], [0, 9000, 1000], []),
        (
            {"bedrock": 0, "google": 9000, "meta": 1000},
            limited(google=60),
            ["google", "meta"],
            [0, 6000, 4000],
            ["google can take 60 % of the route, not 90 %", "30 % more go to meta"],
        ),
        (
            {"bedrock": 0, "google": 9000, "meta": 1000},
            limited(google=60, meta=20),
            ["google", "meta"],
            [2000, 6000, 2000],
            ["google can take 60 %", "10 % more go to meta", "20 % fit nowhere else and stay with bedrock"],
        ),
        (
            {"bedrock": 0, "google": 9000, "meta": 1000},
            limited(google=60),
            [],
            [3000, 6000, 1000],
            ["google can take 60 %", "30 % fit nowhere else and stay with bedrock"],
        ),
        (
            {"bedrock": 0, "google": 9000, "meta": 1000},
            limited(google=10),
            [],
            [7000, 2000, 1000],
            ["google can take 10 % of the route, not 90 %", "70 % fit nowhere else and stay with bedrock"],
        ),
        ({"bedrock": 0, "google": 9000, "meta": 1000}, limited(meta=5), [], [0, 9000, 1000], []),
    ],
    ids=[
        "no limit",
        "the rest to the next",
        "the rest of the rest stays",
        "no takers",
        "more than it can already",
        "no rise",
    ],
)
def test_a_step_never_sends_more_than_a_provider_can_take(
    wanted: dict[str, int], most: Headroom, takers: list[str], fitted: list[int], said: list[str]
) -> None:
    """What does not fit goes to the next, what fits nowhere stays; all of it is said. What one has already is not taken."""
    found = fit(FOUND, wanted, takers, most)
    assert [found.distribution[name] for name in ("bedrock", "google", "meta")] == fitted
    assert len(found.said) == len(said)
    assert all(words in sentence for words, sentence in zip(said, found.said, strict=True))


NAMES = ["a", "b", "c", "d"]
SHARES = st.lists(st.integers(0, 100), min_size=4, max_size=4).filter(any).map(lambda w: _whole(w))


def _whole(weights: list[int]) -> dict[str, int]:
    parts = [WHOLE * weight // sum(weights) for weight in weights]
    parts[parts.index(max(parts))] += WHOLE - sum(parts)
    return dict(zip(NAMES, parts, strict=True))


@given(
    SHARES,
    SHARES,
    st.lists(st.sampled_from(NAMES), unique=True),
    st.dictionaries(st.sampled_from(NAMES), st.integers(0, 100)),
)
def test_whatever_is_wanted_fits(
    now: dict[str, int], wanted: dict[str, int], takers: list[str], most: dict[str, int]
) -> None:
    """The sum stays whole, nobody rises beyond its limit, and nobody rises who neither was wanted to nor takes over."""
    fitted = fit(now, wanted, takers, limited(**most)).distribution
    assert sum(fitted.values()) == WHOLE
    for name in NAMES:
        assert fitted[name] <= max(now[name], most.get(name, 100) * 100)
        if name not in takers:
            assert fitted[name] <= max(now[name], wanted[name])
