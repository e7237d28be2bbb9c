"""`canary` and `failover --mode canary`: start one."""

from failover import kinds
from failover.canary import why_not_start
from failover.config import Config
from failover.errors import RequestError, refuse
from failover.requests import CanaryFailoverRequest
from starter.arguments import operator, percent, percents, request_of, route_of, seconds
from starter.procedures.canary_orders import Start
from starter.procedures.gradual import approvals
from starter.procedures.launch import Joins, Launch, Manner, launch
from starter.settings import Settings


def run_canary(settings: Settings, asked: Start, manner: Manner) -> int:
    return launch(settings, manner, lambda config: build(asked, config))


def build(asked: Start, config: Config) -> Launch:
    route = route_of(config, asked.route)
    target = asked.target or next(iter(config.chain(route, asked.source)), None)
    if target is None:
        raise RequestError(f"The chain of {asked.source} is empty; name the canary's --target-provider.")
    request = request_of(
        CanaryFailoverRequest,
        config,
        route=route,
        source_provider=asked.source,
        target_provider=target,
        initial_percent=percent("--traffic-percentage", asked.traffic),
        initial_seconds=seconds("--duration", asked.duration),
        percents=percents("--percents", asked.percents),
        step_seconds=seconds("--step-duration", asked.step_duration),
        success_threshold_percent=percent("--success-threshold", asked.success_threshold),
        failure_threshold_percent=percent("--failure-threshold", asked.failure_threshold),
        manual=asked.traffic is not None,
        approvals=approvals(config, route, asked.approvals),
        synthetic_per_sample=asked.synthetic,
        reason=asked.reason,
        requested_by=operator(),
        emergency=asked.emergency,
        dry_run=asked.dry_run,
    )
    refuse(why_not_start(request, sorted(config.providers)))
    return Launch(
        procedure=kinds.CANARY,
        workflow_id=kinds.run_id(kinds.CANARY, route),
        request=request,
        provider=asked.source,
        reason=asked.reason,
        requested_by=request.requested_by,
        summary=f"{route}: {asked.source} → {target}, asked for by {request.requested_by}",
        question=_question(request, config),
        joins=Joins.NEVER,
        dry_run=asked.dry_run,
    )


def _question(request: CanaryFailoverRequest, config: Config) -> str:
    settings = config.procedures.canary
    first = request.initial_percent or settings.initial_percent
    rest = [] if request.manual else [value for value in request.percents or settings.percents if value > first]
    then = (
        f", then {'/'.join(f'{value:g}' for value in rest)} % while it does well" if rest else ", then wait for orders"
    )
    return (
        f"Give {request.target_provider} {first:g} % of what {request.source_provider} serves on route "
        f"{request.route}{then}?"
    )
