"""`failback`: traffic returns to a provider that was failed over from, once it is proved to be well."""

from collections.abc import Sequence
from dataclasses import dataclass

from failover import kinds
from failover.config import Config
from failover.errors import refuse
from failover.failback import why_not_start
from failover.requests import FailbackRequest
from starter.arguments import operator, percent, percents, request_of, route_of, seconds
from starter.procedures.gradual import approvals
from starter.procedures.launch import Joins, Launch, Manner, launch
from starter.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Failback:
    """What the operator asked for."""

    original: str
    current: str | None
    auto: bool
    health_threshold: str | None
    recovery: str | None
    percents: str | None
    step_duration: str | None
    route: str | None
    reason: str
    approvals: Sequence[str]
    undoes: str | None
    dry_run: bool


def run_failback(settings: Settings, asked: Failback, manner: Manner) -> int:
    return launch(settings, manner, lambda config: build(asked, config))


def build(asked: Failback, config: Config) -> Launch:
    route = route_of(config, asked.route)
    request = request_of(
        FailbackRequest,
        config,
        route=route,
        original_provider=asked.original,
        current_provider=asked.current,
        auto=asked.auto,
        health_threshold_percent=percent("--health-threshold", asked.health_threshold),
        recovery_seconds=seconds("--recovery", asked.recovery),
        percents=percents("--percents", asked.percents),
        step_seconds=seconds("--step-duration", asked.step_duration),
        approvals=approvals(config, route, asked.approvals),
        undoes_workflow_id=asked.undoes,
        reason=asked.reason,
        requested_by=operator(),
        dry_run=asked.dry_run,
    )
    refuse(why_not_start(request, sorted(config.providers)))
    watch = config.procedures.failback.recovery_watch.total_seconds()
    watch = watch if request.recovery_seconds is None else request.recovery_seconds
    how = "once it was well" if request.auto else "once it was well and you have approved it"
    return Launch(
        procedure=kinds.FAILBACK,
        workflow_id=kinds.run_id(kinds.FAILBACK, route),
        request=request,
        provider=asked.original,
        reason=asked.reason,
        requested_by=request.requested_by,
        summary=f"{route}: back to {asked.original}, asked for by {request.requested_by}",
        question=f"Return traffic of route {route} to {asked.original}, step by step, {how} for {watch / 60:g} minutes?",
        joins=Joins.SAME_PROVIDER,
        dry_run=asked.dry_run,
    )
