"""Timeouts and ends of streams, against servers that misbehave in ways that no whole answer shows."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import grpc
import pytest
from google.cloud import aiplatform_v1

from failover.completion import Chunk, Completion, Message, Role
from failover.config import Config
from failover.config.providers import Provider
from failover.errors import ProviderError
from failover.failure import FailureKind
from failover.ports import ProviderClient
from providers.factory import SimulatedEndpoint, build_clients
from simulator.eventstream import event

K = FailureKind
SHORT = timedelta(seconds=0.5)
GAP = timedelta(seconds=2)
"""Longer than a busy machine needs to make one of the vendors' clients."""
PATIENCE = timedelta(seconds=5)
QUESTION = Completion(messages=[Message(role=Role.USER, text="ping")])
HTTP_KINDS = {
    "llama": Provider(kind="llama", model="m", endpoint="simulator"),
    "openai": Provider(kind="openai", model="m", endpoint="simulator"),
}
KINDS = {
    **HTTP_KINDS,
    "converse": Provider(kind="bedrock", model="m", endpoint="simulator"),
    "rest": Provider(kind="vertex", model="m", endpoint="simulator"),
}
GRPC = Provider(kind="vertex", model="m", endpoint="simulator", transport="grpc")

OPENAI_TEXT = {"choices": [{"index": 0, "delta": {"content": "sea "}, "finish_reason": None}]}
OPENAI_LAST = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
PIECES: dict[str, bytes] = {
    "openai": b"data: " + json.dumps(OPENAI_TEXT).encode() + b"\n\n",
    "llama": b'data: {"event":{"event_type":"progress","delta":{"type":"text","text":"sea "}}}\n\n',
    "converse": event("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": "sea "}}),
    "rest": b'{"candidates":[{"content":{"role":"model","parts":[{"text":"sea "}]}}]},',
}
TYPES = {"converse": "application/vnd.amazon.eventstream", "rest": "application/json"}

Answer = Callable[[asyncio.StreamWriter], Coroutine[Any, Any, None]]


@dataclass
class Server:
    """One scripted answer to every call. `left` is set when a caller closes its connection."""

    url: str = ""
    calls: int = 0
    left: asyncio.Event = field(default_factory=asyncio.Event)


@asynccontextmanager
async def serving(answer: Answer, content_type: str = "text/event-stream") -> AsyncIterator[Server]:
    served = Server()

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            served.calls += 1
            writer.write(
                f"HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
            )
            speaking = asyncio.create_task(answer(writer))
            with suppress(ConnectionError):
                while await reader.read(65_536):
                    pass
            served.left.set()
            speaking.cancel()
            await asyncio.gather(speaking, return_exceptions=True)
        writer.close()

    server = await asyncio.start_server(take, "127.0.0.1", 0)
    served.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    yield served
    server.close()


@asynccontextmanager
async def client(provider: Provider, url: str, target: str | None = None) -> AsyncIterator[ProviderClient]:
    config = Config(providers={"x": provider}, routes={"chat": {"distribution": {"x": 100}}})
    built = build_clients(config, secrets={}, simulator={"x": SimulatedEndpoint(url=url, grpc=target)})["x"]
    try:
        yield built
    finally:
        await built.aclose()


def framed(piece: bytes) -> bytes:
    """One chunk of chunked transfer encoding, as every vendor streams; an empty one is the end."""
    return f"{len(piece):x}\r\n".encode() + piece + b"\r\n"


def forever(piece: bytes, every: float = 0.1, first: bytes = b"") -> Answer:
    async def answer(writer: asyncio.StreamWriter) -> None:
        nonlocal first
        while True:
            writer.write(framed(first + piece))
            await writer.drain()
            await asyncio.sleep(every)
            first = b""

    return answer


def once(body: bytes, *, close: bool = False) -> Answer:
    async def answer(writer: asyncio.StreamWriter) -> None:
        writer.write(framed(body) + (framed(b"") if close else b""))
        await writer.drain()

    return answer


async def streamed(asked: ProviderClient, timeout: timedelta) -> list[Chunk]:
    return [chunk async for chunk in asked.stream(QUESTION, timeout=timeout)]


@pytest.mark.parametrize("kind", KINDS)
async def test_an_answer_that_drips_ends_at_the_timeout(kind: str) -> None:
    """A byte now and then keeps every read within its bound, and the whole beyond it."""
    async with serving(forever(b" "), "application/json") as server, client(KINDS[kind], server.url) as asked:
        async with asyncio.timeout(2):
            with pytest.raises(ProviderError) as failed:
                await asked.invoke(QUESTION, timeout=SHORT)
        assert failed.value.failure.kind is K.TIMEOUT


@pytest.mark.parametrize("kind", HTTP_KINDS)
async def test_a_control_plane_that_drips_ends_at_the_timeout(kind: str) -> None:
    """And is told as one that cannot be reached."""
    async with serving(forever(b" "), "application/json") as server, client(KINDS[kind], server.url) as asked:
        async with asyncio.timeout(2):
            assert not (await asked.check_service(timeout=SHORT)).reachable


@pytest.mark.parametrize("kind", HTTP_KINDS)
async def test_comments_are_no_pieces(kind: str) -> None:
    """Keep-alive comments do not stretch the wait for the first piece."""
    async with serving(forever(b": still working\n\n")) as server, client(KINDS[kind], server.url) as asked:
        async with asyncio.timeout(2):
            with pytest.raises(ProviderError) as failed:
                await streamed(asked, SHORT)
        assert failed.value.failure.kind is K.TIMEOUT


@pytest.mark.parametrize("kind", KINDS)
async def test_a_stream_that_stalls_ends_at_the_timeout(kind: str) -> None:
    """After the pieces that came."""
    first = b"[" if kind == "rest" else b""
    content_type = TYPES.get(kind, "text/event-stream")
    async with (
        serving(once(first + PIECES[kind] * 2), content_type) as server,
        client(KINDS[kind], server.url) as asked,
    ):
        texts = []
        async with asyncio.timeout(3):
            with pytest.raises(ProviderError) as failed:
                async for chunk in asked.stream(QUESTION, timeout=SHORT):
                    texts.append(chunk.text)
        assert failed.value.failure.kind is K.TIMEOUT
        assert texts


@pytest.mark.parametrize("kind", KINDS)
async def test_a_stream_may_take_longer_than_its_gaps(kind: str) -> None:
    """The timeout is of a gap, not of the whole; who leaves it closes it at the provider."""
    answer = forever(PIECES[kind], first=b"[" if kind == "rest" else b"")
    content_type = TYPES.get(kind, "text/event-stream")
    async with serving(answer, content_type) as server, client(KINDS[kind], server.url) as asked:
        async with asyncio.timeout(15):
            began, taken = asyncio.get_running_loop().time(), 0
            async with aclosing(asked.stream(QUESTION, timeout=GAP)) as chunks:  # type: ignore[type-var]
                async for _ in chunks:
                    taken += 1
                    if asyncio.get_running_loop().time() - began > 1.5 * GAP.total_seconds():
                        break
            assert taken > 3
            await server.left.wait()


async def test_a_stream_ends_at_done_though_the_connection_stays() -> None:
    """Nothing more is waited for."""
    body = PIECES["openai"] + b"data: " + json.dumps(OPENAI_LAST).encode() + b"\n\ndata: [DONE]\n\n"
    async with serving(once(body)) as server, client(KINDS["openai"], server.url) as asked:
        async with asyncio.timeout(2):
            chunks = await streamed(asked, PATIENCE)
            await server.left.wait()
    assert "".join(chunk.text for chunk in chunks) == "sea "
    assert chunks[-1].finish is not None


@pytest.mark.parametrize(
    "body",
    [
        PIECES["openai"],
        PIECES["openai"] + b"data: [DONE]\n\n",
        PIECES["openai"] + b"data: " + json.dumps(OPENAI_LAST).encode() + b"\n\n",
    ],
)
async def test_half_an_end_marker_is_none(body: bytes) -> None:
    """OpenAI's stream ends with a finish_reason and [DONE]; with one of them it was cut."""
    async with serving(once(body, close=True)) as server, client(KINDS["openai"], server.url) as asked:
        with pytest.raises(ProviderError) as failed:
            await streamed(asked, PATIENCE)
    assert failed.value.failure.kind is K.CUT_STREAM


class Gemini(grpc.GenericRpcHandler):
    """Streams a piece every tenth of a second, `pieces` of them, after `silence`."""

    def __init__(self, pieces: int, silence: float = 0) -> None:
        self.pieces, self.silence, self.left = pieces, silence, asyncio.Event()

    def service(self, details: Any) -> Any:
        return grpc.unary_stream_rpc_method_handler(
            self.answer,
            request_deserializer=aiplatform_v1.GenerateContentRequest.deserialize,
            response_serializer=aiplatform_v1.GenerateContentResponse.serialize,
        )

    async def answer(self, request: Any, context: Any) -> AsyncIterator[Any]:
        context.add_done_callback(lambda _: self.left.set())
        await asyncio.sleep(self.silence)
        for number in range(self.pieces):
            candidate = {"content": {"role": "model", "parts": [{"text": "sea "}]}}
            last = {"finish_reason": 1} if number == self.pieces - 1 else {}
            yield aiplatform_v1.GenerateContentResponse({"candidates": [{**candidate, **last}]})
            await asyncio.sleep(0.1)


@asynccontextmanager
async def gemini(handler: Gemini) -> AsyncIterator[ProviderClient]:
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((handler,))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with client(GRPC, "http://127.0.0.1:9", f"127.0.0.1:{port}") as asked:
        yield asked
    await server.stop(None)


async def test_a_grpc_stream_may_take_longer_than_its_gaps() -> None:
    """gRPC's own deadline is of the whole call; ours is of the gaps."""
    async with gemini(Gemini(12)) as asked, asyncio.timeout(5):
        chunks = await streamed(asked, SHORT)
    assert sum(chunk.text == "sea " for chunk in chunks) == 12
    assert chunks[-1].finish is not None


async def test_a_silent_grpc_stream_ends_at_the_timeout() -> None:
    """And is cancelled at the provider, so that no thread waits for it."""
    handler = Gemini(1, silence=60)
    async with gemini(handler) as asked, asyncio.timeout(3):
        with pytest.raises(ProviderError) as failed:
            await streamed(asked, SHORT)
        assert failed.value.failure.kind is K.TIMEOUT
        await handler.left.wait()


async def test_a_grpc_stream_that_is_left_is_cancelled() -> None:
    """At once, not at its next piece."""
    handler = Gemini(10_000)
    async with gemini(handler) as asked, asyncio.timeout(3):
        async with aclosing(asked.stream(QUESTION, timeout=PATIENCE)) as chunks:  # type: ignore[type-var]
            async for _ in chunks:
                break
        await handler.left.wait()
