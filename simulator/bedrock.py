"""AWS Bedrock: Converse, ConverseStream, InvokeModel with Anthropic's messages, and the lists of models.

Errors are `{"message": ...}` with the name in `x-amzn-ErrorType`; the suffix is the one that the service sends.
"""

import base64
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from simulator import eventstream
from simulator.answers import Reply, pieces_of
from simulator.bedrock_errors import BedrockError, error_for, not_served, unknown_model, without_credentials
from simulator.exchange import Listing, build_app, control_plane, delay_of, inference
from simulator.faults import Fault
from simulator.provider import Ask, Call, SimulatedProvider
from simulator.wire import Dialect, Frames, compact, last_user_text, tool_names, whole_number

ERROR_SUFFIX = ":http://internal.amazon.com/coral/com.amazon.bedrock/"
DEFAULT_REGION = "us-east-1"
OWNERS = {"anthropic": "Anthropic", "amazon": "Amazon", "meta": "Meta"}

_SCOPE = re.compile(r"Credential=[^/,]+/\d+/([a-z0-9-]+)/")


class BedrockDialect(Dialect):
    """What all operations of Bedrock share: credentials, region, errors."""

    stream_media_type = eventstream.MEDIA_TYPE
    region = DEFAULT_REGION
    has_service_quota_error = False

    def region_of(self, request: Request) -> str:
        scope = _SCOPE.search(request.headers.get("authorization", ""))
        return scope[1] if scope else self.region

    def refusal(self, call: Call, fault: Fault) -> Response:
        return _error(call, error_for(fault, call.ask, has_service_quota_error=self.has_service_quota_error))

    def no_credentials(self, call: Call) -> Response:
        return _error(call, without_credentials())

    def malformed(self, call: Call, reason: str) -> Response:
        return _error(call, BedrockError(400, "ValidationException", f"Malformed input request: {reason}."))

    def not_found(self, call: Call, path: str) -> Response:
        return _error(call, not_served())

    def _ask(self, request: Request, prompt: str, max_tokens: int | None, *, stream: bool) -> Ask:
        return Ask(
            model=request.path_params["model"],
            prompt=prompt,
            max_tokens=max_tokens,
            stream=stream,
            region=self.region_of(request),
        )


class Converse(BedrockDialect):
    """The model-independent conversation."""

    def __init__(self, *, stream: bool) -> None:
        self._stream = stream

    def read(self, request: Request, body: Mapping[str, Any]) -> Ask:
        prompt = last_user_text(body.get("messages"), field="messages", content="content")
        config = body.get("inferenceConfig") or {}
        max_tokens = whole_number(config.get("maxTokens"), field="inferenceConfig.maxTokens")
        tools = tool_names(body.get("toolConfig") or {}, "toolSpec", "name")
        return replace(self._ask(request, prompt, max_tokens, stream=self._stream), tools=tools)

    def whole(self, call: Call, reply: Reply) -> Response:
        content: list[dict[str, Any]] = [{"text": reply.text}] if reply.text else []
        if reply.call:
            name, arguments = reply.call
            content = [{"toolUse": {"toolUseId": call.id[:24], "name": name, "input": arguments}}]
        document = {
            "metrics": {"latencyMs": _milliseconds(call)},
            "output": {"message": {"content": content, "role": "assistant"}},
            "stopReason": _stop_reason(reply),
            "usage": _usage(reply),
        }
        return JSONResponse(document, headers=_headers(call))

    def frames(self, call: Call, reply: Reply) -> Frames:
        closing = [
            eventstream.event("contentBlockStop", {"contentBlockIndex": 0}),
            eventstream.event("messageStop", {"stopReason": _stop_reason(reply)}),
            eventstream.event("metadata", {"metrics": {"latencyMs": _milliseconds(call)}, "usage": _usage(reply)}),
        ]
        return Frames(
            start=[eventstream.event("messageStart", {"role": "assistant"})],
            pieces=[
                eventstream.event("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": piece}})
                for piece in pieces_of(reply.text)
            ],
            closing=closing,
            failure=_mid_stream_failure(),
            headers=_headers(call),
        )


class Invoke(BedrockDialect):
    """InvokeModel with the body of Anthropic's messages API."""

    has_service_quota_error = True

    def __init__(self, *, stream: bool) -> None:
        self._stream = stream

    def read(self, request: Request, body: Mapping[str, Any]) -> Ask:
        prompt = last_user_text(body.get("messages"), field="messages", content="content")
        max_tokens = whole_number(body.get("max_tokens"), field="max_tokens")
        return replace(self._ask(request, prompt, max_tokens, stream=self._stream), tools=tool_names(body, "name"))

    def whole(self, call: Call, reply: Reply) -> Response:
        content: list[dict[str, Any]] = [{"type": "text", "text": reply.text}] if reply.text else []
        if reply.call:
            name, arguments = reply.call
            content = [{"type": "tool_use", "id": f"toolu_{call.id[:20]}", "name": name, "input": arguments}]
        usage = {"input_tokens": reply.input_tokens, "output_tokens": reply.output_tokens}
        document = _anthropic_message(call) | {
            "content": content,
            "stop_reason": _stop_reason(reply),
            "stop_sequence": None,
            "usage": usage,
        }
        counts = {
            "X-Amzn-Bedrock-Invocation-Latency": str(_milliseconds(call)),
            "X-Amzn-Bedrock-Input-Token-Count": str(reply.input_tokens),
            "X-Amzn-Bedrock-Output-Token-Count": str(reply.output_tokens),
        }
        return JSONResponse(document, headers=_headers(call) | counts)

    def frames(self, call: Call, reply: Reply) -> Frames:
        message = _anthropic_message(call) | {
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": {"input_tokens": reply.input_tokens, "output_tokens": 1},
        }
        block = {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
        return Frames(
            start=[_chunk({"type": "message_start", "message": message}), _chunk(block)],
            pieces=[_chunk(_anthropic_delta(piece)) for piece in pieces_of(reply.text)],
            closing=[_chunk(document) for document in _anthropic_ending(call, reply)],
            failure=_mid_stream_failure(),
            headers=_headers(call) | {"X-Amzn-Bedrock-Content-Type": "application/json"},
        )


def app(provider: SimulatedProvider) -> Starlette:
    """The HTTP surface of a provider of this kind."""
    operations = {
        "converse": Converse(stream=False),
        "converse-stream": Converse(stream=True),
        "invoke": Invoke(stream=False),
        "invoke-with-response-stream": Invoke(stream=True),
    }
    routes = [
        Route(f"/model/{{model:path}}/{name}", inference(provider, dialect), methods=["POST"])
        for name, dialect in operations.items()
    ]
    plane = operations["converse"]
    routes += [
        Route("/foundation-models", control_plane(provider, plane, _list(provider)), methods=["GET"]),
        Route("/foundation-models/{model:path}", control_plane(provider, plane, _get(provider)), methods=["GET"]),
    ]
    return build_app(provider, plane, routes)


def _list(provider: SimulatedProvider) -> Listing:
    def listing(request: Request, call: Call) -> Response:
        owner = request.query_params.get("byProvider", "").lower()
        models = [_summary(model, call.ask.region) for model in provider.models if owner in ("", model.split(".")[0])]
        return JSONResponse({"modelSummaries": models}, headers=_headers(call))

    return listing


def _get(provider: SimulatedProvider) -> Listing:
    def listing(request: Request, call: Call) -> Response:
        model = request.path_params["model"]
        if model not in provider.models:
            return _error(call, unknown_model())
        return JSONResponse({"modelDetails": _summary(model, call.ask.region)}, headers=_headers(call))

    return listing


def _summary(model: str, region: str) -> dict[str, Any]:
    owner = model.split(".")[0]
    return {
        "customizationsSupported": [],
        "inferenceTypesSupported": ["ON_DEMAND"],
        "inputModalities": ["TEXT"],
        "modelArn": f"arn:aws:bedrock:{region}::foundation-model/{model}",
        "modelId": model,
        "modelLifecycle": {"status": "ACTIVE"},
        "modelName": model.split(".", 1)[-1],
        "outputModalities": ["TEXT"],
        "providerName": OWNERS.get(owner, owner),
        "responseStreamingSupported": True,
    }


def _anthropic_message(call: Call) -> dict[str, Any]:
    return {"id": f"msg_bdrk_{call.id[:24]}", "type": "message", "role": "assistant", "model": call.ask.model}


def _anthropic_delta(piece: str) -> dict[str, Any]:
    return {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": piece}}


def _anthropic_ending(call: Call, reply: Reply) -> list[dict[str, Any]]:
    metrics = {
        "inputTokenCount": reply.input_tokens,
        "outputTokenCount": reply.output_tokens,
        "invocationLatency": _milliseconds(call),
        "firstByteLatency": _milliseconds(call),
    }
    return [
        {"type": "content_block_stop", "index": 0},
        {
            "type": "message_delta",
            "delta": {"stop_reason": _stop_reason(reply), "stop_sequence": None},
            "usage": {"output_tokens": reply.output_tokens},
        },
        {"type": "message_stop", "amazon-bedrock-invocationMetrics": metrics},
    ]


def _chunk(document: Mapping[str, Any]) -> bytes:
    return eventstream.event("chunk", {"bytes": base64.b64encode(compact(document)).decode()})


def _mid_stream_failure() -> bytes:
    return eventstream.exception(
        "serviceUnavailableException", {"message": "Bedrock is unable to process your request."}
    )


def _error(call: Call, error: BedrockError) -> Response:
    headers = _headers(call) | {"x-amzn-ErrorType": error.name + ERROR_SUFFIX} | error.headers
    return JSONResponse({"message": error.message}, status_code=error.status, headers=headers)


def _headers(call: Call) -> dict[str, str]:
    digits = call.id
    return {"x-amzn-RequestId": "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))}


def _milliseconds(call: Call) -> int:
    return round(delay_of(call).total_seconds() * 1000)


def _stop_reason(reply: Reply) -> str:
    return "max_tokens" if reply.cut_short else "end_turn"


def _usage(reply: Reply) -> dict[str, int]:
    return {
        "inputTokens": reply.input_tokens,
        "outputTokens": reply.output_tokens,
        "totalTokens": reply.total_tokens,
    }
