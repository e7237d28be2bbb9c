"""The embedded stack: Temporal's dev server, simulator, gateway and worker as children of this process.

They come up in the order in which they need one another, end in the reverse order, and none is ever restarted: if one
ends by itself, so does the stack.
"""

import asyncio
import os
import shutil
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from failover.config import Config
from failover.config_file import LoadedConfig
from starter.configuration import load, simulated
from starter.embedded.processes import Child, first_to_end, ready, start
from starter.embedded.temporal_server import find_cli, start_dev_server
from starter.ports import LOOPBACK, choose
from starter.running import Addresses, Occupancy, Stack, api_token
from starter.settings import Settings
from workflows.queue import TASK_QUEUE

NAMESPACE = "default"

PATIENCE = timedelta(seconds=60)
"""The time for one part to become ready; imports alone take seconds on a busy machine."""

GRACE = timedelta(seconds=8)
"""The time for one part to end by itself; the worker lets its activities finish."""

SIMULATED_LATENCY_MS = 120
"""The latency of healthy simulated answers: a small model's, so that this machine's own noise is small beside it."""

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class StackPlan:
    """What to run. `ports` by part: None takes the usual one where it is free, 0 any free one.

    `durable`: Temporal keeps its database in the state directory; else everything starts afresh. `cli`: the `temporal`
    command, None where a server of somebody else's is used.
    """

    config: Path
    state: Path
    durable: bool
    cli: Path | None
    ports: Mapping[str, int | None] = field(default_factory=dict)
    schedules: bool = True
    webhooks: bool = False
    seed: int = 1


USUAL_PORTS = {"temporal": 7233, "ui": 8233, "gateway": 8080, "webhooks": 8085}

ANY_PORTS = dict.fromkeys(USUAL_PORTS, 0)


def temporal_cli(settings: Settings, say: Say) -> Path | None:
    """The `temporal` command, fetched or built where it is missing; None where settings name a server.

    Blocks for minutes the first time; call it before there is an event loop, so that Ctrl-C works as ever.
    """
    return None if settings.temporal_address else find_cli(settings.cache_directory(), say)


class RunningStack:
    """A stack whose parts all answered."""

    def __init__(self, addresses: Addresses, config: Path, children: Sequence[Child], token: str) -> None:
        self.addresses = addresses
        self.config = config
        self.token = token
        self._children = children

    def as_found(self) -> Stack:
        """The same stack as another command would find it."""
        told = self.addresses
        return Stack(
            home=Path(told.state),
            temporal=told.temporal,
            temporal_ui=told.temporal_ui,
            gateway=told.gateway,
            simulator=told.simulator,
            worker=told.worker,
            namespace=told.namespace,
            state=Path(told.state),
            config=self.config,
            api_token=self.token,
        )

    async def until_broken(self) -> str:
        """Wait until a part ends by itself → which one, and how."""
        return (await first_to_end(self._children)).ending()


@asynccontextmanager
async def running(plan: StackPlan, settings: Settings, say: Say) -> AsyncIterator[RunningStack]:
    """The stack while the block runs. FailoverError where a part does not come up; nothing is left behind."""
    from starter.golden import load_prompt_sets

    loaded = load(plan.config)
    load_prompt_sets(loaded)  # What is wrong with them is better said before anything is started.
    config = loaded.config
    async with AsyncExitStack() as parts:
        occupancy = Occupancy.take(plan.state)
        parts.callback(occupancy.leave)
        if not plan.durable:
            _start_afresh(occupancy.state)
        stack = await _Builder(replace(plan, state=occupancy.state), config, settings, say, parts).build()
        occupancy.describe(stack.addresses, plan.config)
        yield stack
        say("Ending the worker, the gateway, the simulator and Temporal.")


def _start_afresh(state: Path) -> None:
    for entry in state.iterdir():
        if entry.name == "stack.lock":
            continue
        shutil.rmtree(entry) if entry.is_dir() else entry.unlink()


class _Builder:
    """Brings the parts up; whatever is up when one fails is ended by `parts`."""

    def __init__(self, plan: StackPlan, config: Config, settings: Settings, say: Say, parts: AsyncExitStack) -> None:
        self._plan = plan
        self._config = config
        self._settings = settings
        self._say = say
        self._parts = parts
        self._children: list[Child] = []
        self._token = settings.api_token or api_token(plan.state)
        self._environ = {
            **settings.environ,
            "FAILOVER_STATE": str(plan.state),
            "FAILOVER_CONFIG": str(plan.config.resolve()),
            "FAILOVER_API_TOKEN": self._token,
            "FAILOVER_LOG_FORMAT": settings.log_format or "json",
            "PYTHONUNBUFFERED": "1",
        }

    async def build(self) -> RunningStack:
        # The gateway binds any free port by itself; another one is looked at before anything is started.
        any_port = self._plan.ports.get("gateway") == 0
        gateway_port = 0 if any_port else self._port("the gateway", "gateway")
        (temporal, temporal_ui), simulator = await self._side_by_side()
        webhooks_port = self._port("the webhooks", "webhooks") if self._plan.webhooks else 0
        gateway = await self._gateway(gateway_port)
        worker, webhooks = await self._worker(), await self._webhooks(webhooks_port)
        addresses = Addresses(
            temporal=temporal,
            temporal_ui=temporal_ui,
            gateway=gateway,
            simulator=simulator,
            worker=worker,
            task_queue=TASK_QUEUE,
            namespace=self._environ.get("TEMPORAL_NAMESPACE", NAMESPACE),
            state=str(self._plan.state),
            webhooks=webhooks,
        )
        stack = RunningStack(addresses, self._plan.config, self._children, self._token)
        if self._plan.schedules:
            await self._schedule(stack)
        return stack

    async def _side_by_side(self) -> tuple[tuple[str, str | None], str | None]:
        """Temporal and the simulator, which do not need each other; both are waited for, even if one fails."""
        temporal, simulator = await asyncio.gather(self._temporal(), self._simulator(), return_exceptions=True)
        if isinstance(temporal, BaseException):
            raise temporal
        if isinstance(simulator, BaseException):
            raise simulator
        return temporal, simulator

    def _port(self, what: str, part: str) -> int:
        asked = self._plan.ports.get(part)
        return choose(what, asked=asked, usual=USUAL_PORTS[part], option=f"--{part}-port", say=self._say)

    async def _temporal(self) -> tuple[str, str | None]:
        if self._settings.temporal_address:
            self._say(f"Temporal: the server at {self._settings.temporal_address}, as TEMPORAL_ADDRESS says.")
            return self._settings.temporal_address, None
        port = self._port("Temporal", "temporal")
        ui_port = self._port("Temporal's Web UI", "ui")
        assert self._plan.cli is not None
        self._say("Starting Temporal's dev server.")
        server = await start_dev_server(
            self._plan.cli,
            port=port,
            ui_port=ui_port,
            db=self._plan.state / "temporal.db" if self._plan.durable else None,
            log=self._log("temporal"),
            namespace=NAMESPACE,
        )
        self._parts.push_async_callback(server.stop)
        self._children.append(server.child)
        # A profile or key meant for another server must not reach the children.
        foreign = [name for name in self._environ if name.startswith("TEMPORAL_")]
        for name in foreign:
            del self._environ[name]
        self._environ |= {
            "TEMPORAL_ADDRESS": server.address,
            "TEMPORAL_NAMESPACE": NAMESPACE,
            "TEMPORAL_CONFIG_FILE": os.devnull,
        }
        return server.address, server.ui_url

    async def _simulator(self) -> str | None:
        from starter.golden import suite_files

        providers = simulated(self._config)
        if not providers:
            return None
        self._say(f"Starting the simulator of {', '.join(providers)}.")
        loaded = load(self._plan.config)
        options = [f"--provider={key}={kind}" for key, kind in providers.items()]
        options += [f"--model={key}={self._config.model_id(key)}" for key in providers]
        options += [f"--suite={file}" for file in [*suite_files(loaded).values(), *self._prompt_sets(loaded)]]
        if any(self._config.providers[key].transport == "grpc" for key in providers):
            options.append("--grpc")
        told = await self._child(
            "simulator", "simulator", [*options, f"--seed={self._plan.seed}", f"--latency-ms={SIMULATED_LATENCY_MS}"]
        )
        control: str = told["control"]
        self._environ |= {"FAILOVER_SIMULATOR_URL": control}
        return control

    def _prompt_sets(self, loaded: LoadedConfig) -> list[Path]:
        """What routes ask beside the suites as they stand: files, since the simulator is a process of its own."""
        from starter.golden import load_prompt_sets

        files, folder = [], self._plan.state / "suites"
        folder.mkdir(exist_ok=True)
        for route, suite in load_prompt_sets(loaded).items():
            if loaded.config.routes[route].readiness.tools:
                file = folder / f"{route}.yaml"
                file.write_text(suite.model_dump_json(exclude_defaults=True))
                files.append(file)
        return files

    async def _gateway(self, port: int) -> str:
        self._say("Starting the gateway.")
        told = await self._child("gateway", "starter", ["gateway", f"--host={LOOPBACK}", f"--port={port}"])
        url: str = told["url"]
        self._environ |= {"FAILOVER_GATEWAY_URL": url}
        return url

    async def _worker(self) -> str:
        self._say("Starting the worker.")
        told = await self._child("worker", "worker", [])
        health: str = told["health"]
        self._environ |= {"FAILOVER_WORKER_URL": health}
        return health

    async def _webhooks(self, port: int) -> str | None:
        if not self._plan.webhooks:
            return None
        self._say("Starting the webhook server.")
        told = await self._child("webhooks", "starter", ["serve", f"--host={LOOPBACK}", f"--port={port}"])
        url: str = told["url"]
        return url

    async def _child(self, name: str, module: str, options: Sequence[str]) -> dict[str, Any]:
        """Start a part and wait for what it tells once it is ready."""
        ready_file = self._plan.state / "ready" / f"{name}.json"
        ready_file.parent.mkdir(parents=True, exist_ok=True)
        ready_file.unlink(missing_ok=True)
        common = [f"--ready-file={ready_file}"]
        if name != "simulator":
            common += [f"--config={self._plan.config.resolve()}", f"--state={self._plan.state}"]
        command = [sys.executable, "-m", module, *options, *common]
        child = await start(name, command, log=self._log(name), environ=self._environ)
        self._parts.push_async_callback(child.stop, GRACE)
        self._children.append(child)
        return await ready(child, ready_file, PATIENCE)

    def _log(self, name: str) -> Path:
        return self._plan.state / "logs" / f"{name}.log"

    async def _schedule(self, stack: RunningStack) -> None:
        from starter.connection import connect
        from starter.schedules import Applied, apply, remove

        client = await connect(self._settings, stack.as_found())
        for name, applied in (await apply(client, self._config)).items():
            if self._settings.temporal_address and applied is Applied.CREATED:
                # On a server that outlives us, a schedule without workers would start what nobody does.
                self._parts.push_async_callback(remove, client, name)
            self._say(f"Schedule {name}: {applied}.")
