"""Finding runs: those that are open, those that closed lately, and the one that a command means."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from temporalio.client import Client, WorkflowExecution, WorkflowExecutionStatus
from temporalio.service import RPCError, RPCStatusCode

from failover import drill, kinds
from failover.errors import RequestError, TemporalUnavailable
from failover.requests import RunResult
from starter.exit_codes import NotNow
from starter.runs.following import Run, look_at
from starter.runs.situation import waits_for
from workflows.journal import OUTCOME, PHASE, PROVIDER, ROUTES

PROCEDURES = " AND ".join(f'WorkflowType != "{name}"' for name in kinds.BESIDE)

OPEN = f'{PROCEDURES} AND ExecutionStatus = "Running"'

RECENT = f'{PROCEDURES} AND ExecutionStatus != "Running" AND ExecutionStatus != "ContinuedAsNew"'

DRIVEABLE = (*kinds.RAMPS, kinds.EMERGENCY, drill.NAME)
"""Procedures that take orders; an immediate failover can only be cancelled."""

DRY = "dry-run/"
"""How the ids of runs begin that change nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """One run, for a list. `outcome` is "" while it is open; `waits_for` is "" while it waits for nobody."""

    workflow_id: str
    run_id: str
    procedure: str
    subject: str
    phase: str
    outcome: str
    started_at: datetime
    closed_at: datetime | None
    waits_for: str = ""
    provider: str = ""
    """The provider that it is about; "" if it is about none alone."""
    routes: Sequence[str] = ()
    """The routes that it is about, as far as Temporal lists them."""


async def executions(client: Client, query: str, limit: int | None = None) -> list[WorkflowExecution]:
    """What Temporal lists, newest first."""
    try:
        return [run async for run in client.list_workflows(query, limit=limit)]
    except RPCError as error:
        raise TemporalUnavailable(f"Temporal did not list the runs: {error.message}.") from error


async def open_runs(client: Client) -> list[Found]:
    """Procedures under way, each asked where it stands; one that does not answer is listed by what Temporal knows."""
    return list(await asyncio.gather(*(_asked(client, run) for run in await executions(client, OPEN))))


async def recent_runs(client: Client, limit: int) -> list[Found]:
    """Procedures that closed lately, by what Temporal keeps of them."""
    return [listed(run) for run in await executions(client, RECENT, limit)]


async def _asked(client: Client, run: WorkflowExecution) -> Found:
    found = listed(run)
    look = await look_at(handle_of(client, run.id))
    if look.status is None:
        return found
    now = look.situation
    return Found(
        workflow_id=run.id,
        run_id=run.run_id,
        procedure=run.workflow_type,
        subject=now.subject or found.subject,
        phase=look.status.phase,
        outcome="",
        started_at=look.status.moments.decided,
        closed_at=None,
        waits_for=waits_for(now),
        provider=look.status.provider,
        routes=found.routes,
    )


def listed(run: WorkflowExecution) -> Found:
    """What Temporal keeps of it."""
    told = run.typed_search_attributes
    provider, routes = told.get(PROVIDER) or "", told.get(ROUTES) or []
    return Found(
        workflow_id=run.id,
        run_id=run.run_id,
        procedure=run.workflow_type,
        subject=": ".join(part for part in (", ".join(routes[:3]), provider) if part),
        phase=told.get(PHASE) or "",
        outcome="" if run.status is WorkflowExecutionStatus.RUNNING else _outcome(run),
        started_at=run.start_time,
        closed_at=run.close_time,
        provider=provider,
        routes=routes,
    )


def _outcome(run: WorkflowExecution) -> str:
    """The procedure's own word, else Temporal's."""
    own = run.typed_search_attributes.get(OUTCOME)
    return own or (run.status.name if run.status else "")


def handle_of(client: Client, workflow_id: str, run_id: str | None = None) -> Run:
    return client.get_workflow_handle(workflow_id, run_id=run_id, result_type=RunResult)


async def the_one(client: Client, named: str | None, types: Sequence[str] = DRIVEABLE) -> Run:
    """The run that is meant: the one named, or the only open one of these types. RequestError or NotNow where that is no one."""
    if named is not None:
        if not named.strip():
            raise RequestError("The id of a run is empty; `failoverctl runs` lists what there is.")
        return handle_of(client, named)
    wanted = " OR ".join(f'WorkflowType = "{name}"' for name in types)
    found = [run for run in await executions(client, f'ExecutionStatus = "Running" AND ({wanted})') if not _dry(run.id)]
    if len(found) == 1:
        return handle_of(client, found[0].id)
    if not found:
        raise NotNow("No run is open that could be meant; `failoverctl runs` lists what there is.")
    raise RequestError(f"Say which run: {', '.join(sorted(run.id for run in found))} are open.")


async def type_of(run: Any) -> tuple[str, WorkflowExecutionStatus | None]:
    """A run's procedure and Temporal's status of it. RequestError where Temporal knows none of that id."""
    try:
        described = await run.describe()
    except RPCError as error:
        if error.status is RPCStatusCode.NOT_FOUND:
            raise RequestError(f"Temporal knows no run {run.id!r}; `failoverctl runs` lists what there is.") from error
        raise TemporalUnavailable(f"Temporal did not tell about {run.id}: {error.message}.") from error
    return described.workflow_type, described.status


def _dry(workflow_id: str) -> bool:
    return workflow_id.startswith(DRY)
