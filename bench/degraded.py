"""The gateway in degraded mode: hits per second from the cache; ten thousand requests that wait, and their way out."""

import asyncio
import json
import resource
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from bench.figures import facts, table
from bench.latency import many
from starter.configuration import demo_config

SERVER = """
import asyncio, sys
from pathlib import Path
from failover.failure import FailureKind
from gateway.process import run
from providers.memory import MemoryClient
from starter.configuration import load
config = load(Path(sys.argv[1])).config
clients = {key: MemoryClient(key) for key in config.providers}

async def obey():
    # "down" or "up", a line each.
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := (await reader.readline()).strip():
        for client in clients.values():
            client.fail_with = FailureKind.SERVER_ERROR if line == b"down" else None
        print("obeyed", flush=True)

async def main():
    obeying = asyncio.create_task(obey())
    await run(config, clients, host="127.0.0.1", port=0, state=Path(sys.argv[2]), token="t",
        ready=lambda url: print(url, flush=True))

asyncio.run(main())
"""

BODY: dict[str, Any] = {"model": "chat", "messages": [{"role": "user", "content": "hello"}]}

QUEUE = {"queue": {"size": 10_000, "timeout": "300s"}}


@dataclass(frozen=True, slots=True)
class Gateway:
    """A gateway in a process of its own, over providers in memory that are up or down as they are told."""

    process: asyncio.subprocess.Process
    http: httpx.AsyncClient

    async def tell(self, word: str) -> None:
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(f"{word}\n".encode())
        await self.process.stdout.readline()

    async def switch(self, degraded: dict[str, Any]) -> None:
        found = await self.http.get("/policies/chat")
        headers = {"Authorization": "Bearer t", "If-Match": found.headers["ETag"]}
        body = {"distribution": found.json()["distribution"], "degraded": degraded, "reason": "bench"}
        (await self.http.put("/policies/chat", json=body, headers=headers)).raise_for_status()

    def memory(self) -> float:
        """Resident, in MB."""
        return int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]) * 4096 / 1e6

    async def figure(self, name: str) -> float:
        lines = (await self.http.get("/metrics")).text.splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith((f"{name}{{", f"{name} ")))


@asynccontextmanager
async def _gateway() -> AsyncIterator[Gateway]:
    with tempfile.TemporaryDirectory() as state:
        command = [sys.executable, "-c", SERVER, str(demo_config()), state]
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe)
        assert process.stdout is not None
        url = (await process.stdout.readline()).decode().strip()
        limits = httpx.Limits(max_connections=64)
        async with httpx.AsyncClient(base_url=url, trust_env=False, limits=limits, timeout=30) as http:
            yield Gateway(process, http)
        process.terminate()
        await process.wait()


async def degraded(count: int, waiting: int) -> None:
    """`count` hits; `waiting` requests at once in the queue."""
    async with _gateway() as gateway:
        await _hits(gateway, count)
        await _queue(gateway, waiting)


async def _hits(gateway: Gateway, count: int) -> None:
    def asking(source: str) -> Callable[[], Awaitable[None]]:
        async def ask() -> None:
            answer = await gateway.http.post("/v1/chat/completions", json=BODY)
            assert answer.headers["X-Failover-Source"] == source

        return ask

    await many(asking("live"), 200, 8)  # warm, and remembered
    live = await many(asking("live"), count, 1)
    await gateway.switch({"cache": {"ttl": "2h"}})
    fresh = await many(asking("cache"), count, 1)
    began = time.perf_counter()
    hits = sum(await asyncio.gather(*(_hammer(gateway, count // 4) for _ in range(32))))
    rate = hits / (time.perf_counter() - began)
    await gateway.switch({"cache": {"ttl": "1ms", "serve_stale": True}, "queue": QUEUE["queue"]})
    await gateway.tell("down")
    stale = await many(asking("stale"), count, 1)
    rows = [
        ("a provider in memory, concurrency 1", live),
        ("fresh from the cache, concurrency 1", fresh),
        ("stale, every provider down, concurrency 1", stale),
    ]
    table("Degraded service: answers from the cache (the asking client's own time included)", rows, "ms")
    facts("", ("", "hits a second"), [("32 connections, bare sockets", f"{rate:.0f}")])


async def _hammer(gateway: Gateway, count: int) -> int:
    """One connection, one question after the other; → how many were answered from the cache."""
    url = gateway.http.base_url
    reader, writer = await asyncio.open_connection(url.host, url.port)
    hits = 0
    for _ in range(count):
        writer.write(_request(json.dumps(BODY).encode()))
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        await reader.readexactly(int(head.split(b"content-length: ")[1].split(b"\r")[0]))
        hits += b"x-failover-source: cache" in head
    writer.close()
    return hits


async def _queue(gateway: Gateway, waiting: int) -> None:
    """Each on a connection of its own, by bare sockets, so that the asking side is not what is measured."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    waiting = min(waiting, hard - 500)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, waiting + 500)), hard))
    await gateway.tell("down")
    await gateway.switch(QUEUE)
    before = gateway.memory()
    began = time.perf_counter()
    connections = [await _send(gateway, number) for number in range(waiting)]
    while await gateway.figure("failover_queue_length") < waiting:
        await asyncio.sleep(0.2)
    joined, held = time.perf_counter() - began, gateway.memory()
    size = await gateway.figure("failover_queue_bytes")
    await gateway.tell("up")
    began = time.perf_counter()
    await gateway.switch(QUEUE)  # a change of the policy is new hope, as it is when an emergency finds somebody back
    statuses = await asyncio.gather(*(_status(reader) for reader, _ in connections))
    drained = time.perf_counter() - began
    for _, writer in connections:
        writer.close()
    answered = statuses.count(b"200")
    rows = [
        ("answered", f"{answered:,} of {waiting:,}"),
        ("all had joined after", f"{joined:.1f} s"),
        ("memory before", f"{before:.0f} MB"),
        ("memory while they wait", f"{held:.0f} MB"),
        ("memory each", f"{1000 * (held - before) / waiting:.1f} kB"),
        ("bytes of bodies", f"{size / 1e6:.1f} MB"),
        ("drained after", f"{drained:.1f} s"),
        ("drained a second", f"{waiting / drained:.0f}"),
    ]
    facts(
        f"Degraded service: {waiting:,} requests wait, then a provider without a declared rate is back", ("", ""), rows
    )


async def _send(gateway: Gateway, number: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    url = gateway.http.base_url
    reader, writer = await asyncio.open_connection(url.host, url.port)
    body = f'{{"model": "chat", "messages": [{{"role": "user", "content": "question {number}"}}]}}'.encode()
    writer.write(_request(body))
    return reader, writer


def _request(body: bytes) -> bytes:
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: gateway\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


async def _status(reader: asyncio.StreamReader) -> bytes:
    return (await reader.readline()).split()[1]
