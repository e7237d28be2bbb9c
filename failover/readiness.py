"""Would a failover work now? What an audit looked at, what that makes of each target and route, and what is news of it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum

from failover.findings import Finding, Health


class Check(StrEnum):
    """What is looked at, in the order in which it is shown."""

    CREDENTIALS = "credentials"
    """The provider accepts them: by a real call."""
    EXPIRY = "expiry"
    MODEL = "model"
    """The model answers, through the exact mapping."""
    GOLDEN = "golden prompts"
    CONTEXT = "context window"
    CAPACITY = "capacity"
    DATA_PLANE = "data plane"
    APPROVERS = "approvers"
    NOTIFICATIONS = "notifications"


OF_TARGETS = (Check.CREDENTIALS, Check.EXPIRY, Check.MODEL, Check.GOLDEN, Check.CONTEXT, Check.CAPACITY)

ESSENTIAL = frozenset({Check.CREDENTIALS, Check.MODEL, Check.GOLDEN, Check.CONTEXT, Check.DATA_PLANE})
"""The checks without which nobody can say that a failover would work. The others may be unknown."""

HINDERING = ESSENTIAL | {Check.EXPIRY, Check.CAPACITY}
"""The checks of which one failure means that a failover would not work. People who cannot be told hinder no traffic."""


class Standing(StrEnum):
    """The readiness of a target or of a route; a route's is that of its best target, whoever of its servers failed."""

    READY = "ready"
    UNPROVEN = "unproven"
    """Nothing speaks against it, and something essential could not be looked at."""
    NOT_READY = "not ready"


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One provider that may have to take over on one route. `digest` is of the prompts that it was asked, `model` the
    vendor's id. A check that is not there was not asked for."""

    route: str
    provider: str
    model: str
    suite: str
    digest: str
    found: Mapping[Check, Finding] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """`routes`: what was looked at of each route beside its targets; `common`: of the whole deployment; `successors`: route →
    whoever serves it → who may take over from it."""

    id: str
    at: datetime
    finished: datetime
    requested_by: str = ""
    targets: Sequence[Target] = ()
    routes: Mapping[str, Mapping[Check, Finding]] = field(default_factory=dict)
    common: Mapping[Check, Finding] = field(default_factory=dict)
    successors: Mapping[str, Mapping[str, Sequence[str]]] = field(default_factory=dict)

    def found_of(self, target: Target) -> dict[Check, Finding]:
        """Everything that a failover to the target needs."""
        return {**self.common, **self.routes.get(target.route, {}), **target.found}

    def standing(self, target: Target) -> Standing:
        found = self.found_of(target)
        if any(one.health is Health.FAILED for check, one in found.items() if check in HINDERING):
            return Standing.NOT_READY
        missing = [check for check in ESSENTIAL - {Check.CONTEXT} if check not in found]
        unknown = [check for check in ESSENTIAL if check in found and found[check].health is Health.UNKNOWN]
        return Standing.UNPROVEN if missing or unknown else Standing.READY

    def of_route(self, route: str) -> list[Target]:
        return [target for target in self.targets if target.route == route]

    def without(self, route: str) -> dict[str, Standing]:
        """Who serves a route → the standing of its best successor; if that is not said, "" → the best of any target."""
        targets = self.of_route(route)
        successors = self.successors.get(route) or {"": [target.provider for target in targets]}
        return {
            source: self._best(target for target in targets if target.provider in names)
            for source, names in successors.items()
        }

    def _best(self, targets: Iterable[Target]) -> Standing:
        known = {self.standing(target) for target in targets}
        return next((one for one in Standing if one in known), Standing.NOT_READY)

    def route_standing(self, route: str) -> Standing:
        """The worst case: any of those who serve the route may fail, and cannot be its own target."""
        return max(self.without(route).values(), key=list(Standing).index)

    def unprotected(self, route: str) -> list[str]:
        """The providers that serve a route and from which no target that is known to work could take over."""
        return sorted(source for source, standing in self.without(route).items() if standing is not Standing.READY)

    def condition(self, route: str) -> str:
        """ " if bedrock fails", where a target is missing for some of those who serve the route; "" where for all."""
        unprotected = self.unprotected(route)
        some = len(unprotected) < len(self.without(route))
        return f" if {' or '.join(unprotected)} fails" if some else ""

    def stranded(self) -> list[str]:
        """Routes that may be left without a target that is known to work: what nobody knows is no good news."""
        return [route for route in sorted(self.routes) if self.unprotected(route)]

    def gaps(self) -> list[str]:
        """The same for people: "chat", or "chat if bedrock fails"."""
        return [f"{route}{self.condition(route)}" for route in self.stranded()]

    def every(self) -> list[tuple[str, Check, Finding]]:
        """(where, check, finding) of everything; where is "chat → google", "chat" or ""."""
        targets = [
            (f"{target.route} → {target.provider}", check, target.found[check])
            for target in self.targets
            for check in OF_TARGETS
            if check in target.found
        ]
        routes = [(route, check, one) for route, found in sorted(self.routes.items()) for check, one in found.items()]
        return [*targets, *routes, *(("", check, one) for check, one in self.common.items())]

    @property
    def score(self) -> float:
        """Percent of the checks that passed, warnings among them; what is unknown did not pass."""
        every = [one.health for _, _, one in self.every()]
        good = sum(health in (Health.OK, Health.WARNING) for health in every)
        return 100 * good / len(every) if every else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Looked:
    """What an audit brought home, each thing once: a provider serves many routes. Keys of `golden` are by `prompts`, those
    of `context` and `capacity` by `pair`. `expiries`: provider → when its credentials end; `successors`: as in `Audit`."""

    id: str
    at: datetime
    requested_by: str = ""
    targets: Sequence[Target] = ()
    providers: Mapping[str, Mapping[Check, Finding]] = field(default_factory=dict)
    golden: Mapping[str, Finding] = field(default_factory=dict)
    context: Mapping[str, Finding] = field(default_factory=dict)
    capacity: Mapping[str, Finding] = field(default_factory=dict)
    routes: Mapping[str, Mapping[Check, Finding]] = field(default_factory=dict)
    common: Mapping[Check, Finding] = field(default_factory=dict)
    expiries: Mapping[str, datetime] = field(default_factory=dict)
    successors: Mapping[str, Mapping[str, Sequence[str]]] = field(default_factory=dict)


def prompts(target: Target) -> str:
    return f"{target.provider}/{target.digest}"


def pair(target: Target) -> str:
    return f"{target.route} → {target.provider}"


def assemble(looked: Looked, finished: datetime) -> Audit:
    """Put an audit together from what was looked at: each finding beside the target that it is about."""

    def found(target: Target) -> dict[Check, Finding]:
        more = {
            Check.GOLDEN: looked.golden.get(prompts(target)),
            Check.CONTEXT: looked.context.get(pair(target)),
            Check.CAPACITY: looked.capacity.get(pair(target)),
        }
        return {
            **looked.providers.get(target.provider, {}),
            **{check: one for check, one in more.items() if one is not None},
        }

    return Audit(
        id=looked.id,
        at=looked.at,
        finished=finished,
        requested_by=looked.requested_by,
        targets=[replace(target, found=found(target)) for target in looked.targets],
        routes=looked.routes,
        common=looked.common,
        successors=looked.successors,
    )


def why_not_ready(audit: Audit, target: Target) -> str:
    """What keeps a target from being ready, in one sentence; "" where nothing does. The first cause, and what else there is:
    one that is refused by its provider fails everything after it."""
    standing, found = audit.standing(target), audit.found_of(target)
    if standing is Standing.READY:
        return ""
    kinds = (HINDERING, Health.FAILED) if standing is Standing.NOT_READY else (ESSENTIAL, Health.UNKNOWN)
    bad = [check for check in Check if check in found and check in kinds[0] and found[check].health is kinds[1]]
    if not bad:
        return "not everything was looked at"
    more = f" (and {', '.join(bad[1:])})" if bad[1:] else ""
    return f"{bad[0]}: {found[bad[0]].said}{more}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """What people were told last: how each target stands ("chat → google"), each route and who of those who serve it has no
    working target to take over, and what else was not well."""

    targets: Mapping[str, Standing] = field(default_factory=dict)
    routes: Mapping[str, Standing] = field(default_factory=dict)
    worries: Sequence[str] = ()
    unprotected: Mapping[str, Sequence[str]] = field(default_factory=dict)


def picture(audit: Audit) -> Picture:
    """The picture of an audit. A worry is a check that did not pass, without its figures: those differ each time."""
    worries = {f"{where}{': ' if where else ''}{check}" for where, check, one in audit.every() if _bad(one)}
    return Picture(
        targets={pair(target): audit.standing(target) for target in audit.targets},
        routes={route: audit.route_standing(route) for route in sorted(audit.routes)},
        worries=sorted(worries),
        unprotected={route: audit.unprotected(route) for route in audit.stranded()},
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class News:
    """What people are told of an audit; `urgent`: a route has no working target, or not for all who may fail."""

    headline: str
    text: str
    urgent: bool


TOLD = 12
"""Lines of a message; the rest is counted."""


def news(before: Picture | None, audit: Audit) -> News | None:
    """What has changed since people were told last; None where nothing has. Before the first time all was well."""
    now, was = picture(audit), before or Picture()
    lost = [
        name
        for name, unprotected in now.unprotected.items()
        if was.routes.get(name) is not now.routes[name] or {*unprotected} - {*was.unprotected.get(name, [])}
    ]
    regained = [name for name, one in now.routes.items() if one is Standing.READY and _was_bad(was.routes.get(name))]
    changed = [
        target
        for target in audit.targets
        if was.targets.get(pair(target), Standing.READY) is not now.targets[pair(target)]
    ]
    fresh = [one for one in audit.every() if _bad(one[2]) and _worry(one) not in was.worries]
    over = [one for one in was.worries if one not in now.worries]
    if not (lost or regained or changed or fresh or over):
        return None
    lines = [
        *(
            f"route {name} has no working target{audit.condition(name)} ({now.routes[name].value}); see to it now"
            for name in lost
        ),
        *(f"route {name} has a working target again" for name in regained),
        *(
            f"{pair(target)} is {now.targets[pair(target)].value}{_because(why_not_ready(audit, target))}"
            for target in changed
        ),
        *(f"{_worry(one)} {one[2].health.value}: {one[2].said}{_remedy(one[2])}" for one in fresh),
        *(f"{one}: no longer" for one in over),
    ]
    more = [f"… and {len(lines) - TOLD} more: `failoverctl readiness`"] if len(lines) > TOLD else []
    return News(
        headline=f"Readiness: {audit.score:.0f} % of the checks passed{_stranded(audit)}",
        text="\n".join(f"• {line}" for line in [*lines[:TOLD], *more]),
        urgent=bool(lost),
    )


def _stranded(audit: Audit) -> str:
    gaps = audit.gaps()
    return f", no working target for {', '.join(gaps[:5])}" if gaps else ", every route has a working target"


def _was_bad(standing: Standing | None) -> bool:
    return standing is not None and standing is not Standing.READY


def _bad(finding: Finding) -> bool:
    """Whether a finding is worth telling; unknown capacity or expiry is not: it would be told each time."""
    return finding.health in (Health.FAILED, Health.WARNING)


def _worry(one: tuple[str, Check, Finding]) -> str:
    where, check, _ = one
    return f"{where}{': ' if where else ''}{check}"


def _because(why: str) -> str:
    return f": {why}" if why else ""


def _remedy(finding: Finding) -> str:
    return f" → {finding.repair}" if finding.repair else ""


def worst(found: Iterable[Finding]) -> Finding | None:
    """The finding that counts of several looks at the same thing; None if there is none."""
    order = (Health.FAILED, Health.UNKNOWN, Health.WARNING, Health.OK)
    return min(found, key=lambda one: order.index(one.health), default=None)
