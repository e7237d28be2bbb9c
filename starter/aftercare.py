"""`failoverctl follow-up`: the after-care of incidents, looked at and driven."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from temporalio.client import Client, WorkflowHandle, WorkflowQueryFailedError
from temporalio.service import RPCError

from activities.runs import start_or_join
from failover.aftercare import NAME, CareItem, ItemVerb, follow_up_id, request_about, summary
from failover.errors import RequestError, TemporalUnavailable
from failover.starting import StartOrder
from starter.arguments import operator
from starter.configuration import in_force
from starter.connection import connect
from starter.exit_codes import ExitCode, NotNow
from starter.output import as_json, table
from starter.parts import evidence_of
from starter.running import Stack, find
from starter.runs.finding import executions
from starter.runs.orders import deliver, tell
from starter.settings import Settings
from workflows.follow_up import FollowUp
from workflows.queue import TASK_QUEUE

PREFIX = "follow-up/"

OPEN = f'WorkflowType = "{NAME}" AND ExecutionStatus = "Running"'
EVERY = f'WorkflowType = "{NAME}"'

SHOWN = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Followed:
    """One follow-up, for a list. `items` None: it does not answer."""

    workflow_id: str
    began: datetime
    status: str
    items: Sequence[CareItem] | None


def run_list(settings: Settings, state: Path | None, *, every: bool, json: bool) -> int:
    found = asyncio.run(_list(settings, find(settings, state), EVERY if every else OPEN))
    if json:
        as_json("follow-ups", found)
    elif not found:
        print("No follow-up is open." if not every else "There was no follow-up.")
    else:
        now = datetime.now(UTC)
        rows = [(one.workflow_id, one.status, _how_far(one), _overdue(one, now)) for one in found]
        table("Follow-ups", ("follow-up", "status", "items", "overdue"), rows)
    return ExitCode.DONE


async def _list(settings: Settings, stack: Stack, query: str) -> list[Followed]:
    client = await connect(settings, stack)
    return list(await asyncio.gather(*(_followed(client, run) for run in await executions(client, query, SHOWN))))


async def _followed(client: Client, run: Any) -> Followed:
    try:
        items: Sequence[CareItem] | None = await _items(client.get_workflow_handle(run.id, run_id=run.run_id))
    except TemporalUnavailable:
        items = None
    status = run.status.name.lower() if run.status else ""
    return Followed(workflow_id=run.id, began=run.start_time, status=status, items=items)


async def _items(run: WorkflowHandle[Any, Any]) -> list[CareItem]:
    try:
        return await run.query(FollowUp.items)
    except (RPCError, WorkflowQueryFailedError) as error:
        raise TemporalUnavailable(f"{run.id} did not tell how it stands: {error}.") from error


def _how_far(one: Followed) -> str:
    return summary(one.items) if one.items is not None else "it does not answer; is a worker running?"


def _overdue(one: Followed, now: datetime) -> str:
    late = [item.key for item in one.items or () if not item.settled and item.due <= now]
    return ", ".join(late) or "nothing"


def run_show(settings: Settings, wanted: str | None, state: Path | None, *, json: bool) -> int:
    workflow_id, items = asyncio.run(_show(settings, find(settings, state), wanted))
    if json:
        as_json("follow-up", {"workflow_id": workflow_id, "items": items})
        return ExitCode.DONE
    rows = [
        (item.key, item.state.value, item.by or item.owner, f"{item.at or item.due:%m-%d %H:%M}", _about(item))
        for item in items
    ]
    table(f"{workflow_id}: {summary(items)}", ("item", "state", "who", "when / due", "what"), rows)
    return ExitCode.DONE


def _about(item: CareItem) -> str:
    said = f"{item.title}. {' '.join(item.note.split())}".strip()
    by_hand = f"\n`{item.command}`" if item.command and not item.settled else ""
    return f"{said[:300]}{by_hand}"


async def _show(settings: Settings, stack: Stack, wanted: str | None) -> tuple[str, list[CareItem]]:
    run = await _meant(await connect(settings, stack), wanted, EVERY)
    return run.id, await _items(run)


async def _meant(client: Client, wanted: str | None, query: str) -> WorkflowHandle[Any, Any]:
    """The follow-up of that id, that of a run of that id, or the newest. RequestError or NotNow where there is none."""
    found = [run.id for run in await executions(client, query, None if wanted else 1)]
    if wanted is not None:
        found = [id for id in found if wanted == id or id.startswith(f"{PREFIX}{wanted}/")]
    if found:
        return client.get_workflow_handle(found[0])
    if wanted is not None:
        raise RequestError(
            f"There is no follow-up of {wanted!r}; `failoverctl follow-up list --all` shows those there are."
        )
    raise NotNow("No follow-up is open; `failoverctl follow-up list --all` shows those that are over.")


def run_order(
    settings: Settings,
    verb: ItemVerb,
    message: Mapping[str, Any],
    wanted: str | None,
    state: Path | None,
    *,
    order_id: str | None,
    json: bool,
) -> int:
    said = {"actor": operator(), **message}
    return asyncio.run(_order(settings, find(settings, state), verb, said, wanted, order_id, json=json))


async def _order(
    settings: Settings,
    stack: Stack,
    verb: ItemVerb,
    message: Mapping[str, Any],
    wanted: str | None,
    order_id: str | None,
    *,
    json: bool,
) -> int:
    run = await _meant(await connect(settings, stack), wanted, OPEN)
    return tell(await deliver(run, verb, message, order_id), json=json)


def run_begin(settings: Settings, wanted: str, state: Path | None, *, json: bool) -> int:
    workflow_id, started = asyncio.run(_begin(settings, find(settings, state), wanted))
    if json:
        as_json("follow-up", {"workflow_id": workflow_id, "started": started})
    else:
        print(f"{workflow_id} {'has begun' if started else 'is open already'}.")
    return ExitCode.DONE


async def _begin(settings: Settings, stack: Stack, run: str) -> tuple[str, bool]:
    store = evidence_of(settings, stack)
    folder = store.find(run)
    if folder is None:
        raise RequestError(f"No evidence of a run {run!r} is kept; `failoverctl evidence` shows what there is.")
    record = store.load(folder)
    config = in_force(settings, stack).config
    request = request_about(record).model_copy(update={"settings": config.follow_up})
    order = StartOrder(
        procedure=NAME,
        workflow_id=follow_up_id(record.workflow_id, record.run_id),
        request=request.model_dump(mode="json"),
        summary=f"after {record.workflow_id}",
    )
    client = await connect(settings, stack)
    try:
        standing = await start_or_join(client, TASK_QUEUE, order)
    except RPCError as error:
        raise TemporalUnavailable(f"Temporal did not start it: {error.message}.") from error
    return standing.workflow_id, standing.started
