"""`failover --mode gradual` and `config set --traffic-distribution`: a provider's share in phases, or given shares."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from failover import kinds
from failover.config import Config
from failover.config.routes import ApprovalPoint, Approvals
from failover.distribution import Distribution, parse, render, same
from failover.errors import refuse
from failover.gradual import why_not_start
from failover.requests import GradualFailoverRequest
from failover.units import parse_duration, render_duration
from starter.arguments import operator, request_of, route_of, seconds
from starter.procedures.launch import Joins, Launch


@dataclass(frozen=True, slots=True, kw_only=True)
class Phases:
    """Lower a provider's share in the configured phases."""

    failed: str
    route: str | None
    reason: str
    emergency: bool
    dry_run: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Shares:
    """Given shares, at once or over a time."""

    distribution: str
    transition: str | None
    route: str | None
    reason: str
    approvals: Sequence[str] = ()
    dry_run: bool


def phases(asked: Phases, config: Config) -> Launch:
    route = route_of(config, asked.route)
    request = request_of(
        GradualFailoverRequest,
        config,
        route=route,
        failed_provider=asked.failed,
        reason=asked.reason,
        requested_by=operator(),
        emergency=asked.emergency,
        dry_run=asked.dry_run,
    )
    refuse(why_not_start(request, sorted(config.providers)))
    caps = ", ".join(f"{phase[0]:g} %" for phase in config.procedures.gradual.phases)
    question = f"Lower the share of {asked.failed} on route {route} to {caps}, phase by phase?"
    return _launch(request, asked.failed, f"{route}: off {asked.failed}", question)


def shares(asked: Shares, config: Config) -> Launch:
    """Order one verified step without a transition, else equal steps over it. Providers left out get 0; that is said."""
    route = route_of(config, asked.route)
    goal = parse(asked.distribution)
    request = request_of(
        GradualFailoverRequest,
        config,
        route=route,
        target_distribution={name: share / 100 for name, share in goal.items()},
        transition_seconds=seconds("--transition-duration", asked.transition) or 0.0,
        approvals=approvals(config, route, asked.approvals),
        reason=asked.reason,
        requested_by=operator(),
        dry_run=asked.dry_run,
    )
    refuse(why_not_start(request, sorted(config.providers)))
    left_out = sorted(set(config.providers) - set(goal))
    over = f", over {render_duration(parse_duration(asked.transition))}" if asked.transition else ", in one step"
    launch = _launch(request, "", f"{route}: to {render(goal)}", f"Set route {route} to {render(goal)}{over}?")
    return replace(
        launch,
        idle=lambda now: _why_idle(route, goal, now),
        said=f"Left out, so they get 0 %: {', '.join(left_out)}." if left_out else "",
    )


def _launch(request: GradualFailoverRequest, provider: str, summary: str, question: str) -> Launch:
    return Launch(
        procedure=kinds.GRADUAL,
        workflow_id=kinds.run_id(kinds.GRADUAL, request.route),
        request=request,
        provider=provider,
        reason=request.reason,
        requested_by=request.requested_by,
        summary=f"{summary}, asked for by {request.requested_by}",
        question=question,
        joins=Joins.SAME_PROVIDER if provider else Joins.NEVER,
        dry_run=request.dry_run,
    )


def _why_idle(route: str, goal: Distribution, now: Mapping[str, Distribution]) -> str | None:
    if route not in now or not same(goal, now[route]):
        return None
    return f"Route {route} is at {render(now[route])} already: there is nothing to move."


def approvals(config: Config, route: str, points: Sequence[str]) -> Approvals | None:
    """The route's own approvals with more points; None where none are added. A command never takes one away."""
    if not points:
        return None
    own = config.routes[route].approvals
    return own.model_copy(update={"points": list(dict.fromkeys([*own.points, *map(ApprovalPoint, points)]))})
