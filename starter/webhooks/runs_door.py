"""/runs: look at runs and drive them over HTTP. Thin: what an order means is the run's own business."""

import asyncio
import hashlib
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

import structlog
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from temporalio.client import WorkflowHandle, WorkflowQueryFailedError, WorkflowUpdateFailedError
from temporalio.service import RPCError

from activities.hold import HeldAutomation
from failover import kinds
from failover.driving import Abort, Decide, Order, SetPercent, Verb
from failover.driving import Answer as Said
from failover.messages import Asked
from failover.requests import Note
from failover.roles import Act, Person
from starter.webhooks.answers import Refused
from starter.webhooks.guard import Guard
from starter.webhooks.metrics import Metrics
from starter.webhooks.orders import json_of, refuse_unless_json, validated
from starter.webhooks.temporal import Temporal

log = structlog.get_logger("webhooks")

LISTED = 100
"""Runs in one answer."""

SHAPES: Mapping[str, type[Order]] = {
    **{verb.value: Order for verb in Verb},
    "approve": Decide,
    "reject": Decide,
    "abort": Abort,
    "set_percent": SetPercent,
}


class Driver:
    """Gives orders to runs, in a recognised person's name."""

    def __init__(self, temporal: Temporal, metrics: Metrics) -> None:
        self._temporal = temporal
        self._metrics = metrics

    async def order(self, door: str, run: str, verb: Verb, order: Order, run_id: str | None = None) -> Said:
        """What the run says; the order's id makes a repetition harmless.

        Refused: 404 where no such run is open, 409 where it takes no such orders. TemporalUnavailable where nobody answers:
        the order may have arrived all the same.
        """
        handle = self._temporal.client.get_workflow_handle(run, run_id=run_id)
        call = handle.execute_update(verb.value, order, id=_short(order.id) or None, result_type=Said)
        try:
            said: Said = await self._temporal.bounded(call)
        except WorkflowUpdateFailedError as error:
            if verb is not Verb.ABORT or not await self._is_cancelled_instead(handle):
                why = getattr(error.cause, "message", "it was rejected")
                raise Refused(409, f"{run} takes no such order: {why}") from error
            said = await self._cancel(handle, order)
        except RPCError as error:
            raise Refused(404, f"No run {run} is open; GET /runs lists those that are.") from error
        self._metrics.orders.labels(door, verb.value, str(said.accepted).lower()).inc()
        log.info(
            "order", door=door, run=run, verb=verb.value, actor=order.actor, accepted=said.accepted, said=said.said
        )
        return said

    async def _is_cancelled_instead(self, handle: WorkflowHandle[Any, Any]) -> bool:
        """An immediate failover takes no orders; it can be cancelled, which puts back what it found."""
        try:
            return (await self._temporal.bounded(handle.describe())).workflow_type == kinds.IMMEDIATE
        except RPCError:
            return False

    async def _cancel(self, handle: WorkflowHandle[Any, Any], order: Order) -> Said:
        if isinstance(order, Abort) and order.mode == "hold":
            why = "Refused: an immediate failover cannot be held half-way; abort it with mode restore"
            return Said(accepted=False, said=why, accepted_now=[Verb.ABORT.value])
        note = Note(by=order.actor, text=f"abort: {order.comment or 'no comment'}"[:1000])
        try:
            await self._temporal.bounded(handle.signal("note", note))
            await self._temporal.bounded(handle.cancel())
        except RPCError as error:
            raise Refused(404, f"No run {handle.id} is open; GET /runs lists those that are.") from error
        return Said(accepted=True, said="Aborting: what was found is put back")

    async def still_asked(self, asked: Asked) -> list[str] | None:
        """The people who have agreed so far, while that approval is still open; None if it is not."""
        handle = self._temporal.client.get_workflow_handle(asked.run)
        try:
            status = await self._temporal.bounded(handle.query("status"))
        except (RPCError, WorkflowQueryFailedError):
            return None
        now = status["details"].get("approval")
        if now is None or (now["step"], now["digest"]) != (asked.step, asked.digest):
            return None
        return None if len(now["granted"]) >= now["quorum"] else list(now["granted"])


class RunsDoor:
    """Reads need the role view; every order the role that `failover.roles` says."""

    def __init__(self, guard: Guard, temporal: Temporal, driver: Driver, hold: HeldAutomation) -> None:
        self._guard = guard
        self._temporal = temporal
        self._driver = driver
        self._hold = hold

    async def list(self, request: Request) -> Response:
        """The open runs of ours, newest first; and what keeps others from being started."""
        self._guard.permit(request, Act.LOOK)
        runs, held = await asyncio.gather(self._temporal.bounded(self._open()), self._hold.in_force())
        return JSONResponse({"runs": runs, "automation_hold": str(held) if held else None})

    async def _open(self) -> Sequence[dict[str, Any]]:
        found = []
        query = "ExecutionStatus = 'Running' AND FailoverProcedure IS NOT NULL"
        async for run in self._temporal.client.list_workflows(query, limit=LISTED):
            told = {key.name: value for key, value in ((pair.key, pair.value) for pair in run.typed_search_attributes)}
            found.append(
                {
                    "run": run.id,
                    "procedure": told.get("FailoverProcedure"),
                    "provider": told.get("FailoverProvider"),
                    "phase": told.get("FailoverPhase"),
                    "routes": list(told.get("FailoverRoutes") or []),
                    "started_at": run.start_time.isoformat(),
                }
            )
        return found

    async def look(self, request: Request) -> Response:
        """Answer where a run is, and what has happened in it."""
        self._guard.permit(request, Act.LOOK)
        run = request.path_params["run"]
        handle = self._temporal.client.get_workflow_handle(run)
        try:
            status = await self._temporal.bounded(handle.query("status", rpc_timeout=timedelta(seconds=4)))
        except (RPCError, WorkflowQueryFailedError) as error:
            raise Refused(404, f"There is no run {run} of a procedure; GET /runs lists those that are open.") from error
        return JSONResponse(status)

    async def act(self, request: Request) -> Response:
        """Take one order, or a note."""
        name = request.path_params["verb"]
        act = next((act for act in Act if act.value == name and name in (*SHAPES, Act.NOTE)), None)
        if act is None:
            raise Refused(404, f"There is no such order; there are note, {', '.join(verb.value for verb in Verb)}.")
        person = self._guard.permit(request, act)
        refuse_unless_json(request)
        given = await json_of(request)
        run = request.path_params["run"]
        if act is Act.NOTE:
            return await self._note(run, person, given)
        order = _order(name, given, person, request.headers.get("idempotency-key", ""))
        said = await self._driver.order("http", run, Verb(name), order)
        answer = {"run": run, "accepted": said.accepted, "said": said.said, "accepted_now": said.accepted_now}
        return JSONResponse(answer, status_code=200 if said.accepted else 409)

    async def _note(self, run: str, person: Person, given: Mapping[str, Any]) -> Response:
        note = validated(Note, {**given, "by": person.name})
        if not await self._temporal.tell(run, note):
            raise Refused(404, f"No run {run} is open; GET /runs lists those that are.")
        return JSONResponse({"run": run, "accepted": True, "said": "Noted.", "accepted_now": []})


def _order(verb: str, given: Mapping[str, Any], person: Person, key: str) -> Order:
    for name in ("actor", "id"):
        if name in given:
            raise Refused(
                422, f"{name} is not the sender's to say: who asks is recognised, and Idempotency-Key is a header."
            )
    return order_of(verb, given, person, "http", key)


def order_of(verb: str, given: Mapping[str, Any], person: Person, door: str, key: str) -> Order:
    """An order in a recognised person's name. Only with a key of the sender's own is a second order the same order."""
    id_ = f"{door}/{person.name}/{key}"[:200] if key else ""
    order: Order = validated(SHAPES[verb], {**given, "actor": person.name, "id": id_})
    return order


def _short(id_: str) -> str:
    """Shorten an id: Temporal bounds the length of an update's id."""
    return hashlib.sha256(id_.encode()).hexdigest() if id_ else ""
