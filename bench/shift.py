"""Request → policy in force, isolated: a dev server with a database file, a worker in this process, a real gateway."""

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from temporalio import activity, workflow
from temporalio.client import Client
from temporalio.runtime import LoggingConfig, Runtime, TelemetryConfig, TelemetryFilter
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from activities.board import VerdictBoard
from activities.evidence import EvidenceStore
from activities.notifiers.memory import MemoryNotifier
from bench.figures import table
from failover.config import Config
from failover.health import Condition, Verdict
from failover.policy import Change, ChangedBy
from failover.requests import RunResult
from gateway.app import create_app
from gateway.counters import utc_now
from gateway.process import listening
from gateway.store import FileStore
from providers.memory import MemoryClient
from starter import worker_parts as composition
from starter.configuration import demo_config, load
from starter.embedded.temporal_server import start_dev_server
from starter.search_attributes import register_search_attributes
from traffic.gateway import GatewayPlane
from workflows.payloads import data_converter

QUEUE = "bench"


@workflow.defn(name="Floor")
class Floor:
    """The least that a workflow with one activity can be."""

    @workflow.run
    async def run(self) -> None:
        await workflow.execute_activity("bench.touch", start_to_close_timeout=timedelta(seconds=5))


class Touch:
    def __init__(self) -> None:
        self.at = 0.0

    @activity.defn(name="bench.touch")
    async def touch(self) -> None:
        self.at = time.perf_counter()


def quiet() -> Runtime:
    """Runs are ended in their middle here, which the SDK would tell in hundreds of lines."""
    filter_ = TelemetryFilter(core_level="ERROR", other_level="ERROR")
    return Runtime(telemetry=TelemetryConfig(logging=LoggingConfig(filter=filter_)))


class Place:
    """Everything that one measurement needs."""

    def __init__(self, client: Client, store: FileStore, board: VerdictBoard, touch: Touch, config: Config) -> None:
        self.client, self.store, self.board, self.touch, self.config = client, store, board, touch, config

    async def put_back(self) -> None:
        """As configured, and everybody known to be healthy."""
        changes = [
            Change(
                route=name,
                decided_on=self.store.policy(name).revision,
                key=f"back-{time.perf_counter_ns()}",
                distribution=route.distribution,
                changed_by=ChangedBy(actor="bench"),
                reason="back",
            )
            for name, route in self.config.routes.items()
        ]
        await self.store.apply(changes)
        for name in self.config.providers:
            self.board.post(Verdict(provider=name, condition=Condition.HEALTHY, reason="bench", at=datetime.now(UTC)))


@asynccontextmanager
async def place(cli: Path, config: Config, *, durable: bool = True) -> AsyncIterator[Place]:
    with tempfile.TemporaryDirectory() as directory:
        state = Path(directory)
        server = await start_dev_server(
            cli, ui_port=None, db=state / "temporal.db" if durable else None, log=state / "temporal.log"
        )
        initial = {name: route.distribution for name, route in config.routes.items()}
        store = FileStore.open(state / "policies.json", initial, utc_now)
        clients = {key: MemoryClient(key) for key in config.providers}
        client = await Client.connect(server.address, data_converter=data_converter, runtime=quiet())
        await register_search_attributes(client)
        board, touch = VerdictBoard(), Touch()
        async with listening(create_app(config, clients, store, token="t"), "127.0.0.1", 0) as url:
            parts = composition.Parts(
                config=config,
                clients=clients,
                plane=GatewayPlane(url, token="t"),
                notifier=MemoryNotifier(),
                evidence=EvidenceStore(state / "incidents"),
                board=board,
            )
            floor = Worker(
                client,
                task_queue="floor",
                workflows=[Floor],
                activities=[touch.touch],
                workflow_runner=UnsandboxedWorkflowRunner(),
            )
            async with composition.build_worker(client, parts, task_queue=QUEUE), floor:
                yield Place(client, store, board, touch, config)
            await parts.plane.aclose()
        await server.stop()


async def floor_once(at: Place, number: int) -> float:
    began = time.perf_counter()
    run = await at.client.start_workflow("Floor", id=f"floor-{number}", task_queue="floor", request_eager_start=True)
    await run.result()
    return 1000 * (at.touch.at - began)


async def shift_once(at: Place, number: int) -> float:
    await at.put_back()
    began = time.perf_counter()
    run = await at.client.start_workflow(
        "ImmediateFailover",
        {"failed_provider": "bedrock", "routes": ["chat"]},
        id=f"shift-{number}",
        task_queue=QUEUE,
        request_eager_start=True,
    )
    while at.store.policy("chat").distribution["bedrock"]:
        await asyncio.sleep(0)
    taken = 1000 * (time.perf_counter() - began)
    await run.terminate()
    return taken


async def shift(cli: Path, count: int) -> None:
    """Time to shift, beside the floor."""
    async with place(cli, load(demo_config()).config) as at:
        for number in range(3):  # warm
            await floor_once(at, -number - 1)
            await shift_once(at, -number - 1)
        rows: tuple[list[float], list[float]] = ([], [])
        for number in range(count):
            rows[0].append(await floor_once(at, number))
            rows[1].append(await shift_once(at, number))
    table(
        "Time to shift: request → policy in force at the gateway (database file, eager start)",
        [("floor: one trivial activity", rows[0]), ("ImmediateFailover", rows[1])],
        "ms",
    )


async def routes(cli: Path) -> None:
    """1, 100 and 1,000 routes off one provider in one run: decision → last route verified."""
    base = load(demo_config()).config
    rows = []
    for count in (1, 100, 1000):
        names = {f"route-{number}": base.routes["chat"] for number in range(count)}
        config = base.model_copy(update={"routes": names, "default_route": None})
        async with place(cli, config) as at:
            taken = [await evacuate(at, number) for number in range(4)][1:]
        rows.append((f"{count} routes", taken))
    table("Every route off one provider in one run: decision → last route verified", rows, "ms")


async def evacuate(at: Place, number: int) -> float:
    await at.put_back()
    run = await at.client.start_workflow(
        "ImmediateFailover",
        {"failed_provider": "bedrock"},
        id=f"all-{number}",
        task_queue=QUEUE,
        request_eager_start=True,
        result_type=RunResult,
    )
    moments = (await run.result()).moments
    assert moments.verified is not None
    return float((moments.verified - moments.decided) / timedelta(milliseconds=1))
