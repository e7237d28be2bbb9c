"""Every client against every fault of the simulator: the unmodified SDKs, over HTTP and gRPC."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import httpx
import pytest

from failover.completion import Answer, Chunk, Completion, FinishReason, Message, Role
from failover.config import Config
from failover.config.providers import Provider
from failover.errors import ProviderError
from failover.failure import FailureKind
from failover.ports import ProviderClient
from providers.factory import SimulatedEndpoint, build_clients
from simulator.faults import FaultKind, parse_fault
from simulator.server import Simulator

K = FailureKind
PATIENCE = timedelta(seconds=5)
SHORT = timedelta(seconds=1)
QUESTION = Completion(messages=[Message(role=Role.USER, text="Reply with only the word PONG")], max_tokens=10)

PROVIDERS = {
    "converse": Provider(kind="bedrock", model="anthropic.claude-3-5-sonnet-20241022-v2:0", endpoint="simulator"),
    "invoke": Provider(
        kind="bedrock", model="anthropic.claude-3-5-sonnet-20241022-v2:0", endpoint="simulator", api="invoke"
    ),
    "rest": Provider(kind="vertex", model="gemini-2.5-pro", endpoint="simulator"),
    "grpc": Provider(kind="vertex", model="gemini-2.5-pro", endpoint="simulator", transport="grpc"),
    "llama": Provider(kind="llama", model="Llama-3.3-70B-Instruct", endpoint="simulator"),
    "openai": Provider(kind="openai", model="gpt-4o", endpoint="simulator"),
}

REFUSALS: dict[FaultKind, FailureKind] = {
    FaultKind.SERVER_ERROR: K.SERVER_ERROR,
    FaultKind.THROTTLED: K.THROTTLED,
    FaultKind.QUOTA: K.HARD_QUOTA,
    FaultKind.AUTHENTICATION: K.AUTHENTICATION,
    FaultKind.PERMISSION: K.PERMISSION,
    FaultKind.MODEL_NOT_READY: K.MODEL_LOADING,
    FaultKind.MODEL_MISSING: K.MODEL_UNAVAILABLE,
    FaultKind.REGION_DOWN: K.REGION,
    FaultKind.CAPACITY: K.CAPACITY,
    FaultKind.HANG: K.TIMEOUT,
    FaultKind.REFUSED: K.NETWORK,
    FaultKind.GARBAGE: K.INVALID_ANSWER,
}

STREAM_FAILURES: dict[FaultKind, set[FailureKind]] = {
    FaultKind.STREAM_CUT: {K.CUT_STREAM},
    FaultKind.STREAM_ERROR: {K.SERVER_ERROR, K.CUT_STREAM},
}

OPTIONS: dict[FaultKind, dict[str, float]] = {FaultKind.THROTTLED: {"rate": 100}}


@pytest.fixture(scope="module")
async def simulator() -> AsyncIterator[Simulator]:
    async with Simulator({key: provider.kind for key, provider in PROVIDERS.items()}, seed=1, grpc=True) as running:
        yield running


@pytest.fixture(scope="module")
async def clients(simulator: Simulator) -> AsyncIterator[dict[str, ProviderClient]]:
    told = simulator.addresses()["providers"]
    endpoints = {key: SimulatedEndpoint(url=one["url"], grpc=one.get("grpc")) for key, one in told.items()}
    config = Config(providers=PROVIDERS, routes={"chat": {"distribution": {"llama": 100}}})
    built = build_clients(config, secrets={}, simulator=endpoints)
    yield built
    for client in built.values():
        await client.aclose()


@pytest.fixture(autouse=True)
async def healthy(simulator: Simulator, clients: dict[str, ProviderClient]) -> AsyncIterator[None]:
    """Every test leaves everybody answering, within the second that a gRPC channel takes to notice."""
    yield
    await simulator.clear_faults()
    async with asyncio.timeout(5):
        for client in clients.values():
            while not await answers(client):
                await asyncio.sleep(0.05)


async def answers(client: ProviderClient) -> bool:
    try:
        return bool((await whole(client)).text)
    except ProviderError:
        return False


async def whole(client: ProviderClient, timeout: timedelta = PATIENCE) -> Answer:
    return await client.invoke(QUESTION, timeout=timeout)


async def streamed(client: ProviderClient, timeout: timedelta = PATIENCE) -> list[Chunk]:
    return [chunk async for chunk in client.stream(QUESTION, timeout=timeout)]


@pytest.mark.parametrize("name", PROVIDERS)
async def test_a_healthy_provider_answers(name: str, clients: dict[str, ProviderClient]) -> None:
    """Whole and streamed, with the finish and the tokens; the control plane lists the model."""
    client = clients[name]
    answer = await whole(client)
    assert (answer.text, answer.finish) == ("PONG", FinishReason.STOP)
    assert answer.usage.input_tokens > 0
    assert answer.usage.output_tokens > 0
    chunks = await streamed(client)
    assert "".join(chunk.text for chunk in chunks) == "PONG"
    assert chunks[-1].finish is FinishReason.STOP
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.output_tokens > 0
    status = await client.check_service(timeout=PATIENCE)
    assert status.reachable, status.detail


@pytest.mark.parametrize("fault", REFUSALS)
@pytest.mark.parametrize("name", PROVIDERS)
async def test_every_fault_is_classified(
    name: str, fault: FaultKind, clients: dict[str, ProviderClient], simulator: Simulator
) -> None:
    """Whole and streamed alike, in one attempt each: nothing of the vendor's retries hides or delays it."""
    await simulator.set_fault(name, parse_fault(fault, OPTIONS.get(fault, {})))
    await clear_stats(simulator)
    timeout = SHORT if fault is FaultKind.HANG else PATIENCE
    for ask in (whole, streamed):
        with pytest.raises(ProviderError) as refused:
            await ask(clients[name], timeout)
        assert refused.value.failure.kind is REFUSALS[fault], refused.value
        assert refused.value.failure.provider == name
    if fault is not FaultKind.REFUSED:
        assert await calls(simulator, name) == 2


@pytest.mark.parametrize("name", PROVIDERS)
async def test_the_wait_that_is_asked_for_is_kept(
    name: str, clients: dict[str, ProviderClient], simulator: Simulator
) -> None:
    """From a header, or from what gRPC carries instead."""
    await simulator.set_fault(name, parse_fault(FaultKind.THROTTLED, {"rate": 100, "retry_after": 7}))
    with pytest.raises(ProviderError) as refused:
        await whole(clients[name])
    assert refused.value.failure.retry_after == timedelta(seconds=7)


@pytest.mark.parametrize("fault", STREAM_FAILURES)
@pytest.mark.parametrize("name", PROVIDERS)
async def test_a_stream_that_breaks_is_an_error(
    name: str, fault: FaultKind, clients: dict[str, ProviderClient], simulator: Simulator
) -> None:
    """A cut stream raises nothing in some SDKs; here it always does, after the pieces that came."""
    await simulator.set_fault(name, parse_fault(fault, {}))
    question = Completion(messages=[Message(role=Role.USER, text="Tell me about the sea")])
    pieces = []
    with pytest.raises(ProviderError) as broken:
        async for chunk in clients[name].stream(question, timeout=PATIENCE):
            pieces.append(chunk.text)
    assert broken.value.failure.kind in STREAM_FAILURES[fault], broken.value
    assert pieces
    assert (await whole(clients[name])).text == "PONG"


@pytest.mark.parametrize("name", PROVIDERS)
async def test_an_empty_answer_is_an_answer_without_text(
    name: str, clients: dict[str, ProviderClient], simulator: Simulator
) -> None:
    """Whether that is acceptable is the caller's judgement."""
    await simulator.set_fault(name, parse_fault(FaultKind.EMPTY, {}))
    assert (await whole(clients[name])).text == ""
    assert "".join(chunk.text for chunk in await streamed(clients[name])) == ""


@pytest.mark.parametrize("name", PROVIDERS)
async def test_a_red_control_plane_says_so_and_inference_goes_on(
    name: str, clients: dict[str, ProviderClient], simulator: Simulator
) -> None:
    """The two are told apart."""
    await simulator.set_fault(name, parse_fault(FaultKind.CONTROL_PLANE_DOWN, {}))
    assert not (await clients[name].check_service(timeout=PATIENCE)).reachable
    assert (await whole(clients[name])).text == "PONG"


@pytest.mark.parametrize("name", PROVIDERS)
async def test_a_provider_that_hangs_holds_up_nobody(
    name: str, clients: dict[str, ProviderClient], simulator: Simulator
) -> None:
    """Thirty hanging calls end within their timeout, and the next ones are answered meanwhile by others."""
    await simulator.set_fault(name, parse_fault(FaultKind.HANG, {}))
    other = clients["llama" if name != "llama" else "openai"]
    hanging = [asyncio.create_task(whole(clients[name], SHORT)) for _ in range(30)]
    async with asyncio.timeout(4):
        assert (await whole(other)).text == "PONG"
        results = await asyncio.gather(*hanging, return_exceptions=True)
    assert all(isinstance(one, ProviderError) and one.failure.kind is K.TIMEOUT for one in results)


async def test_a_missing_key_is_said_when_it_is_needed() -> None:
    """Not at start, and with the name of the variable."""
    provider = Provider(kind="openai", model="m", endpoint="http://127.0.0.1:9/v1", api_key_env="SOME_KEY")
    config = Config(providers={"x": provider}, routes={"chat": {"distribution": {"x": 100}}})
    client = build_clients(config, secrets={})["x"]
    with pytest.raises(ProviderError, match="set SOME_KEY") as refused:
        await whole(client)
    assert refused.value.failure.kind is K.AUTHENTICATION
    await client.aclose()


async def clear_stats(simulator: Simulator) -> None:
    async with httpx.AsyncClient(base_url=simulator.control_url) as control:
        await control.delete("/stats")


async def calls(simulator: Simulator, name: str) -> int:
    async with httpx.AsyncClient(base_url=simulator.control_url) as control:
        stats = (await control.get("/stats")).json()
    told = stats.get("providers", stats)[name]
    return int(next(value for key, value in told.items() if "inference" in key))
