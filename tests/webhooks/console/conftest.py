"""The console of a real webhook server, a real Temporal of its own (a page shows every run there is), a real Chromium."""

import asyncio
import contextlib
import os
import re
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.async_api import Browser, BrowserContext, Page, async_playwright
from temporalio.client import Client
from temporalio.service import RPCError

from failover.health import Condition, Verdict
from failover.roles import hashed
from starter.embedded.temporal_server import start_dev_server
from starter.search_attributes import register_search_attributes
from tests.webhooks.conftest import PATIENCE, MakeServer, Server
from workflows.payloads import data_converter

OPERATORS = {
    name: {"roles": [role], "token": hashed(f"{name}'s token")}
    for name, role in {"vera": "view", "stan": "start", "anna": "approve", "olga": "override"}.items()
}

HOSTILE = "<img src=x onerror=\"document.title='taken'\"><script>document.title='taken'</script>"
"""What an attacker would write wherever words of others are shown."""


@pytest.fixture(scope="session")
async def temporal_client(temporal_cli: Path, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Client]:
    """Of a server that only these tests use."""
    log = tmp_path_factory.mktemp("temporal") / "server.log"
    server = await start_dev_server(temporal_cli, ui_port=None, db=None, log=log)
    client = await Client.connect(server.address, data_converter=data_converter)
    await register_search_attributes(client)
    yield client
    await server.stop()


def verdict(
    provider: str, condition: Condition = Condition.HEALTHY, reason: str = "the last probe was good"
) -> Verdict:
    return Verdict(provider=provider, condition=condition, reason=reason, at=datetime.now(UTC))


@asynccontextmanager
async def logged_in(server: Server, name: str) -> AsyncIterator[httpx.AsyncClient]:
    """A client with the session of an operator; it follows no redirects."""
    async with httpx.AsyncClient(base_url=server.url, trust_env=False, timeout=30) as client:
        told = await client.post("/console/login", data={"token": f"{name}'s token"})
        assert told.status_code == 303, told.text
        yield client


@pytest.fixture(autouse=True)
async def alone(temporal_client: Client) -> None:
    """The pages speak of every open run: those that other tests left without a worker would each be waited for."""
    async for run in temporal_client.list_workflows('ExecutionStatus = "Running"'):
        with contextlib.suppress(RPCError):
            await temporal_client.get_workflow_handle(run.id, run_id=run.run_id).terminate("left by another test")


async def showing(client: httpx.AsyncClient, text: str) -> str:
    """The first page, once that is on it: a run on a busy machine may tell nothing for a moment."""
    async with asyncio.timeout(PATIENCE.total_seconds()):
        while text not in (page := (await client.get("/console/")).text):
            await asyncio.sleep(0.1)
    return page


class Scene:
    """A console, with a ramp that can be made to wait for an approval."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.ramp = f"gradual/{server.names.chat}"

    def well(self) -> None:
        for name in self.server.config.providers:
            self.server.board.post(verdict(name))

    async def begin(self, reason: str = "", **changes: Any) -> dict[str, Any]:
        """→ the approval that the ramp asks for."""
        request = {
            "route": self.server.names.chat,
            "failed_provider": self.server.names.bedrock,
            "approvals": {"points": ["first_shift"], "deadline": "120s"},
            "reason": reason,
            **changes,
        }
        run = await self.server.client.start_workflow(
            "GradualFailover", request, id=self.ramp, task_queue=self.server.task_queue
        )
        async with asyncio.timeout(PATIENCE.total_seconds()):
            while not (asked := (await run.query("status"))["details"].get("approval")):
                await asyncio.sleep(0.05)
        found: dict[str, Any] = asked
        # A page shows what Temporal lists, which comes a little later.
        async with asyncio.timeout(PATIENCE.total_seconds()):
            while not await self.server.runs(self.ramp):
                await asyncio.sleep(0.05)
        return found

    async def outcome(self) -> str:
        result = await self.server.run(self.ramp).result()
        outcome: str = result["outcome"]
        return outcome


@pytest.fixture
async def scene(make_server: MakeServer) -> AsyncIterator[Scene]:
    """Serving and working, everything well."""
    server = make_server(
        access={"operators": OPERATORS},
        detection={"enabled": False},
        console={"refresh": "200ms"},
    )
    async with server.serving(), server.working():
        found = Scene(server)
        found.well()
        yield found


def proof_of(page: str) -> str:
    """The proof that a page puts into its forms."""
    found = re.search(r'name="proof" value="([0-9a-f]+)"', page)
    assert found is not None, page
    return found[1]


@pytest.fixture(scope="session")
async def chromium() -> AsyncIterator[Browser]:
    """Where none is installed the tests are skipped, except in CI."""
    program = next(
        (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None
    )
    if program is None:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)("chromium is not installed")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        await browser.close()


Open = Callable[..., Any]


class Visit:
    """A page in the browser, and what it complained about."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.complaints: list[str] = []
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("console", lambda said: self.complaints.append(said.text) if said.type == "error" else None)


@pytest.fixture
async def visit(chromium: Browser, scene: Scene) -> AsyncIterator[Open]:
    """Opens the console as an operator; every page must have loaded without a complaint, of the policy for scripts too."""
    opened: list[tuple[BrowserContext, Visit]] = []

    async def open_(name: str, path: str = "/console/", **options: Any) -> Page:
        context = await chromium.new_context(base_url=scene.server.url, **options)
        context.set_default_timeout(PATIENCE.total_seconds() * 1000)
        visited = Visit(await context.new_page())
        opened.append((context, visited))
        await visited.page.goto(path)
        await visited.page.fill("#token", f"{name}'s token")
        await visited.page.press("#token", "Enter")
        await visited.page.wait_for_selector("nav[aria-label=Console]")
        return visited.page

    yield open_
    for context, visited in opened:
        await context.close()
        assert visited.complaints == []
