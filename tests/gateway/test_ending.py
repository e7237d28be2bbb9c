"""A gateway that is told to end: everybody who has no answer gets an honest one, from a real process."""

import asyncio
import json
import os
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

pytestmark = pytest.mark.timeout(120)

CONFIG = """
providers:
  one: {{kind: openai, model: m, api_key_env: OPENAI_API_KEY, endpoint: "http://127.0.0.1:{port}/v1"}}
  two: {{kind: openai, model: m, api_key_env: OPENAI_API_KEY, endpoint: "http://127.0.0.1:{port}/v1"}}
routes: {{chat: {{distribution: {{one: 50, two: 50}}}}}}
gateway: {{try_timeout: 40s, request_timeout: 60s}}
"""

KEY, TOKEN, PROMPT = "sk-a-key", "a-token", "what-users-write"


@asynccontextmanager
async def mute_provider() -> AsyncIterator[tuple[int, list[bytes]]]:
    """Takes every request, and never answers; → its port, and what it has heard."""
    over, heard = asyncio.Event(), list[bytes]()

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.readline())
        await over.wait()
        writer.close()

    server = await asyncio.start_server(take, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1], heard
    finally:
        over.set()
        server.close()


@asynccontextmanager
async def gateway(home: Path, port: int) -> AsyncIterator[tuple[asyncio.subprocess.Process, httpx.AsyncClient]]:
    """As people run it: `failoverctl gateway`."""
    (home / "c.yaml").write_text(CONFIG.format(port=port))
    argv = ("gateway", "--config", home / "c.yaml", "--state", home / "s", "--port", 0, "--ready-file", home / "ready")
    with (home / "log").open("w") as log:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "starter", *map(str, argv)),
            env=os.environ | {"OPENAI_API_KEY": KEY, "FAILOVER_API_TOKEN": TOKEN},
            stdout=log,
            stderr=log,
        )
    try:
        async with asyncio.timeout(60):
            while not (home / "ready").exists():
                assert process.returncode is None, (home / "log").read_text()
                await asyncio.sleep(0.05)
        url = json.loads((home / "ready").read_text())["url"]
        limits = httpx.Limits(max_connections=None)
        async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=60, limits=limits) as http:
            yield process, http
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def ask(http: httpx.AsyncClient, number: int) -> tuple[int, str, str]:
    """Status, Retry-After and code; every fourth request wants a stream."""
    body = {"model": "chat", "stream": number % 4 == 0, "messages": [{"role": "user", "content": f"{PROMPT} {number}"}]}
    answer = await http.post("/v1/chat/completions", json=body, headers={"Authorization": f"Bearer {number}"})
    return answer.status_code, answer.headers.get("Retry-After", ""), answer.json()["error"]["code"]


async def metric(http: httpx.AsyncClient, name: str) -> float:
    lines = (await http.get("/metrics")).text.splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith(name))


async def queueing(http: httpx.AsyncClient) -> None:
    """Degraded service with a queue, by hand."""
    found = await http.get("/policies/chat")
    change = {
        **{"distribution": {"one": 50, "two": 50}, "reason": "nobody serves", "mode": "degraded"},
        "degraded": {"queue": {"size": 1000, "timeout": "60s"}},
    }
    headers = {"If-Match": found.headers["ETag"], "Authorization": f"Bearer {TOKEN}"}
    assert (await http.put("/policies/chat", json=change, headers=headers)).status_code == 200


@pytest.mark.parametrize(
    ("users", "queue"), [(200, True), (40, False)], ids=["waiting in a queue", "waiting for a try"]
)
async def test_everybody_who_waits_gets_an_honest_answer_when_the_gateway_ends(
    tmp_path: Path, users: int, queue: bool
) -> None:
    """503, in OpenAI's form, with Retry-After: none is cut off, none gets a bare 500; and it ends within its drain.

    Neither keys, tokens nor prompts are in its log.
    """
    async with mute_provider() as (port, heard), gateway(tmp_path, port) as (process, http):
        if queue:
            await queueing(http)
        asked = [asyncio.create_task(ask(http, number)) for number in range(users)]
        async with asyncio.timeout(30):
            while len(heard) + await metric(http, "failover_queue_length") < users:
                await asyncio.sleep(0.1)
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(30):
            answers = Counter(await asyncio.gather(*asked))
            assert answers == {(503, "1", "shutting_down"): users}
            assert await process.wait() == 0
    log = (tmp_path / "log").read_text()
    assert "Traceback" not in log
    assert not [secret for secret in (KEY, TOKEN, PROMPT) if secret in log]
