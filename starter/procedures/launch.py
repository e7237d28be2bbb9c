"""How every procedure is started from the command line: asked about, started or joined, followed, answered."""

import asyncio
import sys
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from temporalio.client import Client
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError

from activities.runs import TASK_TIMEOUT
from failover.config import Config
from failover.distribution import Distribution
from failover.errors import RequestError, TemporalUnavailable, Unavailable
from failover.ramp import RampPlan
from failover.requests import Note, Request, RunResult, RunStatus
from failover.units import render_duration
from starter.configuration import in_force
from starter.connection import connect
from starter.exit_codes import ExitCode, NotNow
from starter.output import as_json, confirm, say
from starter.parts import closing, plane_of
from starter.running import Stack, find
from starter.runs.finding import DRY
from starter.runs.following import Closed, Run, Silent, ask, follow, web_link
from starter.runs.lines import Lines
from starter.runs.situation import Look, waits_for
from starter.settings import Settings
from workflows.queue import TASK_QUEUE

PLAN_PATIENCE = 5.0
"""Seconds that a command which does not wait gives the run for its plan."""


class Joins(StrEnum):
    """What happens where a run of that id is open already."""

    ALWAYS = "always"
    SAME_PROVIDER = "where it is about the same provider"
    NEVER = "never"


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """A procedure that is to be started. `question` names what will happen; `idle` says, by the shares now, why nothing
    is left to do; `said` is told before anything is asked.
    """

    procedure: str
    workflow_id: str
    request: Request
    provider: str
    reason: str
    requested_by: str
    summary: str
    question: str
    joins: Joins
    dry_run: bool
    idle: Callable[[Mapping[str, Distribution]], str | None] | None = None
    said: str = ""
    started_when: Callable[[Look], bool] | None = None
    """What the command waits for all the same if it does not wait for the end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Manner:
    """How the command goes about it."""

    wait: bool
    yes: bool
    json: bool
    state: Path | None


def launch(settings: Settings, manner: Manner, build: Callable[[Config], Launch]) -> int:
    """Ask, start or join, follow → exit code. Nothing is started where the request cannot be meant."""
    stack = find(settings, manner.state)
    wanted = build(in_force(settings, stack).config)
    if wanted.said:
        say(wanted.said)
    if not wanted.dry_run:
        confirm(wanted.question, yes=manner.yes)
    return asyncio.run(_launch(settings, stack, wanted, manner))


async def _launch(settings: Settings, stack: Stack, wanted: Launch, manner: Manner) -> int:
    client = await connect(settings, stack)
    if wanted.idle is not None and (why := await why_idle(stack, wanted.idle)):
        answer(manner, {"outcome": "NOTHING_TO_DO", "reason": why}, why)
        return ExitCode.DONE
    # A plan that changes nothing must not be what a real alert finds open and joins.
    dry = f"{DRY}{wanted.workflow_id}/{uuid.uuid4().hex[:6]}"
    run = await begin(client, wanted, dry if wanted.dry_run else wanted.workflow_id)
    if wanted.dry_run:
        return await _explain(run, manner)
    if stack.temporal_ui:
        say(f"Web UI: {web_link(stack.temporal_ui, stack.namespace, run.id, run.result_run_id)}")
    return await _follow(run, wanted, manner)


async def _follow(run: Run, wanted: Launch, manner: Manner) -> int:
    if manner.wait:
        ended = await follow(run, Lines(sys.stderr))
    elif wanted.started_when is not None:
        ended = await follow(run, Lines(sys.stderr), until=wanted.started_when)
    else:
        ended = await follow(run, Silent(), until=_taken_up())
    if ended is None:
        answer(manner, {"workflow_id": run.id}, f"{run.id} is under way. Watch it: `failoverctl watch {run.id}`")
        return ExitCode.DONE
    return told(ended, manner)


def _taken_up() -> Callable[[Look], bool]:
    """Whether the plan is made, so that the command tells a refusal; or nobody works, which is not waited for."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + PLAN_PATIENCE
    return lambda look: loop.time() > deadline or (look.status is not None and look.status.phase != "starting")


def told(ended: Closed, manner: Manner) -> int:
    """The answer about a run that is over → exit code; a request that could not be meant is an error."""
    if ended.outcome == "BAD_INPUT" and not manner.json:
        raise RequestError(ended.reason)
    answer(manner, ended, ended.sentence())
    return ended.code


def answer(manner: Manner, value: Any, text: str) -> None:
    if manner.json:
        as_json("run", value)
    else:
        print(text, flush=True)


async def why_idle(stack: Stack, idle: Callable[[Mapping[str, Distribution]], str | None]) -> str | None:
    """Why nothing is left to do; a gateway that is not known or does not answer leaves that to the run."""
    if stack.gateway is None:
        return None
    try:
        async with closing(plane_of(stack)) as plane:
            return idle({policy.route: policy.distribution for policy in await plane.read()})
    except Unavailable:
        return None


async def begin(client: Client, wanted: Launch, workflow_id: str) -> Run:
    """The run, started now or found open. NotNow where another is in the way."""
    try:
        run: Run = await client.start_workflow(
            wanted.procedure,
            wanted.request,
            id=workflow_id,
            task_queue=TASK_QUEUE,
            task_timeout=TASK_TIMEOUT,
            result_type=RunResult,
            static_summary=wanted.summary[:200],
        )
    except WorkflowAlreadyStartedError:
        return await _join(client, wanted, workflow_id)
    except RPCError as error:
        raise TemporalUnavailable(f"Temporal did not start {workflow_id}: {error.message}.") from error
    say(f"{workflow_id} started.")
    return run


async def _join(client: Client, wanted: Launch, workflow_id: str) -> Run:
    """Follow the run that is there, with this request as a note on it, where it is about the same."""
    run: Run = client.get_workflow_handle(workflow_id, result_type=RunResult)
    why = None if wanted.joins is Joins.ALWAYS else await _why_not_join(run, wanted)
    if why is not None:
        raise NotNow(
            f"{workflow_id} is under way already, {why}. Nothing was started. "
            f"Watch it: `failoverctl watch {workflow_id}`; end it: `failoverctl abort {workflow_id}`."
        )
    note = Note(by=wanted.requested_by, text=wanted.reason or f"asked for {wanted.summary}"[:1000])
    try:
        await run.signal("note", note)
    except RPCError as error:
        raise TemporalUnavailable(f"{workflow_id} ended just now ({error.message}); try again.") from error
    say(f"{workflow_id} is under way already; this follows it, and left a note.")
    return run


async def _why_not_join(run: Run, wanted: Launch) -> str | None:
    status: RunStatus | None = await ask(run, "status", RunStatus)
    if status is None:
        return "and does not tell what it is about"
    if wanted.joins is Joins.SAME_PROVIDER and status.provider and status.provider == wanted.provider:
        return None
    look = Look(workflow_id=run.id, at=status.moments.decided, status=status)
    waiting = waits_for(look.situation)
    about = look.situation.subject or status.provider or status.procedure
    return f"about {about}{f', and waits for {waiting}' if waiting else ''}"


async def _explain(run: Run, manner: Manner) -> int:
    """What a dry run found: the plan in full, and its digest, which approvals would be bound to."""
    ended = await follow(run, Silent())
    assert ended is not None
    plan: RampPlan | None = await ask(run, "plan", RampPlan)
    if manner.json:
        as_json("plan", {**_outcome(ended), "digest": plan.digest if plan else "", "plan": plan})
        return ended.code
    if ended.code is not ExitCode.DONE or plan is None:
        return told(ended, manner)
    print("\n".join(["Dry run, nothing was changed.", *explained(plan)]))
    return ended.code


def _outcome(ended: Closed) -> dict[str, str]:
    return {"workflow_id": ended.workflow_id, "outcome": ended.outcome, "reason": ended.reason}


def explained(plan: RampPlan) -> list[str]:
    """The plan for people: every step with its gates, what happens when it may not go on, who is asked."""
    lines = [f"{plan.procedure} of {plan.subject}, plan {plan.digest}"]
    for step, said in zip(plan.steps, plan.describe(), strict=True):
        lines.append(f"  {step.name}  {said}")
        lines += [f"          gate: {gate.name}, {gate.metric.value} {gate.pass_at:g}" for gate in step.gates]
        lines += [f"          capacity: {one}" for one in step.said]
    points = ", ".join(point.value for point in plan.approvals.points) or "nobody is asked"
    lines.append(f"  approvals: {points}")
    lines.append(f"  a gate fails: {_words(plan.on_failure)}; nobody answers: {_words(plan.on_doubt)}")
    lines.append(f"  an abort puts back what was found, within {render_duration(plan.abort_timeout)}")
    return lines


def _words(fallback: Any) -> str:
    return str(fallback.value).replace("_", " ")
