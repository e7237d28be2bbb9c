"""Orders by form: a page that says what will happen, and the order itself, by the same way as every other door's."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import Response

from failover import kinds
from failover.driving import Verb
from failover.errors import FailoverError
from failover.requests import Note
from failover.roles import Act
from starter.console.consequences import QUESTIONS, consequences
from starter.console.entrance import HOME, Entrance
from starter.console.pages import Pages
from starter.console.pictures import LABELS, accepted
from starter.console.runs import Runs
from starter.console.seeing import Seeing
from starter.webhooks.answers import Refused
from starter.webhooks.guard import Guard
from starter.webhooks.orders import validated
from starter.webhooks.runs_door import SHAPES, Driver, order_of
from starter.webhooks.temporal import Temporal

DOOR = "console"

FIELDS: Mapping[Verb, tuple[str, ...]] = {
    Verb.APPROVE: ("step", "digest"),
    Verb.REJECT: ("step", "digest"),
    Verb.ABORT: ("mode",),
    Verb.SET_PERCENT: ("percent",),
}
"""What a form says beside the comment; anything else in it means nothing."""


class Ordering:
    """GET asks whether it is meant, POST gives the order."""

    def __init__(
        self,
        guard: Guard,
        driver: Driver,
        temporal: Temporal,
        entrance: Entrance,
        pages: Pages,
        runs: Runs,
        seeing: Seeing,
    ) -> None:
        self._guard = guard
        self._driver = driver
        self._temporal = temporal
        self._entrance = entrance
        self._pages = pages
        self._runs = runs
        self._seeing = seeing

    async def page(self, request: Request) -> Response:
        """What will happen, and the form that lets it."""
        page = self._entrance.page(request)
        verb = _verb(request.query_params.get("verb", ""))
        self._guard.allow(page.session.person, Act(verb.value))
        run, outcome = await self._runs.find(request.query_params.get("run", ""))
        if outcome:
            raise Refused(409, f"{run.workflow_id} is over: {outcome}. Nothing can be ordered of it any more.")
        if verb not in accepted(run):
            now = ", ".join(LABELS[one].lower() for one in accepted(run)) or "nothing"
            raise Refused(409, f"{run.workflow_id} does not take {LABELS[verb].lower()} now; it takes: {now}.")
        plan, seen = await self._runs.plan(run), await self._seeing.look()
        shares = {} if isinstance(seen.policies, FailoverError) else {p.route: p.distribution for p in seen.policies}
        verdicts = [] if isinstance(seen.verdicts, FailoverError) else seen.verdicts
        approval = run.look.situation.approval
        return self._pages.respond(
            "order.html",
            page,
            active="",
            run=run.workflow_id,
            verb=verb.value,
            label=LABELS[verb],
            question=QUESTIONS[verb],
            says=consequences(verb, run, plan, shares, verdicts),
            bound={"step": approval.step, "digest": approval.digest} if approval and verb in _DECISIONS else {},
            can_hold=run.procedure != kinds.IMMEDIATE,
        )

    async def post(self, request: Request) -> Response:
        """Give the order → back to where it came from, with what the run said."""
        session, fields = await self._entrance.form(request)
        run, name = fields.get("run", ""), fields.get("verb", "")
        back = _run_page(run) if fields.get("back") == "run" else HOME
        if name == Act.NOTE.value:
            self._guard.allow(session.person, Act.NOTE)
            note: Note = validated(Note, {"by": session.person.name, "text": fields.get("text", "")})
            if not await self._temporal.tell(run, note):
                raise Refused(404, f"No run {run} is open.")
            return self._entrance.redirect(request, back, f"{run}: noted.", good=True)
        verb = _verb(name)
        self._guard.allow(session.person, Act(verb.value))
        order = order_of(verb.value, _given(verb, fields), session.person, DOOR, fields.get("key", ""))
        said = await self._driver.order(DOOR, run, verb, order)
        return self._entrance.redirect(request, back, f"{run}: {said.said}", good=said.accepted)


_DECISIONS = (Verb.APPROVE, Verb.REJECT)


def _verb(name: str) -> Verb:
    try:
        return Verb(name)
    except ValueError as error:
        raise Refused(404, f"There is no such order; there are {', '.join(SHAPES)}.") from error


def _given(verb: Verb, fields: Mapping[str, str]) -> dict[str, Any]:
    given: dict[str, Any] = {"comment": fields.get("comment", "")}
    return given | {name: fields[name] for name in FIELDS.get(verb, ()) if name in fields}


def _run_page(run: str) -> str:
    return f"/console/run?id={quote(run, safe='')}"
