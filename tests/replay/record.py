"""Record the histories anew that test_replay.py replays: `make histories`.

Each is a real run on a real server, over adapters in memory. Record anew only where a change of a workflow's commands is
meant, and after a release only behind `workflow.patched`.
"""

import asyncio
import contextlib
import json
import os
import re
import sys
import tempfile
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

from temporalio.client import Client, WorkflowFailureError, WorkflowHandle

import worker as composition
from activities.board import VerdictBoard
from activities.evidence import EvidenceStore
from activities.notifiers.memory import MemoryNotifier
from failover.config import Detection, Immediate, Probe, Procedures
from failover.failure import FailureKind
from providers.memory import MemoryClient
from starter.settings import Settings
from starter.stack import demo_config, load
from starter.temporal_server import find_cli, start_dev_server
from traffic.memory import MemoryPlane
from workflows.payloads import data_converter

HISTORIES = Path(__file__).with_name("histories")

Prepare = Callable[[MemoryPlane, dict[str, MemoryClient]], None]


def nothing(plane: MemoryPlane, clients: dict[str, MemoryClient]) -> None:
    """All is well."""


def nobody_left(plane: MemoryPlane, clients: dict[str, MemoryClient]) -> None:
    for client in clients.values():
        client.fail_with = FailureKind.SERVER_ERROR


def google_down(plane: MemoryPlane, clients: dict[str, MemoryClient]) -> None:
    clients["google"].fail_with = FailureKind.SERVER_ERROR


def google_does_not_serve(plane: MemoryPlane, clients: dict[str, MemoryClient]) -> None:
    plane.failing.add("google")
    plane.requests = 0


def disobeying(plane: MemoryPlane, clients: dict[str, MemoryClient]) -> None:
    plane.disobey = True


def senseless(plane: MemoryPlane, clients: dict[str, MemoryClient]) -> None:
    plane.text = "nonsense"


BEDROCK = {"failed_provider": "bedrock"}
CASES: dict[str, tuple[str, dict[str, Any], Prepare, bool]] = {
    "completed": ("ImmediateFailover", BEDROCK, nothing, False),
    "next-in-chain": ("ImmediateFailover", BEDROCK, google_does_not_serve, False),
    "needs-human": ("ImmediateFailover", BEDROCK, nobody_left, False),
    "disobeyed": ("ImmediateFailover", BEDROCK, disobeying, False),
    "rejected": ("ImmediateFailover", {**BEDROCK, "target_provider": "google"}, google_down, False),
    "dry-run": ("ImmediateFailover", {**BEDROCK, "dry_run": True}, nothing, False),
    "cancelled": ("ImmediateFailover", BEDROCK, senseless, True),
    "watched": ("HealthCheck", {}, nothing, False),
}
"""Name → workflow type, request, how the world is, and whether the run is cancelled once it validates."""


def make_parts(state: Path) -> composition.Parts:
    waits = {"verify_timeout": "500ms", "validate_timeout": "500ms", "validate_interval": "100ms"}
    shorter = {
        "procedures": Procedures(immediate=Immediate.model_validate(waits)),
        "detection": Detection.model_validate(
            {"schedule_interval": "3s", "probe": Probe.model_validate({"cadence": "1s"})}
        ),
    }
    config = load(demo_config()).config.model_copy(update=shorter)
    return composition.Parts(
        config=config,
        clients={key: MemoryClient(key) for key in config.providers},
        plane=MemoryPlane({name: route.distribution for name, route in config.routes.items()}),
        notifier=MemoryNotifier(),
        evidence=EvidenceStore(state / "incidents"),
        board=VerdictBoard(),
    )


async def record(client: Client, name: str, state: Path) -> None:
    kind, request, prepare, cancel = CASES[name]
    parts = make_parts(state)
    prepare(parts.plane, parts.clients)  # type: ignore[arg-type]
    async with composition.build_worker(client, parts, task_queue=name):
        run: WorkflowHandle[Any, Any] = await client.start_workflow(kind, request, id=name, task_queue=name)
        if cancel:
            while not any("not good" in entry["text"] for entry in await run.query("timeline")):
                await asyncio.sleep(0.05)
            await run.cancel()
        with contextlib.suppress(WorkflowFailureError):
            await run.result()
        history = (await run.fetch_history()).to_json_dict()
    file = HISTORIES / kind / f"{name}.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(anonymous(json.dumps(history, indent=1, sort_keys=True)) + "\n")
    print(f"{file.relative_to(HISTORIES)}: {len(history['events'])} events", flush=True)


def anonymous(history: str) -> str:
    """Without the machine that it was recorded on."""
    history = re.sub(r'"identity": "[^"]*"', '"identity": "recorded"', history)
    return re.sub(r'"stackTrace": "(\\.|[^"\\])*"', '"stackTrace": ""', history)


@contextlib.asynccontextmanager
async def connected(state: Path) -> AsyncIterator[Client]:
    cli = find_cli(Settings.from_env(os.environ).cache_directory(), print)
    server = await start_dev_server(cli, ui_port=None, db=None, log=state / "temporal.log")
    try:
        client = await Client.connect(server.address, data_converter=data_converter)
        await composition.register_search_attributes(client)
        yield client
    finally:
        await server.stop()


async def main() -> None:
    with tempfile.TemporaryDirectory() as directory:
        async with connected(Path(directory)) as client:
            for name in CASES:
                await record(client, name, Path(directory))


if __name__ == "__main__":
    asyncio.run(main())
    sys.stdout.flush()
    # The SDK's Rust core can abort while the interpreter finalises.
    os._exit(0)
