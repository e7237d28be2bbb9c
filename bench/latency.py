"""What the gateway adds to a call, over a provider in memory: a process of its own, asked from here."""

import asyncio
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path

import httpx

from bench.figures import facts, table
from failover.completion import Completion, Message, Role
from providers.memory import MemoryClient
from starter.configuration import demo_config

SERVER = """
import asyncio, sys
from pathlib import Path
from gateway.process import run
from providers.memory import MemoryClient
from starter.configuration import load
config = load(Path(sys.argv[1])).config
clients = {key: MemoryClient(key) for key in config.providers}
asyncio.run(run(config, clients, host="127.0.0.1", port=0, state=Path(sys.argv[2]), token="t",
    ready=lambda url: print(url, flush=True)))
"""

BODY = {"model": "chat", "messages": [{"role": "user", "content": "hello"}]}


async def latency(count: int) -> None:
    """Added latency at concurrency 1 and 32, requests a second, memory."""
    with tempfile.TemporaryDirectory() as state:
        command = [sys.executable, "-c", SERVER, str(demo_config()), state]
        process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
        assert process.stdout is not None
        url = (await process.stdout.readline()).decode().strip()
        limits = httpx.Limits(max_connections=64)
        async with httpx.AsyncClient(base_url=url, trust_env=False, limits=limits) as http:

            async def through() -> None:
                (await http.post("/v1/chat/completions", json=BODY)).raise_for_status()

            async def bare() -> None:
                (await http.get("/healthz")).raise_for_status()

            client = MemoryClient("bedrock")
            question = Completion(messages=[Message(role=Role.USER, text="hello")])

            async def direct() -> None:
                await client.invoke(question, timeout=timedelta(seconds=1))

            await many(through, 200, 8)  # warm
            one = [await many(call, count, 1) for call in (direct, bare, through)]
            began = time.perf_counter()
            crowd = await many(through, count * 4, 32)
            rate = len(crowd) / (time.perf_counter() - began)
        memory = int(Path(f"/proc/{process.pid}/statm").read_text().split()[1]) * 4096 / 1e6
        process.terminate()
        await process.wait()
    rows = [
        ("direct call, concurrency 1", one[0]),
        ("bare HTTP answer (/healthz), concurrency 1", one[1]),
        ("chat completion, concurrency 1", one[2]),
        ("chat completion, concurrency 32", crowd),
    ]
    table("Gateway: latency over a provider in memory (the asking client's own time included)", rows, "ms")
    facts("", ("", "requests a second", "memory"), [("concurrency 32", f"{rate:.0f}", f"{memory:.0f} MB")])


async def many(call: Callable[[], Awaitable[None]], count: int, at_once: int) -> list[float]:
    """Latencies in ms of `count` calls, `at_once` at a time."""
    taken: list[float] = []

    async def loop(share: int) -> None:
        for _ in range(share):
            began = time.perf_counter()
            await call()
            taken.append(1000 * (time.perf_counter() - began))

    await asyncio.gather(*(loop(count // at_once) for _ in range(at_once)))
    return taken
