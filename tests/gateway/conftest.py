"""A real gateway on a free port, over providers in memory."""

import random
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import openai
import pytest

from failover.config import Config
from failover.config_file import parse
from gateway.app import create_app
from gateway.counters import utc_now
from gateway.process import listening
from gateway.store import FileStore
from providers.memory import MemoryClient

TOKEN = "the-token"

CONFIG = """
providers:
  bedrock: {kind: bedrock, model: m, region: r}
  google: {kind: vertex, model: m, project: p, region: r}
  meta: {kind: llama, model: m}
routes:
  chat: {distribution: {bedrock: 70, google: 20, meta: 10}}
  other: {distribution: {meta: 100}}
failover_chains: {bedrock: [google, meta], google: [bedrock, meta], meta: [bedrock, google]}
gateway: {try_timeout: 500ms, request_timeout: 1200ms, max_tries: 3, max_body_bytes: 100000}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gateway:
    """Where it is, what is behind it, and two real clients in front."""

    url: str
    store: FileStore
    providers: dict[str, MemoryClient]
    http: httpx.AsyncClient
    users: openai.AsyncOpenAI
    operator: dict[str, str]

    async def telemetry(self, **query: str) -> dict[str, list[dict[str, object]]]:
        told: dict[str, list[dict[str, object]]] = (await self.http.get("/telemetry", params=query)).json()
        return told

    async def put(self, route: str = "chat", **shares: float) -> httpx.Response:
        etag = (await self.http.get(f"/policies/{route}")).headers["ETag"]
        body = {"distribution": shares, "reason": "a test"}
        return await self.http.put(f"/policies/{route}", json=body, headers={**self.operator, "If-Match": etag})


@pytest.fixture
def config() -> Config:
    return parse(CONFIG, "test.yaml").config


@pytest.fixture
async def gateway(config: Config, tmp_path: Path) -> AsyncIterator[Gateway]:
    providers = {key: MemoryClient(key, text="Hello from memory") for key in config.providers}
    initial = {name: route.distribution for name, route in config.routes.items()}
    store = FileStore.open(tmp_path / "policies.json", initial, utc_now)
    app = create_app(config, providers, store, token=TOKEN, rng=random.Random(7))
    async with listening(app, "127.0.0.1", 0) as url, httpx.AsyncClient(base_url=url, trust_env=False) as http:
        users = openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="x", max_retries=0)
        yield Gateway(
            url=url,
            store=store,
            providers=providers,
            http=http,
            users=users,
            operator={"Authorization": f"Bearer {TOKEN}"},
        )
        await users.close()
