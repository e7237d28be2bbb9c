"""The users' door: OpenAI's chat completions and models, in OpenAI's shapes, errors included."""

import json
import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from failover.completion import Chunk, Completion, Message, Role, Usage
from failover.errors import ProviderError
from failover.failure import Failure, FailureKind
from gateway.auth import Auth
from gateway.counters import utc_now
from gateway.routing import AllFailed, Router, Streamed, Try
from gateway.store import PolicyStore

SYNTHETIC_HEADER = "x-failover-synthetic"

_STATUS = {
    FailureKind.THROTTLED: 429,
    FailureKind.HARD_QUOTA: 429,
    FailureKind.TIMEOUT: 504,
    FailureKind.BAD_REQUEST: 400,
    FailureKind.CAPACITY: 503,
    FailureKind.MODEL_LOADING: 503,
    FailureKind.REGION: 503,
    FailureKind.NETWORK: 503,
}
"""Of an answer when every provider failed, by the last failure; everything else is a bad gateway (502)."""


class ApiError(Exception):
    """An error in OpenAI's form."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: str | None = None,
        param: str | None = None,
        retry_after: int | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.code, self.param, self.retry_after = status, code, param, retry_after

    def body(self) -> dict[str, Any]:
        kind = "invalid_request_error" if self.status < 500 and self.status != 429 else "api_error"
        kind = "rate_limit_error" if self.status == 429 else kind
        return {"error": {"message": str(self), "type": kind, "param": self.param, "code": self.code}}

    def response(self) -> Response:
        headers = {"Retry-After": str(self.retry_after)} if self.retry_after is not None else {}
        return JSONResponse(self.body(), status_code=self.status, headers=headers)


def _text(content: Any) -> Any:
    """Content as text: a string, or parts that are all text."""
    if not isinstance(content, list):
        return content
    if not all(isinstance(part, dict) and part.get("type") == "text" for part in content):
        raise ValueError("only text parts can be carried to every provider of a route")
    return "".join(str(part.get("text", "")) for part in content)


class _Message(BaseModel):
    role: Literal["system", "developer", "user", "assistant"]
    content: Annotated[str, BeforeValidator(_text)]

    def as_message(self) -> Message:
        return Message(role=Role.SYSTEM if self.role == "developer" else Role(self.role), text=self.content)


class _StreamOptions(BaseModel):
    include_usage: bool = False


def _stop(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


class ChatRequest(BaseModel):
    """What is carried. Anything else that would change the answer is refused by name, never dropped in silence."""

    model_config = ConfigDict(extra="allow")

    model: str
    messages: list[_Message] = Field(min_length=1)
    max_tokens: int | None = Field(None, gt=0)
    max_completion_tokens: int | None = Field(None, gt=0)
    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, ge=0, le=1)
    stop: Annotated[list[str], BeforeValidator(_stop)] | None = None
    stream: bool | None = False
    stream_options: _StreamOptions | None = None
    n: Literal[1] | None = 1

    def completion(self) -> Completion:
        return Completion(
            messages=[message.as_message() for message in self.messages],
            max_tokens=self.max_completion_tokens or self.max_tokens,
            temperature=self.temperature,
            top_p=self.top_p,
            stop=self.stop or (),
        )


HARMLESS = frozenset({"user", "metadata", "seed", "store", "safety_identifier", "prompt_cache_key", "service_tier"})
"""Parameters that no provider needs to hear for the answer to be what was asked."""


def parse_chat(body: bytes) -> ChatRequest:
    """ApiError (400) naming the parameter that cannot be understood or carried."""
    try:
        chat = ChatRequest.model_validate_json(body)
    except ValidationError as error:
        problem = error.errors(include_url=False, include_input=False)[0]
        param = ".".join(str(part) for part in problem["loc"]) or None
        where = f"{param}: " if param else "The request body: "
        raise ApiError(400, f"{where}{problem['msg'].removeprefix('Value error, ')}", param=param) from None
    for name, value in (chat.model_extra or {}).items():
        if name not in HARMLESS and value not in (None, False, 0, [], {}, "auto", {"type": "text"}):
            raise ApiError(
                400,
                f"{name} is not supported: it cannot be carried to every provider of a route. Leave it out.",
                param=name,
                code="unsupported_parameter",
            )
    return chat


class OpenAiApi:
    """Endpoints under /v1."""

    def __init__(self, router: Router, store: PolicyStore, auth: Auth, max_body_bytes: int) -> None:
        self._router = router
        self._store = store
        self._auth = auth
        self._max_body_bytes = max_body_bytes

    async def chat(self, request: Request) -> Response:
        try:
            return await self._chat(request)
        except ApiError as error:
            return error.response()
        except ProviderError as error:
            return ApiError(400, error.failure.detail, code="bad_request").response()
        except AllFailed as error:
            return _all_failed(error).response()

    async def _chat(self, request: Request) -> Response:
        chat = parse_chat(await _body(request, self._max_body_bytes))
        if chat.model not in self._store.policies:
            raise self._no_model(chat.model)
        synthetic = SYNTHETIC_HEADER in request.headers and self._auth.why_not(request) is None
        if chat.stream:
            streamed = await self._router.stream(chat.model, chat.completion(), synthetic=synthetic)
            wants_usage = bool(chat.stream_options and chat.stream_options.include_usage)
            events = _events(chat.model, streamed, wants_usage)
            return StreamingResponse(events, media_type="text/event-stream", headers=_headers(streamed.attempt))
        served = await self._router.answer(chat.model, chat.completion(), synthetic=synthetic)
        answer = served.answer
        body = {
            **_envelope("chat.completion", chat.model),
            "choices": [
                {
                    "index": 0,
                    "message": {"role": "assistant", "content": answer.text, "refusal": None},
                    "logprobs": None,
                    "finish_reason": answer.finish.value,
                }
            ],
            "usage": _usage(answer.usage),
        }
        return JSONResponse(body, headers=_headers(served.attempt))

    async def models(self, _: Request) -> Response:
        return JSONResponse({"object": "list", "data": [_model(route) for route in sorted(self._store.policies)]})

    async def model(self, request: Request) -> Response:
        name = request.path_params["model"]
        if name not in self._store.policies:
            return self._no_model(name).response()
        return JSONResponse(_model(name))

    def _no_model(self, name: str) -> ApiError:
        known = ", ".join(sorted(self._store.policies))
        message = f"There is no route {name!r}; a model here is the name of a route: {known}."
        return ApiError(404, message, param="model", code="model_not_found")


async def _body(request: Request, limit: int) -> bytes:
    chunks, size = [], 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > limit:
            raise ApiError(413, f"The request is larger than {limit} bytes.", code="request_too_large")
        chunks.append(chunk)
    return b"".join(chunks)


async def _events(route: str, streamed: Streamed, wants_usage: bool) -> AsyncIterator[str]:
    """Server-sent events. A stream that fails midway ends in an error event, and without [DONE]."""
    envelope = _envelope("chat.completion.chunk", route)
    usage: Usage | None = None
    role: dict[str, str] = {"role": "assistant"}
    try:
        async with aclosing(streamed.chunks) as chunks:
            async for chunk in chunks:
                usage = chunk.usage or usage
                if chunk.text or chunk.finish:
                    yield _event({**envelope, "choices": [_delta(chunk, role)]})
                    role = {}
    except ProviderError as error:
        yield _event(_broken(error.failure).body())
        return
    if wants_usage:
        yield _event({**envelope, "choices": [], "usage": _usage(usage or Usage())})
    yield "data: [DONE]\n\n"


def _delta(chunk: Chunk, role: Mapping[str, str]) -> dict[str, Any]:
    delta = {**role, "content": chunk.text} if chunk.text else dict(role)
    return {"index": 0, "delta": delta, "logprobs": None, "finish_reason": chunk.finish.value if chunk.finish else None}


def _event(body: Mapping[str, Any]) -> str:
    return f"data: {json.dumps(body, ensure_ascii=False)}\n\n"


def _broken(failure: Failure) -> ApiError:
    message = f"The answer broke off: {failure.kind.value.replace('_', ' ')} at {failure.provider}. Ask again."
    return ApiError(502, message, code=failure.kind.value)


def _all_failed(error: AllFailed) -> ApiError:
    """What users are told: who was tried and how it failed in our words, nothing of the vendors'."""
    tried = ", ".join(f"{failure.provider} ({failure.kind.value.replace('_', ' ')})" for failure in error.failures)
    waits = [failure.retry_after for failure in error.failures if failure.retry_after]
    retry_after = max(1, round(min(waits).total_seconds())) if waits else None
    status = _STATUS.get(error.last.kind, 502)
    message = f"No provider answered: {tried}."
    return ApiError(status, message, code=error.last.kind.value, retry_after=retry_after)


def _envelope(kind: str, route: str) -> dict[str, Any]:
    created = int(utc_now().timestamp())
    return {"id": f"chatcmpl-{secrets.token_hex(12)}", "object": kind, "created": created, "model": route}


def _usage(usage: Usage) -> dict[str, int]:
    return {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.input_tokens + usage.output_tokens,
    }


def _model(route: str) -> dict[str, Any]:
    return {"id": route, "object": "model", "created": 0, "owned_by": "failover"}


def _headers(attempt: Try) -> dict[str, str]:
    return {
        "X-Failover-Provider": attempt.provider,
        "X-Failover-Route": attempt.policy.route,
        "X-Failover-Revision": str(attempt.policy.revision),
        "X-Failover-Tries": str(attempt.number),
    }
