"""POST /runs: start a procedure over HTTP, in a recognised person's name and within their roles."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal
from uuid import uuid4

import structlog
from pydantic import BaseModel, ConfigDict
from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse, Response

from failover import canary, emergency, failback, gradual, immediate, kinds, service
from failover.config import Config
from failover.requests import (
    CanaryFailoverRequest,
    EmergencyRequest,
    FailbackRequest,
    GradualFailoverRequest,
    ImmediateFailoverRequest,
    Note,
    Request,
)
from failover.roles import Act, Person
from failover.service import ServiceSettingsRequest
from failover.starting import StartOrder
from starter.runs.finding import DRY
from starter.webhooks.answers import Refused
from starter.webhooks.guard import Guard
from starter.webhooks.orders import json_of, refuse_unless_json, validated
from starter.webhooks.temporal import Temporal

log = structlog.get_logger("webhooks")

KNOWN_BY_THE_SERVER = (
    *("requested_by", "trigger", "verdicts", "carried"),
    *("is_drill", "share_percent", "uncertified"),
)
"""Fields of requests that are nobody's to send."""


class Start(BaseModel):
    """What is sent: the procedure, and its request as the workflow takes it, without what the server knows itself."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    procedure: Literal["immediate", "gradual", "canary", "failback", "emergency", "service"]
    request: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Procedure:
    """How one kind of run is started. `joins`: whoever wants the same joins the one that is open."""

    name: str
    shape: type[Request]
    id: Callable[[Any], str]
    why_not: Callable[[Any, Config], str | None]
    joins: bool = False


def _ramp(name: str, shape: type[Request], why_not: Callable[..., str | None]) -> Procedure:
    return Procedure(
        name=name,
        shape=shape,
        id=lambda asked: kinds.run_id(name, asked.route),
        why_not=lambda asked, config: _no_route(asked, config) or why_not(asked, sorted(config.providers)),
    )


def _no_route(asked: Any, config: Config) -> str | None:
    if asked.route in config.routes:
        return None
    return f"There is no route {asked.route!r}; the routes are {', '.join(config.routes)}."


PROCEDURES: Mapping[str, Procedure] = {
    "immediate": Procedure(
        name=kinds.IMMEDIATE,
        shape=ImmediateFailoverRequest,
        id=lambda asked: kinds.run_id(kinds.IMMEDIATE, asked.failed_provider),
        why_not=lambda asked, config: immediate.why_not_start(asked, config.providers, config.routes),
        joins=True,
    ),
    "gradual": _ramp(kinds.GRADUAL, GradualFailoverRequest, gradual.why_not_start),
    "canary": _ramp(kinds.CANARY, CanaryFailoverRequest, canary.why_not_start),
    "failback": _ramp(kinds.FAILBACK, FailbackRequest, failback.why_not_start),
    "emergency": Procedure(
        name=kinds.EMERGENCY,
        shape=EmergencyRequest,
        id=lambda _: kinds.run_id(kinds.EMERGENCY),
        why_not=lambda asked, config: emergency.why_not_start(asked, config.routes),
        joins=True,
    ),
    "service": Procedure(
        name=kinds.SERVICE,
        shape=ServiceSettingsRequest,
        id=lambda asked: kinds.run_id(kinds.SERVICE, asked.route),
        why_not=lambda asked, config: service.why_not_start(asked, config.routes),
    ),
}


class Starting:
    """Starts procedures in a recognised person's name, whatever door they came through."""

    def __init__(self, config: Config, temporal: Temporal) -> None:
        self._config = config
        self._temporal = temporal

    def asked(self, procedure: Procedure, given: Mapping[str, Any], person: Person) -> Request:
        """The request that is meant. Refused: 422 where it cannot be, 403 where the person may not ask for it."""
        for name in KNOWN_BY_THE_SERVER:
            if name in given:
                raise Refused(422, f"{name} is not the sender's to say: who asks is recognised.")
        asked: Request = validated(procedure.shape, {**given, "requested_by": person.name})
        if _skips(asked) and (why := person.why_not(Act.SKIP_APPROVALS)) is not None:
            raise Refused(403, f"{why[0].upper()}{why[1:]} Leave out emergency, approvals and enforce_gates.")
        if (why := procedure.why_not(asked, self._config)) is not None:
            raise Refused(422, f"Nothing was done: {why}")
        return asked

    async def begin(self, procedure: Procedure, asked: Request, person: Person, key: str) -> tuple[str, str]:
        """→ started, joined or repeated, and the run; 409 where another is under way that it cannot join."""
        said = asked.model_dump(mode="json")
        run = procedure.id(asked)
        if said.get("dry_run"):
            # A plan that changes nothing must not be what a real alert finds open and joins.
            run = f"{DRY}{run}/{uuid4().hex[:6]}"
        before = await self._temporal.find(run)
        if before is not None and key and before.alert == key:
            return "repeated", run
        order = StartOrder(
            procedure=procedure.name, workflow_id=run, request=said, summary=f"{run}, asked for by {person.name}"
        )
        if (before is None or not before.open) and (await self._temporal.start(order, key)).started:
            return "started", run
        note = Note(by=person.name, text=str(said.get("reason") or f"asked for {run} too"))
        if not procedure.joins or not await self._temporal.tell(run, note):
            raise Refused(409, f"{run} is under way already, and nothing was started; GET /runs/{run} shows it.")
        return "joined", run


class StartsDoor:
    """Needs the role start; override for a request that drops approvals, waits or gates of the configuration."""

    def __init__(self, guard: Guard, starting: Starting) -> None:
        self._guard = guard
        self._starting = starting

    async def post(self, request: HttpRequest) -> Response:
        person = self._guard.permit(request, Act.START)
        refuse_unless_json(request)
        start: Start = validated(Start, await json_of(request))
        procedure = PROCEDURES[start.procedure]
        asked = self._starting.asked(procedure, start.request, person)
        key = request.headers.get("idempotency-key", "")
        did, run = await self._starting.begin(
            procedure, asked, person, f"http/{person.name}/{key}"[:500] if key else ""
        )
        log.info("start", actor=person.name, procedure=procedure.name, run=run, did=did)
        return JSONResponse({"run": run, "did": did, "said": f"{did.capitalize()} run {run}."})


def _skips(asked: Request) -> bool:
    """Whether the request sets aside what the configuration demands of everybody."""
    emergency_mode = getattr(asked, "emergency", False)
    approvals = getattr(asked, "approvals", None)
    return bool(emergency_mode) or approvals is not None or not getattr(asked, "enforce_gates", True)
