"""google.cloud.aiplatform_v1 over REST, and google-genai, unmodified, against the simulated Vertex AI."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
import requests
from google import genai
from google.api_core import exceptions
from google.api_core.client_options import ClientOptions
from google.cloud import aiplatform_v1, aiplatform_v1beta1
from google.genai.types import HttpOptions
from google.oauth2.credentials import Credentials

from simulator.server import Simulator

MODEL = "projects/p1/locations/europe-west4/publishers/google/models/gemini-2.5-flash"


def ask(text: str) -> list[dict[str, Any]]:
    return [{"role": "user", "parts": [{"text": text}]}]


@pytest.fixture
def rest(simulator: Simulator, google_credentials: Credentials) -> dict[str, Any]:
    """Arguments of every REST client."""
    options = ClientOptions(api_endpoint=simulator.urls["google"])
    return {"credentials": google_credentials, "transport": "rest", "client_options": options}


@pytest.fixture
def prediction(rest: dict[str, Any]) -> Iterator[Any]:
    with aiplatform_v1.PredictionServiceClient(**rest) as client:
        yield client


@pytest.fixture
def garden(rest: dict[str, Any]) -> Iterator[Any]:
    with aiplatform_v1.ModelGardenServiceClient(**rest) as client:
        yield client


async def generate(prediction: Any, text: str = "What is 6 * 7?", **config: Any) -> Any:
    request = {"model": MODEL, "contents": ask(text), "generation_config": config}
    return await asyncio.to_thread(prediction.generate_content, request, timeout=0.5)


async def stream(prediction: Any) -> list[Any]:
    request = {"model": MODEL, "contents": ask("Tell me about the sea.")}

    def messages() -> list[Any]:
        answer = prediction.stream_generate_content(request, timeout=0.5)
        try:
            return list(answer)
        finally:
            answer.cancel()

    return await asyncio.to_thread(messages)


async def test_generate_content_answers_with_usage(prediction: Any) -> None:
    """A question is answered rightly, with a finish reason and token counts."""
    answer = await generate(prediction)
    [candidate] = answer.candidates
    assert candidate.content.parts[0].text == "42"
    assert candidate.finish_reason.name == "STOP"
    assert answer.usage_metadata.total_token_count == 5


async def test_generate_content_stops_at_the_maximum_of_tokens(prediction: Any) -> None:
    """An answer longer than asked for is cut, and says so."""
    answer = await generate(prediction, "Tell me about the sea.", max_output_tokens=2)
    assert answer.candidates[0].finish_reason.name == "MAX_TOKENS"


async def test_a_stream_ends_with_a_finish_reason(prediction: Any) -> None:
    """At least four pieces of text, and the reason and usage in the last message only."""
    messages = await stream(prediction)
    reasons = [message.candidates[0].finish_reason.name for message in messages]
    assert reasons[-1] == "STOP"
    assert len(reasons) > 4
    assert set(reasons[:-1]) == {"FINISH_REASON_UNSPECIFIED"}
    assert messages[-1].usage_metadata.candidates_token_count > 0


async def test_publisher_models_can_be_read_and_listed(rest: dict[str, Any], garden: Any) -> None:
    """Both control-plane calls that exist answer with the models."""
    name = "publishers/google/models/gemini-2.5-flash"
    assert (await asyncio.to_thread(garden.get_publisher_model, name=name, timeout=1)).name == name
    with aiplatform_v1beta1.ModelGardenServiceClient(**rest) as beta:
        listed = await asyncio.to_thread(
            lambda: [model.name for model in beta.list_publisher_models(parent="publishers/google", timeout=1)]
        )
    assert name in listed


@pytest.mark.parametrize(
    ("kind", "options", "error"),
    [
        ("server_error", {}, exceptions.InternalServerError),
        ("server_error", {"status": 503}, exceptions.ServiceUnavailable),
        ("throttled", {"rate": 100}, exceptions.TooManyRequests),
        ("quota", {}, exceptions.TooManyRequests),
        ("authentication", {}, exceptions.Unauthorized),
        ("permission", {}, exceptions.Forbidden),
        ("model_not_ready", {}, exceptions.ServiceUnavailable),
        ("model_missing", {}, exceptions.NotFound),
        ("region_down", {}, exceptions.ServiceUnavailable),
        ("capacity", {}, exceptions.TooManyRequests),
    ],
)
async def test_a_refusal_is_the_documented_exception(
    prediction: Any, inject: Any, kind: str, options: dict[str, Any], error: type[Exception]
) -> None:
    """The SDK raises the exception of the HTTP status."""
    await inject("google", kind, **options)
    with pytest.raises(error):
        await generate(prediction)


async def test_three_kinds_of_429_can_be_told_apart(prediction: Any, inject: Any) -> None:
    """Rate limit, daily quota and shared capacity differ in message and details alone."""
    seen = {}
    for kind in ("throttled", "quota", "capacity"):
        await inject("google", kind, rate=100)
        with pytest.raises(exceptions.TooManyRequests) as raised:
            await generate(prediction)
        seen[kind] = raised.value.response.json()["error"]
    assert "per_minute" in seen["throttled"]["message"]
    assert seen["quota"]["details"][0]["@type"] == "type.googleapis.com/google.rpc.QuotaFailure"
    assert seen["capacity"]["message"].startswith("Resource exhausted. Please try again later.")


async def test_a_region_that_is_down_is_named_by_both_planes(prediction: Any, garden: Any, inject: Any) -> None:
    """Inference names the location of the request; the control plane is down with it."""
    await inject("google", "region_down")
    with pytest.raises(exceptions.ServiceUnavailable, match="europe-west4"):
        await generate(prediction)
    with pytest.raises(exceptions.ServiceUnavailable):
        await asyncio.to_thread(garden.get_publisher_model, name="publishers/google/models/gemini-pro", timeout=1)


async def test_a_hang_is_a_timeout_of_requests(prediction: Any, inject: Any) -> None:
    """The REST transport lets the HTTP library's own exception through."""
    await inject("google", "hang")
    with pytest.raises(requests.exceptions.ReadTimeout):
        await generate(prediction)


async def test_a_refused_connection_is_an_error_of_requests(prediction: Any, inject: Any, simulator: Simulator) -> None:
    """Nothing listens while it lasts; the same port answers again afterwards."""
    await inject("google", "refused")
    with pytest.raises(requests.exceptions.ConnectionError):
        await generate(prediction)
    await simulator.clear_fault("google")
    assert (await generate(prediction)).candidates


@pytest.mark.parametrize("kind", ["stream_cut", "stream_error"])
async def test_a_broken_stream_raises_nothing(prediction: Any, inject: Any, kind: str) -> None:
    """The SDK drops the error object in the array: no message has a finish reason, and that alone tells."""
    await inject("google", kind)
    messages = await stream(prediction)
    candidates = [candidate for message in messages for candidate in message.candidates]
    assert len(candidates) == 2
    assert all(not candidate.finish_reason for candidate in candidates)
    assert len(messages) == (3 if kind == "stream_error" else 2)


async def test_garbage_cannot_be_parsed(prediction: Any, inject: Any) -> None:
    """Whole answers and streams both fail in the parser."""
    await inject("google", "garbage")
    with pytest.raises(Exception, match="Failed to load JSON"):
        await generate(prediction)
    with pytest.raises(ValueError, match="Can only parse array of JSON objects"):
        await stream(prediction)


async def test_empty_and_wrong_answers_are_successes(prediction: Any, inject: Any) -> None:
    """Nothing but the text tells that something is wrong."""
    await inject("google", "empty")
    answer = await generate(prediction)
    assert answer.candidates[0].content.parts[0].text == ""
    await inject("google", "wrong")
    assert "42" not in (await generate(prediction)).candidates[0].content.parts[0].text


async def test_google_genai_streams_by_server_sent_events(
    simulator: Simulator, google_credentials: Credentials
) -> None:
    """The newer SDK's calls are served too."""
    options = HttpOptions(base_url=simulator.urls["google"], timeout=2000)
    client = genai.Client(
        vertexai=True, project="p1", location="europe-west4", credentials=google_credentials, http_options=options
    )
    question = "Reply with only the word ready"
    chunks = await asyncio.to_thread(
        lambda: list(client.models.generate_content_stream(model="gemini-2.5-flash", contents=question))
    )
    client.close()
    assert "".join(chunk.text or "" for chunk in chunks) == "ready"
