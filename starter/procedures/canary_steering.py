"""`canary --update-traffic` and `--rollback`: a canary that runs is told where to go next, or taken back."""

import asyncio
import sys

from temporalio.client import Client

from failover import kinds
from failover.canary import NAME
from failover.config import Config
from failover.distribution import render
from failover.driving import Verb
from failover.errors import RequestError
from failover.requests import GradualFailoverRequest, RunResult
from starter.arguments import operator, percent, request_of, route_of
from starter.configuration import in_force
from starter.connection import connect
from starter.exit_codes import ExitCode, NotNow
from starter.output import confirm
from starter.parts import closing, plane_of
from starter.procedures.canary_orders import Meant, Update
from starter.procedures.launch import Joins, Launch, Manner, answer, launch, told
from starter.running import Stack, find
from starter.runs.finding import executions, handle_of
from starter.runs.following import Closed, Run, closed, follow, look_at
from starter.runs.lines import Lines
from starter.runs.orders import deliver
from starter.runs.situation import Look
from starter.settings import Settings

HOLDS_PATIENCE = 30.0
"""Seconds that an ordered percent waits for the step before it to be in force."""


def run_update(settings: Settings, update: Update, manner: Manner) -> int:
    """`--update-traffic`: the percent is ordered, and is in force when the command returns."""
    wanted = percent("--update-traffic", update.percent)
    assert wanted is not None
    if not wanted:
        raise RequestError("--update-traffic: 0 % is no canary; take it back with `failoverctl canary --rollback`.")
    confirm(f"Set the canary to {wanted:g} % of what its source held?", yes=manner.yes)
    return asyncio.run(_update(settings, find(settings, manner.state), update.meant, wanted, manner))


async def _update(settings: Settings, stack: Stack, meant: Meant, wanted: float, manner: Manner) -> int:
    client = await connect(settings, stack)
    run = await _open_canary(client, settings, stack, meant)
    if run is None:
        raise NotNow("No canary is under way that could be told its percent; start one first.")
    before = await _until_it_holds(run)
    step = before.situation.step
    order = {"actor": meant.actor or operator(), "comment": meant.comment, "percent": wanted}
    answered = await deliver(run, Verb.SET_PERCENT, order)
    if answered.code is not ExitCode.DONE or not manner.wait:
        answer(manner, answered, answered.text())
        return answered.code
    ended = await follow(run, Lines(sys.stderr, seen=before.timeline), until=lambda look: _arrived(look, step))
    if ended is not None:
        return told(ended, manner)
    answer(manner, answered, f"{run.id}: {wanted:g} %, in force and verified.")
    return ExitCode.DONE


async def _until_it_holds(run: Run) -> Look:
    """A canary that is still writing its step is waited for a little → how it stood then."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + HOLDS_PATIENCE
    while True:
        look = await look_at(run)
        if Verb.SET_PERCENT.value in look.situation.accepted_now or look.is_over or loop.time() >= deadline:
            return look
        await asyncio.sleep(0.1)


def _arrived(look: Look, before: int) -> bool:
    """The ordered step is in force, or people are asked about it."""
    now = look.situation
    holds = now.step > before and now.stage in ("holding", "waiting for orders")
    return holds or now.approval is not None or now.question is not None


def run_rollback(settings: Settings, meant: Meant, manner: Manner) -> int:
    """`--rollback`: what was found is put back. Exit 0 too where nothing is left to roll back."""
    confirm("Roll the canary back: put back the shares that it found?", yes=manner.yes)
    stack = find(settings, manner.state)
    code, closed = asyncio.run(_abort(settings, stack, meant, manner))
    if code is not None:
        return code
    if closed is None or closed.result is None or not closed.result.routes:
        answer(manner, {"outcome": "NOTHING_TO_DO"}, "No canary is under way: there is nothing to roll back.")
        return ExitCode.DONE
    return launch(settings, manner, lambda config: _put_back(closed, config, meant))


async def _abort(
    settings: Settings, stack: Stack, meant: Meant, manner: Manner
) -> tuple[ExitCode | None, Closed | None]:
    """Abort the canary that is open → its exit code; where none is, the last that completed and still rules its route."""
    client = await connect(settings, stack)
    run = await _open_canary(client, settings, stack, meant)
    if run is None:
        return None, await _still_in_force(client, settings, stack, meant)
    before = (await look_at(run)).timeline
    order = {"actor": meant.actor or operator(), "comment": meant.comment, "mode": "restore"}
    answered = await deliver(run, Verb.ABORT, order)
    if answered.code not in (ExitCode.DONE, ExitCode.REFUSED):
        answer(manner, answered, answered.text())
        return answered.code, None
    ended = await follow(run, Lines(sys.stderr, seen=before))
    assert ended is not None
    code = told(ended, manner)
    done = ended.outcome in ("ABORTED", "ROLLED_BACK")
    return (ExitCode.DONE if done else ExitCode(code)), None


async def _open_canary(client: Client, settings: Settings, stack: Stack, meant: Meant) -> Run | None:
    """The one that is meant, if it is open."""
    running = f'ExecutionStatus = "Running" AND WorkflowType = "{NAME}"'
    ids = [run.id for run in await executions(client, running)]
    wanted = meant.run or kinds.run_id(kinds.CANARY, _route(settings, stack, meant))
    if wanted in ids:
        return handle_of(client, wanted)
    # Started by hand under another id: it is the one that is meant where it is the only one.
    return handle_of(client, ids[0]) if meant.run is None and len(ids) == 1 else None


def _route(settings: Settings, stack: Stack, meant: Meant) -> str:
    return route_of(in_force(settings, stack).config, meant.route)


async def _still_in_force(client: Client, settings: Settings, stack: Stack, meant: Meant) -> Closed | None:
    """The canary that completed and that nobody changed anything after."""
    route = _route(settings, stack, meant)
    async with closing(plane_of(stack)) as plane:
        policies = await plane.read([route])
    author = policies[0].changed_by if policies else None
    wanted = meant.run or kinds.run_id(kinds.CANARY, route)
    if author is None or author.workflow_id != wanted or author.step == "put-back":
        return None
    run: Run = client.get_workflow_handle(author.workflow_id, run_id=author.run_id, result_type=RunResult)
    ended = await closed(run)
    return ended if ended.outcome == "COMPLETED" else None


def _put_back(closed: Closed, config: Config, meant: Meant) -> Launch:
    """The shares that a completed canary found, in one verified step: a run of its own, under the same fence."""
    assert closed.result is not None
    shift = closed.result.routes[0]
    request = request_of(
        GradualFailoverRequest,
        config,
        route=shift.route,
        target_distribution={name: share / 100 for name, share in shift.before.items()},
        transition_seconds=0.0,
        reason=meant.comment or f"roll back {closed.workflow_id}",
        requested_by=meant.actor or operator(),
    )
    return Launch(
        procedure=kinds.GRADUAL,
        workflow_id=kinds.run_id(kinds.GRADUAL, shift.route),
        request=request,
        provider="",
        reason=request.reason,
        requested_by=request.requested_by,
        summary=f"{shift.route}: roll back {closed.workflow_id}",
        question=f"The canary is over. Put route {shift.route} back to {render(shift.before)} now?",
        joins=Joins.NEVER,
        dry_run=False,
    )
