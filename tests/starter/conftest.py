"""An operator's desk: failoverctl before a real Temporal server, a real gateway with users, and a worker."""

import asyncio
import io
import json
import os
import random
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from temporalio.client import Client

from activities.board import VerdictBoard
from activities.evidence import EvidenceStore
from activities.notifiers.memory import MemoryNotifier
from failover.config_file import parse
from failover.distribution import render
from failover.policy import Change, ChangedBy, TrafficPolicy
from gateway.app import create_app
from gateway.counters import utc_now
from gateway.process import listening
from gateway.store import FileStore
from providers.memory import MemoryClient
from starter import worker_parts as composition
from starter.cli import run
from starter.embedded.temporal_server import start_dev_server
from starter.search_attributes import register_search_attributes
from traffic.gateway import GatewayPlane
from workflows.payloads import data_converter

ROOT = Path(__file__).parents[2]

TOKEN = "the-token"

CONFIG = """
providers:
  bedrock: {kind: bedrock, model: m, region: r}
  google: {kind: vertex, model: m, project: p, region: r}
  meta: {kind: llama, model: m}
routes:
  chat: {distribution: {bedrock: 70, google: 20, meta: 10}, failback: off}
failover_chains: {bedrock: [google, meta], google: [bedrock, meta], meta: [bedrock, google]}
procedures:
  immediate: {verify_timeout: 2s, validate_interval: 100ms, validate_timeout: 30s, abort_timeout: 40s}
  gating: {sample_interval: 100ms, window: 1s, minimum_requests: 1, ask_deadline: 10m}
  canary: {initial_hold: 300ms, step_hold: 200ms, percents: [50, 100], manual_deadline: 10m}
  gradual: {settle: 0, monitor: 200ms, minimum_step: 100ms}
  failback: {recovery_watch: 300ms, watch_interval: 100ms, step_hold: 200ms, percents: [50, 100]}
emergency: {watch_interval: 500ms}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """What a command left: its exit code, its answer, its remarks."""

    code: int
    out: str
    err: str

    @property
    def data(self) -> Any:
        """What `--json` told, out of its envelope."""
        envelope = json.loads(self.out)
        assert set(envelope) == {"version", "kind", "data"} and envelope["version"] == 1
        return envelope["data"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """Where the operator sits. `store` is the gateway's own, `providers` what is behind it."""

    home: Path
    environ: dict[str, str]
    client: Client
    store: FileStore
    plane: GatewayPlane
    providers: dict[str, MemoryClient]
    evidence: EvidenceStore
    started: list[asyncio.subprocess.Process] = field(default_factory=list)

    async def begin(self, *argv: str, **environ: str) -> asyncio.subprocess.Process:
        """The same as a process of its own."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "starter", *argv),
            cwd=self.home,
            env=self.environ | environ,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        self.started.append(process)
        return process

    async def ctl(self, *argv: str, **environ: str) -> Done:
        """A command of failoverctl, to its end; in a thread of this process, whose environment is the desk's."""
        out, err = io.StringIO(), io.StringIO()
        with redirect_stdout(out), redirect_stderr(err), _set(environ):
            code = await asyncio.wait_for(asyncio.to_thread(run, argv), 90)
        return Done(code=code, out=out.getvalue(), err=err.getvalue())

    async def policy(self) -> TrafficPolicy:
        return (await self.plane.read(["chat"]))[0]

    async def shares(self) -> str:
        return render((await self.policy()).distribution)

    async def interfere(self, **shares: float) -> None:
        """Somebody else sets the route by hand."""
        policy = await self.policy()
        change = Change(
            route="chat",
            decided_on=policy.revision,
            key=f"by-hand/{policy.revision}",
            distribution={name: round(share * 100) for name, share in shares.items()},
            changed_by=ChangedBy(actor="mallory"),
            reason="by hand",
        )
        [result] = await self.plane.apply([change])
        assert result.in_force, result.reason

    async def status(self, run: str) -> Any:
        return await self.client.get_workflow_handle(run).query("status")

    async def until(self, run: str, good: Callable[[Any], bool]) -> Any:
        """Until the run's status is so; the last one."""
        async with asyncio.timeout(30):
            while not good(status := await self.status(run)):
                await asyncio.sleep(0.05)
        return status


@pytest.fixture(scope="module")
async def desk_server(temporal_cli: Path, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Client]:
    """A server of a file's own: failoverctl's run ids and task queue are always the same."""
    log = tmp_path_factory.mktemp("desk") / "server.log"
    server = await start_dev_server(temporal_cli, ui_port=None, db=None, log=log)
    client = await Client.connect(server.address, data_converter=data_converter)
    await register_search_attributes(client)
    yield client
    await server.stop()


@pytest.fixture
async def desk(desk_server: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Desk]:
    """Everything up, users on the route, and a worker over all of it; no run is left open."""
    async with _desk(desk_server, tmp_path, monkeypatch) as found:
        parts = composition.Parts(
            config=parse(CONFIG, "desk.yaml").config,
            clients=dict(found.providers),
            plane=found.plane,
            notifier=MemoryNotifier(),
            evidence=found.evidence,
            board=VerdictBoard(),
        )
        async with composition.build_worker(desk_server, parts):
            yield found


@pytest.fixture
async def desk_without_worker(
    desk_server: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Desk]:
    """The same, and nobody works."""
    async with _desk(desk_server, tmp_path, monkeypatch) as found:
        yield found


@asynccontextmanager
async def _desk(client: Client, home: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Desk]:
    config = parse(CONFIG, "desk.yaml").config
    (home / "failover.yaml").write_text(CONFIG)
    providers = {key: MemoryClient(key, text="PONG") for key in config.providers}
    store = FileStore.open(home / "policies.json", {"chat": config.routes["chat"].distribution}, utc_now)
    app = create_app(config, providers, store, token=TOKEN, rng=random.Random(7))
    async with listening(app, "127.0.0.1", 0) as url:
        plane = GatewayPlane(url, token=TOKEN)
        users = asyncio.create_task(_users(url))
        environ = _environ(client, url, home)
        for name in {*os.environ, *environ}:
            if name.startswith(("FAILOVER_", "TEMPORAL_")):
                monkeypatch.delenv(name, raising=False)
        for name, value in environ.items():
            monkeypatch.setenv(name, value)
        desk = Desk(
            home=home,
            environ=environ,
            client=client,
            store=store,
            plane=plane,
            providers=providers,
            evidence=EvidenceStore(home / "state" / "incidents"),
        )
        try:
            yield desk
        finally:
            await _end(desk)
            users.cancel()
            await asyncio.gather(users, return_exceptions=True)
            await plane.aclose()


@contextmanager
def _set(environ: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in environ}
    os.environ.update(environ)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _environ(client: Client, url: str, home: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("FAILOVER_", "TEMPORAL_"))}
    return kept | {
        "PYTHONPATH": str(ROOT),
        "TEMPORAL_ADDRESS": client.service_client.config.target_host,
        "FAILOVER_GATEWAY_URL": url,
        "FAILOVER_API_TOKEN": TOKEN,
        "FAILOVER_CONFIG": str(home / "failover.yaml"),
        "FAILOVER_STATE": str(home / "state"),
    }


async def _users(url: str) -> None:
    question = {"model": "chat", "messages": [{"role": "user", "content": "hello"}]}
    async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=10) as http:
        while True:
            await http.post("/v1/chat/completions", json=question)
            await asyncio.sleep(0.01)


async def _end(desk: Desk) -> None:
    for process in desk.started:
        if process.returncode is None:
            process.kill()
            await process.wait()
    async for left in desk.client.list_workflows('ExecutionStatus = "Running"'):
        await desk.client.get_workflow_handle(left.id).terminate("the test is over")
