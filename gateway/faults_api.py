"""The drills' door: inject a fault for a route and a provider, renew it, end it."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from failover.config import Config
from failover.config.drills import FaultKind
from failover.drill import why_not_inject
from gateway.auth import Auth
from gateway.faults import Faults
from gateway.store import PolicyStore

LONGEST = 300.0
"""Seconds until a fault that nobody renews is gone."""


class FaultBody(BaseModel):
    """What is to fail, for how long unless it is renewed, and which drill asks for it."""

    model_config = ConfigDict(extra="forbid")
    kind: FaultKind
    drill: str = Field(min_length=1, max_length=200)
    seconds: Annotated[float, Field(gt=0, le=LONGEST)]
    percent: Annotated[float, Field(gt=0, le=100)] | None = None


class FaultsApi:
    """/faults. Changing anything needs the token, and the claim of the route."""

    def __init__(self, faults: Faults, store: PolicyStore, auth: Auth, config: Config) -> None:
        self._faults = faults
        self._store = store
        self._auth = auth
        self._config = config

    async def show(self, _: Request | None = None, at: datetime | None = None) -> Response:
        return JSONResponse({"faults": self._alive(), "at": (at or datetime.now(UTC)).isoformat()})

    async def put(self, request: Request) -> Response:
        route, provider = request.path_params["route"], request.path_params["provider"]
        if refusal := self._auth.why_not(request):
            return _error(401, refusal)
        try:
            body = FaultBody.model_validate_json(await request.body())
        except ValidationError as error:
            problems = error.errors(include_url=False, include_input=False, include_context=False)
            said = "; ".join(f"{'.'.join(map(str, one['loc'])) or 'the body'}: {one['msg']}" for one in problems)
            return _error(422, f"Nothing was broken: {said}")
        if (why := why_not_inject(self._config, route, provider, body.percent)) is not None:
            return _error(422, f"Nothing was broken: {why}")
        policy = (await self._store.read()).get(route)
        claim = policy.claim if policy else None
        if claim != body.drill:
            said = f"it is claimed by {claim}" if claim else "it claims nothing there"
            return _error(409, f"Nothing was broken: {body.drill} must hold the claim of route {route!r}, and {said}.")
        # Told as of before it strikes: nothing that it did may seem to have come before it.
        lasts, at = timedelta(seconds=body.seconds), datetime.now(UTC)
        self._faults.put(route, provider, kind=body.kind, percent=body.percent, drill=body.drill, lasts=lasts)
        return await self.show(at=at)

    async def delete(self, request: Request) -> Response:
        """Every fault of the route, or those of `drill`; it is no error that there is none."""
        if refusal := self._auth.why_not(request):
            return _error(401, refusal)
        self._faults.heal(request.path_params["route"], request.query_params.get("drill"))
        return await self.show()

    def _alive(self) -> list[dict[str, Any]]:
        return [
            {
                "route": route,
                "provider": provider,
                "kind": fault.kind.value,
                "percent": fault.percent,
                "drill": fault.drill,
                "seconds_left": round(left.total_seconds(), 1),
            }
            for (route, provider), (fault, left) in sorted(self._faults.alive(self._store.policies).items())
        ]


def _error(status: int, sentence: str) -> Response:
    return JSONResponse({"error": {"message": sentence}}, status_code=status)
