"""A whole stack under traffic, scraped by a real Prometheus that has our rules."""

import asyncio
import gzip
import io
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from temporalio.client import Client

from gateway.process import listening
from starter.cli import run
from starter.connection import connect
from starter.demo.users import Users
from starter.embedded.stack import ANY_PORTS, RunningStack, StackPlan, running
from starter.ports import free_port
from starter.settings import Settings
from tests.starter.conftest import Done

ROOT = Path(__file__).parents[2]

RULES = ROOT / "deploy" / "prometheus" / "failover.rules.yaml"

ALERT_TOKEN = "the-token-of-alertmanager"

PATIENCE = 90
"""Seconds; the machine may be busy."""

CONFIG = """
providers:
  bedrock: {kind: bedrock, model: m, region: r, endpoint: simulator}
  google: {kind: vertex, model: m, project: p, region: r, endpoint: simulator}
  meta: {kind: llama, model: m, endpoint: simulator}
routes: {chat: {distribution: {bedrock: 70, google: 20, meta: 10}, failback: off, targets: {response_time: 4s}}}
failover_chains: {bedrock: [google, meta], google: [bedrock, meta], meta: [bedrock, google]}
detection:
  schedule_interval: 5s
  probe: {cadence: 500ms, timeout: 5s}
  server_errors: {window: 3s, percent: 5, minimum_tries: 20}
  accuracy: {enabled: false}
procedures: {immediate: {validate_interval: 500ms, verify_timeout: 5s}}
emergency: {watch_interval: 1s}
gateway: {try_timeout: 5s, request_timeout: 12s}
"""


def program(name: str) -> str:
    """One of Debian's. Where it is not installed the test is skipped, except in CI."""
    found = shutil.which(name)
    if found is None:
        why = f"{name} is not installed (Debian: apt-get install prometheus)"
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(why)
    return str(found)


async def command(*argv: str, **environ: str) -> Done:
    """A command of failoverctl, to its end, with these variables set."""
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        for name, value in environ.items():
            patch.setenv(name, value)
        code = await asyncio.to_thread(run, argv)
    return Done(code=code, out=out.getvalue(), err=err.getvalue())


@dataclass(frozen=True, slots=True, kw_only=True)
class Scraped:
    """The stack, and the Prometheus that scrapes it."""

    stack: RunningStack
    client: Client
    prometheus: httpx.AsyncClient

    async def ask(self, query: str) -> list[dict[str, Any]]:
        """An instant query → its samples."""
        answer = await self.prometheus.get("/api/v1/query", params={"query": query})
        told = answer.json()
        assert told["status"] == "success", f"{query}: {told}"
        found: list[dict[str, Any]] = told["data"]["result"]
        return found

    async def heal(self) -> None:
        """No fault, everybody known to be well, and no run under way."""
        async with httpx.AsyncClient(trust_env=False) as http:
            await http.delete(f"{self.stack.addresses.simulator}/faults")
        async for left in self.client.list_workflows('ExecutionStatus = "Running" AND WorkflowType != "HealthCheck"'):
            await self.client.get_workflow_handle(left.id).cancel()
        await self.until('count(failover_provider_health{health="healthy"} == 1) == 3')
        await self.until("sum(failover_runs_open) == 0")

    async def until(self, query: str) -> list[dict[str, Any]]:
        """Until the query has an answer."""
        async with asyncio.timeout(PATIENCE):
            while not (found := await self.ask(query)):
                await asyncio.sleep(0.2)
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """One span as the collector got it; ids are in hexadecimal, `parent` is "" for a root."""

    service: str
    name: str
    trace: str
    id: str
    parent: str
    attributes: dict[str, str]


@dataclass
class Collector:
    """An OpenTelemetry collector's HTTP door: decodes what the exporters send."""

    url: str = ""
    spans: list[Span] = field(default_factory=list)
    raw: list[bytes] = field(default_factory=list)

    async def take(self, request: Request) -> Response:
        body = await request.body()
        if request.headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        self.raw.append(body)
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            named = {one.key: one.value.string_value for one in resource.resource.attributes}
            for scope in resource.scope_spans:
                self.spans += [_span(named["service.name"], span) for span in scope.spans]
        return Response(ExportTraceServiceResponse().SerializeToString(), media_type="application/x-protobuf")


def _span(service: str, span: Any) -> Span:
    return Span(
        service=service,
        name=span.name,
        trace=span.trace_id.hex(),
        id=span.span_id.hex(),
        parent=span.parent_span_id.hex(),
        attributes={one.key: str(one.value) for one in span.attributes},
    )


@pytest.fixture(scope="module")
async def collector() -> AsyncIterator[Collector]:
    taking = Collector()
    app = Starlette(routes=[Route("/v1/traces", taking.take, methods=["POST"])])
    async with listening(app, "127.0.0.1", 0) as url:
        taking.url = url
        yield taking


@pytest.fixture(scope="module")
async def scraped(
    tmp_path_factory: pytest.TempPathFactory, temporal_cli: Path, collector: Collector
) -> AsyncIterator[Scraped]:
    home = tmp_path_factory.mktemp("scraped")
    (home / "failover.yaml").write_text(CONFIG)
    plan = StackPlan(
        config=home / "failover.yaml",
        state=home / "state",
        durable=True,
        cli=temporal_cli,
        ports=ANY_PORTS,
        webhooks=True,
    )
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "FAILOVER_CACHE") if name in os.environ}
    kept |= {
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
        "OTEL_BSP_SCHEDULE_DELAY": "200",
        "ALERTMANAGER_WEBHOOK_TOKEN": ALERT_TOKEN,
    }
    settings = Settings.from_env(kept)
    async with AsyncExitStack() as held:
        stack = await held.enter_async_context(running(plan, settings, print))
        users = Users(stack.addresses.gateway + "/v1", "chat", rate=20)
        await held.enter_async_context(users.coming())
        url = await _prometheus(stack, home, held)
        http = await held.enter_async_context(httpx.AsyncClient(base_url=url, trust_env=False))
        yield Scraped(stack=stack, client=await connect(settings, stack.as_found()), prometheus=http)


async def _prometheus(stack: RunningStack, home: Path, held: AsyncExitStack) -> str:
    told = stack.addresses
    parts = {"worker": told.worker, "gateway": told.gateway, "webhooks": told.webhooks or ""}
    jobs = "\n".join(
        f'  - {{job_name: {name}, static_configs: [{{targets: ["{url.removeprefix("http://")}"]}}]}}'
        for name, url in parts.items()
    )
    config = home / "prometheus.yaml"
    config.write_text(
        f"global: {{scrape_interval: 1s, evaluation_interval: 1s}}\nrule_files: [{RULES}]\nscrape_configs:\n{jobs}\n"
    )
    port = free_port()
    with (home / "prometheus.log").open("wb") as log:
        child = await asyncio.create_subprocess_exec(
            *(program("prometheus"), f"--config.file={config}", f"--storage.tsdb.path={home / 'tsdb'}"),
            f"--web.listen-address=127.0.0.1:{port}",
            stdout=log,
            stderr=log,
        )
    held.push_async_callback(_end, child)
    url = f"http://127.0.0.1:{port}"
    async with httpx.AsyncClient(trust_env=False) as http, asyncio.timeout(PATIENCE):
        while not await _ready(http, f"{url}/-/ready"):
            assert child.returncode is None, (home / "prometheus.log").read_text()
            await asyncio.sleep(0.1)
    return url


async def _ready(http: httpx.AsyncClient, url: str) -> bool:
    try:
        return (await http.get(url)).status_code == 200
    except httpx.HTTPError:
        return False


async def _end(child: asyncio.subprocess.Process) -> None:
    if child.returncode is None:
        child.terminate()
    await child.wait()
