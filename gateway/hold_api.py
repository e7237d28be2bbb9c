"""The automation hold's door: it lives with the policies, and is known while Temporal is down."""

from datetime import UTC, datetime

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from failover.automation import Hold
from gateway.auth import Auth
from gateway.store import PolicyStore

_HOLD: TypeAdapter[Hold | None] = TypeAdapter(Hold | None)


class HoldBody(BaseModel):
    """A hold on everything that starts by itself: by whom, why, and until when (none: until somebody ends it)."""

    model_config = ConfigDict(extra="forbid")
    by: str = Field(min_length=1, max_length=200)
    why: str = Field(min_length=1, max_length=1000)
    since: AwareDatetime | None = None
    until: AwareDatetime | None = None


class HoldApi:
    """/automation/hold: read it, set it (PUT) or end it (DELETE), which need the token."""

    def __init__(self, store: PolicyStore, auth: Auth) -> None:
        self._store = store
        self._auth = auth

    async def read(self, _: Request) -> Response:
        return JSONResponse({"hold": _HOLD.dump_python(await self._store.hold(), mode="json")})

    async def put(self, request: Request) -> Response:
        if refusal := self._auth.why_not(request):
            return _error(401, refusal)
        now = datetime.now(UTC)
        try:
            body = HoldBody.model_validate_json(await request.body())
        except ValidationError as error:
            problems = error.errors(include_url=False, include_input=False, include_context=False)
            said = "; ".join(f"{'.'.join(map(str, one['loc'])) or 'the body'}: {one['msg']}" for one in problems)
            return _error(422, f"Nothing was changed: {said}")
        if body.until is not None and body.until <= now:
            return _error(422, f"Nothing was changed: until {body.until.isoformat()} is over already.")
        await self._store.keep_hold(Hold(by=body.by, why=body.why, since=body.since or now, until=body.until))
        return await self.read(request)

    async def delete(self, request: Request) -> Response:
        if refusal := self._auth.why_not(request):
            return _error(401, refusal)
        await self._store.keep_hold(None)
        return await self.read(request)


def _error(status: int, sentence: str) -> Response:
    return JSONResponse({"error": {"message": sentence}}, status_code=status)
