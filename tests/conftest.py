"""What every test may ask for: real Temporal servers, a real Redis, a worker over adapters in memory."""

import asyncio
import os
import shutil
import sys
import uuid
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import hypothesis
import pytest
from temporalio.client import Client
from temporalio.testing import WorkflowEnvironment

from activities.board import VerdictBoard
from activities.evidence import EvidenceStore
from activities.notifiers.memory import MemoryNotifier
from failover.config.follow_up import FollowUp
from providers.memory import MemoryClient
from starter import worker_parts as composition
from starter.configuration import demo_config, load
from starter.embedded.temporal_server import DevServer, find_cli, find_test_server, start_dev_server, time_skipping
from starter.ports import free_port
from starter.search_attributes import register_search_attributes
from starter.settings import Settings
from traffic.memory import MemoryPlane
from workflows.payloads import data_converter

_SETTINGS = Settings.from_env(os.environ)

# How long one example takes says more about the machine than about the code.
hypothesis.settings.register_profile("patient", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("patient")


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config: pytest.Config) -> None:
    """Leave at once: the SDK's Rust core can abort in interpreter finalisation, and the exit code must be pytest's own."""
    status = getattr(config, "_failover_exit_status", None)
    if status is not None:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    session.config._failover_exit_status = int(exitstatus)  # type: ignore[attr-defined]


@pytest.fixture(scope="session")
def temporal_cli() -> Path:
    """The `temporal` command."""
    return find_cli(_SETTINGS.cache_directory(), print)


@pytest.fixture(scope="session")
async def dev_server(temporal_cli: Path, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[DevServer]:
    """One real server in memory, for every test that brings its own ids and task queue."""
    log = tmp_path_factory.mktemp("temporal") / "server.log"
    server = await start_dev_server(temporal_cli, ui_port=None, db=None, log=log)
    yield server
    await server.stop()


@pytest.fixture(scope="session")
async def temporal_client(dev_server: DevServer) -> Client:
    """Connected, with our converter and search attributes."""
    client = await Client.connect(dev_server.address, data_converter=data_converter)
    await register_search_attributes(client)
    return client


@pytest.fixture
async def time_skipping_env() -> AsyncIterator[WorkflowEnvironment]:
    """A server whose clock leaps from timer to timer; one a test, since the clock is global."""
    server = await asyncio.to_thread(find_test_server, _SETTINGS.cache_directory(), print)
    async with time_skipping(server, data_converter=data_converter) as environment:
        await register_search_attributes(environment.client)
        yield environment


@pytest.fixture
def task_queue(request: pytest.FixtureRequest) -> str:
    """A queue of the test's own."""
    return f"{request.node.name[:60]}-{uuid.uuid4().hex[:8]}"


@pytest.fixture(scope="session")
async def redis_url(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    """A real Redis on a free port. Where none is installed the test is skipped, except in CI."""
    server = shutil.which("redis-server")
    if server is None:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)("redis-server is not installed")
    port = free_port()
    directory = tmp_path_factory.mktemp("redis")
    process = await asyncio.create_subprocess_exec(
        *(str(server), "--port", str(port), "--bind", "127.0.0.1", "--dir", str(directory)),
        stdout=asyncio.subprocess.DEVNULL,
    )
    async with asyncio.timeout(10):
        while not await _listens(port):
            await asyncio.sleep(0.02)
    yield f"redis://127.0.0.1:{port}/0"
    process.terminate()
    await process.wait()


async def _listens(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    await writer.wait_closed()
    return True


MakeParts = Callable[..., composition.Parts]


@pytest.fixture
def make_parts(tmp_path: Path) -> MakeParts:
    """Parts of a worker over adapters in memory, with the demo's configuration changed as told."""

    def make(**changes: object) -> composition.Parts:
        # A follow-up outlives the run that it follows by weeks: tests that are about something else begin none.
        update = {"follow_up": FollowUp(enabled=False), **changes}
        config = load(demo_config()).config.model_copy(update=update)
        return composition.Parts(
            config=config,
            clients={key: MemoryClient(key) for key in config.providers},
            plane=MemoryPlane({name: route.distribution for name, route in config.routes.items()}),
            notifier=MemoryNotifier(),
            evidence=EvidenceStore(tmp_path / "incidents"),
            board=VerdictBoard(),
        )

    return make


@pytest.fixture
def parts(make_parts: MakeParts) -> composition.Parts:
    return make_parts()


@pytest.fixture
async def failover_worker(temporal_client: Client, parts: composition.Parts, task_queue: str) -> AsyncIterator[str]:
    """A worker over adapters in memory; → its task queue."""
    async with composition.build_worker(temporal_client, parts, task_queue=task_queue):
        yield task_queue
