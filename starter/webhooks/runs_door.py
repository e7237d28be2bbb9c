"""/runs: look at runs and drive them over HTTP. Thin: what an order means is the run's own business."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

import structlog
from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from temporalio.client import WorkflowQueryFailedError, WorkflowUpdateFailedError
from temporalio.service import RPCError

from failover.driving import Abort, Decide, Order, SetPercent, Verb
from failover.driving import Answer as Said
from failover.messages import Asked
from failover.requests import Note
from failover.roles import Act, Person
from starter.webhooks.answers import Refused, read_body
from starter.webhooks.guard import Guard
from starter.webhooks.metrics import Metrics
from starter.webhooks.temporal import Temporal

log = structlog.get_logger("webhooks")

MOST_BYTES = 64 * 1024

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
            raise Refused(
                409, f"{run} takes no such order: {getattr(error.cause, 'message', 'it was rejected')}"
            ) from error
        except RPCError as error:
            raise Refused(404, f"No run {run} is open; GET /runs lists those that are.") from error
        self._metrics.orders.labels(door, verb.value, str(said.accepted).lower()).inc()
        log.info(
            "order", door=door, run=run, verb=verb.value, actor=order.actor, accepted=said.accepted, said=said.said
        )
        return said

    async def still_asked(self, asked: Asked) -> list[str] | None:
        """Who has agreed so far, while that approval is still open; None where it is not."""
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

    def __init__(self, guard: Guard, temporal: Temporal, driver: Driver) -> None:
        self._guard = guard
        self._temporal = temporal
        self._driver = driver

    async def list(self, request: Request) -> Response:
        """The open runs of ours, newest first."""
        self._guard.permit(request, Act.LOOK)
        return JSONResponse({"runs": await self._temporal.bounded(self._open())})

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
        """Where a run is, and what has happened in it."""
        self._guard.permit(request, Act.LOOK)
        run = request.path_params["run"]
        handle = self._temporal.client.get_workflow_handle(run)
        try:
            status = await self._temporal.bounded(handle.query("status", rpc_timeout=timedelta(seconds=4)))
        except (RPCError, WorkflowQueryFailedError) as error:
            raise Refused(404, f"There is no run {run} of a procedure; GET /runs lists those that are open.") from error
        return JSONResponse(status)

    async def act(self, request: Request) -> Response:
        """One order, or a note."""
        name = request.path_params["verb"]
        act = next((act for act in Act if act.value == name and act not in (Act.LOOK, Act.START)), None)
        if act is None:
            raise Refused(404, f"There is no such order; there are note, {', '.join(verb.value for verb in Verb)}.")
        person = self._guard.permit(request, act)
        # A form that another page makes a browser send is never JSON.
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            raise Refused(415, "Orders are sent as application/json.")
        body = await read_body(request, MOST_BYTES) or b"{}"
        run = request.path_params["run"]
        if act is Act.NOTE:
            return await self._note(run, person, body)
        order = _order(name, body, person, request)
        said = await self._driver.order("http", run, Verb(name), order)
        answer = {"run": run, "accepted": said.accepted, "said": said.said, "accepted_now": said.accepted_now}
        return JSONResponse(answer, status_code=200 if said.accepted else 409)

    async def _note(self, run: str, person: Person, body: bytes) -> Response:
        given = _json(body)
        note = _validated(Note, {**given, "by": person.name})
        if not await self._temporal.tell(run, note):
            raise Refused(404, f"No run {run} is open; GET /runs lists those that are.")
        return JSONResponse({"run": run, "accepted": True, "said": "Noted.", "accepted_now": []})


def _order(verb: str, body: bytes, person: Person, request: Request) -> Order:
    given = _json(body)
    for name in ("actor", "id"):
        if name in given:
            raise Refused(
                422, f"{name} is not the sender's to say: who asks is recognised, and Idempotency-Key is a header."
            )
    # Only with a key of the sender's own is a second order the same order.
    key = request.headers.get("idempotency-key", "")
    id_ = f"http/{person.name}/{key}"[:200] if key else ""
    order: Order = _validated(SHAPES[verb], {**given, "actor": person.name, "id": id_})
    return order


def _json(body: bytes) -> dict[str, Any]:
    try:
        given = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise Refused(422, "The body is no JSON.") from error
    if not isinstance(given, dict):
        raise Refused(422, "The body must be a JSON object.")
    return given


def _validated(shape: Any, given: dict[str, Any]) -> Any:
    try:
        return shape.model_validate(given)
    except ValidationError as error:
        problems = error.errors(include_url=False, include_input=False, include_context=False)
        said = "; ".join(f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}" for problem in problems[:5])
        raise Refused(422, f"Nothing was done: {said}.") from error


def _short(id_: str) -> str:
    """Temporal bounds the length of an update's id."""
    return hashlib.sha256(id_.encode()).hexdigest() if id_ else ""
