"""Any OpenAI-compatible endpoint: chat completions, whole and as server-sent events, and the list of models."""

from collections.abc import Mapping
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from simulator.answers import Reply, pieces_of
from simulator.exchange import Listing, build_app, control_plane, inference
from simulator.faults import Fault, FaultKind
from simulator.provider import Ask, Call, SimulatedProvider
from simulator.wire import Dialect, Frames, last_user_text, openai_calls, server_sent, tool_names, whole_number

CREATED = 1_715_000_000
DONE = b"data: [DONE]\n\n"

_RATE_LIMIT = (
    "Rate limit reached for {model} on requests per min (RPM). Please try again later. "
    "Visit https://platform.openai.com/account/rate-limits to learn more."
)
_NO_QUOTA = (
    "You exceeded your current quota, please check your plan and billing details. For more information on this "
    "error, read the docs: https://platform.openai.com/docs/guides/error-codes/api-errors."
)
_SERVER_ERROR = "The server had an error while processing your request. Sorry about that!"

# kind → (HTTP status, message, type, code)
_REFUSALS: Mapping[FaultKind, tuple[int, str, str, str | None]] = {
    FaultKind.THROTTLED: (429, _RATE_LIMIT, "requests", "rate_limit_exceeded"),
    FaultKind.QUOTA: (429, _NO_QUOTA, "insufficient_quota", "insufficient_quota"),
    FaultKind.AUTHENTICATION: (
        401,
        "Incorrect API key provided. You can find your API key at https://platform.openai.com/account/api-keys.",
        "invalid_request_error",
        "invalid_api_key",
    ),
    FaultKind.PERMISSION: (
        403,
        "Project `proj_simulated` does not have access to model `{model}`",
        "invalid_request_error",
        "model_not_found",
    ),
    FaultKind.MODEL_NOT_READY: (503, "Model {model} is currently loading", "server_error", "model_loading"),
    FaultKind.MODEL_MISSING: (
        404,
        "The model `{model}` does not exist or you do not have access to it.",
        "invalid_request_error",
        "model_not_found",
    ),
    FaultKind.REGION_DOWN: (503, "The service is unavailable in region {region}.", "server_error", None),
    FaultKind.CAPACITY: (503, "The engine is currently overloaded, please try again later", "server_error", None),
}


class OpenAIChat(Dialect):
    """POST /v1/chat/completions."""

    stream_media_type = "text/event-stream"
    region = "us"

    def read(self, request: Request, body: Mapping[str, Any]) -> Ask:
        options = body.get("stream_options")
        limit = body.get("max_completion_tokens", body.get("max_tokens"))
        return Ask(
            model=str(body.get("model", "")),
            prompt=last_user_text(body.get("messages"), field="messages", content="content"),
            max_tokens=whole_number(limit, field="max_completion_tokens"),
            stream=body.get("stream") is True,
            region=self.region,
            tools=tool_names(body, "function", "name"),
            wants_stream_usage=isinstance(options, dict) and options.get("include_usage") is True,
        )

    def whole(self, call: Call, reply: Reply) -> Response:
        choice = {
            "index": 0,
            "message": {"role": "assistant", "content": reply.text, "refusal": None, **openai_calls(reply, call.id)},
            "logprobs": None,
            "finish_reason": _finish_reason(reply),
        }
        document = _head(call, "chat.completion") | {"choices": [choice], "usage": _usage(reply)}
        return JSONResponse(document, headers={"x-request-id": f"req_{call.id}"})

    def frames(self, call: Call, reply: Reply) -> Frames:
        closing = [_chunk(call, {}, finish=_finish_reason(reply))]
        if call.ask.wants_stream_usage:
            closing.append(server_sent(_head(call, "chat.completion.chunk") | {"choices": [], "usage": _usage(reply)}))
        return Frames(
            start=[_chunk(call, {"role": "assistant", "content": ""})],
            pieces=[_chunk(call, {"content": piece}) for piece in pieces_of(reply.text)],
            closing=[*closing, DONE],
            failure=server_sent(_problem(_SERVER_ERROR, "server_error", None)),
            headers={"x-request-id": f"req_{call.id}"},
        )

    def refusal(self, call: Call, fault: Fault) -> Response:
        if fault.kind is FaultKind.SERVER_ERROR:
            return _error(call, fault.status, _SERVER_ERROR, "server_error", None)
        status, message, kind, code = _REFUSALS[fault.kind]
        headers = {"retry-after": f"{fault.retry_after.total_seconds():g}"} if fault.retry_after else {}
        return _error(call, status, message.format(model=call.ask.model, region=call.ask.region), kind, code, headers)

    def no_credentials(self, call: Call) -> Response:
        message = "You didn't provide an API key. You need to provide your API key in an Authorization header."
        return _error(call, 401, message, "invalid_request_error", None)

    def malformed(self, call: Call, reason: str) -> Response:
        return _error(call, 400, f"Invalid request: {reason}.", "invalid_request_error", None)

    def not_found(self, call: Call, path: str) -> Response:
        return _error(call, 404, "Invalid URL", "invalid_request_error", None)


def app(provider: SimulatedProvider) -> Starlette:
    """The HTTP surface of a provider of this kind."""
    chat = OpenAIChat()
    routes = [
        Route("/v1/chat/completions", inference(provider, chat), methods=["POST"]),
        Route("/v1/models", control_plane(provider, chat, _list(provider)), methods=["GET"]),
        Route("/v1/models/{model:path}", control_plane(provider, chat, _get(provider)), methods=["GET"]),
    ]
    return build_app(provider, chat, routes)


def _list(provider: SimulatedProvider) -> Listing:
    models = [_model(model) for model in provider.models]
    return lambda _request, _call: JSONResponse({"object": "list", "data": models})


def _get(provider: SimulatedProvider) -> Listing:
    def listing(request: Request, call: Call) -> Response:
        model = request.path_params["model"]
        if model not in provider.models:
            message = "The model does not exist or you do not have access to it."
            return _error(call, 404, message, "invalid_request_error", "model_not_found")
        return JSONResponse(_model(model))

    return listing


def _model(model: str) -> dict[str, Any]:
    return {"id": model, "object": "model", "created": CREATED, "owned_by": "system"}


def _head(call: Call, kind: str) -> dict[str, Any]:
    return {
        "id": f"chatcmpl-{call.id[:29]}",
        "object": kind,
        "created": call.created,
        "model": call.ask.model,
        "system_fingerprint": "fp_simulated",
    }


def _chunk(call: Call, delta: Mapping[str, Any], *, finish: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
    return server_sent(_head(call, "chat.completion.chunk") | {"choices": [choice]})


def _finish_reason(reply: Reply) -> str:
    return "length" if reply.cut_short else "stop"


def _usage(reply: Reply) -> dict[str, int]:
    return {
        "prompt_tokens": reply.input_tokens,
        "completion_tokens": reply.output_tokens,
        "total_tokens": reply.total_tokens,
    }


def _problem(message: str, kind: str, code: str | None) -> dict[str, Any]:
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


def _error(
    call: Call, status: int, message: str, kind: str, code: str | None, headers: Mapping[str, str] | None = None
) -> Response:
    head = {"x-request-id": f"req_{call.id}", **(headers or {})}
    return JSONResponse(_problem(message, kind, code), status, head)
