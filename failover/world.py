"""A world to rehearse in: providers with scripted faults, users who come evenly, a data plane that obeys at once.

Pure: whoever asks says what time it is, and what policies have been in force. Figures are expected values: the same
questions get the same answers. What it leaves out is told in `docs/rehearsing.md`.
"""

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import pairwise
from typing import Annotated

from pydantic import Field

from failover.config import Config
from failover.distribution import WHOLE, Distribution
from failover.failure import FailureKind
from failover.policy import Mode
from failover.section import Count, Name, Section
from failover.telemetry import ProviderWindow, RouteWindow, Telemetry
from failover.units import Duration, PositiveDuration, render_duration

MINUTE = timedelta(minutes=1)
ROUNDS = 20
"""The number of rounds in which it settles who throttles how much."""

QUICK = timedelta(milliseconds=100)
"""How long a try takes that is refused."""


class FaultKind(StrEnum):
    UNAVAILABLE = "unavailable"
    HANG = "hang"
    THROTTLE = "throttle"
    SLOW = "slow"
    WRONG_ANSWERS = "wrong-answers"
    EMPTY_ANSWERS = "empty-answers"
    CREDENTIALS = "credentials"
    QUOTA = "quota"

    @property
    def description(self) -> str:
        """One line for a person choosing a fault."""
        return _FAULTS[self][0]

    @property
    def failure(self) -> FailureKind | None:
        """How a call that it strikes is classified; None: it is answered."""
        return _FAULTS[self][1]


_FAULTS: Mapping[FaultKind, tuple[str, FailureKind | None]] = {
    FaultKind.UNAVAILABLE: ("inference answers 500 or 503", FailureKind.SERVER_ERROR),
    FaultKind.HANG: ("calls are accepted and never answered", FailureKind.TIMEOUT),
    FaultKind.THROTTLE: ("a share of the calls is refused by the rate limit", FailureKind.THROTTLED),
    FaultKind.SLOW: ("answers are right, but come late", None),
    FaultKind.WRONG_ANSWERS: ("fluent text that does not answer the question; users' tries look good", None),
    FaultKind.EMPTY_ANSWERS: ("calls succeed with no text in them", FailureKind.INVALID_ANSWER),
    FaultKind.CREDENTIALS: ("the credentials are no longer accepted", FailureKind.AUTHENTICATION),
    FaultKind.QUOTA: ("the daily quota is used up", FailureKind.HARD_QUOTA),
}


class Fault(Section):
    """What is wrong with a provider, from when on after the beginning, and for how long (None: for good)."""

    provider: Name
    fault: FaultKind
    at: Duration = timedelta(minutes=1)
    lasts: PositiveDuration | None = None
    percent: Annotated[float, Field(gt=0, le=100)] = 100
    """Of the calls that it strikes."""
    answer_time: PositiveDuration = timedelta(seconds=6)
    """`slow` only: P95 of its answers."""

    @property
    def ends(self) -> timedelta | None:
        return None if self.lasts is None else self.at + self.lasts

    def describe(self) -> str:
        """ "bedrock hang from 1m on, for 20m"."""
        share = f" {self.percent:g} % of calls" if self.percent < 100 else ""
        until = f", for {render_duration(self.lasts)}" if self.lasts else ", for good"
        return f"{self.provider} {self.fault.value}{share} from {render_duration(self.at)} on{until}"


class Script(Section):
    """What happens in a rehearsal. `traffic`: route → requests a minute; the configuration's `rehearsal` otherwise."""

    faults: Sequence[Fault] = ()
    traffic: Mapping[Name, Count] = Field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class InForce:
    """A policy of a route from a moment on."""

    at: datetime
    route: str
    distribution: Distribution
    mode: Mode = Mode.NORMAL
    by: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """How a provider does: the share of calls that fail and how, and how long answers take (half of them, 95 %)."""

    chance: float = 0
    kind: FailureKind | None = None
    wrong: bool = False
    p50: timedelta
    p95: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class _Try:
    provider: str
    first: bool
    failure: FailureKind | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Path:
    """One way in which a user's request goes: its probability, its tries, who answered (None: nobody), after how long."""

    weight: float
    tries: Sequence[_Try]
    answered_by: str | None
    waited: timedelta


@dataclass(frozen=True, slots=True)
class World:
    """Everything that is taken to be true. Before `began` everybody was well."""

    config: Config
    began: datetime
    script: Script = field(default_factory=Script)

    def traffic(self, route: str) -> float:
        """Users' requests a minute."""
        return self.script.traffic.get(route, self.config.rehearsal.traffic(route))

    def condition(self, provider: str, at: datetime) -> Condition:
        """The condition of a provider at a moment, by the script alone."""
        model = self.config.rehearsal
        p50, p95, chance, kind, wrong = model.answer_time, model.slow_answer_time, 0.0, None, False
        for fault in self._faults(provider, at):
            if fault.fault is FaultKind.SLOW:
                p50, p95 = fault.answer_time * (p50 / p95), fault.answer_time
            elif fault.fault.failure is not None:
                chance, kind = 1 - (1 - chance) * (1 - fault.percent / 100), fault.fault.failure
            else:
                wrong = True
        return Condition(chance=chance, kind=kind, wrong=wrong, p50=p50, p95=p95)

    def _faults(self, provider: str, at: datetime) -> Iterator[Fault]:
        since = at - self.began
        for fault in self.script.faults:
            if fault.provider == provider and fault.at <= since and (fault.ends is None or since < fault.ends):
                yield fault

    def edges(self) -> list[datetime]:
        """Moments at which a fault begins or ends."""
        return sorted(
            self.began + moment
            for fault in self.script.faults
            for moment in (fault.at, fault.ends)
            if moment is not None
        )

    def told(self, policies: Sequence[InForce], since: datetime, until: datetime, now: datetime) -> Telemetry:
        """What the data plane's counters would show. `policies`: all that were in force, oldest first."""
        routes = list(dict.fromkeys(policy.route for policy in policies))
        tallies = {route: _Tally() for route in routes}
        for start, end in self._segments(policies, since, until):
            now_in_force = in_force(policies, start)
            conditions = self._under_load(now_in_force, start)
            for route, policy in now_in_force.items():
                for path in self._paths(route, policy.distribution, conditions):
                    # What has not ended yet is not counted yet.
                    begun, ended = (
                        max(timedelta(0), till - start) for till in (min(end, now), min(end, now - path.waited))
                    )
                    rate = self.traffic(route) * path.weight
                    tallies[route].add(path, rate * (ended / MINUTE), start, conditions, policy.mode)
                    tallies[route].pending += rate * ((begun - ended) / MINUTE)
        tokens = self.config.rehearsal.tokens_per_request
        return Telemetry(
            at=now,
            since=since,
            providers=[window for route in routes for window in tallies[route].providers(route, tokens)],
            routes=[tallies[route].users(route, tokens) for route in routes],
        )

    def order(self, route: str, chosen: str, shares: Distribution) -> list[str]:
        """The providers that the gateway tries, one after the other, if the weights chose `chosen`."""
        users = {name: share for name, share in shares.items() if share}
        chain = [*self.config.chain(route, chosen), *sorted(users, key=lambda name: -users[name])]
        others = [name for name in dict.fromkeys(chain) if name != chosen and name in self.config.providers]
        return [chosen, *sorted(others, key=lambda name: name not in users)][: self.config.gateway.max_tries]

    def _segments(
        self, policies: Sequence[InForce], since: datetime, until: datetime
    ) -> Iterator[tuple[datetime, datetime]]:
        """Parts of the window in which nothing changes."""
        inside = {at for at in (*self.edges(), *(policy.at for policy in policies)) if since < at < until}
        moments = [since, *sorted(inside), until]
        yield from pairwise(moments)

    def _under_load(self, policies: Mapping[str, InForce], at: datetime) -> dict[str, Condition]:
        """Conditions at a moment, where a provider throttles what is more than it declared that it can take."""
        alone = {name: self.condition(name, at) for name in self.config.providers}
        if all(self.takes(name) is None for name in alone):
            return alone
        conditions = alone
        # What one throttles comes to the next, who may have to throttle more for it, and so on.
        for _ in range(ROUNDS):
            offered = self._offered(policies, conditions)
            conditions = {name: self._loaded(name, condition, offered[name]) for name, condition in alone.items()}
        return conditions

    def _offered(self, policies: Mapping[str, InForce], conditions: Mapping[str, Condition]) -> dict[str, float]:
        """Tries a minute that come to each provider."""
        offered = dict.fromkeys(conditions, 0.0)
        for route, policy in policies.items():
            for path in self._paths(route, policy.distribution, conditions):
                for tried in path.tries:
                    offered[tried.provider] += self.traffic(route) * path.weight
        return offered

    def _loaded(self, provider: str, condition: Condition, offered: float) -> Condition:
        limit = self.takes(provider)
        if limit is None or offered <= limit:
            return condition
        chance = 1 - (1 - condition.chance) * limit / offered
        kind = condition.kind or FailureKind.THROTTLED
        return Condition(chance=chance, kind=kind, wrong=condition.wrong, p50=condition.p50, p95=condition.p95)

    def takes(self, provider: str) -> float | None:
        """Requests a minute that a provider declared that it can take; None: no limit."""
        capacity, tokens = self.config.providers[provider].capacity, self.config.rehearsal.tokens_per_request
        limits = [
            *([float(capacity.requests_per_minute)] if capacity.requests_per_minute is not None else []),
            *([capacity.tokens_per_minute / tokens] if capacity.tokens_per_minute is not None and tokens else []),
        ]
        return min(limits, default=None)

    def _paths(self, route: str, shares: Distribution, conditions: Mapping[str, Condition]) -> Iterator[_Path]:
        for chosen, share in shares.items():
            if share and chosen in conditions:
                yield from self._tried(self.order(route, chosen, shares), share / WHOLE, conditions)

    def _tried(self, order: Sequence[str], weight: float, conditions: Mapping[str, Condition]) -> Iterator[_Path]:
        failed, waited = list[_Try](), timedelta(0)
        for number, name in enumerate(order):
            condition = conditions[name]
            if condition.chance < 1:
                good = _Try(provider=name, first=number == 0, failure=None)
                answered = weight * (1 - condition.chance)
                yield _Path(weight=answered, tries=[*failed, good], answered_by=name, waited=waited)
            weight *= condition.chance
            if not weight:
                return
            failed.append(_Try(provider=name, first=number == 0, failure=condition.kind))
            waited += self.config.gateway.try_timeout if condition.kind is FailureKind.TIMEOUT else QUICK
            if waited >= self.config.gateway.request_timeout:
                break
        yield _Path(
            weight=weight, tries=failed, answered_by=None, waited=min(waited, self.config.gateway.request_timeout)
        )


def in_force(policies: Sequence[InForce], at: datetime) -> dict[str, InForce]:
    """Route → the policy in force at a moment; what was first stands for the time before it."""
    found = dict[str, InForce]()
    for policy in policies:
        if policy.at <= at or policy.route not in found:
            found[policy.route] = policy
    return found


class _Tally:
    """What one route's users and its providers' tries add up to."""

    def __init__(self) -> None:
        self._tries: dict[str, float] = {}
        self._first: dict[str, float] = {}
        self._failed: dict[str, dict[FailureKind, float]] = {}
        self._since: dict[tuple[str, FailureKind], datetime] = {}
        self._latency: dict[str, tuple[timedelta, timedelta]] = {}
        self._requests = self._lost = self._degraded = 0.0
        self.pending = 0.0
        self._answers: list[tuple[timedelta, timedelta, float]] = []

    def add(self, path: _Path, count: float, start: datetime, conditions: Mapping[str, Condition], mode: Mode) -> None:
        if count <= 0:
            return
        for tried in path.tries:
            name = tried.provider
            self._tries[name] = self._tries.get(name, 0) + count
            self._first[name] = self._first.get(name, 0) + (count if tried.first else 0)
            if tried.failure is None:
                before = self._latency.get(name, (timedelta(0), timedelta(0)))
                after = (conditions[name].p50, conditions[name].p95)
                self._latency[name] = max(before, after)
            else:
                kinds = self._failed.setdefault(name, {})
                kinds[tried.failure] = kinds.get(tried.failure, 0) + count
                self._since.setdefault((name, tried.failure), start)
        self._requests += count
        if path.answered_by is None:
            self._lost += count
            self._degraded += count if mode is Mode.DEGRADED else 0
        else:
            served = conditions[path.answered_by]
            self._answers.append((path.waited + served.p50, path.waited + served.p95, count))

    def providers(self, route: str, tokens: int) -> list[ProviderWindow]:
        return [self._window(route, name, tokens) for name in self._tries if round(self._tries[name])]

    def _window(self, route: str, name: str, tokens: int) -> ProviderWindow:
        failures = {kind: round(count) for kind, count in self._failed.get(name, {}).items() if round(count)}
        p50, p95 = self._latency.get(name, (None, None))
        tries = round(self._tries[name])
        return ProviderWindow(
            provider=name,
            route=route,
            tries=tries,
            first_tries=min(tries, round(self._first[name])),
            failures=failures,
            latency_p50=p50,
            latency_p95=p95,
            first_failures={kind: self._since[name, kind] for kind in failures},
            tokens=(tries - sum(failures.values())) * tokens,
        )

    def users(self, route: str, tokens: int) -> RouteWindow:
        requests, lost, templates = round(self._requests), round(self._lost), round(self._degraded)
        return RouteWindow(
            route=route,
            requests=requests,
            failed=max(0, lost - templates),
            lost=lost,
            empty=0,
            latency_p50=_quantile([(p50, count) for p50, _, count in self._answers], 0.5),
            latency_p95=_quantile([(p95, count) for _, p95, count in self._answers], 0.95),
            tokens=(requests - lost) * tokens,
            templates=templates,
            pending=round(self.pending),
        )


def _quantile(weighted: Sequence[tuple[timedelta, float]], share: float) -> timedelta | None:
    ordered = sorted(weighted)
    if not ordered:
        return None
    sums, total = list[float](), 0.0
    for _, weight in ordered:
        total += weight
        sums.append(total)
    return ordered[min(len(ordered) - 1, bisect_right(sums, share * total - 1e-9))][0]
