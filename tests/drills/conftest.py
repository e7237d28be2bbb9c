"""A real gateway with a drill route and users on the others, a real Temporal server, a worker: where drills are tried."""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from temporalio.client import Client, WorkflowHandle

from activities.board import VerdictBoard
from activities.evidence import EvidenceStore
from activities.notifiers.memory import MemoryNotifier
from failover.config import Config
from failover.config_file import parse
from failover.driving import Answer
from failover.incident import RunRecord
from failover.policy import TrafficPolicy
from failover.requests import RunResult
from gateway.app import create_app
from gateway.counters import utc_now
from gateway.process import listening
from gateway.store import FileStore
from providers.memory import MemoryClient
from starter import worker_parts as composition
from traffic.gateway import GatewayPlane

TOKEN = "test-token"

CONFIG = """
providers:
  bedrock: {kind: bedrock, model: m, region: r}
  google: {kind: vertex, model: m, project: p, region: r}
  meta: {kind: llama, model: m}
routes:
  chat: {distribution: {bedrock: 70, google: 20, meta: 10}}
  practice: {distribution: {bedrock: 70, google: 20, meta: 10}}
default_route: chat
failover_chains: {bedrock: [google, meta], google: [bedrock, meta], meta: [bedrock, google]}
detection:
  probe: {cadence: 200ms, timeout: 1s}
  server_errors: {percent: 5, window: 2s, minimum_tries: 20}
  throttling: {percent: 10, window: 2s}
procedures:
  immediate: {verify_timeout: 1s, validate_interval: 200ms, validate_timeout: 2s, abort_timeout: 20s}
gateway: {try_timeout: 1s, request_timeout: 3s}
drills:
  routes: [practice]
  baseline: 1s
  fault_expiry: 2s
  load_per_second: 40
  deadline: 60s
  stop: {p95: 2s, minimum_requests: 10}
"""

FOUND = {"bedrock": 7000, "google": 2000, "meta": 1000}

Run = WorkflowHandle[Any, RunResult]


@dataclass(frozen=True, slots=True, kw_only=True)
class Yard:
    """Where drills are tried."""

    client: Client
    queue: str
    config: Config
    store: FileStore
    providers: dict[str, MemoryClient]
    http: httpx.AsyncClient
    plane: GatewayPlane
    parts: composition.Parts
    notifier: MemoryNotifier
    app: Any

    async def drill(self, *, id: str | None = None, **request: Any) -> Run:
        return await self.client.start_workflow(
            "FailoverDrill",
            {"provider": "bedrock", "requested_by": "anna", **request},
            id=id or f"drill/{self.queue}",
            task_queue=self.queue,
            result_type=RunResult,
        )

    async def failover(self, provider: str = "bedrock", **request: Any) -> Run:
        return await self.client.start_workflow(
            "ImmediateFailover",
            {"failed_provider": provider, **request},
            id=f"failover/{provider}-{self.queue}",
            task_queue=self.queue,
            result_type=RunResult,
        )

    def policy(self, route: str = "practice") -> TrafficPolicy:
        return self.store.policy(route)

    async def faults(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = (await self.http.get("/faults")).json()["faults"]
        return found

    def record(self, result: RunResult) -> RunRecord:
        return self.parts.evidence.load(Path(result.evidence).name)

    @contextlib.asynccontextmanager
    async def users(self, route: str, per_second: float = 40) -> AsyncIterator[None]:
        """Somebody on a route, all the time."""
        transport = httpx.ASGITransport(app=self.app, client=("127.0.0.1", 1))

        async def come() -> None:
            async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as http:
                while True:
                    body = {"model": route, "messages": [{"role": "user", "content": "hello"}]}
                    await http.post("/v1/chat/completions", json=body)
                    await asyncio.sleep(1 / per_second)

        task = asyncio.create_task(come())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def order(run: Run, verb: str, **said: Any) -> Answer:
    answer: Answer = await run.execute_update(verb, {"actor": "alice", **said}, result_type=Answer)
    return answer


async def said(run: Run) -> list[str]:
    return [entry["text"] for entry in await run.query("timeline")]


async def until_said(run: Run, words: str, patience: float = 30) -> None:
    try:
        async with asyncio.timeout(patience):
            while not any(words in text for text in await said(run)):
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise AssertionError(f"{words!r} was never said, but: {await said(run)}") from None


@pytest.fixture
def settings() -> str:
    """The configuration; a module may have its own."""
    return CONFIG


@pytest.fixture
async def gateway_url(
    tmp_path: Path, settings: str
) -> AsyncIterator[tuple[str, Any, FileStore, dict[str, MemoryClient], Config]]:
    config = parse(settings, "drills.yaml").config
    providers = {key: MemoryClient(key) for key in config.providers}
    initial = {name: route.distribution for name, route in config.routes.items()}
    store = FileStore.open(tmp_path / "policies.json", initial, utc_now)
    app = create_app(config, providers, store, token=TOKEN, rng=random.Random(7))
    async with listening(app, "127.0.0.1", 0) as url:
        yield url, app, store, providers, config


@pytest.fixture
async def yard(
    gateway_url: tuple[str, Any, FileStore, dict[str, MemoryClient], Config],
    temporal_client: Client,
    task_queue: str,
    tmp_path: Path,
) -> AsyncIterator[Yard]:
    url, app, store, providers, config = gateway_url
    plane, notifier = GatewayPlane(url, token=TOKEN), MemoryNotifier()
    parts = composition.Parts(
        config=config,
        clients=providers,
        plane=plane,
        notifier=notifier,
        evidence=EvidenceStore(tmp_path / "incidents"),
        board=VerdictBoard(),
        hold=plane,
        drills=plane,
    )
    headers = {"Authorization": f"Bearer {TOKEN}"}
    async with (
        composition.build_worker(temporal_client, parts, task_queue=task_queue),
        httpx.AsyncClient(base_url=url, headers=headers, trust_env=False) as http,
    ):
        yield Yard(
            client=temporal_client,
            queue=task_queue,
            config=config,
            store=store,
            providers=providers,
            http=http,
            plane=plane,
            parts=parts,
            notifier=notifier,
            app=app,
        )
    await plane.aclose()
