"""Google Vertex AI's Gemini over REST: generateContent, streamGenerateContent, publisher models.

A stream is a JSON array sent piece by piece, or server-sent events when the request says `alt=sse`.
"""

import re
from collections.abc import Mapping
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from simulator.answers import Reply, pieces_of
from simulator.exchange import Listing, build_app, control_plane, inference
from simulator.faults import Fault
from simulator.provider import Ask, Call, SimulatedProvider
from simulator.vertex_errors import VertexError, error_for, missing, unavailable, without_credentials
from simulator.wire import Dialect, Frames, MalformedRequest, compact, last_user_text, server_sent, whole_number

DEFAULT_REGION = "us-central1"
FINISH_REASON_NUMBERS = {"STOP": 1, "MAX_TOKENS": 2}
EVENT_STREAM = "text/event-stream"

_LOCATION = re.compile(r"/locations/([^/]+)/")


class Gemini(Dialect):
    """generateContent and streamGenerateContent."""

    stream_media_type = "application/json; charset=UTF-8"
    region = DEFAULT_REGION

    def __init__(self, *, stream: bool) -> None:
        self._stream = stream

    def has_credentials(self, request: Request) -> bool:
        return super().has_credentials(request) or "x-goog-api-key" in request.headers

    def region_of(self, request: Request) -> str:
        return region_of(request.url.path)

    def read(self, request: Request, body: Mapping[str, Any]) -> Ask:
        return read_ask(
            request.path_params["resource"],
            body,
            stream=self._stream,
            numeric_enums="enum-encoding=int" in request.url.query,
            server_sent_events=request.query_params.get("alt") == "sse",
        )

    def whole(self, call: Call, reply: Reply) -> Response:
        return _json(whole_document(call, reply))

    def frames(self, call: Call, reply: Reply) -> Frames:
        pieces, closing = stream_documents(call, reply)
        failure = unavailable().as_json()
        if call.ask.server_sent_events:
            encoded = [server_sent(piece) for piece in pieces]
            media_type = EVENT_STREAM
            return Frames(
                pieces=encoded, closing=[server_sent(closing)], failure=server_sent(failure), media_type=media_type
            )
        return Frames(
            opening=b"[",
            pieces=[compact(piece) for piece in pieces],
            closing=[compact(closing)],
            failure=compact(failure),
            separator=b"\n,\r\n",
            trailer=b"\n]",
        )

    def refusal(self, call: Call, fault: Fault) -> Response:
        seconds = fault.retry_after and f"{fault.retry_after.total_seconds():g}"
        return _error(error_for(fault, call.ask), {"Retry-After": seconds} if seconds else {})

    def no_credentials(self, call: Call) -> Response:
        return _error(without_credentials())

    def malformed(self, call: Call, reason: str) -> Response:
        return _error(VertexError(400, "INVALID_ARGUMENT", f"Invalid request: {reason}."))

    def not_found(self, call: Call, path: str) -> Response:
        return _error(VertexError(404, "NOT_FOUND", "The requested URL was not found on this server."))


def region_of(resource: str) -> str:
    """The location that a resource name or path holds."""
    location = _LOCATION.search(resource)
    return location[1] if location else DEFAULT_REGION


def read_ask(resource: str, body: Mapping[str, Any], *, stream: bool, **wire: bool) -> Ask:
    """What a GenerateContentRequest asks, whichever transport brought it. Raises MalformedRequest."""
    prompt = last_user_text(body.get("contents"), field="contents", content="parts")
    config = body.get("generationConfig") or {}
    if not isinstance(config, dict):
        raise MalformedRequest("generationConfig must be an object")
    return Ask(
        model=resource.rsplit("/", 1)[-1],
        prompt=prompt,
        max_tokens=whole_number(config.get("maxOutputTokens"), field="generationConfig.maxOutputTokens"),
        stream=stream,
        region=region_of(resource),
        resource=resource,
        tools=_declared(body.get("tools")),
        **wire,
    )


def whole_document(call: Call, reply: Reply) -> dict[str, Any]:
    """A GenerateContentResponse with everything in it."""
    candidate = _candidate(call, reply.text, finish=_finish(reply))
    if reply.call:
        name, arguments = reply.call
        candidate["content"]["parts"] = [{"functionCall": {"name": name, "args": arguments}}]
    return _document(call, candidate, reply)


def _declared(tools: object) -> frozenset[str]:
    groups = (
        [group.get("functionDeclarations") for group in tools if isinstance(group, dict)]
        if isinstance(tools, list)
        else []
    )
    return frozenset(str(one.get("name")) for group in groups for one in group or [] if isinstance(one, dict))


def stream_documents(call: Call, reply: Reply) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The GenerateContentResponses of a stream → (with text, the last one with the reason and the usage)."""
    pieces = [_document(call, _candidate(call, piece)) for piece in pieces_of(reply.text)]
    return pieces, _document(call, _candidate(call, "", finish=_finish(reply)), reply)


def app(provider: SimulatedProvider) -> Starlette:
    """The HTTP surface of a provider of this kind."""
    whole, stream = Gemini(stream=False), Gemini(stream=True)
    one, many = control_plane(provider, whole, _get(provider)), control_plane(provider, whole, _list(provider))
    own = control_plane(provider, whole, lambda _request, _call: _json({}))
    routes = []
    for version in ("/v1", "/v1beta1"):
        routes += [
            Route(f"{version}/{{resource:path}}:generateContent", inference(provider, whole), methods=["POST"]),
            Route(f"{version}/{{resource:path}}:streamGenerateContent", inference(provider, stream), methods=["POST"]),
            Route(f"{version}/publishers/google/models", many, methods=["GET"]),
            Route(f"{version}/publishers/google/models/{{model}}", one, methods=["GET"]),
            Route(f"{version}/projects/{{project}}/locations/{{location}}/models", own, methods=["GET"]),
        ]
    return build_app(provider, whole, routes)


def publisher_model(model: str) -> dict[str, Any]:
    """A PublisherModel."""
    return {
        "name": f"publishers/google/models/{model}",
        "versionId": "default",
        "openSourceCategory": "PROPRIETARY",
        "launchStage": "GA",
        "publisherModelTemplate": f"projects/{{project}}/locations/{{location}}/publishers/google/models/{model}",
    }


def _list(provider: SimulatedProvider) -> Listing:
    return lambda _request, _call: _json({"publisherModels": [publisher_model(model) for model in provider.models]})


def _get(provider: SimulatedProvider) -> Listing:
    def listing(request: Request, call: Call) -> Response:
        model = request.path_params["model"]
        if model not in provider.models:
            return _error(missing(f"publishers/google/models/{model}"))
        return _json(publisher_model(model))

    return listing


def _document(call: Call, candidate: dict[str, Any], reply: Reply | None = None) -> dict[str, Any]:
    document: dict[str, Any] = {"candidates": [candidate]}
    if reply:
        document["usageMetadata"] = {
            "promptTokenCount": reply.input_tokens,
            "candidatesTokenCount": reply.output_tokens,
            "totalTokenCount": reply.total_tokens,
        }
    created = f"2025-06-15T15:06:{call.number % 60:02d}Z"
    return document | {"modelVersion": call.ask.model, "createTime": created, "responseId": call.id[:22]}


def _candidate(call: Call, text: str, *, finish: str | None = None) -> dict[str, Any]:
    candidate: dict[str, Any] = {"content": {"role": "model", "parts": [{"text": text}]}}
    if finish:
        candidate["finishReason"] = FINISH_REASON_NUMBERS[finish] if call.ask.numeric_enums else finish
    return candidate


def _finish(reply: Reply) -> str:
    return "MAX_TOKENS" if reply.cut_short else "STOP"


def _json(document: Mapping[str, Any], status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    return JSONResponse(document, status, headers, media_type="application/json; charset=UTF-8")


def _error(error: VertexError, headers: Mapping[str, str] | None = None) -> Response:
    challenge = {"WWW-Authenticate": 'Bearer realm="https://accounts.google.com/"'} if error.code == 401 else {}
    return _json(error.as_json(), error.code, {**challenge, **(headers or {})})
