"""The runbook at work: its blocks in bash, on one running stack with users, which is put back before each of them."""

import asyncio
import json
import os
import re
import shutil
import sys
import textwrap
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from temporalio.client import Client

from activities.baselines import PerformanceBaselines
from activities.evidence import EvidenceStore
from failover.baselines import PerformanceBaseline
from failover.distribution import render
from failover.health import Condition, Health
from failover.policy import Change, ChangedBy, Mode, TrafficPolicy
from gateway.process import listening
from starter.configuration import load
from starter.connection import connect
from starter.demo.users import Users
from starter.embedded.stack import ANY_PORTS, RunningStack, StackPlan, running
from starter.parts import EVIDENCE, plane_of
from starter.settings import Settings
from starter.status import verdicts
from traffic.gateway import GatewayPlane

HERE = Path(__file__).parent
ROOT = HERE.parents[1]

FOUND = {"bedrock": 7000, "google": 2000, "meta": 1000}
RATE = 30
CLEAN = timedelta(seconds=3)
"""The longest window of the configuration."""

SHRUNK = [
    ("monitor --canary-mode", "--duration", "4s"),
    ("monitor", "--duration", "2s"),
    ("canary --source", "--duration", "1"),
    ("config set", "--transition-duration", "0.4"),
]
"""Command, option, and what it is in place of the runbook's minutes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """One command of ours within a block, as it was typed: exit code, answer, remarks."""

    command: str
    code: int
    out: str
    err: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """A block that was run: its own exit code, what it printed, its commands in order, and how their runs ended."""

    code: int
    out: str
    commands: Sequence[Said]
    ends: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """The stack, its users, and the means to break, to look and to run."""

    stack: RunningStack
    plane: GatewayPlane
    client: Client
    home: Path
    environ: Mapping[str, str]
    slack: list[dict[str, Any]]

    async def bash(self, script: str, **environ: str) -> Ran:
        """Run it as an operator would, to its end."""
        record = self.home / "record"
        record.unlink(missing_ok=True)
        process = await asyncio.create_subprocess_exec(
            *("bash", "-c", script),
            cwd=self.home,
            env={**self.environ, **environ},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        out, _ = await process.communicate()
        lines = record.read_text().splitlines() if record.exists() else []
        said = [Said(**json.loads(line)) for line in lines]
        store = EvidenceStore(Path(self.stack.addresses.state) / EVIDENCE)
        records = [store.load(folder) for folder in store.list()]
        ends = [f"{record.workflow_id} {record.outcome.value}: {record.reason}" for record in records]
        return Ran(code=process.returncode or 0, out=out.decode(), commands=said, ends=ends)

    async def ctl(self, command: str) -> Said:
        """One command as it stands in the runbook."""
        [said] = (await self.bash(f"tsx quality-gates-cli.ts {command}")).commands
        return said

    async def fault(self, provider: str, kind: str = "server_error", **options: Any) -> None:
        async with httpx.AsyncClient(base_url=self.stack.addresses.simulator or "", trust_env=False) as control:
            answer = await control.put(f"/faults/{provider}", json={"kind": kind, **options})
            assert answer.is_success, answer.text

    async def heal(self) -> None:
        async with httpx.AsyncClient(base_url=self.stack.addresses.simulator or "", trust_env=False) as control:
            await control.delete("/faults")

    async def policy(self) -> TrafficPolicy:
        return (await self.plane.read(["chat"]))[0]

    async def shares(self) -> str:
        return render((await self.policy()).distribution)

    async def set(self, shares: Mapping[str, int]) -> None:
        """The policy as the data plane keeps it, whoever held the route: normal service, nobody's claim."""
        policy = await self.policy()
        change = Change(
            route="chat",
            decided_on=policy.revision,
            key=f"test/{policy.revision}",
            distribution=dict(shares),
            mode=Mode.NORMAL,
            degraded={},
            claim="",
            evict_claim=policy.claim,
            changed_by=ChangedBy(actor="test"),
            reason="as it was found",
        )
        [result] = await self.plane.apply([change])
        assert result.in_force, result.reason

    async def reset(self) -> None:
        """No fault, no run, the first distribution, nothing on record, everybody healthy, old windows empty."""
        await self.heal()
        async for run in self.client.list_workflows('ExecutionStatus = "Running" AND WorkflowType != "HealthCheck"'):
            await self.client.get_workflow_handle(run.id).terminate("the next block begins")
        await self.set(FOUND)
        shutil.rmtree(Path(self.stack.addresses.state) / EVIDENCE, ignore_errors=True)
        for kept in [*self.home.glob("redis-*"), *self.home.glob("*.md")]:
            kept.unlink()
        self.slack.clear()
        async with asyncio.timeout(60):
            while not await self._well():
                await asyncio.sleep(0.1)

    async def _well(self) -> bool:
        found = await verdicts(self.stack.as_found())
        told = await self.plane.observe(window=CLEAN)
        assert told is not None
        failed = any(window.failed for window in told.providers) or any(window.failed for window in told.routes)
        served = any(window.requests >= 20 for window in told.routes)
        well = all(one.condition is Condition.HEALTHY and one.cause is None for one in found)
        return served and not failed and len(found) == 3 and well

    def healthy_time(self) -> None:
        """Baselines of everybody, as of an hour ago, and slow enough for any machine."""
        config = load(self.home / "failover.yaml").config
        store = PerformanceBaselines(EvidenceStore(Path(self.stack.addresses.state) / EVIDENCE).archive)
        for name in ("", *config.providers):
            store.keep(
                PerformanceBaseline(
                    route="chat",
                    provider=name,
                    model=config.model_id(name) if name else "",
                    at=datetime.now(UTC) - timedelta(hours=1),
                    window=timedelta(minutes=10),
                    requests=500,
                    success_percent=100,
                    latency_p50=timedelta(seconds=5),
                    latency_p95=timedelta(seconds=10),
                )
            )

    async def known_down(self, *providers: str) -> None:
        """Until the watch calls them unhealthy."""
        async with asyncio.timeout(60):
            while {
                one.provider for one in await verdicts(self.stack.as_found()) if one.health is Health.UNHEALTHY
            } != set(providers):
                await asyncio.sleep(0.1)

    async def until_shares(self, shares: str) -> None:
        async with asyncio.timeout(60):
            while await self.shares() != shares:
                await asyncio.sleep(0.1)


def blocks() -> list[str]:
    """Every bash block of the runbook, as it stands there."""
    text = (HERE / "runbook.md").read_text()
    found = re.finditer(r"^ *```bash\n(.*?)^ *```", text, re.MULTILINE | re.DOTALL)
    return [textwrap.dedent(block[1]) for block in found]


@pytest.fixture(scope="module")
async def slack() -> AsyncIterator[tuple[str, list[dict[str, Any]]]]:
    """A stand-in of Slack's API: its address, and what was posted."""
    posted: list[dict[str, Any]] = []

    async def call(request: Request) -> JSONResponse:
        posted.append(await request.json())
        return JSONResponse({"ok": True, "channel": "C1", "ts": f"1000.{len(posted)}"})

    app = Starlette(routes=[Route("/api/chat.postMessage", call, methods=["POST"])])
    async with listening(app, "127.0.0.1", 0) as url:
        yield f"{url}/api", posted


@pytest.fixture(scope="session")
async def commands(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Path]:
    """The process that forks for each command → its socket."""
    path = tmp_path_factory.mktemp("commands") / "socket"
    environ = {"PYTHONPATH": str(ROOT), "PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/")}
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(HERE / "commands.py"), str(path), cwd=ROOT, env=environ
    )
    async with asyncio.timeout(90):
        while not path.exists():
            assert process.returncode is None
            await asyncio.sleep(0.1)
    yield path
    process.kill()
    await process.wait()


@pytest.fixture(scope="module")
async def world(
    tmp_path_factory: pytest.TempPathFactory,
    temporal_cli: Path,
    slack: tuple[str, list[dict[str, Any]]],
    commands: Path,
) -> AsyncIterator[World]:
    home = tmp_path_factory.mktemp("desk")
    config = home / "failover.yaml"
    config.write_text((HERE / "quick.yaml").read_text() + f"notifications: {{slack: {{api_url: '{slack[0]}'}}}}\n")
    plan = StackPlan(config=config, state=home / "state", durable=True, cli=temporal_cli, ports=ANY_PORTS)
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "FAILOVER_CACHE") if name in os.environ}
    async with running(plan, Settings.from_env(kept), print) as stack:
        plane = plane_of(stack.as_found())
        assert isinstance(plane, GatewayPlane)
        client = await connect(Settings.from_env(kept), stack.as_found())
        users = Users(stack.addresses.gateway + "/v1", "chat", rate=RATE)
        async with users.coming():
            yield World(
                stack=stack,
                plane=plane,
                client=client,
                home=home,
                environ=_environ(home, commands),
                slack=slack[1],
            )
        await plane.aclose()


def _environ(home: Path, commands: Path) -> dict[str, str]:
    python = Path(sys.executable).parent
    return {
        "PATH": f"{HERE / 'bin'}:{python}:/usr/bin:/bin",
        "HOME": str(home),
        "FAILOVER_STATE": str(home / "state"),
        "SLACK_BOT_TOKEN": "xoxb-of-the-test",
        "RUNBOOK_HOME": str(home),
        "RUNBOOK_COMMANDS": str(commands),
        "RUNBOOK_RECORD": str(home / "record"),
        "RUNBOOK_SHRUNK": json.dumps(SHRUNK),
    }


@pytest.fixture
async def found(world: World) -> World:
    """The world as each block finds it."""
    await world.reset()
    return world


@pytest.fixture
def found_as_it_is(world: World) -> World:
    """The same, for what neither needs nor changes its state."""
    return world


@pytest.fixture(scope="session")
def every_block() -> list[str]:
    return blocks()
