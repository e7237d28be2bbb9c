"""Starting procedures from the console: a form, the plan that a dry run finds, and the start of that plan and no other."""

import asyncio
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from urllib.parse import quote

import structlog
from starlette.requests import Request as HttpRequest
from starlette.responses import Response
from temporalio.client import WorkflowFailureError
from temporalio.service import RPCError

from failover.config import Config
from failover.errors import FailoverError
from failover.ramp import RampPlan
from failover.roles import Act, Person
from starter.console.entrance import Entrance
from starter.console.pages import Pages
from starter.console.runs import Runs
from starter.console.seeing import Seeing
from starter.procedures.launch import explained
from starter.runs.following import root_cause
from starter.webhooks.answers import Refused
from starter.webhooks.guard import Guard
from starter.webhooks.starts_door import PROCEDURES, Starting

log = structlog.get_logger("console")

FIELDS: Mapping[str, tuple[str, ...]] = {
    "immediate": ("failed_provider", "target_provider", "reason"),
    "failback": ("route", "original_provider", "reason"),
    "emergency": ("reason",),
}
"""What the form of a procedure says; whatever it leaves empty is left to the procedure."""

PLAN_PATIENCE = timedelta(seconds=15)


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """What a dry run found. `digest` binds the start to it: to the request, to the plan, and to the policies in force."""

    lines: Sequence[str]
    digest: str
    possible: bool


class StartPages:
    """The pages that start runs by the same function as POST /runs, twice: first with `dry_run`."""

    def __init__(
        self,
        config: Config,
        guard: Guard,
        starting: Starting,
        entrance: Entrance,
        pages: Pages,
        runs: Runs,
        seeing: Seeing,
    ) -> None:
        self._config = config
        self._guard = guard
        self._starting = starting
        self._entrance = entrance
        self._pages = pages
        self._runs = runs
        self._seeing = seeing

    async def page(self, request: HttpRequest) -> Response:
        page = self._entrance.page(request)
        self._guard.allow(page.session.person, Act.START)
        return self._pages.respond("start.html", page, active="start")

    async def plan(self, request: HttpRequest) -> Response:
        """What it would do, with the form that starts it."""
        session, fields = await self._entrance.form(request)
        self._guard.allow(session.person, Act.START)
        name, given = _asked(fields)
        planned = await self._planned(name, given, session.person)
        return self._plan_page(request, name, given, planned, "")

    async def post(self, request: HttpRequest) -> Response:
        """Start what was shown; where it would be another plan by now, that one is shown instead."""
        session, fields = await self._entrance.form(request)
        self._guard.allow(session.person, Act.START)
        name, given = _asked(fields)
        planned = await self._planned(name, given, session.person)
        if not planned.possible or planned.digest != fields.get("digest"):
            changed = "It would be another plan by now, so nothing was started. This is the plan as of now:"
            return self._plan_page(request, name, given, planned, changed, status=409)
        procedure = PROCEDURES[name]
        asked = self._starting.asked(procedure, given, session.person)
        key = f"console/{session.person.name}/{fields.get('key', '')}"[:500] if fields.get("key") else ""
        did, run = await self._starting.begin(procedure, asked, session.person, key)
        log.info("start", actor=session.person.name, procedure=procedure.name, run=run, did=did)
        return self._entrance.redirect(
            request, f"/console/run?id={quote(run, safe='')}", f"{did.capitalize()} run {run}.", good=True
        )

    def _plan_page(
        self,
        request: HttpRequest,
        name: str,
        given: Mapping[str, Any],
        planned: Planned,
        problem: str,
        status: int = 200,
    ) -> Response:
        page = self._entrance.page(request)
        return self._pages.respond(
            "plan.html", page, status=status, active="start", name=name, given=given, planned=planned, problem=problem
        )

    async def _planned(self, name: str, given: Mapping[str, Any], person: Person) -> Planned:
        """Plan by a dry run, which changes nothing. Refused if the request cannot be meant."""
        procedure = PROCEDURES[name]
        asked = self._starting.asked(procedure, {**given, "dry_run": True}, person)
        _, run_id = await self._starting.begin(procedure, asked, person, "")
        outcome, reason = await self._result(run_id)
        run, _ = await self._runs.find(run_id)
        plan = await self._runs.plan(run)
        possible = outcome == "COMPLETED"
        lines = explained(plan) if plan is not None and possible else [reason]
        return Planned(lines=lines, digest=await self._digest(name, given, plan), possible=possible)

    async def _result(self, run_id: str) -> tuple[str, str]:
        try:
            async with asyncio.timeout(PLAN_PATIENCE.total_seconds()):
                result = await self._runs.handle(run_id).result()
        except TimeoutError as error:
            raise Refused(503, "No worker made the plan in time; is one running? Nothing was changed.") from error
        except WorkflowFailureError as error:
            return "FAILED", f"It cannot be planned: {root_cause(error)}"
        except RPCError as error:
            raise Refused(503, f"Temporal did not tell the plan: {error.message}. Nothing was changed.") from error
        return result.outcome.value, result.reason

    async def _digest(self, name: str, given: Mapping[str, Any], plan: RampPlan | None) -> str:
        """A revision that has changed since, or a provider that is down by now, makes it another plan."""
        seen = await self._seeing.look(fresh=True)
        policies = [] if isinstance(seen.policies, FailoverError) else seen.policies
        verdicts = [] if isinstance(seen.verdicts, FailoverError) else seen.verdicts
        told = {
            "procedure": name,
            "request": dict(given),
            "plan": plan.digest if plan else "",
            "revisions": {policy.route: str(policy.revision) for policy in policies},
            "down": sorted(verdict.provider for verdict in verdicts if verdict.down),
        }
        return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:12]


def _asked(fields: Mapping[str, str]) -> tuple[str, dict[str, Any]]:
    """The procedure and its request, as the form means them."""
    name = fields.get("procedure", "")
    if name not in FIELDS:
        raise Refused(422, f"Nothing was done: the console starts {', '.join(FIELDS)}.")
    given: dict[str, Any] = {field: fields[field] for field in FIELDS[name] if fields.get(field)}
    if fields.get("route") and name != "failback":
        given["routes"] = [fields["route"]]
    return name, given
