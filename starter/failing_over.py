"""`failoverctl failover`: start an immediate failover, and follow it."""

import asyncio
import getpass
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from temporalio.client import Client, WorkflowFailureError, WorkflowHandle
from temporalio.service import RPCError, RPCStatusCode

from activities.runs import StartOrder, start_or_join
from failover.config import Config
from failover.distribution import render, users_of
from failover.errors import FailoverError, NeedsHuman, RequestError, TemporalUnavailable, Unavailable
from failover.immediate import refuse, why_not_start
from failover.incident import Outcome, TimelineEntry
from failover.requests import ImmediateFailoverRequest, Note, RunResult
from starter.connection import connect
from starter.output import as_json, interactive, say
from starter.parts import closing, plane_of
from starter.running import Stack, find
from starter.settings import Settings
from starter.showing import named
from starter.stack import load
from workflows.queue import TASK_QUEUE

NOBODY_WORKS_SECONDS = 10.0

FOLLOW_SECONDS = 0.25
"""Between two looks at a run's timeline."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What the operator asked for."""

    failed: str
    target: str | None
    auto_select: bool
    routes: Sequence[str] | None
    reason: str
    emergency: bool
    dry_run: bool
    wait: bool
    yes: bool
    json: bool


def run_failover(settings: Settings, order: Order, state: Path | None) -> int:
    if order.auto_select and order.target:
        raise RequestError(
            "--auto-select-target lets the chain choose, and --target-provider names one; give only one."
        )
    stack = find(settings, state)
    config = load(stack.config or named(settings, None)).config
    request = _request(order, config)
    if not (order.yes or order.emergency or order.dry_run) and interactive():
        import typer

        typer.confirm(
            f"Move all traffic off {order.failed}{f' to {order.target}' if order.target else ''} now?", abort=True
        )
    return asyncio.run(_run(settings, stack, order, request))


def _request(order: Order, config: Config) -> ImmediateFailoverRequest:
    """RequestError where it names what is not there."""
    try:
        request = ImmediateFailoverRequest(
            failed_provider=order.failed,
            target_provider=order.target,
            routes=list(order.routes) if order.routes else None,
            reason=order.reason,
            requested_by=_operator(),
            emergency=order.emergency,
            dry_run=order.dry_run,
        )
    except ValueError as error:
        known = ", ".join(sorted(config.providers))
        raise RequestError(f"That cannot be asked for: {_complaint(error)}; the providers are {known}.") from error
    refuse(why_not_start(request, config.providers, config.routes))
    return request


def _complaint(error: ValueError) -> str:
    problems: list[Any] = getattr(error, "errors", list)()
    return "; ".join(f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}" for problem in problems) or str(error)


def _operator() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "failoverctl"


async def _run(settings: Settings, stack: Stack, order: Order, request: ImmediateFailoverRequest) -> int:
    client = await connect(settings, stack)
    unused = await _why_nothing_to_do(stack, request)
    if unused:
        _answer(order, {"outcome": "NOTHING_TO_DO", "reason": unused}, unused)
        return 0
    # A plan that changes nothing must not be what a real alert finds open and joins.
    workflow_id = f"{'dry-run' if order.dry_run else 'failover'}/{request.failed_provider}"
    handle = await _start_or_join(client, workflow_id, request)
    if stack.temporal_ui:
        say(f"Web UI: {web_link(stack.temporal_ui, stack.namespace, workflow_id)}")
    if not order.wait:
        _answer(order, {"workflow_id": workflow_id}, f"{workflow_id} is under way.")
        return 0
    return await _follow(handle, order)


async def _start_or_join(
    client: Client, workflow_id: str, request: ImmediateFailoverRequest
) -> WorkflowHandle[Any, RunResult]:
    """One run a provider: where one is open, this request becomes a note on it."""
    note = Note(by=request.requested_by, text=request.reason or f"asked for a failover of {request.failed_provider}")
    order = StartOrder(
        procedure="ImmediateFailover",
        workflow_id=workflow_id,
        request=request.model_dump(mode="json"),
        summary=f"{request.failed_provider}, asked for by {request.requested_by}",
    )
    try:
        run = await start_or_join(client, TASK_QUEUE, order, note)
    except RPCError as error:
        if error.status is RPCStatusCode.NOT_FOUND:
            raise TemporalUnavailable(f"{workflow_id} ended just now ({error.message}); try again.") from error
        raise TemporalUnavailable(f"Temporal did not start {workflow_id}: {error.message}.") from error
    say(
        f"{workflow_id} started."
        if run.started
        else f"{workflow_id} is under way already; this follows it, and left a note."
    )
    return client.get_workflow_handle(workflow_id, run_id=run.run_id, result_type=RunResult)


def web_link(ui: str, namespace: str | None, workflow_id: str) -> str:
    return f"{ui}/namespaces/{namespace or 'default'}/workflows/{workflow_id.replace('/', '%2F')}"


async def _why_nothing_to_do(stack: Stack, request: ImmediateFailoverRequest) -> str | None:
    """Once no route uses the provider there is nothing to move; a gateway that does not answer leaves it to the run."""
    if stack.gateway is None:
        return None
    try:
        async with closing(plane_of(stack)) as plane:
            shares = {policy.route: policy.distribution for policy in await plane.read()}
    except Unavailable:
        return None
    asked = {route: share for route, share in shares.items() if request.routes is None or route in request.routes}
    if users_of(request.failed_provider, asked):
        return None
    now = "; ".join(f"{route}: {render(share)}" for route, share in sorted(asked.items()))
    return f"No route uses {request.failed_provider}, so there is nothing to move ({now})."


async def _follow(handle: WorkflowHandle[Any, RunResult], order: Order) -> int:
    """Print the timeline as it grows; the exit code tells the outcome."""
    result = asyncio.create_task(handle.result())
    shown, waited_since = 0, asyncio.get_running_loop().time()
    while not result.done():
        await asyncio.wait({result}, timeout=FOLLOW_SECONDS)
        shown = await _show_new(handle, shown)
        if shown == 0 and asyncio.get_running_loop().time() - waited_since > NOBODY_WORKS_SECONDS:
            say("No worker has taken the run up yet: is one running? It starts as soon as one does; Ctrl-C leaves it.")
            waited_since = float("inf")
    try:
        ended = await result
    except WorkflowFailureError as error:
        raise _failure(error) from error
    where = "".join(f"\n  {shift.route}: {render(shift.before)} → {render(shift.after)}" for shift in ended.routes)
    text = f"{ended.outcome}: {ended.reason}{where}" + (f"\nEvidence: {ended.evidence}" if ended.evidence else "")
    _answer(order, ended, text)
    return 0 if ended.outcome is Outcome.COMPLETED else 1


async def _show_new(handle: WorkflowHandle[Any, Any], shown: int) -> int:
    try:
        timeline = await handle.query("timeline", result_type=list[TimelineEntry], rpc_timeout=timedelta(seconds=2))
    except RPCError:
        return shown
    for entry in timeline[shown:]:
        say(f"  {entry.at:%H:%M:%S}  {entry.step}: {entry.text}")
    return max(shown, len(timeline))


def root_cause(error: BaseException) -> BaseException:
    cause = error
    while cause.__cause__ is not None:
        cause = cause.__cause__
    return cause


def _failure(error: WorkflowFailureError) -> FailoverError:
    cause = root_cause(error)
    kinds = {"NeedsHuman": NeedsHuman, "RequestError": RequestError, "MalformedInput": RequestError}
    return kinds.get(getattr(cause, "type", None) or "", FailoverError)(getattr(cause, "message", str(cause)))


def _answer(order: Order, value: Any, text: str) -> None:
    if order.json:
        as_json(value)
    else:
        print(text)
