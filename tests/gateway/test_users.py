"""The users' door: OpenAI's shapes, weights, and the retry that hides a failure from users but not from us."""

import asyncio
from collections import Counter
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from failover.config import Config
from failover.failure import FailureKind
from gateway.app import create_app
from gateway.counters import utc_now
from gateway.process import listening
from gateway.store import FileStore
from providers.memory import MemoryClient

QUESTION = [{"role": "user", "content": "hello"}]


async def ask(gateway: Any, **options: Any) -> Any:
    return await gateway.http.post("/v1/chat/completions", json={"model": "chat", "messages": QUESTION, **options})


async def only(gateway: Any, provider: str) -> None:
    assert (await gateway.put(**{provider: 100})).status_code == 200


async def test_the_official_client_gets_whole_answers(gateway: Any) -> None:
    """In the standard shape, with usage."""
    answer = await gateway.users.chat.completions.create(model="chat", messages=QUESTION)
    assert answer.choices[0].message.content == "Hello from memory"
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage.total_tokens == 2
    assert [model.id async for model in gateway.users.models.list()] == ["chat", "other"]


async def test_the_official_client_gets_streams(gateway: Any) -> None:
    """Piece by piece, with the finish, and usage where it is asked for."""
    options = {"include_usage": True}
    stream = await gateway.users.chat.completions.create(
        model="chat", messages=QUESTION, stream=True, stream_options=options
    )
    chunks = [chunk async for chunk in stream]
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == "Hello from memory"
    assert [c.choices[0].finish_reason for c in chunks if c.choices and c.choices[0].finish_reason] == ["stop"]
    assert chunks[-1].usage.completion_tokens == 3


async def test_weights_are_obeyed(gateway: Any) -> None:
    """Within what chance allows, of 1,000 requests."""
    served = Counter([(await ask(gateway)).headers["X-Failover-Provider"] for _ in range(1000)])
    assert abs(served["bedrock"] - 700) < 60
    assert abs(served["google"] - 200) < 50
    assert abs(served["meta"] - 100) < 40


async def test_a_change_of_the_policy_is_obeyed_by_the_next_request(gateway: Any) -> None:
    """A provider at 0 gets no first try."""
    await gateway.put(bedrock=0, google=90, meta=10)
    answers = [await ask(gateway) for _ in range(100)]
    assert gateway.providers["bedrock"].calls == 0
    assert {answer.headers["X-Failover-Revision"].rpartition(".")[2] for answer in answers} == {"2"}


async def test_the_next_in_the_chain_answers_before_the_first_byte(gateway: Any) -> None:
    """Users do not notice, whole or streamed; the header tells who served."""
    await only(gateway, "bedrock")
    gateway.providers["bedrock"].fail_with = FailureKind.SERVER_ERROR
    for stream in (False, True):
        answer = await ask(gateway, stream=stream)
        assert answer.status_code == 200
        assert answer.headers["X-Failover-Provider"] == "google"
        assert answer.headers["X-Failover-Tries"] == "2"


async def test_never_twice_to_the_same_provider(gateway: Any) -> None:
    """All three fail: three tries, one each, and one error in OpenAI's form."""
    for provider in gateway.providers.values():
        provider.fail_with = FailureKind.SERVER_ERROR
    answer = await ask(gateway)
    assert answer.status_code == 502
    assert answer.json()["error"]["code"] == "server_error"
    assert [provider.calls for provider in gateway.providers.values()] == [1, 1, 1]


async def test_time_is_bounded_over_all_tries(gateway: Any) -> None:
    """Three hanging providers cost the request's timeout, not three times the try's."""
    for provider in gateway.providers.values():
        provider.hang = True
    async with asyncio.timeout(2):
        answer = await ask(gateway)
    assert answer.status_code == 504
    given = [timeout for provider in gateway.providers.values() for timeout in provider.timeouts]
    assert len(given) == 3
    assert sum(given, timedelta()) < timedelta(milliseconds=1300)


async def test_nothing_is_retried_after_bytes_were_sent(gateway: Any) -> None:
    """The stream ends in an error event without [DONE], is counted as lost, and nobody else is asked."""
    await only(gateway, "bedrock")
    gateway.providers["bedrock"].break_with = FailureKind.CUT_STREAM
    answer = await ask(gateway, stream=True)
    assert '"content": "Hello"' in answer.text
    assert '"code": "cut_stream"' in answer.text
    assert "[DONE]" not in answer.text
    assert gateway.providers["google"].calls == 0
    told = await gateway.telemetry(window="60")
    assert told["routes"][0]["lost"] == 1
    with pytest.raises(openai.APIError):
        async for _ in await gateway.users.chat.completions.create(model="chat", messages=QUESTION, stream=True):
            pass


@pytest.mark.parametrize("stream", [False, True])
async def test_an_empty_answer_is_a_failed_try(gateway: Any, stream: bool) -> None:
    """A fast 200 with nothing in it helps nobody: the next in the chain is asked."""
    await only(gateway, "bedrock")
    gateway.providers["bedrock"].text = ""
    answer = await ask(gateway, stream=stream)
    assert answer.headers["X-Failover-Provider"] == "google"
    tries = (await gateway.telemetry(window="60"))["providers"]
    assert {one["provider"]: one["failures"] for one in tries}["bedrock"] == {"invalid_answer": 1}


async def test_a_users_bad_request_is_theirs_alone(gateway: Any) -> None:
    """400, no second try, and nobody's failure."""
    await only(gateway, "bedrock")
    gateway.providers["bedrock"].fail_with = FailureKind.BAD_REQUEST
    assert (await ask(gateway)).status_code == 400
    assert gateway.providers["google"].calls == 0
    assert (await gateway.telemetry(window="60"))["providers"] == []


async def test_throttled_everywhere_says_when_to_come_back(gateway: Any) -> None:
    """429 with the shortest Retry-After."""
    for provider in gateway.providers.values():
        provider.fail_with, provider.retry_after = FailureKind.THROTTLED, timedelta(seconds=7)
    answer = await ask(gateway)
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "7")
    with pytest.raises(openai.RateLimitError):
        await gateway.users.chat.completions.create(model="chat", messages=QUESTION)


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        (b"{", 400, "JSON"),
        (b"[]", 400, "object"),
        (b'{"model": "chat"}', 400, "messages"),
        (b'{"model": "chat", "messages": "hi"}', 400, "messages"),
        (b'{"model": "chat", "messages": []}', 400, "messages"),
        (b'{"model": "chat", "messages": [{"role": "tool", "content": "x"}]}', 400, "role"),
        (b'{"model": "nope", "messages": [{"role": "user", "content": "x"}]}', 404, "chat, other"),
        (b'{"model": "chat", "messages": [{"role": "user", "content": "x"}], "tools": [{}]}', 400, "tools"),
        (b'{"model": "chat", "messages": [{"role": "user", "content": "x"}], "n": 2}', 400, "n"),
        (b'{"model": "chat", "messages": [{"role": "user", "content": [{"type": "image_url"}]}]}', 400, "text parts"),
        (b'{"model": "chat", "messages": [{"role": "user", "content": "' + b"x" * 100_001 + b'"}]}', 413, "100000"),
    ],
)
async def test_bad_input_is_an_openai_error_that_names_it(gateway: Any, body: bytes, status: int, said: str) -> None:
    """Nothing is dropped in silence, and no provider is bothered."""
    answer = await gateway.http.post("/v1/chat/completions", content=body)
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    assert said in f"{error['message']} {error['param']}"
    assert set(error) == {"message", "type", "param", "code"}
    assert not any(provider.calls for provider in gateway.providers.values())


async def test_parts_of_text_and_harmless_parameters_are_carried(gateway: Any) -> None:
    """What every provider can take is taken."""
    parts = [{"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}]
    answer = await ask(gateway, messages=parts, user="u", seed=1, tools=[], max_completion_tokens=5)
    assert answer.status_code == 200


async def test_retry_does_not_hide_an_outage_from_telemetry(gateway: Any) -> None:
    """Users see 200s; every failed first try is counted all the same."""
    await only(gateway, "bedrock")
    gateway.providers["bedrock"].fail_with = FailureKind.SERVER_ERROR
    for _ in range(10):
        assert (await ask(gateway)).status_code == 200
    told = await gateway.telemetry(window="60")
    tries = {one["provider"]: one for one in told["providers"]}
    assert (tries["bedrock"]["tries"], tries["bedrock"]["failures"]) == (10, {"server_error": 10})
    assert (tries["google"]["tries"], tries["google"]["first_tries"]) == (10, 0)
    assert (told["routes"][0]["requests"], told["routes"][0]["failed"]) == (10, 0)


async def test_tokens_are_counted_by_provider_and_route(gateway: Any) -> None:
    """Of whole answers and of streams; what providers declare that they can take is held against them."""
    await only(gateway, "google")
    await ask(gateway)
    body = {"model": "chat", "messages": QUESTION, "stream": True}
    assert "[DONE]" in (await gateway.http.post("/v1/chat/completions", json=body)).text
    told = await gateway.telemetry(window="60")
    assert [(one["provider"], one["tokens"]) for one in told["providers"]] == [("google", 6)]
    assert told["routes"][0]["tokens"] == 6


async def test_a_window_since_a_moment_holds_nothing_from_before(gateway: Any) -> None:
    """A request that began before does not count, however late it ends."""
    gateway.providers["meta"].hang = True
    await only(gateway, "meta")
    before = asyncio.create_task(ask(gateway))
    async with asyncio.timeout(5):
        while not gateway.providers["meta"].calls:
            await asyncio.sleep(0.01)
    await asyncio.sleep(0.11)  # a tick of the counters
    since = str((await gateway.telemetry(window="1"))["at"])
    await before
    assert (await gateway.telemetry(since=since))["routes"] == []
    assert (await gateway.telemetry(window="60"))["routes"][0]["requests"] == 1


async def test_synthetic_requests_are_not_counted_as_users(gateway: Any) -> None:
    """With the token; without it the header is worth nothing."""
    body = {"model": "chat", "messages": QUESTION}
    synthetic = {"X-Failover-Synthetic": "1"}
    await gateway.http.post("/v1/chat/completions", json=body, headers={**synthetic, **gateway.operator})
    assert (await gateway.telemetry(window="60"))["routes"] == []
    await gateway.http.post("/v1/chat/completions", json=body, headers=synthetic)
    assert (await gateway.telemetry(window="60"))["routes"][0]["requests"] == 1


async def test_a_client_that_leaves_midway_is_nobodys_failure(gateway: Any) -> None:
    """Its stream is closed at the provider too; neither the provider nor the route is blamed."""
    gateway.providers["meta"].stall = True
    await only(gateway, "meta")
    body = {"model": "chat", "messages": QUESTION, "stream": True}
    async with gateway.http.stream("POST", "/v1/chat/completions", json=body) as answer:
        async for line in answer.aiter_lines():
            if "Hello" in line:
                break
        assert gateway.providers["meta"].open_streams == 1
    async with asyncio.timeout(2):
        while gateway.providers["meta"].open_streams:
            await asyncio.sleep(0.01)
    told = await gateway.telemetry(window="60")
    assert [(one["tries"], one["failures"]) for one in told["providers"]] == [(1, {})]
    assert [(one["requests"], one["failed"], one["lost"]) for one in told["routes"]] == [(1, 0, 0)]


async def test_a_stream_that_is_not_used_is_closed(gateway: Any) -> None:
    """One that began without content, whose place another provider took."""
    await only(gateway, "bedrock")
    gateway.providers["bedrock"].text = ""
    assert (await ask(gateway, stream=True)).headers["X-Failover-Provider"] == "google"
    assert gateway.providers["bedrock"].open_streams == 0


@pytest.mark.parametrize("stream", [False, True])
async def test_tries_are_bounded(config: Config, tmp_path: Path, stream: bool) -> None:
    """With two tries allowed the third provider is not asked."""
    bounded = config.model_copy(update={"gateway": config.gateway.model_copy(update={"max_tries": 2})})
    providers = {key: MemoryClient(key) for key in config.providers}
    for provider in providers.values():
        provider.fail_with = FailureKind.SERVER_ERROR
    store = FileStore.open(tmp_path / "policies.json", {"chat": {"bedrock": 10000}}, utc_now)
    app = create_app(bounded, providers, store, token=None)
    async with listening(app, "127.0.0.1", 0) as url, httpx.AsyncClient(base_url=url, trust_env=False) as http:
        body = {"model": "chat", "messages": QUESTION, "stream": stream}
        answer = await http.post("/v1/chat/completions", json=body)
    assert answer.status_code == 502
    assert [provider.calls for provider in providers.values()] == [1, 1, 0]


async def test_a_stream_that_hangs_before_its_first_byte_is_left(gateway: Any) -> None:
    """Within the time of one try; the next provider answers."""
    await only(gateway, "bedrock")
    gateway.providers["bedrock"].hang = True
    async with asyncio.timeout(2):
        answer = await ask(gateway, stream=True)
    assert answer.headers["X-Failover-Provider"] == "google"
    assert "[DONE]" in answer.text


async def test_metrics_and_health_are_there(gateway: Any) -> None:
    """OpenTelemetry's names where they exist; the policy's shares beside them."""
    await ask(gateway)
    text = (await gateway.http.get("/metrics")).text
    assert 'gen_ai_client_operation_duration_seconds_count{error_type=""' in text
    assert 'gen_ai_provider_name="aws.bedrock"' in text
    assert 'failover_policy_share_ratio{failover_provider="bedrock",failover_route="chat"} 0.7' in text
    assert (await gateway.http.get("/healthz")).status_code == 200
    assert (await gateway.http.get("/readyz")).status_code == 200
    assert (await gateway.http.get("/nowhere")).json()["error"]["code"] == "not_found"


async def pending(gateway: Any) -> int:
    return sum(route["pending"] for route in (await gateway.telemetry(window="60"))["routes"])


async def told(gateway: Any, number: int) -> None:
    async with asyncio.timeout(5):
        while await pending(gateway) != number:
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("stream", [False, True])
async def test_a_request_that_hangs_is_told_before_it_ends(gateway: Any, stream: bool) -> None:
    """As pending, not as answered or failed; none is left once it has ended, whatever its end was."""
    await only(gateway, "meta")
    gateway.providers["meta"].hang = True
    asking = [asyncio.create_task(ask(gateway, stream=stream)) for _ in range(3)]
    await told(gateway, 3)
    assert (await gateway.telemetry(window="60"))["routes"][0]["requests"] == 0
    assert [answer.status_code for answer in await asyncio.gather(*asking)] == [200] * 3
    await told(gateway, 0)


async def test_a_stream_is_pending_until_its_last_piece(gateway: Any) -> None:
    """It may still be cut; a user who goes away ends it."""
    await only(gateway, "meta")
    gateway.providers["meta"].stall = True
    body = {"model": "chat", "messages": QUESTION, "stream": True}
    async with gateway.http.stream("POST", "/v1/chat/completions", json=body) as answer:
        async for _ in answer.aiter_lines():
            break
        await told(gateway, 1)
    await told(gateway, 0)


async def test_a_users_own_mistake_is_not_pending(gateway: Any) -> None:
    """It is over, though it counts as nothing."""
    await only(gateway, "meta")
    gateway.providers["meta"].fail_with = FailureKind.BAD_REQUEST
    assert (await ask(gateway)).status_code == 400
    assert await pending(gateway) == 0


async def test_a_stream_that_nobody_waits_for_any_more_is_over(gateway: Any) -> None:
    """Its user left before the first piece came: the request has ended, and the provider's stream is closed."""
    await only(gateway, "meta")
    gateway.providers["meta"].hang = gateway.providers["bedrock"].stall = True
    asking = asyncio.create_task(ask(gateway, stream=True))
    await told(gateway, 1)
    asking.cancel()
    async with asyncio.timeout(5):
        while not gateway.providers["bedrock"].calls:
            await asyncio.sleep(0.01)
    await told(gateway, 0)
    assert gateway.providers["bedrock"].open_streams == 0
