"""Tools in whole answers, by each vendor's own SDK or shape: given as the vendor wants them, read as it calls them."""

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from failover.completion import Completion, Message, Role, Tool, ToolCall
from failover.config import Config
from failover.config.providers import Provider
from failover.tools import call_text
from providers.factory import SimulatedEndpoint, build_clients
from simulator.server import Simulator

TOOL = Tool(
    name="lookup_order",
    description="Looks up an order.",
    parameters={"type": "object", "properties": {"number": {"type": "integer"}, "tags": {"type": "array"}}},
)
CALL = ToolCall(name="lookup_order", arguments={"number": 4711, "tags": ["a", {"deep": True}]})
QUESTION = "Where is my order 4711?"

PROVIDERS = {
    "converse": Provider(kind="bedrock", model="m", endpoint="simulator"),
    "invoke": Provider(kind="bedrock", model="m", endpoint="simulator", api="invoke"),
    "rest": Provider(kind="vertex", model="m", endpoint="simulator"),
    "grpc": Provider(kind="vertex", model="m", endpoint="simulator", transport="grpc"),
    "llama": Provider(kind="llama", model="m", endpoint="simulator"),
    "openai": Provider(kind="openai", model="m", endpoint="simulator"),
}


@pytest.fixture(scope="module")
async def simulator() -> AsyncIterator[Simulator]:
    kinds = {key: provider.kind for key, provider in PROVIDERS.items()}
    async with Simulator(kinds, grpc=True, knows={QUESTION: call_text(CALL)}) as running:
        yield running


@pytest.mark.parametrize("key", PROVIDERS)
async def test_a_tool_is_called(simulator: Simulator, key: str) -> None:
    """With its arguments, however deep; without the tool the same question gets text."""
    config = Config(providers={key: PROVIDERS[key]}, routes={"chat": {"distribution": {key: 100}}})
    at = SimulatedEndpoint(url=simulator.urls[key], grpc=simulator.grpc_targets.get(key))
    client = build_clients(config, secrets={}, simulator={key: at})[key]
    question = Completion(messages=[Message(role=Role.USER, text=QUESTION)], tools=[TOOL])
    try:
        answer = await client.invoke(question, timeout=timedelta(seconds=20))
        plain = await client.invoke(Completion(messages=question.messages), timeout=timedelta(seconds=20))
    finally:
        await client.aclose()
    assert list(answer.calls) == [CALL] and answer.text == ""
    assert list(plain.calls) == [] and plain.text != ""
