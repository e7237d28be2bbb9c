"""The real Prometheus and the real Alertmanager: users' errors at a real gateway become an alert, and that a failover."""

import asyncio
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import httpx
import pytest

from failover.failure import FailureKind
from gateway.app import create_app
from gateway.counters import utc_now
from gateway.process import listening
from gateway.store import FileStore
from starter.ports import free_port
from tests.webhooks.conftest import API_TOKEN, MakeServer, Server
from traffic.gateway import GatewayPlane

HERE = Path(__file__).parent

PATIENCE = 90
"""Seconds: scrapes, evaluation and grouping take a few by themselves, and the machine may be busy."""

pytestmark = pytest.mark.timeout(240)


def program(name: str) -> str:
    """One of Debian's. Where it is not installed the test is skipped, except in CI."""
    found = shutil.which(name)
    if found is None:
        why = f"{name} is not installed (Debian: apt-get install prometheus prometheus-alertmanager)"
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(why)
    return str(found)


@asynccontextmanager
async def process(*command: str, ready: str, log: Path) -> AsyncIterator[None]:
    """Until its own health endpoint answers; ended with the block."""
    with log.open("wb") as output:
        child = await asyncio.create_subprocess_exec(*command, stdout=output, stderr=output)
    try:
        async with httpx.AsyncClient(trust_env=False) as http, asyncio.timeout(PATIENCE):
            while not await _answers(http, ready):
                assert child.returncode is None, log.read_text()
                await asyncio.sleep(0.1)
        yield
    finally:
        if child.returncode is None:
            child.terminate()
        await child.wait()


async def _answers(http: httpx.AsyncClient, url: str) -> bool:
    try:
        return (await http.get(url)).status_code == 200
    except httpx.HTTPError:
        return False


@asynccontextmanager
async def monitoring(gateway: str, webhooks: str, directory: Path) -> AsyncIterator[None]:
    """Prometheus, which scrapes the gateway, and Alertmanager, which tells us."""
    manager, prometheus = free_port(), free_port()
    (directory / "token").write_text("alertmanager-token")
    config = (HERE / "alertmanager.yaml").read_text()
    config = config.replace("TOKEN_FILE", str(directory / "token")).replace("URL", webhooks)
    (directory / "alertmanager.yaml").write_text(config)
    (directory / "prometheus.yaml").write_text(
        f"""
global: {{scrape_interval: 1s, evaluation_interval: 1s}}
rule_files: [{HERE / "rules.yaml"}]
scrape_configs:
  - job_name: gateway
    static_configs: [{{targets: ["{gateway.removeprefix("http://")}"]}}]
alerting:
  alertmanagers:
    - static_configs: [{{targets: ["127.0.0.1:{manager}"]}}]
"""
    )
    async with AsyncExitStack() as running:
        for command, port in (
            (
                (
                    program("prometheus-alertmanager"),
                    f"--config.file={directory / 'alertmanager.yaml'}",
                    f"--storage.path={directory / 'alertmanager'}",
                    f"--web.listen-address=127.0.0.1:{manager}",
                    "--cluster.listen-address=",
                ),
                manager,
            ),
            (
                (
                    program("prometheus"),
                    f"--config.file={directory / 'prometheus.yaml'}",
                    f"--storage.tsdb.path={directory / 'prometheus'}",
                    f"--web.listen-address=127.0.0.1:{prometheus}",
                ),
                prometheus,
            ),
        ):
            ready = f"http://127.0.0.1:{port}/-/ready"
            log = directory / f"{Path(command[0]).name}.log"
            await running.enter_async_context(process(*command, ready=ready, log=log))
        yield


async def users(gateway: str, route: str) -> None:
    """Twenty questions a second, until cancelled."""
    question = {"model": route, "messages": [{"role": "user", "content": "hello"}]}
    async with httpx.AsyncClient(base_url=gateway, trust_env=False) as http:
        while True:
            await http.post("/v1/chat/completions", json=question)
            await asyncio.sleep(0.05)


async def until_moved(store: FileStore, server: Server) -> None:
    async with asyncio.timeout(PATIENCE):
        while store.policy(server.names.chat).distribution.get(server.names.bedrock):
            await asyncio.sleep(0.1)


async def until_told(server: Server, what: str) -> str:
    """Until /metrics counts such an alert of Alertmanager's; → all of it."""
    async with asyncio.timeout(PATIENCE):
        while what not in (text := (await server.http.get("/metrics")).text):
            await asyncio.sleep(0.1)
    return text


async def test_a_real_rule_fires_and_moves_the_traffic(make_server: MakeServer, tmp_path: Path) -> None:
    """Errors of one provider → rule → Alertmanager → one run → the gateway obeys; what is told afterwards changes nothing."""
    server = make_server()
    names, config = server.names, server.config
    store = FileStore.open(
        tmp_path / "policies.json", {name: route.distribution for name, route in config.routes.items()}, utc_now
    )
    async with AsyncExitStack() as held:
        app = create_app(config, server.clients, store, token=API_TOKEN)
        gateway = await held.enter_async_context(listening(app, "127.0.0.1", 0))
        server.data_plane = GatewayPlane(gateway, token=API_TOKEN)
        held.push_async_callback(server.data_plane.aclose)
        await held.enter_async_context(server.serving())
        await held.enter_async_context(server.working())
        await held.enter_async_context(monitoring(gateway, server.url, tmp_path))
        asking = asyncio.create_task(users(gateway, names.chat))
        held.callback(asking.cancel)
        server.clients[names.bedrock].fail_with = FailureKind.SERVER_ERROR

        await until_moved(store, server)
        policy = store.policy(names.chat)
        assert policy.changed_by.workflow_id == server.failover
        assert "alertmanager: LLMProviderServerErrors" in policy.reason
        assert policy.changed_by.actor == "alertmanager alert"
        async with asyncio.timeout(PATIENCE):
            result = await server.run(server.failover).result()
        assert result["outcome"] == "COMPLETED", result
        assert 'failover_webhook_alerts_total{did="started",sender="alertmanager"} 1.0' in await until_told(
            server, 'did="started"'
        )
        # Told again, or told that it is over: nothing is left to be moved, or to be returned.
        await until_told(server, 'did="ignored"')
        assert await server.runs(server.failover) == 1
