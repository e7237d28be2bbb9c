"""OpenAI's shapes: what a chat request may say, and answers, streams and errors as its clients read them."""

import json
import secrets
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from starlette.responses import JSONResponse, Response

from failover.completion import Answer, Chunk, Completion, Message, Role, Usage
from failover.degraded import Source, header_safe
from failover.errors import ProviderError
from failover.failure import Failure, FailureKind
from gateway.counters import utc_now
from gateway.question import AllFailed
from gateway.queue import Refused
from gateway.sources import Reply

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
"""Last failure → status of the answer when every provider failed; everything else is a bad gateway (502)."""


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
    """Parse a chat request; ApiError (400) names the parameter that cannot be understood or carried."""
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


def whole(reply: Reply, answer: Answer) -> Response:
    """A chat completion."""
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": answer.text, "refusal": None},
        "logprobs": None,
        "finish_reason": answer.finish.value,
    }
    body = {
        **_envelope("chat.completion", reply.policy.route),
        "choices": [choice],
        "usage": _usage(answer.usage),
        **_told(reply),
    }
    return JSONResponse(body, headers=headers(reply))


async def events(reply: Reply, chunks: AsyncGenerator[Chunk, None], *, wants_usage: bool) -> AsyncIterator[str]:
    """Server-sent events. A stream that fails midway ends in an error event, and without [DONE]."""
    envelope = _envelope("chat.completion.chunk", reply.policy.route)
    usage: Usage | None = None
    first: dict[str, Any] = _told(reply)
    role: dict[str, str] = {"role": "assistant"}
    try:
        async with aclosing(chunks):
            async for chunk in chunks:
                usage = chunk.usage or usage
                if chunk.text or chunk.finish:
                    yield _event({**envelope, "choices": [_delta(chunk, role)], **first})
                    role, first = {}, {}
    except ProviderError as error:
        yield _event(_broken(error.failure).body())
        return
    if wants_usage:
        yield _event({**envelope, "choices": [], "usage": _usage(usage or Usage())})
    yield "data: [DONE]\n\n"


def _told(reply: Reply) -> dict[str, Any]:
    """What is said in the body beside OpenAI's fields; nothing of a provider's own answer in normal service."""
    if reply.banner is None and reply.source is Source.LIVE:
        return {}
    said: dict[str, Any] = {"source": reply.source.value}
    if reply.banner is not None:
        said["banner"] = reply.banner
    if reply.age is not None:
        said["age_seconds"] = int(reply.age.total_seconds())
    return {"failover": said}


def _delta(chunk: Chunk, role: Mapping[str, str]) -> dict[str, Any]:
    delta = {**role, "content": chunk.text} if chunk.text else dict(role)
    return {"index": 0, "delta": delta, "logprobs": None, "finish_reason": chunk.finish.value if chunk.finish else None}


def _event(body: Mapping[str, Any]) -> str:
    return f"data: {json.dumps(body, ensure_ascii=False)}\n\n"


def _broken(failure: Failure) -> ApiError:
    message = f"The answer broke off: {failure.kind.value.replace('_', ' ')} at {failure.provider}. Ask again."
    return ApiError(502, message, code=failure.kind.value)


def all_failed(error: AllFailed) -> ApiError:
    """What users are told: who was tried and how it failed in our words, nothing of the vendors'."""
    tried = ", ".join(f"{failure.provider} ({failure.kind.value.replace('_', ' ')})" for failure in error.failures)
    retry_after = max(1, round(error.retry_after.total_seconds())) if error.retry_after else None
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


def refused(error: Refused) -> ApiError:
    """The error for a request that got no place in the queue, or no answer in time."""
    return ApiError(503, str(error), code=error.code, retry_after=error.retry_after)


def headers(reply: Reply) -> dict[str, str]:
    """The headers that tell where the answer comes from, and by which policy."""
    told = {
        "X-Failover-Source": reply.source.value,
        "X-Failover-Route": reply.policy.route,
        "X-Failover-Revision": str(reply.policy.revision),
    }
    if reply.attempt is not None:
        told |= {"X-Failover-Provider": reply.attempt.provider, "X-Failover-Tries": str(reply.attempt.number)}
    if reply.age is not None:
        told["Age"] = str(int(reply.age.total_seconds()))
    if reply.waited is not None:
        told["X-Failover-Waited"] = f"{reply.waited.total_seconds():.1f}"
    if reply.banner is not None:
        told["X-Failover-Banner"] = header_safe(reply.banner)
    return told
