"""`failover`, `rollback`: all traffic off a provider, now; or in phases, or by a canary, where the mode says so."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from failover import kinds
from failover.config import Config
from failover.distribution import Distribution, render, users_of
from failover.errors import RequestError, refuse
from failover.immediate import why_not_start
from failover.requests import ImmediateFailoverRequest
from starter.arguments import operator, request_of
from starter.procedures import canary, gradual
from starter.procedures.canary_orders import Start
from starter.procedures.gradual import Phases
from starter.procedures.launch import Joins, Launch, Manner, launch
from starter.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Failover:
    """What the operator asked for."""

    failed: str
    target: str | None
    auto_select: bool = False
    routes: Sequence[str] | None
    reason: str
    emergency: bool = False
    dry_run: bool
    mode: str = "immediate"


def run_failover(settings: Settings, asked: Failover, manner: Manner) -> int:
    if asked.auto_select and asked.target:
        raise RequestError(
            "--auto-select-target lets the chain choose, and --target-provider names one; give only one."
        )
    return launch(settings, manner, lambda config: _in_mode(asked, config))


def _in_mode(asked: Failover, config: Config) -> Launch:
    if asked.mode == "immediate":
        return immediate(asked, config)
    if len(asked.routes or ()) > 1:
        raise RequestError(f"A {asked.mode} failover is of one route; start one for each --route.")
    route = asked.routes[0] if asked.routes else None
    if asked.mode == "canary":
        wanted = Start(
            source=asked.failed,
            target=asked.target,
            route=route,
            reason=asked.reason,
            emergency=asked.emergency,
            dry_run=asked.dry_run,
        )
        return canary.build(wanted, config)
    if asked.target is not None:
        raise RequestError(
            "A gradual failover divides the traffic along the provider's chain, so it takes no --target-provider; "
            "name the shares you want with `failoverctl config set --traffic-distribution … --transition-duration …`."
        )
    wanted_phases = Phases(
        failed=asked.failed, route=route, reason=asked.reason, emergency=asked.emergency, dry_run=asked.dry_run
    )
    return gradual.phases(wanted_phases, config)


def immediate(asked: Failover, config: Config) -> Launch:
    request = request_of(
        ImmediateFailoverRequest,
        config,
        failed_provider=asked.failed,
        target_provider=asked.target,
        routes=list(asked.routes) if asked.routes else None,
        reason=asked.reason,
        requested_by=operator(),
        emergency=asked.emergency,
        dry_run=asked.dry_run,
    )
    refuse(why_not_start(request, config.providers, config.routes))
    where = f" to {asked.target}" if asked.target else ""
    which = f"of {', '.join(asked.routes)}" if asked.routes else "of every route"
    return Launch(
        procedure=kinds.IMMEDIATE,
        workflow_id=kinds.run_id(kinds.IMMEDIATE, asked.failed),
        request=request,
        provider=asked.failed,
        reason=asked.reason,
        requested_by=request.requested_by,
        summary=f"{asked.failed}, asked for by {request.requested_by}",
        question=f"Move all traffic {which} off {asked.failed}{where} now?",
        joins=Joins.ALWAYS,
        dry_run=asked.dry_run,
        idle=lambda shares: _why_idle(request, shares),
    )


def _why_idle(request: ImmediateFailoverRequest, shares: Mapping[str, Distribution]) -> str | None:
    asked = {route: share for route, share in shares.items() if request.routes is None or route in request.routes}
    if users_of(request.failed_provider, asked):
        return None
    now = "; ".join(f"{route}: {render(share)}" for route, share in sorted(asked.items()))
    return f"No route uses {request.failed_provider}, so there is nothing to move ({now})."
