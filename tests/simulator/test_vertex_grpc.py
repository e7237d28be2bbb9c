"""google.cloud.aiplatform_v1 over gRPC, unmodified, against the simulated Vertex AI."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from google.api_core import exceptions
from google.cloud import aiplatform_v1
from google.cloud.aiplatform_v1.services.model_garden_service.transports.grpc_asyncio import (
    ModelGardenServiceGrpcAsyncIOTransport,
)
from google.cloud.aiplatform_v1.services.prediction_service.transports.grpc import PredictionServiceGrpcTransport
from google.cloud.aiplatform_v1.services.prediction_service.transports.grpc_asyncio import (
    PredictionServiceGrpcAsyncIOTransport,
)

from simulator.faults import parse_fault
from simulator.server import Simulator

MODEL = "projects/p1/locations/europe-west4/publishers/google/models/gemini-2.5-flash"
QUESTION: Any = [{"role": "user", "parts": [{"text": "What is 6 * 7?"}]}]


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    async with Simulator({"google": "vertex"}, grpc=True) as running:
        yield running


@pytest.fixture
async def channel(simulator: Simulator) -> AsyncIterator[grpc.aio.Channel]:
    options = [("grpc.initial_reconnect_backoff_ms", 50), ("grpc.max_reconnect_backoff_ms", 50)]
    async with grpc.aio.insecure_channel(simulator.grpc_targets["google"], options=options) as channel:
        yield channel


@pytest.fixture
def prediction(channel: grpc.aio.Channel) -> Any:
    return aiplatform_v1.PredictionServiceAsyncClient(transport=PredictionServiceGrpcAsyncIOTransport(channel=channel))


@pytest.fixture
def garden(channel: grpc.aio.Channel) -> Any:
    transport = ModelGardenServiceGrpcAsyncIOTransport(channel=channel)
    return aiplatform_v1.ModelGardenServiceAsyncClient(transport=transport)


async def generate(prediction: Any, timeout: float = 2) -> Any:
    return await prediction.generate_content({"model": MODEL, "contents": QUESTION}, timeout=timeout)


async def stream(prediction: Any, seen: list[Any]) -> None:
    contents = [{"role": "user", "parts": [{"text": "Tell me about the sea."}]}]
    async for message in await prediction.stream_generate_content({"model": MODEL, "contents": contents}, timeout=2):
        seen.append(message)


async def test_generate_content_answers_with_usage(prediction: Any) -> None:
    """The answer over gRPC is the one over REST."""
    answer = await generate(prediction)
    assert answer.candidates[0].content.parts[0].text == "42"
    assert answer.candidates[0].finish_reason.name == "STOP"
    assert answer.usage_metadata.total_token_count == 5


async def test_a_stream_ends_with_a_finish_reason(prediction: Any) -> None:
    """At least four pieces, the last with the reason and the usage."""
    messages: list[Any] = []
    await stream(prediction, messages)
    assert len(messages) > 4
    assert messages[-1].candidates[0].finish_reason.name == "STOP"


@pytest.mark.parametrize(
    ("kind", "options", "error"),
    [
        ("server_error", {}, exceptions.InternalServerError),
        ("server_error", {"status": 503}, exceptions.ServiceUnavailable),
        ("throttled", {"rate": 100}, exceptions.ResourceExhausted),
        ("quota", {}, exceptions.ResourceExhausted),
        ("authentication", {}, exceptions.Unauthenticated),
        ("permission", {}, exceptions.PermissionDenied),
        ("model_not_ready", {}, exceptions.ServiceUnavailable),
        ("model_missing", {}, exceptions.NotFound),
        ("region_down", {}, exceptions.ServiceUnavailable),
        ("capacity", {}, exceptions.ResourceExhausted),
    ],
)
async def test_a_refusal_is_the_documented_exception(
    simulator: Simulator, prediction: Any, kind: str, options: dict[str, Any], error: type[Exception]
) -> None:
    """The SDK raises the exception of the gRPC status."""
    await simulator.set_fault("google", parse_fault(kind, options))
    with pytest.raises(error):
        await generate(prediction)


async def test_a_used_up_quota_carries_its_details(simulator: Simulator, prediction: Any) -> None:
    """The QuotaFailure comes with the status, as the vendor sends it."""
    await simulator.set_fault("google", parse_fault("quota", {}))
    with pytest.raises(exceptions.ResourceExhausted) as raised:
        await generate(prediction)
    [detail] = raised.value.details
    assert "per_day" in detail.violations[0].description


async def test_a_hang_ends_at_the_deadline(simulator: Simulator, prediction: Any) -> None:
    """A call that is never answered ends by the client's own deadline."""
    await simulator.set_fault("google", parse_fault("hang", {}))
    with pytest.raises(exceptions.DeadlineExceeded):
        await generate(prediction, timeout=0.2)


async def test_refused_closes_the_grpc_port_too(
    simulator: Simulator, prediction: Any, channel: grpc.aio.Channel
) -> None:
    """Nothing listens while it lasts; the same port answers again afterwards."""
    assert (await generate(prediction)).candidates
    await simulator.set_fault("google", parse_fault("refused", {}))
    with pytest.raises(exceptions.ServiceUnavailable):
        await generate(prediction)
    await simulator.clear_fault("google")
    await asyncio.wait_for(channel.channel_ready(), 5)
    assert (await generate(prediction)).candidates


async def test_garbage_is_no_message(simulator: Simulator, prediction: Any) -> None:
    """The asynchronous client gives None for bytes that it cannot parse; the synchronous one raises INTERNAL."""
    await simulator.set_fault("google", parse_fault("garbage", {}))
    assert await generate(prediction) is None
    with grpc.insecure_channel(simulator.grpc_targets["google"]) as channel:
        client = aiplatform_v1.PredictionServiceClient(transport=PredictionServiceGrpcTransport(channel=channel))
        with pytest.raises(exceptions.InternalServerError, match="deserializing"):
            await asyncio.to_thread(client.generate_content, model=MODEL, contents=QUESTION, timeout=2)


async def test_a_cut_stream_raises_nothing(simulator: Simulator, prediction: Any) -> None:
    """Two messages come without a finish reason, and the status is OK."""
    await simulator.set_fault("google", parse_fault("stream_cut", {}))
    messages: list[Any] = []
    await stream(prediction, messages)
    assert [message.candidates[0].finish_reason for message in messages] == [0, 0]


async def test_a_stream_that_fails_midway_is_aborted(simulator: Simulator, prediction: Any) -> None:
    """Two messages come, then the status UNAVAILABLE."""
    await simulator.set_fault("google", parse_fault("stream_error", {}))
    messages: list[Any] = []
    with pytest.raises(exceptions.ServiceUnavailable):
        await stream(prediction, messages)
    assert len(messages) == 2


async def test_empty_and_wrong_answers_are_successes(simulator: Simulator, prediction: Any) -> None:
    """Nothing but the text tells that something is wrong."""
    await simulator.set_fault("google", parse_fault("empty", {}))
    assert (await generate(prediction)).candidates[0].content.parts[0].text == ""
    await simulator.set_fault("google", parse_fault("wrong", {}))
    assert "42" not in (await generate(prediction)).candidates[0].content.parts[0].text


async def test_the_control_plane_follows_its_own_faults(simulator: Simulator, prediction: Any, garden: Any) -> None:
    """GetPublisherModel stays green while inference is broken, and fails alone when told to."""
    name = "publishers/google/models/gemini-2.5-flash"
    await simulator.set_fault("google", parse_fault("server_error", {}))
    assert (await garden.get_publisher_model(name=name, timeout=2)).name == name
    await simulator.set_fault("google", parse_fault("control_plane_down", {}))
    with pytest.raises(exceptions.InternalServerError):
        await garden.get_publisher_model(name=name, timeout=2)
    assert (await generate(prediction)).candidates
