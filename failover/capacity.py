"""What providers can take: a step never sends one more than it declared."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from failover.config.providers import Capacity
from failover.distribution import WHOLE, Distribution, Shares, check, percent
from failover.telemetry import Telemetry

MINUTE = timedelta(minutes=1)
"""What demand is counted over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Headroom:
    """Demand of a route in requests (tokens) a minute, and what is left of each provider beside its other routes.

    A provider that is not named declared no limit. Demand 0: nobody knows of any, so that nothing can be said.
    """

    requests_per_minute: float = 0
    tokens_per_minute: float = 0
    requests_left: Mapping[str, float] = field(default_factory=dict)
    tokens_left: Mapping[str, float] = field(default_factory=dict)

    @property
    def unknown(self) -> bool:
        """Whether limits were declared, and nobody knows the demand to hold against them."""
        limits, demand = (self.requests_left, self.tokens_left), (self.requests_per_minute, self.tokens_per_minute)
        return any(limits) and not any(demand)

    def most(self, provider: str) -> int:
        """The largest share of the route that fits on the provider, in basis points."""
        return min(
            _share(self.requests_per_minute, self.requests_left.get(provider)),
            _share(self.tokens_per_minute, self.tokens_left.get(provider)),
        )


def _share(demand: float, left: float | None) -> int:
    if left is None or demand <= 0:
        return WHOLE
    return max(0, min(WHOLE, int(WHOLE * left / demand)))


def declares(capacities: Mapping[str, Capacity]) -> bool:
    """Whether any provider declared a limit at all."""
    return any(one.requests_per_minute or one.tokens_per_minute for one in capacities.values())


def headroom(route: str, telemetry: Telemetry | None, capacities: Mapping[str, Capacity]) -> Headroom:
    """Compute the headroom from the last minute and declared limits; what other routes send a provider is not left.

    Without a reading the limits are known and the demand is not.
    """
    minutes = max((telemetry.at - telemetry.since).total_seconds(), 1) / 60 if telemetry else 1
    users = telemetry.of_route(route) if telemetry else None
    others = {
        name: [w for w in telemetry.of_provider(name) if w.route != route] if telemetry else [] for name in capacities
    }
    return Headroom(
        requests_per_minute=(users.requests if users else 0) / minutes,
        tokens_per_minute=(users.tokens if users else 0) / minutes,
        requests_left={
            name: max(0.0, declared.requests_per_minute - sum(w.tries for w in others[name]) / minutes)
            for name, declared in capacities.items()
            if declared.requests_per_minute is not None
        },
        tokens_left={
            name: max(0.0, declared.tokens_per_minute - sum(w.tokens for w in others[name]) / minutes)
            for name, declared in capacities.items()
            if declared.tokens_per_minute is not None
        },
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitted:
    """A distribution within capacity. `said`: what was moved elsewhere or stays, in sentences; empty where all fitted."""

    distribution: Shares
    said: Sequence[str]


def fit(now: Distribution, wanted: Distribution, takers: Sequence[str], headroom: Headroom) -> Fitted:
    """The wanted distribution, with what does not fit on a provider given to the next of the takers.

    Only rises are limited: what a provider carries already is not taken away from it here. What fits nowhere stays with
    whoever was to lose it.
    """
    limits = {name: max(now.get(name, 0), headroom.most(name)) for name in sorted({*now, *wanted, *takers})}
    fitted = {name: min(wanted.get(name, 0), limits[name]) for name in limits}
    said = [
        f"{name} can take {percent(headroom.most(name))} % of the route, not {percent(wanted[name])} %"
        for name in sorted(wanted)
        if wanted[name] > limits[name]
    ]
    excess = WHOLE - sum(fitted.values())
    for name in takers:
        taken = min(excess, limits[name] - fitted[name])
        if taken > 0:
            fitted[name] += taken
            excess -= taken
            said.append(f"{percent(taken)} % more go to {name}")
    for name in sorted(now, key=lambda name: wanted.get(name, 0) - now[name]):
        kept = min(excess, max(0, now[name] - fitted[name]))
        if kept:
            fitted[name] += kept
            excess -= kept
            said.append(f"{percent(kept)} % fit nowhere else and stay with {name}")
    return Fitted(distribution=dict(check({name: share for name, share in fitted.items()})), said=said)
