"""Shares of traffic: exact, and always one hundred percent."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from failover import distribution
from failover.errors import RequestError


@pytest.mark.parametrize(
    ("text", "shares"),
    [
        ("bedrock:0,google:80,meta:20", {"bedrock": 0, "google": 8000, "meta": 2000}),
        ("a:33.33, b:33.33, c:33.34", {"a": 3333, "b": 3333, "c": 3334}),
        ("only:100", {"only": 10000}),
    ],
)
def test_the_runbooks_spelling_is_understood(text: str, shares: dict[str, int]) -> None:
    """`provider:percent,…` becomes exact basis points."""
    assert distribution.parse(text) == shares


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("bedrock:50,google:40", "sums to 90 %"),
        ("bedrock:110,google:-10", "between 0 and 100"),
        ("bedrock:33.333,google:66.667", "at most two decimals"),
        ("bedrock:nan,google:100", "at most two decimals"),
        ("bedrock:50,bedrock:50", "names 'bedrock' twice"),
        ("bedrock=100", "not of the form"),
        ("", "not of the form"),
    ],
)
def test_a_distribution_that_cannot_be_meant_is_refused_with_the_reason(text: str, said: str) -> None:
    """Whatever does not sum to 100, or is no percent, is refused in words."""
    with pytest.raises(RequestError, match=said):
        distribution.parse(text)


def test_the_whole_share_moves_and_the_others_keep_theirs() -> None:
    """70/20/10 becomes 0/90/10."""
    moved = distribution.move_all({"bedrock": 7000, "google": 2000, "meta": 1000}, "bedrock", "google")
    assert moved == {"bedrock": 0, "google": 9000, "meta": 1000}


def test_traffic_cannot_move_to_where_it_is() -> None:
    """A target that equals the source is refused."""
    with pytest.raises(RequestError, match="to itself"):
        distribution.move_all({"bedrock": 10000}, "bedrock", "bedrock")


shares = st.dictionaries(st.sampled_from("abcdef"), st.integers(0, 10000), min_size=1).map(
    lambda parts: {"z": 10000 - sum(parts.values()), **parts} if sum(parts.values()) <= 10000 else {"z": 10000}
)


@given(shares, st.sampled_from("abcdefz"), st.sampled_from("abcdefz"))
def test_moving_keeps_the_sum(before: dict[str, int], source: str, target: str) -> None:
    """Whatever moves, all of the traffic is still somewhere, and none of it at the source."""
    if source != target:
        after = distribution.move_all(before, source, target)
        assert sum(after.values()) == distribution.WHOLE
        assert after[source] == 0


@given(shares)
def test_what_is_rendered_is_read_back(before: dict[str, int]) -> None:
    """The spelling loses nothing."""
    assert distribution.same(distribution.parse(distribution.render(before)), before)
