"""A gateway here, a route and a worker that can die for every run: what the crash tests share."""

import asyncio
import contextlib
import json
import random
import signal
import sys
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import yaml
from temporalio.client import Client, WorkflowHandle
from temporalio.service import RPCError

from activities.runs import TASK_TIMEOUT
from failover.distribution import Distribution
from failover.driving import Answer
from failover.policy import TrafficPolicy
from failover.requests import RunResult
from gateway.app import create_app
from gateway.counters import utc_now
from gateway.process import listening
from gateway.store import FileStore
from providers.memory import MemoryClient
from starter.configuration import demo_config, load

Run = WorkflowHandle[Any, RunResult]

TOKEN = "test-token"
SCRIPT = Path(__file__).with_name("mortal_worker.py")

FOUND = {"bedrock": 7000, "google": 2000, "meta": 1000}
MOVED = {"bedrock": 0, "google": 9000, "meta": 1000}

SHORT: dict[str, Any] = {
    "immediate": {"validate_interval": "500ms", "verify_timeout": "500ms", "abort_timeout": "3m"},
    "gating": {"sample_interval": "400ms", "window": "4s", "minimum_requests": 1, "ask_deadline": "1m", "errors": 20},
    "canary": {"initial_percent": 50, "initial_hold": "2s", "percents": [100], "step_hold": "2s"},
    "gradual": {"settle": "100ms", "monitor": "2s", "phases": [[35, 45, 20], [0, 70, 30]]},
    "failback": {"recovery_watch": "30m", "watch_interval": "300ms", "percents": [50, 100], "step_hold": "2s"},
}
"""The demo's procedures with still shorter waits; a worker that dies is a monitor error, of which there are many here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lab:
    """One run's own route, queue, worker and state."""

    name: str
    client: Client
    store: FileStore
    state: Path

    @property
    def policy(self) -> TrafficPolicy:
        return self.store.policy(self.name)

    @property
    def struck(self) -> set[str]:
        """Around which activities the worker died, each with its situation before it."""
        return {mark.name for mark in (self.state / "struck").iterdir()}

    async def start(self, procedure: str, request: Mapping[str, Any], *, id: str | None = None) -> Run:
        return await self.client.start_workflow(
            procedure,
            dict(request),
            id=id or f"{self.name}-{self.state.parent.name}",
            task_queue=self.name,
            task_timeout=TASK_TIMEOUT,
            result_type=RunResult,
        )

    def arm(self, situation: str, moment: str = "after") -> None:
        """From now on the worker dies once around each activity."""
        part = self.state / "armed.part"
        part.write_text(f"{situation} {moment}")
        part.replace(self.state / "armed")

    def disarm(self) -> None:
        (self.state / "armed").unlink()

    async def until(self, wanted: Callable[[], bool], patience: float = 150) -> None:
        try:
            async with asyncio.timeout(patience):
                while not wanted():
                    await asyncio.sleep(0.05)
        except TimeoutError:
            raise AssertionError(f"{self.name}: in vain, at {self.policy}, struck {sorted(self.struck)}") from None

    async def until_struck(self, *activities: str) -> None:
        await self.until(lambda: self.struck >= set(activities))


async def order(run: Run, verb: str, **said: Any) -> None:
    answer: Answer = await run.execute_update(verb, {"actor": "alice", **said}, result_type=Answer)
    assert answer.accepted, answer.said


async def asked(run: Run, query: str) -> Any:
    """The answer of a query; a worker that is dead just now is asked again."""
    while True:
        try:
            return await run.query(query, rpc_timeout=timedelta(seconds=5))
        except RPCError:
            await asyncio.sleep(0.1)


async def said(run: Run) -> list[str]:
    return [entry["text"] for entry in await asked(run, "timeline")]


async def details(run: Run) -> dict[str, Any]:
    found: dict[str, Any] = (await asked(run, "status"))["details"]
    return found


async def until_said(run: Run, words: str, patience: float = 150) -> None:
    async with asyncio.timeout(patience):
        while not any(words in text for text in await said(run)):
            await asyncio.sleep(0.2)


async def writes_in_force(runs: Iterable[Run], route: str) -> int:
    """How many writes the runs' own histories know to have been put in force."""
    count = 0
    for run in runs:
        writing = set()
        async for event in run.fetch_history_events():
            scheduled = event.activity_task_scheduled_event_attributes
            if scheduled.activity_type.name == "traffic.apply":
                writing.add(event.event_id)
            done = event.activity_task_completed_event_attributes
            if done.scheduled_event_id in writing:
                results = json.loads(done.result.payloads[0].data)
                count += sum(one["route"] == route and one["status"] in ("applied", "repeated") for one in results)
    return count


def config_file(folder: Path, routes: Sequence[str]) -> Path:
    """The demo's configuration with these routes and shorter waits."""
    told = yaml.safe_load(demo_config().read_text())
    told["routes"] = {name: {"distribution": {"bedrock": 70, "google": 20, "meta": 10}} for name in routes}
    told["default_route"] = routes[0]
    told["procedures"] = SHORT
    told["drills"] = {"routes": [name for name in routes if "drill" in name], "baseline": "1s", "fault_expiry": "3s"}
    told["kpis"] = {name: "5m" for name in ("detection", "immediate_execution", "restoration", "total")}
    told["emergency"] = {"watch_interval": "2s", "update_interval": "1m"}
    path = folder / "failover.yaml"
    path.write_text(yaml.safe_dump(told))
    return path


@contextlib.asynccontextmanager
async def gateway(
    config: Path, folder: Path, initial: Mapping[str, Distribution]
) -> AsyncIterator[tuple[str, FileStore]]:
    """A real one, with users on every route."""
    loaded = load(config).config
    store = FileStore.open(folder / "policies.json", initial, utc_now)
    app = create_app(loaded, {key: MemoryClient(key) for key in loaded.providers}, store, token=TOKEN)
    async with listening(app, "127.0.0.1", 0) as url:
        users = asyncio.create_task(_users(app, list(initial)))
        try:
            yield url, store
        finally:
            users.cancel()


async def _users(app: Any, routes: Sequence[str]) -> None:
    """Somebody on every route, several times a second."""
    transport = httpx.ASGITransport(app=app, client=("127.0.0.1", 1))
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as http:
        while True:
            route = random.choice(routes)
            body = {"model": route, "messages": [{"role": "user", "content": "hello"}]}
            await http.post("/v1/chat/completions", json=body)
            await asyncio.sleep(0.15 / len(routes))


@contextlib.asynccontextmanager
async def mortal_workers(
    temporal: str, url: str, config: Path, state: Path, queues: Sequence[str]
) -> AsyncIterator[asyncio.subprocess.Process]:
    """One a queue, in processes of their own, begun anew whenever they die."""
    for queue in queues:
        (state / queue / "struck").mkdir(parents=True)
    with (state / "workers.log").open("ab") as log:
        nurse = await asyncio.create_subprocess_exec(
            *(sys.executable, str(SCRIPT), temporal, url, TOKEN, str(config), str(state), *queues),
            stdout=log,
            stderr=log,
            cwd=Path.cwd(),
            env={"PYTHONPATH": str(Path.cwd()), "PATH": ""},
        )
        try:
            yield nurse
        finally:
            if nurse.returncode is None:
                nurse.send_signal(signal.SIGTERM)
            await nurse.wait()
        assert nurse.returncode == 0, (state / "workers.log").read_text()[-3000:]
