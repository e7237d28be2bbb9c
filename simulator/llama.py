"""Meta's Llama API: its own reply shape, its own stream events, and the list of models.

Meta documents no error body: `{"title", "detail", "status"}` is what a client may see, and must not rely on.
"""

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

CREATED = 1_745_000_000

_REFUSALS: Mapping[FaultKind, tuple[int, str, str]] = {
    FaultKind.THROTTLED: (429, "Too Many Requests", "Rate limit exceeded for requests per minute."),
    FaultKind.QUOTA: (
        429,
        "Quota Exceeded",
        "insufficient_quota: You exceeded your current quota, please check your plan and billing details.",
    ),
    FaultKind.AUTHENTICATION: (401, "Unauthorized", "The API key is invalid or has expired."),
    FaultKind.PERMISSION: (403, "Forbidden", "This API key does not have permission to use model {model}."),
    FaultKind.MODEL_NOT_READY: (503, "Service Unavailable", "Model {model} is loading. Please try again later."),
    FaultKind.MODEL_MISSING: (404, "Not Found", "Model {model} does not exist."),
    FaultKind.REGION_DOWN: (503, "Service Unavailable", "The service is unavailable in region {region}."),
    FaultKind.CAPACITY: (503, "Service Unavailable", "Model {model} is at capacity. Please try again later."),
}


class LlamaChat(Dialect):
    """POST /v1/chat/completions."""

    stream_media_type = "text/event-stream"
    region = "us"

    def read(self, request: Request, body: Mapping[str, Any]) -> Ask:
        return Ask(
            model=str(body.get("model", "")),
            prompt=last_user_text(body.get("messages"), field="messages", content="content"),
            max_tokens=whole_number(body.get("max_completion_tokens"), field="max_completion_tokens"),
            stream=body.get("stream") is True,
            region=self.region,
            tools=tool_names(body, "function", "name"),
        )

    def whole(self, call: Call, reply: Reply) -> Response:
        message = {
            "role": "assistant",
            "content": {"type": "text", "text": reply.text},
            "stop_reason": _stop_reason(reply),
            "tool_calls": [],
            **openai_calls(reply, call.id),
        }
        return JSONResponse({"id": call.id, "completion_message": message, "metrics": _metrics(reply)})

    def frames(self, call: Call, reply: Reply) -> Frames:
        complete = _event(call, "complete", "") | {"stop_reason": _stop_reason(reply)}
        metrics = _event(call, "metrics", "") | {"metrics": _metrics(reply)}
        return Frames(
            start=[_sent(call, _event(call, "start", ""))],
            pieces=[_sent(call, _event(call, "progress", piece)) for piece in pieces_of(reply.text)],
            closing=[_sent(call, complete), _sent(call, metrics)],
            failure=server_sent({"error": _problem(500, "Internal Server Error", "The stream was interrupted.")}),
        )

    def refusal(self, call: Call, fault: Fault) -> Response:
        if fault.kind is FaultKind.SERVER_ERROR:
            title = "Service Unavailable" if fault.status == 503 else "Internal Server Error"
            return _error(fault.status, title, "An unexpected error occurred. Please try again later.")
        status, title, detail = _REFUSALS[fault.kind]
        headers = {"Retry-After": f"{fault.retry_after.total_seconds():g}"} if fault.retry_after else None
        return _error(status, title, detail.format(model=call.ask.model, region=call.ask.region), headers)

    def no_credentials(self, call: Call) -> Response:
        return _error(401, "Unauthorized", "No API key was given: send it as Authorization: Bearer.")

    def malformed(self, call: Call, reason: str) -> Response:
        return _error(400, "Bad Request", f"Invalid request: {reason}.")

    def not_found(self, call: Call, path: str) -> Response:
        return _error(404, "Not Found", "The requested path does not exist.")


def app(provider: SimulatedProvider) -> Starlette:
    """The HTTP surface of a provider of this kind."""
    chat = LlamaChat()
    routes = [
        Route("/v1/chat/completions", inference(provider, chat), methods=["POST"]),
        Route("/v1/models", control_plane(provider, chat, _list(provider)), methods=["GET"]),
        Route("/v1/models/{model}", control_plane(provider, chat, _get(provider)), methods=["GET"]),
    ]
    return build_app(provider, chat, routes)


def _list(provider: SimulatedProvider) -> Listing:
    return lambda _request, _call: JSONResponse({"data": [_model(model) for model in provider.models]})


def _get(provider: SimulatedProvider) -> Listing:
    def listing(request: Request, call: Call) -> Response:
        model = request.path_params["model"]
        if model not in provider.models:
            return _error(404, "Not Found", "The model does not exist.")
        return JSONResponse(_model(model))

    return listing


def _model(model: str) -> dict[str, Any]:
    return {"id": model, "created": CREATED, "object": "model", "owned_by": "Meta"}


def _event(call: Call, kind: str, text: str) -> dict[str, Any]:
    return {"event_type": kind, "delta": {"type": "text", "text": text}}


def _sent(call: Call, event: Mapping[str, Any]) -> bytes:
    return server_sent({"id": call.id, "event": event})


def _stop_reason(reply: Reply) -> str:
    return "length" if reply.cut_short else "stop"


def _metrics(reply: Reply) -> list[dict[str, Any]]:
    counts = {
        "num_completion_tokens": reply.output_tokens,
        "num_prompt_tokens": reply.input_tokens,
        "num_total_tokens": reply.total_tokens,
    }
    return [{"metric": name, "value": value, "unit": "tokens"} for name, value in counts.items()]


def _problem(status: int, title: str, detail: str) -> dict[str, Any]:
    return {"title": title, "detail": detail, "status": status}


def _error(status: int, title: str, detail: str, headers: Mapping[str, str] | None = None) -> Response:
    return JSONResponse(_problem(status, title, detail), status, headers)
