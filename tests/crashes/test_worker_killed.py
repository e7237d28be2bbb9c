"""kill -9 of the worker around any activity, and of Temporal itself: the same final policy, written once."""

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from temporalio.client import Client

from activities.runs import TASK_TIMEOUT
from failover.incident import Outcome
from failover.requests import RunResult
from gateway.app import create_app
from gateway.counters import utc_now
from gateway.process import listening
from gateway.store import FileStore
from providers.memory import MemoryClient
from starter.stack import demo_config, load
from starter.temporal_server import start_dev_server

TOKEN = "test-token"
SCRIPT = Path(__file__).with_name("mortal_worker.py")

ACTIVITIES = [
    "traffic.brief",
    "probe.candidates",
    "traffic.apply",
    "traffic.verify",
    "validate.sample",
    "notify.post",
    "validate.impact",
    "evidence.keep",
]


class Bench:
    """A gateway here, workers as processes of their own."""

    def __init__(self, gateway: str, store: FileStore, temporal: str, state: Path, queue: str) -> None:
        self.store = store
        self._state = state
        self._arguments = [temporal, gateway, TOKEN, queue, str(demo_config()), str(state)]

    @contextlib.asynccontextmanager
    async def worker(self, *death: str) -> AsyncIterator[asyncio.subprocess.Process]:
        log = (self._state / "worker.log").open("ab")
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, str(SCRIPT), *self._arguments, *death),
            stdout=asyncio.subprocess.PIPE,
            stderr=log,
            cwd=Path.cwd(),
            env={"PYTHONPATH": str(Path.cwd()), "PATH": ""},
        )
        try:
            assert process.stdout is not None
            assert await asyncio.wait_for(process.stdout.readline(), 30) == b"polling\n", "see worker.log"
            yield process
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
            log.close()


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[tuple[str, FileStore]]:
    config = load(demo_config()).config
    initial = {name: route.distribution for name, route in config.routes.items()}
    store = FileStore.open(tmp_path / "policies.json", initial, utc_now)
    app = create_app(config, {key: MemoryClient(key) for key in config.providers}, store, token=TOKEN)
    async with listening(app, "127.0.0.1", 0) as url:
        yield url, store


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("activity", ACTIVITIES)
async def test_a_worker_killed_around_any_activity_ends_in_the_same_policy(
    activity: str,
    moment: str,
    gateway: tuple[str, FileStore],
    dev_server: "object",
    temporal_client: Client,
    tmp_path: Path,
    task_queue: str,
) -> None:
    """The target, written once: never another, never twice, whatever was in flight."""
    url, store = gateway
    address = dev_server.address  # type: ignore[attr-defined]
    bench = Bench(url, store, address, tmp_path, task_queue)
    async with bench.worker(activity, moment) as doomed:
        run = await temporal_client.start_workflow(
            "ImmediateFailover",
            {"failed_provider": "bedrock"},
            id=task_queue,
            task_queue=task_queue,
            task_timeout=TASK_TIMEOUT,
            result_type=RunResult,
        )
        await asyncio.wait_for(doomed.wait(), 30)
    assert (tmp_path / "struck").exists()
    async with bench.worker():
        result = await asyncio.wait_for(run.result(), 60)
    assert result.outcome is Outcome.COMPLETED
    policy = store.policy("chat")
    assert policy.distribution == {"bedrock": 0, "google": 9000, "meta": 1000}
    assert policy.revision.number == 2


async def test_temporal_killed_in_mid_run_ends_in_the_same_policy(
    gateway: tuple[str, FileStore], temporal_cli: Path, tmp_path: Path, task_queue: str
) -> None:
    """With a database file, the run goes on where it was once the server is back."""
    from workflows.payloads import data_converter

    url, store = gateway
    log, database = tmp_path / "temporal.log", tmp_path / "temporal.db"
    server = await start_dev_server(temporal_cli, ui_port=None, db=database, log=log)
    port = int(server.address.rpartition(":")[2])
    bench = Bench(url, store, server.address, tmp_path, task_queue)
    async with bench.worker():
        client = await Client.connect(server.address, data_converter=data_converter)
        run = await client.start_workflow(
            "ImmediateFailover",
            {"failed_provider": "bedrock"},
            id=task_queue,
            task_queue=task_queue,
            task_timeout=TASK_TIMEOUT,
        )
        async with asyncio.timeout(20):
            while store.policy("chat").revision.number == 1:
                await asyncio.sleep(0.01)
        server.child.process.kill()
        await server.child.process.wait()
        server = await start_dev_server(temporal_cli, port=port, ui_port=None, db=database, log=log)
        client = await Client.connect(server.address, data_converter=data_converter)
        result = await asyncio.wait_for(client.get_workflow_handle(run.id, result_type=RunResult).result(), 60)
    await server.stop()
    assert result.outcome is Outcome.COMPLETED
    assert store.policy("chat").distribution["bedrock"] == 0
    assert store.policy("chat").revision.number == 2
