"""Vertex AI over gRPC: PredictionService's GenerateContent and StreamGenerateContent, and GetPublisherModel.

The vendor's messages take seconds to import: this module is imported only when gRPC is asked for.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import grpc
from google.cloud.aiplatform_v1.types import model_garden_service, prediction_service, publisher_model
from google.protobuf import any_pb2, json_format
from google.rpc import error_details_pb2, status_pb2  # noqa: F401  (registers the types of details)

from simulator import vertex
from simulator.answers import Reply
from simulator.exchange import REFUSALS, delay_of, reply_to
from simulator.faults import Fault, FaultKind
from simulator.provider import Ask, Call, SimulatedProvider
from simulator.vertex_errors import VertexError, error_for, missing, unavailable
from simulator.wire import GARBAGE, MalformedRequest

PREDICTION = "google.cloud.aiplatform.v1.PredictionService"
MODEL_GARDEN = "google.cloud.aiplatform.v1.ModelGardenService"

Context = grpc.aio.ServicerContext[Any, Any]


class PredictionPort:
    """The gRPC port of one provider, which can refuse connections and come back."""

    def __init__(self, provider: SimulatedProvider, address: str) -> None:
        self._provider = provider
        self._address = address
        self._server: grpc.aio.Server | None = None

    async def open(self) -> None:
        server = grpc.aio.server()
        server.add_generic_rpc_handlers((_prediction(self._provider), _model_garden(self._provider)))
        server.add_insecure_port(self._address)
        await server.start()
        self._server = server

    async def close(self) -> None:
        if self._server:
            await self._server.stop(None)
        self._server = None


def _prediction(provider: SimulatedProvider) -> grpc.GenericRpcHandler:
    async def generate(request: Any, context: Context) -> bytes:
        call = await _begin(provider, request, context, stream=False)
        if _kind(call) is FaultKind.GARBAGE:
            return GARBAGE
        return _encoded(vertex.whole_document(call, reply_to(provider, call)))

    async def stream(request: Any, context: Context) -> AsyncIterator[bytes]:
        call = await _begin(provider, request, context, stream=True)
        if _kind(call) is FaultKind.GARBAGE:
            yield GARBAGE
            return
        for message in _messages(call, reply_to(provider, call)):
            yield message
            await asyncio.sleep(call.latency.total_seconds() / 10)
        if _kind(call) is FaultKind.STREAM_ERROR:
            await _abort(context, unavailable())

    take = prediction_service.GenerateContentRequest.deserialize
    handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
        "GenerateContent": grpc.unary_unary_rpc_method_handler(generate, take, None),
        "StreamGenerateContent": grpc.unary_stream_rpc_method_handler(stream, take, None),
    }
    return grpc.method_handlers_generic_handler(PREDICTION, handlers)


def _model_garden(provider: SimulatedProvider) -> grpc.GenericRpcHandler:
    async def get(request: Any, context: Context) -> bytes:
        call = provider.begin_control(vertex.DEFAULT_REGION)
        if call.fault:
            down = call.fault.kind is FaultKind.CONTROL_PLANE_DOWN
            fault = Fault(kind=FaultKind.SERVER_ERROR, status=500) if down else call.fault
            await _abort(context, error_for(fault, call.ask))
        model = request.name.rsplit("/", 1)[-1]
        if model not in provider.models:
            await _abort(context, missing(request.name))
        document = json.dumps(vertex.publisher_model(model))
        return bytes(publisher_model.PublisherModel.serialize(publisher_model.PublisherModel.from_json(document)))

    take = model_garden_service.GetPublisherModelRequest.deserialize
    return grpc.method_handlers_generic_handler(
        MODEL_GARDEN, {"GetPublisherModel": grpc.unary_unary_rpc_method_handler(get, take, None)}
    )


async def _begin(provider: SimulatedProvider, request: Any, context: Context, *, stream: bool) -> Call:
    """Counts the call and lets its fault strike, as far as it strikes before the first byte."""
    call = provider.begin(await _read(provider, request, context, stream=stream))
    if _kind(call) is FaultKind.HANG:
        await asyncio.Event().wait()
    await asyncio.sleep(delay_of(call).total_seconds())
    if call.fault and call.fault.kind in REFUSALS:
        await _abort(context, error_for(call.fault, call.ask))
    return call


async def _read(provider: SimulatedProvider, request: Any, context: Context, *, stream: bool) -> Ask:
    body = json.loads(prediction_service.GenerateContentRequest.to_json(request))
    try:
        return vertex.read_ask(request.model, body, stream=stream)
    except MalformedRequest as wrong:
        provider.counters.malformed += 1
        await _abort(context, VertexError(400, "INVALID_ARGUMENT", f"Invalid request: {wrong}."))
        raise


async def _abort(context: Context, error: VertexError) -> None:
    code = grpc.StatusCode[error.status]
    status = status_pb2.Status(code=code.value[0], message=error.message)
    for detail in error.details:
        status.details.append(json_format.ParseDict(detail, any_pb2.Any()))
    await context.abort(code, error.message, (("grpc-status-details-bin", status.SerializeToString()),))


def _messages(call: Call, reply: Reply) -> list[bytes]:
    pieces, closing = vertex.stream_documents(call, reply)
    broken = _kind(call) in (FaultKind.STREAM_CUT, FaultKind.STREAM_ERROR)
    return [_encoded(document) for document in (pieces[:2] if broken else [*pieces, closing])]


def _encoded(document: dict[str, Any]) -> bytes:
    message = prediction_service.GenerateContentResponse.from_json(json.dumps(document))
    return bytes(prediction_service.GenerateContentResponse.serialize(message))


def _kind(call: Call) -> FaultKind | None:
    return call.fault.kind if call.fault else None
