"""`emergency`: degraded service while no provider serves."""

from collections.abc import Sequence
from dataclasses import dataclass

from failover import kinds
from failover.config import Config
from failover.emergency import why_not_start
from failover.errors import refuse
from failover.requests import EmergencyRequest
from starter.arguments import operator, request_of
from starter.procedures.launch import Joins, Launch, Manner, launch
from starter.runs.situation import Look
from starter.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Emergency:
    """What the operator asked for."""

    mode: str
    routes: Sequence[str] | None
    reason: str
    dry_run: bool


def run_emergency(settings: Settings, asked: Emergency, manner: Manner) -> int:
    return launch(settings, manner, lambda config: build(asked, config))


def build(asked: Emergency, config: Config) -> Launch:
    request = request_of(
        EmergencyRequest,
        config,
        mode=asked.mode,
        routes=list(asked.routes) if asked.routes else None,
        reason=asked.reason,
        requested_by=operator(),
        dry_run=asked.dry_run,
    )
    refuse(why_not_start(request, config.routes))
    where = f"route {', '.join(asked.routes)}" if asked.routes else "every route"
    return Launch(
        procedure=kinds.EMERGENCY,
        workflow_id=kinds.run_id(kinds.EMERGENCY),
        request=request,
        provider="",
        reason=asked.reason,
        requested_by=request.requested_by,
        summary=f"asked for by {request.requested_by}",
        question=f"Declare an emergency: degraded service (cache, queue, banner, templates) on {where} until one is back?",
        joins=Joins.ALWAYS,
        dry_run=asked.dry_run,
        started_when=_is_degraded,
    )


def _is_degraded(look: Look) -> bool:
    return look.status is not None and look.status.moments.verified is not None
