"""The multi-provider emergency: degraded service while nobody serves, and the way back to normal service."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from failover import kinds
from failover.capacity import Headroom
from failover.config.emergency import Emergency
from failover.config.kpis import Kpis
from failover.config.providers import Capacity
from failover.distribution import WHOLE, Distribution, check, percent
from failover.health import Condition, Verdict
from failover.ramp import Snapshot
from failover.requests import EmergencyRequest
from failover.units import count

NAME = kinds.EMERGENCY


@dataclass(frozen=True, slots=True, kw_only=True)
class EmergencyRoute:
    """A route as the emergency found it, and what degraded service means for it."""

    route: str
    found: Snapshot
    degraded: Mapping[str, Any]
    author: str = ""
    """Who changed it last: a workflow's id, or a name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EmergencyBrief:
    """Everything that an emergency decides on; read once, kept in the run's history."""

    routes: Sequence[EmergencyRoute]
    providers: Mapping[str, Capacity]
    settings: Emergency
    kpis: Kpis
    verify_timeout: timedelta
    probe_timeout: timedelta
    abort_timeout: timedelta
    contacts: Mapping[str, str] = field(default_factory=dict)


def why_not_start(request: EmergencyRequest, routes: Collection[str]) -> str | None:
    """Why the request cannot be meant; None where it can."""
    unknown = sorted(set(request.routes or ()) - set(routes))
    return (
        f"routes names {', '.join(map(repr, unknown))}; the routes are {', '.join(sorted(routes))}."
        if unknown
        else None
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderWatch:
    """What is known of one provider: good probes in a row, the last reason, and since when it is as it is."""

    provider: str
    good: int = 0
    reason: str = "not probed yet"
    since: datetime

    def seen(self, verdict: Verdict, now: datetime) -> "ProviderWatch":
        """Count one more probe: a blind one changes only the reason; any other but a healthy one ends the row of good ones."""
        if verdict.condition is Condition.BLIND:
            return replace(self, reason=verdict.reason)
        healthy = verdict.condition is Condition.HEALTHY
        changed = healthy != (self.good > 0)
        return ProviderWatch(
            provider=self.provider,
            good=self.good + 1 if healthy else 0,
            reason=verdict.reason,
            since=now if changed else self.since,
        )


def back(standings: Sequence[ProviderWatch], settings: Emergency) -> list[str]:
    """Providers that have answered well often enough to be given traffic."""
    return sorted(watched.provider for watched in standings if watched.good >= settings.good_probes)


def distribution_over(
    found: Distribution, able: Collection[str], capacities: Mapping[str, Capacity]
) -> Distribution | None:
    """How a route's traffic is divided among the providers that are back: as before where all of its own are, else by
    what they declare that they can take, else by the shares that they had. None where nobody is back.
    """
    if not able:
        return None
    if all(name in able for name, share in found.items() if share):
        return dict(found)
    return dict(check(_by_weight(sorted(able), _weights(found, sorted(able), capacities))))


def _weights(found: Distribution, able: Sequence[str], capacities: Mapping[str, Capacity]) -> list[int]:
    declared = [capacities.get(name, Capacity()) for name in able]
    for limits in ([one.requests_per_minute for one in declared], [one.tokens_per_minute for one in declared]):
        known = [limit for limit in limits if limit is not None]
        if len(known) == len(able):
            return known
    held = [found.get(name, 0) for name in able]
    return held if sum(held) else [1] * len(able)


def _by_weight(names: Sequence[str], weights: Sequence[int]) -> dict[str, int]:
    total = sum(weights)
    shares = [WHOLE * weight // total for weight in weights]
    shares[shares.index(max(shares))] += WHOLE - sum(shares)
    return dict(zip(names, shares, strict=True))


def why_not_normal(
    able: Collection[str], shares: Distribution, headroom: Headroom, good_samples: int, settings: Emergency
) -> str | None:
    """Why a route may not return to normal service yet; None where it may."""
    if not able:
        return "no provider is back"
    over = [name for name, share in sorted(shares.items()) if share > headroom.most(name)]
    if over:
        return f"{over[0]} can take {percent(headroom.most(over[0]))} % of the demand, not {percent(shares[over[0]])} %"
    if good_samples < settings.good_samples:
        return f"{good_samples} of {settings.good_samples} good samples in a row"
    return None


def describe(brief: EmergencyBrief) -> str:
    """What degraded service is switched on, in one sentence."""
    settings = brief.settings
    return (
        f"degraded service on {count(len(brief.routes), 'route')}: cached answers for {settings.cache_ttl.total_seconds():g} s"
        f"{', stale ones without limit' if settings.serve_stale else ''}, "
        f"a queue of {settings.queue_size} for {settings.queue_timeout.total_seconds():g} s, banner and templates"
    )


def next_look(elapsed: timedelta, settings: Emergency) -> timedelta:
    """How long until providers are probed again: often at first, then every `watch_interval`."""
    return min(settings.watch_interval, settings.watch_interval / 5 + elapsed / 20)


LISTED = 20
"""Routes that a command names; more are named by what they have in common."""


def command(routes: Sequence[str]) -> str:
    """What a person runs where the run can do no more: it ends degraded service on every route, not on one of them."""
    listed = routes if 0 < len(routes) <= LISTED else ["--degraded"]
    return f"failoverctl restore {' '.join(listed)} --yes"
