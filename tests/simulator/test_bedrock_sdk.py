"""boto3, unmodified, against the simulated Bedrock."""

import asyncio
import json
from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest
from botocore.eventstream import ChecksumMismatch
from botocore.exceptions import ClientError, EndpointConnectionError, EventStreamError, ReadTimeoutError

from simulator.server import Simulator

MODEL = "anthropic.claude-3-5-sonnet-20241022-v2:0"
Aws = Callable[[str], Any]


async def converse(aws: Aws, text: str = "What is 19 + 23?", max_tokens: int = 100) -> Any:
    return await asyncio.to_thread(
        aws("bedrock-runtime").converse,
        modelId=MODEL,
        messages=[{"role": "user", "content": [{"text": text}]}],
        inferenceConfig={"maxTokens": max_tokens},
    )


async def converse_stream(aws: Aws) -> list[dict[str, Any]]:
    def events() -> list[dict[str, Any]]:
        messages = [{"role": "user", "content": [{"text": "Tell me about the sea."}]}]
        answer = aws("bedrock-runtime").converse_stream(modelId=MODEL, messages=messages)
        with closing(answer["stream"]) as stream:
            return list(stream)

    return await asyncio.to_thread(events)


async def invoke(aws: Aws, operation: str = "invoke_model") -> Any:
    body = {
        "anthropic_version": "bedrock-2023-05-31",
        "max_tokens": 50,
        "messages": [{"role": "user", "content": [{"type": "text", "text": "Reply with only the word ready"}]}],
    }
    return await asyncio.to_thread(getattr(aws("bedrock-runtime"), operation), modelId=MODEL, body=json.dumps(body))


async def test_converse_answers_with_usage(aws: Aws) -> None:
    """A conversation is answered rightly, and counted in tokens."""
    answer = await converse(aws)
    assert answer["output"]["message"] == {"role": "assistant", "content": [{"text": "42"}]}
    assert answer["stopReason"] == "end_turn"
    assert answer["usage"] == {"inputTokens": 4, "outputTokens": 1, "totalTokens": 5}


async def test_converse_stops_at_the_maximum_of_tokens(aws: Aws) -> None:
    """An answer longer than asked for is cut, and says so."""
    answer = await converse(aws, text="Tell me about the sea.", max_tokens=2)
    assert answer["stopReason"] == "max_tokens"
    assert answer["usage"]["outputTokens"] == 2


async def test_converse_stream_ends_with_stop_and_metadata(aws: Aws) -> None:
    """A stream has at least four pieces of text between its start and its end markers."""
    events = await converse_stream(aws)
    kinds = [next(iter(event)) for event in events]
    assert kinds[0] == "messageStart"
    assert kinds.count("contentBlockDelta") >= 4
    assert kinds[-3:] == ["contentBlockStop", "messageStop", "metadata"]
    text = "".join(event["contentBlockDelta"]["delta"]["text"] for event in events if "contentBlockDelta" in event)
    assert text.startswith("This is the simulated provider bedrock")


async def test_invoke_model_takes_and_gives_anthropic_messages(aws: Aws) -> None:
    """InvokeModel speaks the model's own body, with the token counts in the headers too."""
    answer = await invoke(aws)
    body = json.loads(answer["body"].read())
    assert body["content"] == [{"type": "text", "text": "ready"}]
    assert body["usage"]["output_tokens"] == 2
    assert answer["ResponseMetadata"]["HTTPHeaders"]["x-amzn-bedrock-output-token-count"] == "2"


async def test_invoke_model_streams_anthropic_events(aws: Aws) -> None:
    """The streamed form carries Anthropic's events as chunks, up to message_stop."""
    answer = await invoke(aws, "invoke_model_with_response_stream")
    chunks = await asyncio.to_thread(lambda: [json.loads(event["chunk"]["bytes"]) for event in answer["body"]])
    assert answer["contentType"] == "application/json"
    assert "".join(chunk["delta"]["text"] for chunk in chunks if chunk["type"] == "content_block_delta") == "ready"
    assert chunks[-1]["type"] == "message_stop"


async def test_list_foundation_models_names_the_region(aws: Aws) -> None:
    """The control plane lists the models, with ARNs of the region that signed the request."""
    models = await asyncio.to_thread(aws("bedrock").list_foundation_models)
    listed = {model["modelId"]: model["modelArn"] for model in models["modelSummaries"]}
    assert listed[MODEL] == f"arn:aws:bedrock:eu-west-1::foundation-model/{MODEL}"


@pytest.mark.parametrize(
    ("kind", "options", "code", "status"),
    [
        ("server_error", {}, "InternalServerException", 500),
        ("server_error", {"status": 503}, "ServiceUnavailableException", 503),
        ("throttled", {"rate": 100}, "ThrottlingException", 429),
        ("quota", {}, "ThrottlingException", 429),
        ("authentication", {}, "ExpiredTokenException", 403),
        ("permission", {}, "AccessDeniedException", 403),
        ("model_not_ready", {}, "ModelNotReadyException", 429),
        ("model_missing", {}, "ResourceNotFoundException", 404),
        ("region_down", {}, "ServiceUnavailableException", 503),
        ("capacity", {}, "ServiceUnavailableException", 503),
    ],
)
async def test_a_refusal_is_the_documented_client_error(
    aws: Aws, inject: Any, kind: str, options: dict[str, Any], code: str, status: int
) -> None:
    """boto3 raises ClientError with the code of Bedrock's own error."""
    await inject("bedrock", kind, **options)
    with pytest.raises(ClientError) as raised:
        await converse(aws)
    assert raised.value.response["Error"]["Code"] == code
    assert raised.value.response["ResponseMetadata"]["HTTPStatusCode"] == status


async def test_a_used_up_quota_is_told_from_a_rate_limit(aws: Aws, inject: Any) -> None:
    """Converse has only the message to say that it is the day's tokens; InvokeModel has an error of its own."""
    await inject("bedrock", "quota")
    with pytest.raises(ClientError, match="tokens per day"):
        await converse(aws)
    with pytest.raises(ClientError) as raised:
        await invoke(aws)
    assert raised.value.response["Error"]["Code"] == "ServiceQuotaExceededException"


async def test_a_region_that_is_down_is_named_by_both_planes(aws: Aws, inject: Any) -> None:
    """Inference and control plane both answer 503, with the region in the message."""
    await inject("bedrock", "region_down")
    with pytest.raises(ClientError, match="eu-west-1"):
        await converse(aws)
    with pytest.raises(ClientError, match="eu-west-1"):
        await asyncio.to_thread(aws("bedrock").list_foundation_models)


async def test_a_hang_is_a_read_timeout(aws: Aws, inject: Any) -> None:
    """A call that is never answered ends by the client's own timeout."""
    await inject("bedrock", "hang")
    with pytest.raises(ReadTimeoutError):
        await converse(aws)


async def test_a_refused_connection_is_an_endpoint_error(aws: Aws, inject: Any, simulator: Simulator) -> None:
    """Nothing listens while it lasts; the same port answers again afterwards."""
    await inject("bedrock", "refused")
    with pytest.raises(EndpointConnectionError):
        await converse(aws)
    await simulator.clear_fault("bedrock")
    assert (await converse(aws))["stopReason"] == "end_turn"


async def test_a_cut_stream_raises_nothing(aws: Aws, inject: Any) -> None:
    """Two pieces come, then the stream is over without messageStop: only its absence tells."""
    await inject("bedrock", "stream_cut")
    kinds = [next(iter(event)) for event in await converse_stream(aws)]
    assert kinds == ["messageStart", "contentBlockDelta", "contentBlockDelta"]


async def test_a_stream_that_fails_midway_raises_an_event_stream_error(aws: Aws, inject: Any) -> None:
    """The failure comes as an exception event after a status of 200."""
    await inject("bedrock", "stream_error")
    with pytest.raises(EventStreamError) as raised:
        await converse_stream(aws)
    assert raised.value.response["Error"]["Code"] == "serviceUnavailableException"


async def test_garbage_in_a_stream_fails_its_checksum(aws: Aws, inject: Any) -> None:
    """Bytes that are no event stream are refused by the parser."""
    await inject("bedrock", "garbage")
    with pytest.raises(ChecksumMismatch):
        await converse_stream(aws)


async def test_garbage_for_an_answer_has_no_output(aws: Aws, inject: Any) -> None:
    """boto3 raises nothing for a body that is no JSON: the answer just has no output."""
    await inject("bedrock", "garbage")
    assert "output" not in await converse(aws)


async def test_empty_and_wrong_answers_are_successes(aws: Aws, inject: Any) -> None:
    """Nothing but the text tells that something is wrong."""
    await inject("bedrock", "empty")
    assert (await converse(aws))["output"]["message"]["content"] == []
    await inject("bedrock", "wrong")
    [part] = (await converse(aws))["output"]["message"]["content"]
    assert "42" not in part["text"]


async def test_the_control_plane_alone_can_fail(aws: Aws, inject: Any) -> None:
    """Listing models fails with 500 while inference answers."""
    await inject("bedrock", "control_plane_down")
    with pytest.raises(ClientError) as raised:
        await asyncio.to_thread(aws("bedrock").list_foundation_models)
    assert raised.value.response["Error"]["Code"] == "InternalServerException"
    assert (await converse(aws))["output"]["message"]["content"] == [{"text": "42"}]


@pytest.mark.parametrize("kind", ["server_error", "quota", "authentication", "permission", "capacity", "model_missing"])
async def test_the_control_plane_stays_green(aws: Aws, inject: Any, kind: str) -> None:
    """A broken inference does not show when models are listed."""
    await inject("bedrock", kind)
    assert (await asyncio.to_thread(aws("bedrock").list_foundation_models))["modelSummaries"]
