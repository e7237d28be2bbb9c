"""The openai package, unmodified, against the simulated OpenAI-compatible endpoint."""

import json
from typing import Any

import openai
import pytest

from simulator.server import Simulator

MODEL = "gpt-4o-mini"


async def complete(client: openai.AsyncOpenAI, text: str = "What is 40 + 2?", **more: Any) -> Any:
    return await client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": text}], **more)


async def chunks(client: openai.AsyncOpenAI) -> list[Any]:
    seen = []
    stream = await complete(client, "Tell me about the sea.", stream=True, stream_options={"include_usage": True})
    async for chunk in stream:
        seen.append(chunk)
    return seen


async def test_a_completion_answers_with_usage(compatible: openai.AsyncOpenAI) -> None:
    """A question is answered rightly, with a finish reason and token counts."""
    answer = await complete(compatible)
    assert answer.choices[0].message.content == "42"
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage.total_tokens == 5


async def test_a_completion_stops_at_the_maximum_of_tokens(compatible: openai.AsyncOpenAI) -> None:
    """An answer longer than asked for is cut, and says so."""
    answer = await complete(compatible, "Tell me about the sea.", max_tokens=2)
    assert answer.choices[0].finish_reason == "length"


async def test_a_stream_ends_with_a_finish_reason_and_usage(compatible: openai.AsyncOpenAI) -> None:
    """At least four pieces of text, the reason, then the usage that was asked for."""
    seen = await chunks(compatible)
    assert len([chunk for chunk in seen if chunk.choices and chunk.choices[0].delta.content]) >= 4
    assert seen[-2].choices[0].finish_reason == "stop"
    assert seen[-1].usage.completion_tokens > 0


async def test_models_are_listed(compatible: openai.AsyncOpenAI) -> None:
    """The SDK's own pager reads the list, and one model by its id."""
    assert MODEL in [model.id async for model in compatible.models.list()]
    assert (await compatible.models.retrieve(MODEL)).id == MODEL


@pytest.mark.parametrize(
    ("kind", "options", "error", "code"),
    [
        ("server_error", {}, openai.InternalServerError, None),
        ("throttled", {"rate": 100}, openai.RateLimitError, "rate_limit_exceeded"),
        ("quota", {}, openai.RateLimitError, "insufficient_quota"),
        ("authentication", {}, openai.AuthenticationError, "invalid_api_key"),
        ("permission", {}, openai.PermissionDeniedError, "model_not_found"),
        ("model_not_ready", {}, openai.InternalServerError, "model_loading"),
        ("model_missing", {}, openai.NotFoundError, "model_not_found"),
        ("region_down", {}, openai.InternalServerError, None),
        ("capacity", {}, openai.InternalServerError, None),
    ],
)
async def test_a_refusal_is_the_documented_exception(
    compatible: openai.AsyncOpenAI,
    inject: Any,
    kind: str,
    options: dict[str, Any],
    error: type[openai.APIStatusError],
    code: str | None,
) -> None:
    """The SDK raises the exception of the status, with the code of the error body."""
    await inject("compatible", kind, **options)
    with pytest.raises(error) as raised:
        await complete(compatible)
    assert raised.value.code == code


async def test_a_hang_and_a_closed_port_have_their_exceptions(
    compatible: openai.AsyncOpenAI, inject: Any, simulator: Simulator
) -> None:
    """A hang is a timeout, a closed port a connection error; the same port comes back."""
    await inject("compatible", "hang")
    with pytest.raises(openai.APITimeoutError):
        await complete(compatible)
    await inject("compatible", "refused")
    with pytest.raises(openai.APIConnectionError):
        await complete(compatible)
    await simulator.clear_fault("compatible")
    assert (await complete(compatible)).choices


async def test_a_cut_stream_raises_nothing(compatible: openai.AsyncOpenAI, inject: Any) -> None:
    """Two pieces come, and no finish reason: only its absence tells."""
    await inject("compatible", "stream_cut")
    seen = await chunks(compatible)
    assert [chunk.choices[0].finish_reason for chunk in seen] == [None, None, None]


async def test_a_stream_that_fails_midway_raises(compatible: openai.AsyncOpenAI, inject: Any) -> None:
    """The SDK turns the error event into its APIError."""
    await inject("compatible", "stream_error")
    with pytest.raises(openai.APIError, match="The server had an error"):
        await chunks(compatible)


async def test_garbage_is_no_completion(compatible: openai.AsyncOpenAI, inject: Any) -> None:
    """A whole answer comes back as bare text; a stream just has no chunks in it."""
    await inject("compatible", "garbage")
    assert isinstance(await complete(compatible), str)
    try:
        assert await chunks(compatible) == []
    except (json.JSONDecodeError, openai.APIError):
        pytest.fail("the SDK changed its mind about streams that are none")
