"""How a route's traffic is divided among providers."""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Annotated, Any

from pydantic import BeforeValidator, PlainSerializer

from failover.errors import RequestError

WHOLE = 10_000
"""All of a route's traffic, in basis points: one hundred percent."""

MOST = 1_000_000
"""The largest number of basis points that is read: what is further beyond all traffic, nobody means."""

Distribution = Mapping[str, int]
"""Provider → share in basis points (7000 is 70 %). Sums to exactly `WHOLE`; providers left out have 0."""


def check(distribution: Distribution) -> Distribution:
    """The distribution itself, or RequestError where a share is out of range or the sum is not 100 %."""
    for provider, share in distribution.items():
        if not 0 <= share <= WHOLE:
            raise RequestError(f"The share of {provider!r} is {percent(share)} %; it must lie between 0 and 100 %.")
    total = sum(distribution.values())
    if total != WHOLE:
        raise RequestError(
            f"The distribution {render(distribution)} sums to {percent(total)} %; it must sum to exactly 100 %."
        )
    return distribution


def from_percents(percents: Mapping[str, object]) -> Distribution:
    """{"bedrock": 70, "google": 20.25, …} in percents with at most two decimals → checked basis points."""
    return check({provider: _basis_points(provider, value) for provider, value in percents.items()})


def _basis_points(provider: str, value: object) -> int:
    try:
        points = Decimal(str(value)) * 100
    except ArithmeticError:
        points = Decimal("NaN")
    if not points.is_finite() or abs(points) > MOST or points != points.to_integral_value():
        raise RequestError(f"The share of {provider!r} is {value!r}; it must be a percent with at most two decimals.")
    return int(points)


def parse(text: str) -> Distribution:
    """The runbook's spelling "bedrock:0,google:80,meta:20" → checked basis points."""
    percents: dict[str, object] = {}
    for part in text.split(","):
        provider, colon, value = part.strip().partition(":")
        if not colon or not provider.strip():
            raise RequestError(f"{part.strip()!r} in the distribution {text!r} is not of the form provider:percent.")
        if provider.strip() in percents:
            raise RequestError(f"The distribution {text!r} names {provider.strip()!r} twice.")
        percents[provider.strip()] = value.strip()
    return from_percents(percents)


def percent(points: int) -> str:
    """Basis points as a percent without needless zeros: 7000 → "70", 1250 → "12.5"."""
    return f"{Decimal(points) / 100:f}".rstrip("0").rstrip(".") if points % 100 else str(points // 100)


def render(distribution: Distribution) -> str:
    """Render a distribution in the runbook's spelling, largest share first: "bedrock:70,google:20,meta:10"."""
    ordered = sorted(distribution.items(), key=lambda item: (-item[1], item[0]))
    return ",".join(f"{provider}:{percent(share)}" for provider, share in ordered)


def same(left: Distribution, right: Distribution) -> bool:
    """Whether both divide the traffic alike; a provider left out equals one at 0."""
    return all(left.get(provider, 0) == right.get(provider, 0) for provider in {*left, *right})


def move_part(distribution: Distribution, source: str, target: str, percents: float) -> Distribution:
    """Move so many percent of what `source` has to `target`; one percentage point at least, if it has one."""
    share = distribution.get(source, 0)
    moved = min(share, max(100, round(share * percents / 100)))
    return check({**distribution, source: share - moved, target: distribution.get(target, 0) + moved})


def users_of(provider: str, distributions: Mapping[str, Distribution]) -> list[str]:
    """The routes that send any traffic to the provider, in name order."""
    return sorted(route for route, shares in distributions.items() if shares.get(provider, 0) > 0)


def move_all(distribution: Distribution, source: str, target: str) -> Distribution:
    """The whole share of `source` on `target`, the others untouched: 70/20/10 → 0/90/10."""
    if source == target:
        raise RequestError(f"Traffic cannot move from {source!r} to itself; name another target.")
    moved = {**distribution, source: 0, target: distribution.get(target, 0) + distribution.get(source, 0)}
    return check(moved)


def apportion(total: int, weights: Mapping[str, int]) -> dict[str, int]:
    """A number of basis points divided by weight, not all of them 0. Nobody's part shrinks when the total grows."""
    parts, left = dict[str, int](), sum(weights.values())
    for name, weight in weights.items():
        parts[name] = total * weight // left if left else 0
        total, left = total - parts[name], left - weight
    return parts


def providers(distributions: Iterable[Distribution]) -> set[str]:
    """Every provider that any of the distributions names."""
    return {provider for shares in distributions for provider in shares}


def _validated(value: Any) -> dict[str, int]:
    if not isinstance(value, Mapping):
        # pydantic turns a ValueError, and only that, into a complaint with its place.
        raise ValueError("a distribution maps providers to percents, such as {bedrock: 70, google: 30}")
    try:
        return dict(from_percents(value))
    except RequestError as error:
        raise ValueError(str(error)) from error


def _percents(shares: Distribution) -> dict[str, float]:
    return {provider: points / 100 for provider, points in shares.items()}


Shares = Annotated[
    dict[str, int], BeforeValidator(_validated), PlainSerializer(_percents, return_type=dict[str, float])
]
"""A distribution in files, JSON and payloads: percents there, checked basis points in code."""
