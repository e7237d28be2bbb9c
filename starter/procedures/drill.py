"""`drill run`, `drill plan`: a failover practised on a drill route, or on a little of a live one."""

import asyncio
import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from failover.config import Config
from failover.config.drills import FaultKind
from failover.drill import NAME, DrillPlan, FailoverDrillRequest, wanted
from failover.errors import RequestError
from failover.policy import DRILL
from starter.arguments import operator, percent, request_of
from starter.configuration import in_force
from starter.connection import connect
from starter.exit_codes import ExitCode
from starter.output import as_json
from starter.procedures.launch import Joins, Launch, Manner, begin, launch, told
from starter.running import Stack, find
from starter.runs.finding import DRY
from starter.runs.following import Silent, ask, follow
from starter.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Drill:
    """What the operator asked for."""

    provider: str | None
    route: str | None
    fault: str
    also: Sequence[str]
    percent: str | None
    despite_blackout: bool
    reason: str
    dry_run: bool


def run_drill(settings: Settings, asked: Drill, manner: Manner) -> int:
    if not asked.dry_run:
        return launch(settings, manner, lambda config: build(asked, config))
    stack = find(settings, manner.state)
    config = in_force(settings, stack).config
    return asyncio.run(_explain(settings, stack, build(asked, config), manner))


def build(asked: Drill, config: Config) -> Launch:
    if asked.fault not in set(FaultKind):
        raise RequestError(f"--fault {asked.fault!r} is nothing that a drill can break; it can {', '.join(FaultKind)}.")
    request = request_of(
        FailoverDrillRequest,
        config,
        provider=asked.provider or _largest(asked.route, config),
        route=asked.route,
        fault=asked.fault,
        also=list(asked.also),
        percent=percent("--percent", asked.percent),
        despite_blackout=asked.despite_blackout,
        reason=asked.reason,
        requested_by=operator(),
        dry_run=asked.dry_run,
    )
    found = wanted(request, config)
    if isinstance(found, str):
        raise RequestError(found)
    how = f"{found.percent:g} % of users' tries on the live route" if found.percent is not None else "the drill route"
    return Launch(
        procedure=NAME,
        workflow_id=f"{DRILL}{found.route}",
        request=request,
        provider=found.provider,
        reason=asked.reason,
        requested_by=request.requested_by,
        summary=f"DRILL: {found.subject}, asked for by {request.requested_by}",
        question=f"Break {' and '.join(found.broken)} for {how} {found.route}, and practise the failover?",
        joins=Joins.NEVER,
        dry_run=asked.dry_run,
    )


def _largest(route: str | None, config: Config) -> str | None:
    """The provider whose failure would matter most."""
    name = route or (config.drills.routes[0] if len(config.drills.routes) == 1 else None)
    if name not in config.routes:
        return None
    shares = config.routes[name].distribution
    return max(shares, key=lambda provider: shares[provider])


async def _explain(settings: Settings, stack: Stack, launched: Launch, manner: Manner) -> int:
    client = await connect(settings, stack)
    run = await begin(client, launched, f"{DRY}{launched.workflow_id}/{uuid.uuid4().hex[:6]}")
    ended = await follow(run, Silent())
    assert ended is not None
    plan: DrillPlan | None = await ask(run, "plan", DrillPlan)
    if ended.code is not ExitCode.DONE or plan is None:
        return told(ended, manner)
    if manner.json:
        as_json("drill-plan", {"subject": plan.subject, "digest": plan.digest, "steps": plan.steps})
        return ended.code
    print("\n".join([f"Drill of {plan.subject}, plan {plan.digest}. Nothing was changed.", *_numbered(plan.steps)]))
    return ended.code


def _numbered(steps: Sequence[str]) -> list[str]:
    return [f"  {number}. {step}" for number, step in enumerate(steps, 1)]
