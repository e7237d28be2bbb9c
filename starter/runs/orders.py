"""Orders to a run that is there: delivered as an Update, and answered; left as a Signal where no worker answers."""

import asyncio
import sys
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any

from temporalio.client import (
    WorkflowExecutionStatus,
    WorkflowHandle,
    WorkflowUpdateFailedError,
    WorkflowUpdateRPCTimeoutOrCancelledError,
)
from temporalio.service import RPCError, RPCStatusCode

from failover import kinds
from failover.driving import Answer, Verb
from failover.errors import RequestError, TemporalUnavailable
from failover.incident import TimelineEntry
from starter.arguments import operator
from starter.connection import connect
from starter.exit_codes import ExitCode
from starter.output import as_json, confirm, say
from starter.running import Stack, find
from starter.runs.finding import DRIVEABLE, the_one, type_of
from starter.runs.following import Run, follow, look_at
from starter.runs.lines import Lines
from starter.settings import Settings

ANSWER_PATIENCE = timedelta(seconds=10)
"""The timeout of a worker's answer; after it the order is left with Temporal, which keeps it."""

ASKED_ABOUT = (Verb.APPROVE, Verb.ABORT, Verb.ADVANCE, Verb.ESCALATE, Verb.RETRY)
"""Orders after which traffic may move at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """An order as it was typed. `said` are the fields that only some verbs have; `run` None: the only open one."""

    verb: Verb
    run: str | None
    actor: str | None
    comment: str
    id: str | None
    said: Mapping[str, Any] = field(default_factory=dict)
    yes: bool
    wait: bool
    json: bool
    state: Path | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ordered:
    """What became of an order; `id` makes a repetition harmless."""

    workflow_id: str
    verb: str
    id: str
    accepted: bool | None
    said: str
    accepted_now: list[str] = field(default_factory=list)

    @property
    def code(self) -> ExitCode:
        return {True: ExitCode.DONE, False: ExitCode.REFUSED, None: ExitCode.UNREACHABLE}[self.accepted]

    def text(self) -> str:
        now = "" if self.accepted or not self.accepted_now else f"\nAccepted now: {', '.join(self.accepted_now)}."
        return f"{self.workflow_id}: {self.said}{now}"


def run_order(settings: Settings, wanted: Wanted) -> int:
    return asyncio.run(_order(settings, find(settings, wanted.state), wanted))


async def _order(settings: Settings, stack: Stack, wanted: Wanted) -> int:
    client = await connect(settings, stack)
    run = await the_one(client, wanted.run, _types(wanted.verb))
    procedure, status = await type_of(run)
    if status is not WorkflowExecutionStatus.RUNNING:
        return tell(await _over(run, wanted, status), json=wanted.json)
    message = {"actor": wanted.actor or operator(), "comment": wanted.comment, **wanted.said}
    if wanted.verb in (Verb.APPROVE, Verb.REJECT):
        bound = await _bound(run, wanted)
        if bound is None:
            return tell(await _nothing_waits(run, wanted), json=wanted.json)
        message |= bound
    if wanted.verb in ASKED_ABOUT:
        # Asking blocks: nothing else goes on in this process meanwhile.
        confirm(await _question(run, wanted), yes=wanted.yes)
    before = (await look_at(run)).timeline
    if procedure == kinds.IMMEDIATE:
        ordered = await _cancel(run, wanted, message)
    else:
        ordered = await deliver(run, wanted.verb, message, wanted.id)
    code = tell(ordered, json=wanted.json)
    if wanted.verb is Verb.ABORT and wanted.wait and code is ExitCode.DONE:
        return await _until_aborted(run, wanted, before)
    return code


def _types(verb: Verb) -> tuple[str, ...]:
    return (*DRIVEABLE, kinds.IMMEDIATE) if verb is Verb.ABORT else DRIVEABLE


async def deliver(
    run: WorkflowHandle[Any, Any], verb: StrEnum, message: Mapping[str, Any], id: str | None = None
) -> Ordered:
    """Deliver one order by Update. If no worker answers in time it is left as a Signal of the same id, and obeyed once."""
    order_id = id or uuid.uuid4().hex[:12]
    said = {**message, "id": order_id}
    try:
        answer = await run.execute_update(
            verb.value, said, id=f"{verb.value}/{order_id}", result_type=Answer, rpc_timeout=ANSWER_PATIENCE
        )
    except WorkflowUpdateFailedError as error:
        raise RequestError(f"{run.id} did not understand the order: {error.cause}") from error
    except WorkflowUpdateRPCTimeoutOrCancelledError:
        return await _leave(run, verb, said)
    except RPCError as error:
        if error.status in (RPCStatusCode.DEADLINE_EXCEEDED, RPCStatusCode.CANCELLED):
            return await _leave(run, verb, said)
        if error.status is RPCStatusCode.NOT_FOUND:
            return Ordered(
                workflow_id=run.id, verb=verb.value, id=order_id, accepted=False, said="Refused: the run is over"
            )
        raise TemporalUnavailable(f"The order did not reach {run.id}: {error.message}.") from error
    return Ordered(
        workflow_id=run.id,
        verb=verb.value,
        id=order_id,
        accepted=answer.accepted,
        said=answer.said,
        accepted_now=answer.accepted_now,
    )


async def _leave(run: WorkflowHandle[Any, Any], verb: StrEnum, said: Mapping[str, Any]) -> Ordered:
    try:
        await run.signal(verb.value, dict(said))
    except RPCError as error:
        raise TemporalUnavailable(f"The order did not reach {run.id}: {error.message}.") from error
    text = (
        f"No worker answered within {ANSWER_PATIENCE.total_seconds():g} s. The order is kept by Temporal, and obeyed once "
        "a worker is back. If it takes no orders any more: `failoverctl restore ROUTE`."
    )
    return Ordered(workflow_id=run.id, verb=verb.value, id=said["id"], accepted=None, said=text)


async def _cancel(run: Run, wanted: Wanted, message: Mapping[str, Any]) -> Ordered:
    """An immediate failover takes no orders; it can be cancelled, which puts back what it found."""
    told = Ordered(
        workflow_id=run.id,
        verb=wanted.verb.value,
        id=wanted.id or "",
        accepted=True,
        said="Aborting: what was found is put back",
    )
    if wanted.verb is not Verb.ABORT or message.get("mode") == "hold":
        why = "an immediate failover takes no such order; `failoverctl abort` puts back what it found"
        return replace(told, accepted=False, said=f"Refused: {why}", accepted_now=["abort"])
    try:
        await run.signal("note", {"by": message["actor"], "text": f"abort: {message['comment'] or 'no comment'}"})
        await run.cancel()
    except RPCError as error:
        raise TemporalUnavailable(f"{run.id} could not be cancelled: {error.message}.") from error
    return told


async def _bound(run: Run, wanted: Wanted) -> dict[str, str] | None:
    """The step and digest of the word that is given: as typed, else of what waits now, which is shown."""
    step, digest = wanted.said.get("step"), wanted.said.get("digest")
    if step and digest:
        return {"step": step, "digest": digest}
    asked = (await look_at(run)).situation.approval
    if asked is None:
        return None
    say(f"{run.id} waits: {asked.text} (plan {asked.digest}, until {asked.deadline:%H:%M:%S} UTC)")
    return {"step": step or asked.step, "digest": digest or asked.digest}


async def _nothing_waits(run: Run, wanted: Wanted) -> Ordered:
    look = await look_at(run)
    said = "Refused: nothing waits for an approval" if look.status else "It does not tell what it waits for; try again."
    return Ordered(
        workflow_id=run.id,
        verb=wanted.verb.value,
        id=wanted.id or "",
        accepted=False if look.status else None,
        said=said,
        accepted_now=list(look.situation.accepted_now),
    )


async def _over(run: Run, wanted: Wanted, status: WorkflowExecutionStatus | None) -> Ordered:
    look = await look_at(run)
    how = look.status.outcome.value if look.status and look.status.outcome else status.name if status else "over"
    return Ordered(
        workflow_id=run.id,
        verb=wanted.verb.value,
        id=wanted.id or "",
        accepted=False,
        said=f"Refused: it is over, {how}",
    )


async def _question(run: Run, wanted: Wanted) -> str:
    now = (await look_at(run)).situation
    step = now.steps[now.step] if now.step < len(now.steps) else "what it does now"
    match wanted.verb:
        case Verb.APPROVE:
            return "Approve it?"
        case Verb.ABORT if wanted.said.get("mode") == "hold":
            return f"Abort {run.id}, and hold what is in force?"
        case Verb.ABORT:
            return f"Abort {run.id}, and put back what it found?"
        case Verb.ADVANCE:
            return f"End the present wait of {run.id} ({step})?"
        case Verb.ESCALATE:
            return f"Send {run.id} straight to its last step, {now.steps[-1] if now.steps else 'whatever that is'}?"
        case _:
            return f"Let {run.id} try again: {step}?"


def tell(ordered: Ordered, *, json: bool) -> ExitCode:
    """What became of an order → exit code."""
    if json:
        as_json("order", ordered)
    elif ordered.code is ExitCode.DONE:
        print(ordered.text(), flush=True)
    else:
        say(f"failoverctl: {ordered.text()}")
    return ordered.code


async def _until_aborted(run: Run, wanted: Wanted, before: Sequence[TimelineEntry]) -> int:
    """What was ordered is an end: 0 where it came as ordered."""
    ended = await follow(run, Lines(sys.stderr, seen=before))
    assert ended is not None
    if not wanted.json:
        print(ended.sentence())
    return ExitCode.DONE if ended.outcome == "ABORTED" else ended.code
