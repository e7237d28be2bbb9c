"""Immediate failover: who takes over which route's traffic from a failed provider, and why."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from failover import kinds
from failover.capacity import Headroom, fit
from failover.certificates import Certification
from failover.config.automation import Automation
from failover.config.kpis import Kpis
from failover.config.procedures import Immediate
from failover.distribution import Distribution, Shares, move_all, move_part, percent, render
from failover.health import Condition, Verdict
from failover.policy import Revision
from failover.requests import ImmediateFailoverRequest
from failover.units import count

NAME = kinds.IMMEDIATE


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteNow:
    """A route as it stands: the policy in force, who made it so, and who may take over, best first.

    `failback` is what follows an automatic failover: auto, propose or off. `headroom` is what providers can take of it.
    `certification` None: nobody needs a certificate.
    """

    route: str
    revision: Revision
    distribution: Shares
    chain: Sequence[str]
    changed_by: str = ""
    failback: str = "off"
    headroom: Headroom = field(default_factory=Headroom)
    certification: Certification | None = None
    claim: str | None = None
    drilled: Shares | None = None
    """What is in force where a drill has moved traffic; `distribution` is then what it found."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Brief:
    """Everything that an immediate failover decides on; read once, kept in the run's history. `automation`: how people are
    asked, where a route demands certificates."""

    providers: Sequence[str]
    routes: Sequence[RouteNow]
    verdicts: Sequence[Verdict]
    settings: Immediate
    kpis: Kpis
    contacts: Mapping[str, str] = field(default_factory=dict)
    automation: Automation | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Shift:
    """One route's part of the plan; absolute values, so that writing it twice is writing it once.

    `remark`: who gains traffic without the certificate that the route demands, and why; "" where nobody does.
    """

    route: str
    decided_on: Revision
    before: Shares
    after: Shares
    target: str
    reason: str
    remark: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to write, the routes that no provider can take over (with why), and those that need nothing.

    `asks`: routes whose only targets lack the certificate that they demand, and of which people are to be asked first.
    """

    shifts: Sequence[Shift]
    stranded: Mapping[str, str]
    untouched: Sequence[str]
    asks: Mapping[str, str] = field(default_factory=dict)


def why_not_start(request: ImmediateFailoverRequest, providers: Collection[str], routes: Collection[str]) -> str | None:
    """Why the request cannot be meant, naming what is known; None where it can."""
    known = ", ".join(sorted(providers))
    for role, provider in (("failed_provider", request.failed_provider), ("target_provider", request.target_provider)):
        if provider is not None and provider not in providers:
            return f"{role} {provider!r} is no provider of this deployment; the providers are {known}."
    if request.target_provider == request.failed_provider:
        return f"target_provider equals failed_provider ({request.failed_provider!r}); name another target, or none."
    unknown = sorted(set(request.routes or ()) - set(routes))
    if unknown:
        return f"routes names {', '.join(map(repr, unknown))}; the routes are {', '.join(sorted(routes))}."
    return None


def as_of(routes: Sequence[RouteNow], now: datetime) -> list[RouteNow]:
    """The routes, with the certificates that count at a moment."""
    return [
        replace(route, certification=route.certification.at(now)) if route.certification else route for route in routes
    ]


def why_not_drill(workflow_id: str, routes: Iterable[RouteNow]) -> str | None:
    """Why a drill's failover may not write (any more): somebody else has taken a route from its drill."""
    for route in routes:
        if not route.claim or not workflow_id.startswith(f"{route.claim}/"):
            holder = f"it is claimed by {route.claim}" if route.claim else f"{route.changed_by} changed it"
            return f"Route {route.route!r} is no longer this drill's: {holder}. This run touches nothing more."
    return None


def candidates(request: ImmediateFailoverRequest, routes: Iterable[RouteNow]) -> list[str]:
    """Every provider that might be chosen, in first-seen order."""
    if request.target_provider is not None:
        return [request.target_provider]
    return list(dict.fromkeys(name for route in routes for name in _chain(route, request.failed_provider)))


def _chain(route: RouteNow, failed: str) -> list[str]:
    """The configured chain, then whoever else serves the route already; last of all whom the route has just left."""
    others = [name for name, share in sorted(route.distribution.items(), key=lambda item: -item[1]) if share]
    names = [name for name in dict.fromkeys([*route.chain, *others]) if name != failed]
    return sorted(names, key=lambda name: _was_left(route, name))


def _was_left(route: RouteNow, name: str) -> bool:
    """Whether the policy in force is the one by which all traffic left this provider: two alerts are no ping-pong."""
    return route.changed_by == kinds.run_id(kinds.IMMEDIATE, name) and not route.distribution.get(name, 0)


def plan(
    request: ImmediateFailoverRequest,
    routes: Sequence[RouteNow],
    verdicts: Mapping[str, Verdict],
    ruled_out: Mapping[str, str],
) -> Plan:
    """The failed provider's whole share on the best candidate of each route, as far as it can take it.

    `ruled_out`: provider → why it may not be a target any more (a validation that failed, say).
    """
    shifts, stranded, untouched, asks = [], dict[str, str](), list[str](), dict[str, str]()
    for route in (_out_of_drill(route, request.failed_provider, verdicts, ruled_out) for route in routes):
        if route.distribution.get(request.failed_provider, 0) == 0:
            if route.drilled is not None and route.drilled.get(request.failed_provider, 0):
                shifts.append(_undrill(route, route.drilled))
            else:
                untouched.append(route.route)
            continue
        target, reason = choose(request, route, verdicts, ruled_out)
        if target is None:
            stranded[route.route] = reason
            continue
        if _must_ask(route, target):
            asks[route.route] = reason
            continue
        others = [name for name in _chain(route, request.failed_provider) if name != target]
        able = [name for name in others if why_not_target(name, verdicts, ruled_out) is None]
        able = [name for name in sorted(able, key=lambda name: _lacks(route, name)) if not _must_ask(route, name)]
        if request.share_percent is not None:
            part = move_part(route.distribution, request.failed_provider, target, request.share_percent)
            after, said = part, [f"only {request.share_percent:g} % of it"]
        else:
            after, said = divide(route, request.failed_provider, target, [] if request.target_provider else able)
        shifts.append(
            Shift(
                route=route.route,
                decided_on=route.revision,
                before=route.distribution,
                after=dict(after),
                target=target,
                reason="; ".join([reason, *said]),
                remark=_remark(route, after),
            )
        )
    return Plan(shifts=shifts, stranded=stranded, untouched=untouched, asks=asks)


def _lacks(route: RouteNow, name: str) -> bool:
    """Whether the route demands a certificate that a provider has not."""
    return route.certification is not None and name in route.certification.lacking


def _must_ask(route: RouteNow, name: str) -> bool:
    return route.certification is not None and route.certification.ask and _lacks(route, name)


def _remark(route: RouteNow, after: Distribution) -> str:
    gaining = [name for name in sorted(after) if after[name] > route.distribution.get(name, 0)]
    remark = route.certification.remark(gaining) if route.certification else ""
    return f"{route.route}: {remark}" if remark else ""


def _out_of_drill(
    route: RouteNow, failed: str, verdicts: Mapping[str, Verdict], ruled_out: Mapping[str, str]
) -> RouteNow:
    """Begin at what is in force if what a drill found would bring traffic to somebody who is down."""
    drilled = route.drilled
    if drilled is None or not drilled.get(failed, 0) or route.distribution.get(failed, 0):
        return route
    gaining = [name for name, share in route.distribution.items() if share > drilled.get(name, 0)]
    if all(why_not_target(name, verdicts, ruled_out) is None for name in gaining):
        return route
    return replace(route, distribution=drilled, drilled=None)


def _undrill(route: RouteNow, drilled: Shares) -> Shift:
    """The way out of a provider that only a drill brought onto the route: what the drill found."""
    target = max(route.distribution, key=lambda name: route.distribution[name])
    return Shift(
        route=route.route,
        decided_on=route.revision,
        before=drilled,
        after=route.distribution,
        target=target,
        reason="a drill had moved this traffic, and what it found is put back",
    )


def divide(route: RouteNow, failed: str, target: str, others: Sequence[str]) -> tuple[Distribution, list[str]]:
    """The failed provider's share on the target; what it cannot take on the others, in their order; and what to say of it.

    What fits nowhere goes to the target all the same: some of it is served there, and none where it is now.
    """
    whole = move_all(route.distribution, failed, target)
    fitted = fit(route.distribution, whole, others, route.headroom)
    stays = fitted.distribution.get(failed, 0)
    if not stays:
        return fitted.distribution, list(fitted.said)
    after = move_all(fitted.distribution, failed, target)
    said = list(fitted.said)[:-1]
    return after, [
        *said,
        f"{percent(stays)} % fit nowhere and go to {target} beyond what it declared: {failed} serves none",
    ]


def choose(
    request: ImmediateFailoverRequest,
    route: RouteNow,
    verdicts: Mapping[str, Verdict],
    ruled_out: Mapping[str, str],
) -> tuple[str | None, str]:
    """The target for a route and why; or None and why no candidate will do.

    A provider known to be healthy comes before one of which nothing is known, whatever the chain's order; of equals, one
    that is certified comes before one that is not: a probe of now says more than a certificate of yesterday.
    """
    chain = [request.target_provider] if request.target_provider else _chain(route, request.failed_provider)
    refusals = {name: why for name in chain if (why := why_not_target(name, verdicts, ruled_out))}
    able = [name for name in chain if name not in refusals]
    if not able:
        said = "; ".join(refusals.values()) or f"the chain of {request.failed_provider!r} is empty"
        return None, f"No provider can take over route {route.route!r}: {said}."
    target = min(
        able, key=lambda name: (_was_left(route, name), not _known_healthy(name, verdicts), _lacks(route, name))
    )
    share = percent(route.distribution[request.failed_provider])
    uncertified = {} if route.certification is None or _lacks(route, target) else route.certification.lacking
    without = [f"{name} is passed over: {uncertified[name]}" for name in able if name in uncertified]
    passed_over = "".join(f", {why}" for why in [*refusals.values(), *without])
    chosen = "was named as the target" if request.target_provider else "is next in the chain"
    health = verdicts[target].reason if target in verdicts else "nothing speaks against it"
    return target, f"{share} % from {request.failed_provider} to {target}, which {chosen} ({health}){passed_over}"


def why_not_target(name: str, verdicts: Mapping[str, Verdict], ruled_out: Mapping[str, str]) -> str | None:
    """Why a provider may not be given traffic now; None where nothing speaks against it."""
    if name in ruled_out:
        return f"{name} is ruled out: {ruled_out[name]}"
    verdict = verdicts.get(name)
    return (
        f"{name} is {verdict.condition.value.replace('_', ' ')}: {verdict.reason}" if verdict and verdict.down else None
    )


def _known_healthy(name: str, verdicts: Mapping[str, Verdict]) -> bool:
    verdict = verdicts.get(name)
    return verdict is not None and verdict.condition is not Condition.BLIND and verdict.cause is None


def describe(request: ImmediateFailoverRequest, plan: Plan) -> str:
    """The plan in one sentence."""
    if not plan.shifts and not plan.stranded and not plan.asks:
        return f"No route sends traffic to {request.failed_provider}: there is nothing to move."
    said = []
    for target in dict.fromkeys(shift.target for shift in plan.shifts):
        shifts = [shift for shift in plan.shifts if shift.target == target]
        detail = f" ({render(shifts[0].before)} → {render(shifts[0].after)})" if len(shifts) == 1 else ""
        said.append(f"{count(len(shifts), 'route')} to {target}{detail}: {shifts[0].reason}")
    said += (
        [f"{count(len(plan.stranded), 'route')} stranded: {next(iter(plan.stranded.values()))}"]
        if plan.stranded
        else []
    )
    said += (
        [count(len(plan.asks), "route") + f" to be asked of people: {next(iter(plan.asks.values()))}"]
        if plan.asks
        else []
    )
    said += list(dict.fromkeys(shift.remark for shift in plan.shifts if shift.remark))[:3]
    return "; ".join(said)


def command(request: ImmediateFailoverRequest) -> str:
    """What a person runs once the way is clear."""
    target = f" --target-provider {request.target_provider}" if request.target_provider else ""
    routes = "".join(f" --route {route}" for route in request.routes or ())
    return f"failoverctl failover --failed-provider {request.failed_provider}{target}{routes} --yes"
