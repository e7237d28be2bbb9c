"""The operators' door: read, change and watch traffic policies."""

import re
from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from failover.degraded import DegradedService, read
from failover.distribution import Shares
from failover.policy import Change, ChangedBy, ChangeResult, ChangeStatus, Mode, Revision, TrafficPolicy
from failover.telemetry import Telemetry
from failover.units import DurationTooLong, parse_duration
from gateway.auth import Auth
from gateway.counters import KEPT, Counters, utc_now
from gateway.store import PolicyStore

MOST_CHANGES = 500
"""The most changes in one request."""

_POLICY = TypeAdapter(TrafficPolicy)
_POLICIES = TypeAdapter(list[TrafficPolicy])
_RESULT = TypeAdapter(ChangeResult)
_RESULTS = TypeAdapter(list[ChangeResult])
_TELEMETRY = TypeAdapter(Telemetry)


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Changes(_Strict):
    changes: list[Change] = Field(min_length=1, max_length=MOST_CHANGES)


class PolicyBody(_Strict):
    """A change of one route by hand; the revision and the key come as headers."""

    distribution: Shares
    reason: str = Field(min_length=1, max_length=1000)
    actor: str = Field("operator", max_length=200)
    mode: Mode | None = None
    degraded: DegradedService | None = None
    claim: str | None = None


class PoliciesApi:
    """/policies and /telemetry. A change needs the token, names only configured providers, and is compare-and-set."""

    def __init__(self, store: PolicyStore, counters: Counters, auth: Auth, providers: Collection[str]) -> None:
        self._store = store
        self._counters = counters
        self._auth = auth
        self._providers = providers

    async def list(self, request: Request) -> Response:
        """Every policy, or those named by `route` (repeatable); and which revision each live instance obeys."""
        wanted = request.query_params.getlist("route")
        in_force = sorted((await self._store.read()).items())
        policies = [policy for route, policy in in_force if not wanted or route in wanted]
        return _json(
            {"policies": _POLICIES.dump_python(policies, mode="json"), "instances": await self._store.obeyed()}
        )

    async def read(self, request: Request) -> Response:
        policy = (await self._store.read()).get(request.path_params["route"])
        return self._no_route(request) if policy is None else _with_etag(policy)

    async def put(self, request: Request) -> Response:
        route = request.path_params["route"]
        if refusal := self._auth.why_not(request):
            return _error(401, refusal)
        if route not in self._store.policies:
            return self._no_route(request)
        if (if_match := request.headers.get("if-match")) is None:
            return _error(428, "A change needs the header If-Match with the ETag of the policy that it was decided on.")
        try:
            body = PolicyBody.model_validate_json(await request.body())
            revision = Revision.parse(if_match.removeprefix("W/"))
        except (ValidationError, ValueError) as error:
            return _invalid(error)
        change = Change(
            route=route,
            decided_on=revision,
            key=request.headers.get("idempotency-key") or f"{body.actor}/{utc_now().isoformat()}",
            distribution=body.distribution,
            mode=body.mode,
            degraded=None if body.degraded is None else body.degraded.as_settings(),
            claim=body.claim,
            changed_by=ChangedBy(actor=body.actor),
            reason=body.reason,
        )
        if unknown := self._unknown_providers([change]):
            return unknown
        result = (await self._store.apply([change]))[0]
        if result.status in (ChangeStatus.REFUSED, ChangeStatus.SUPERSEDED):
            return _json({**_message(result.reason), "result": _RESULT.dump_python(result, mode="json")}, 412)
        assert result.policy is not None
        return _with_etag(result.policy)

    async def post(self, request: Request) -> Response:
        """Apply many changes, each with its own result."""
        if refusal := self._auth.why_not(request):
            return _error(401, refusal)
        try:
            changes = Changes.model_validate_json(await request.body()).changes
        except ValidationError as error:
            return _invalid(error)
        if unmeant := self._unknown_providers(changes) or _unmeant(changes):
            return unmeant
        results = await self._store.apply(changes)
        return _json({"results": _RESULTS.dump_python(list(results), mode="json")})

    async def telemetry(self, request: Request) -> Response:
        """Read the counters by `window` (60, 5m) or `since` (ISO 8601, this server's clock), and `until`."""
        now, asked = utc_now(), request.query_params
        try:
            since = _moment(asked["since"]) if "since" in asked else now - _window(asked.get("window", "60"))
            until = _moment(asked["until"]) if "until" in asked else None
        except ValueError as error:
            return _invalid(error)
        reading = self._counters.read(max(since, now - KEPT + timedelta(seconds=1)), until, now)
        return Response(_TELEMETRY.dump_json(reading), media_type="application/json")

    def _unknown_providers(self, changes: Sequence[Change]) -> Response | None:
        unknown = sorted({name for change in changes for name in change.distribution if name not in self._providers})
        if not unknown:
            return None
        known = ", ".join(sorted(self._providers))
        return _error(422, f"{', '.join(map(repr, unknown))} is no provider of this gateway; it has {known}.")

    def _no_route(self, request: Request) -> Response:
        known = ", ".join(sorted(self._store.policies))
        return _error(404, f"There is no route {request.path_params['route']!r}; the routes are {known}.")


def _window(text: str) -> timedelta:
    try:
        return min(parse_duration(text), KEPT)
    except DurationTooLong:
        return KEPT


def _moment(text: str) -> datetime:
    # A plus sign that was not escaped in the URL arrives as a space.
    moment = datetime.fromisoformat(re.sub(r" (\d\d:\d\d)$", r"+\1", text))
    if moment.tzinfo is None:
        raise ValueError(f"{text!r} has no time zone; write it in UTC, such as 2026-01-31T12:00:00Z")
    return moment


def _json(body: Any, status: int = 200) -> Response:
    return JSONResponse(body, status_code=status)


def _message(sentence: str) -> dict[str, Any]:
    return {"error": {"message": sentence}}


def _error(status: int, sentence: str) -> Response:
    return _json(_message(sentence), status)


def _unmeant(changes: Sequence[Change]) -> Response | None:
    """Check degraded service where it enters: whoever obeys it later cannot ask what was meant."""
    for number, change in enumerate(changes):
        try:
            read(change.degraded or {})
        except ValidationError as error:
            return _invalid(error, "changes", number, "degraded")
    return None


def _invalid(error: ValueError, *within: str | int) -> Response:
    if isinstance(error, ValidationError):
        problems = error.errors(include_url=False, include_input=False, include_context=False)
        said = "; ".join(
            f"{'.'.join(map(str, (*within, *problem['loc']))) or 'the body'}: "
            f"{problem['msg'].removeprefix('Value error, ')}"
            for problem in problems[:5]
        )
        return _error(422, f"Nothing was changed: {said}")
    return _error(422, f"Nothing was changed: {error}")


def _with_etag(policy: TrafficPolicy) -> Response:
    return Response(_POLICY.dump_json(policy), media_type="application/json", headers={"ETag": f'"{policy.revision}"'})
