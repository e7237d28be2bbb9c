"""Record the histories anew that test_replay.py replays: `make histories`.

Each is a real run on a real server, over adapters in memory. Record anew only where a change of a workflow's commands is
meant, and after a release only behind `workflow.patched`.
"""

import asyncio
import contextlib
import json
import os
import random
import re
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from temporalio.client import Client, WorkflowFailureError, WorkflowHandle

from activities.board import VerdictBoard
from activities.certificates import FileReadinessStore
from activities.channels.memory import MemoryChannel
from activities.evidence import EvidenceStore
from activities.notifiers.memory import MemoryNotifier
from failover.config.communications import ChannelName, Communications
from failover.config.detection import Detection, Probe
from failover.config.drills import Drills
from failover.config.emergency import Emergency
from failover.config.follow_up import FollowUp
from failover.config.gateway import Gateway
from failover.config.procedures import Procedures
from failover.failure import FailureKind
from failover.policy import Change, ChangedBy
from gateway.app import create_app
from gateway.counters import utc_now
from gateway.process import listening
from gateway.store import FileStore
from providers.memory import MemoryClient
from starter import worker_parts as composition
from starter.configuration import demo_config, load
from starter.embedded.temporal_server import find_cli, start_dev_server
from starter.search_attributes import register_search_attributes
from starter.settings import Settings
from traffic.gateway import GatewayPlane
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


def failed_over(plane: MemoryPlane, clients: dict[str, MemoryClient]) -> None:
    plane.put("chat", {"bedrock": 0, "google": 9000, "meta": 1000})


Run = WorkflowHandle[Any, Any]


async def alone(run: Run, world: "World") -> None:
    """It ends by itself."""


async def cancelled_in_validation(run: Run, world: "World") -> None:
    await until(run, "not good")
    await run.cancel()


async def broken(run: Run, world: "World") -> None:
    """The target fails once it has traffic."""
    await until(run, "Verified")
    world.plane.failing = {"google"}


async def original_broken(run: Run, world: "World") -> None:
    await until(run, "Verified")
    world.plane.failing = {"bedrock"}


async def broken_and_retried(run: Run, world: "World") -> None:
    await broken(run, world)
    await until(run, "What now")
    world.plane.failing = set()
    await order(run, "retry")


async def aborted(run: Run, world: "World") -> None:
    await until(run, "Verified")
    await order(run, "abort")


async def cancelled(run: Run, world: "World") -> None:
    await until(run, "Verified")
    await run.cancel()


async def paused_and_resumed(run: Run, world: "World") -> None:
    await until(run, "Verified")
    await order(run, "pause")
    await asyncio.sleep(0.5)
    await order(run, "resume")


async def led(run: Run, world: "World") -> None:
    await until(run, "waits for orders")
    await order(run, "set_percent", percent=100)


async def approved(run: Run, world: "World") -> None:
    await order(run, "approve", **await asked(run))


async def rejected(run: Run, world: "World") -> None:
    await order(run, "reject", **await asked(run))


async def withdrawn(run: Run, world: "World") -> None:
    await asked(run)
    await order(run, "abort")


async def escalated(run: Run, world: "World") -> None:
    await until(run, "Verified")
    await order(run, "escalate")


async def superseded(run: Run, world: "World") -> None:
    """Somebody changes the route by hand."""
    await until(run, "Verified")
    policy = world.plane.policy("chat")
    by = ChangedBy(actor="carol")
    change = Change(
        route="chat",
        decided_on=policy.revision,
        key="by-hand",
        distribution=policy.distribution,
        claim="",
        changed_by=by,
        reason="by hand",
    )
    world.plane.write(change)


async def mended(run: Run, world: "World") -> None:
    await until(run, "Still degraded")
    for client in world.clients.values():
        client.fail_with = None


async def drill_aborted(run: Run, world: "World") -> None:
    await until(run, "Broken on route")
    await order(run, "abort")


async def emergency_aborted(run: Run, world: "World") -> None:
    await until(run, "Still degraded")
    await order(run, "abort")


@dataclass(frozen=True, kw_only=True)
class World:
    """What a case may break and mend."""

    plane: MemoryPlane
    clients: dict[str, MemoryClient]


@dataclass(frozen=True, kw_only=True)
class Case:
    """A run to record: what is asked for, how the world is, and how the run is driven.

    `begins`: the run that is recorded is one that this one begins, of that id's beginning.
    """

    kind: str
    request: dict[str, Any]
    prepare: Prepare = nothing
    drive: Callable[[Run, World], Awaitable[None]] = alone
    begins: str = ""


def immediate(prepare: Prepare = nothing, drive: Any = alone, **request: Any) -> Case:
    return Case(
        kind="ImmediateFailover", request={"failed_provider": "bedrock", **request}, prepare=prepare, drive=drive
    )


def canary(drive: Any = alone, **request: Any) -> Case:
    asked_for = {"route": "chat", "source_provider": "bedrock", "target_provider": "google", **request}
    return Case(kind="CanaryFailover", request=asked_for, drive=drive)


def gradual(drive: Any = alone, prepare: Prepare = nothing, **request: Any) -> Case:
    asked_for = {"route": "chat", "failed_provider": "bedrock", **request}
    return Case(kind="GradualFailover", request=asked_for, drive=drive, prepare=prepare)


def failback(drive: Any = alone, **request: Any) -> Case:
    asked_for = {"route": "chat", "original_provider": "bedrock", **request}
    return Case(kind="Failback", request=asked_for, drive=drive, prepare=failed_over)


def emergency(drive: Any) -> Case:
    return Case(kind="MultiProviderEmergency", request={}, drive=drive, prepare=nobody_left)


def proposal(name: str, drive: Any = alone, **request: Any) -> Case:
    """What is started is a dry run: the history ends with its start."""
    asked_for = {
        "procedure": "ImmediateFailover",
        "workflow_id": f"proposed-{name}",
        "request": {"failed_provider": "bedrock", "dry_run": True},
        "provider": "bedrock",
        "routes": ["chat"],
        "deadline_seconds": 30,
        **request,
    }
    return Case(kind="Proposal", request=asked_for, drive=drive)


async def looked_after(run: Run, world: "World") -> None:
    """The product's own work first, then people's."""
    while not all(item["begins"] is None for item in await run.query("items") if item["state"] == "open"):
        await asyncio.sleep(0.05)
    for item in await run.query("items"):
        if item["state"] == "open":
            verb = "done" if item["key"] == "drill-review" else "skip"
            await order(run, verb, item=item["key"], comment="recorded")


def follow_up(drive: Any, **settings: str) -> Case:
    now = datetime.now(UTC).isoformat()
    about = {"workflow_id": "failover/bedrock", "run_id": "recorded", "procedure": "ImmediateFailover"}
    return Case(
        kind="FollowUp",
        request={
            **about,
            **{"provider": "bedrock", "outcome": "COMPLETED", "routes": ["chat"], "decided": now, "closed": now},
            "settings": {"immediate_within": "200ms", "short_term_after": "0s", **settings},
        },
        drive=drive,
    )


ASKING = {"approvals": {"points": ["first_shift"], "deadline": "30s"}}
LONG = {"initial_seconds": 60}

CASES: dict[str, Case] = {
    "completed": immediate(),
    "next-in-chain": immediate(google_does_not_serve),
    "forsaken": immediate(nobody_left),
    "disobeyed": immediate(disobeying),
    "rejected": immediate(google_down, target_provider="google"),
    "dry-run": immediate(dry_run=True),
    "cancelled": immediate(senseless, cancelled_in_validation),
    "watched": Case(kind="HealthCheck", request={}),
    "canary-completed": canary(),
    "canary-rolled-back": canary(broken, **LONG),
    "canary-aborted": canary(aborted, **LONG),
    "canary-cancelled": canary(cancelled, **LONG),
    "canary-paused-and-resumed": canary(paused_and_resumed),
    "canary-superseded": canary(superseded, **LONG),
    "canary-led": canary(led, manual=True),
    "canary-approved": canary(approved, **ASKING),
    "canary-rejected": canary(rejected, **ASKING),
    "gradual-completed": gradual(),
    "gradual-transition": gradual(
        failed_provider=None, target_distribution={"google": 80, "meta": 20}, transition_seconds=20, drive=escalated
    ),
    "gradual-retried": gradual(broken_and_retried, monitor_seconds=1),
    "gradual-aborted": gradual(aborted, monitor_seconds=60),
    "gradual-superseded": gradual(superseded, monitor_seconds=60),
    "gradual-escalated": gradual(escalated, monitor_seconds=60),
    "failback-completed": failback(),
    "failback-stopped": failback(original_broken, step_seconds=1),
    "failback-aborted": failback(aborted, step_seconds=60),
    "failback-proposed": failback(approved, auto=False),
    "emergency-completed": emergency(mended),
    "emergency-aborted": emergency(emergency_aborted),
    "service-set": Case(kind="ServiceSettings", request={"route": "chat", "cache": "on", "queue": "on"}),
    "proposal-approved": proposal("approved", approved),
    "proposal-rejected": proposal("rejected", rejected),
    "proposal-withdrawn": proposal("withdrawn", withdrawn),
    "follow-up-done": follow_up(looked_after),
    "follow-up-given-up": follow_up(
        alone, short_term_within="300ms", long_term_within="400ms", remind_every="1s", give_up_after="3s"
    ),
    "audited": Case(kind="ReadinessAudit", request={}),
    "told": Case(kind="ImmediateFailover", request={"failed_provider": "bedrock"}, begins="communications/told/"),
    "drill-passed": Case(kind="FailoverDrill", request={"provider": "bedrock", "requested_by": "recorder"}),
    "drill-aborted": Case(
        kind="FailoverDrill", request={"provider": "bedrock", "requested_by": "recorder"}, drive=drill_aborted
    ),
    "proposal-unanswered": proposal("unanswered", deadline_seconds=0.5, at_deadline="act"),
}
"""By the file's name."""


async def until(run: Run, words: str) -> None:
    while not any(words in entry["text"] for entry in await run.query("timeline")):
        await asyncio.sleep(0.03)


async def order(run: Run, verb: str, **said: Any) -> None:
    answer = await run.execute_update(verb, {"actor": "recorder", **said})
    assert answer["accepted"], answer


async def asked(run: Run) -> dict[str, str]:
    while not (approval := (await run.query("status"))["details"].get("approval")):
        await asyncio.sleep(0.03)
    return {"step": approval["step"], "digest": approval["digest"]}


RAMPS: dict[str, Any] = {
    "gating": {"sample_interval": "100ms", "window": "1s", "minimum_requests": 20},
    "canary": {"initial_hold": "300ms", "step_hold": "200ms", "percents": [50, 100]},
    "gradual": {"settle": "100ms", "monitor": "200ms"},
    "failback": {"recovery_watch": "300ms", "watch_interval": "100ms", "step_hold": "200ms", "percents": [50, 100]},
}


PRACTICE: dict[str, Any] = {
    **{"routes": ["chat"], "baseline": "1s", "fault_expiry": "2s", "load_per_second": 40, "deadline": "60s"},
    "stop": {"p95": "2s", "minimum_requests": 10},
}
QUICK = Gateway.model_validate({"try_timeout": "1s", "request_timeout": "3s"})
OUTSIDE = {"webhook": {"url": "http://127.0.0.1:1/hook"}}


def make_parts(state: Path) -> composition.Parts:
    waits = {
        "abort_timeout": "10s",
        "verify_timeout": "500ms",
        "validate_timeout": "500ms",
        "validate_interval": "100ms",
    }
    shorter = {
        "procedures": Procedures.model_validate({"immediate": waits, **RAMPS}),
        "emergency": Emergency.model_validate({"watch_interval": "500ms", "update_interval": "300ms"}),
        "detection": Detection.model_validate(
            {"schedule_interval": "3s", "probe": Probe.model_validate({"cadence": "1s"})}
        ),
    }
    # What follows a run outlives it: it has histories of its own.
    config = load(demo_config()).config.model_copy(update={**shorter, "follow_up": FollowUp(enabled=False)})
    return composition.Parts(
        config=config,
        clients={key: MemoryClient(key) for key in config.providers},
        plane=MemoryPlane({name: route.distribution for name, route in config.routes.items()}),
        notifier=MemoryNotifier(),
        evidence=EvidenceStore(state / "incidents"),
        board=VerdictBoard(),
        readiness=FileReadinessStore(state / "readiness"),
    )


@contextlib.asynccontextmanager
async def practising(parts: composition.Parts, state: Path) -> AsyncIterator[composition.Parts]:
    """The same over a real gateway, in which drills can break something."""
    config = parts.config.model_copy(update={"drills": Drills.model_validate(PRACTICE), "gateway": QUICK})
    initial = {name: route.distribution for name, route in config.routes.items()}
    store = FileStore.open(state / "policies.json", initial, utc_now)
    app = create_app(config, parts.clients, store, token="recorder", rng=random.Random(7))
    async with listening(app, "127.0.0.1", 0) as url:
        plane = GatewayPlane(url, token="recorder")
        yield replace(parts, config=config, plane=plane, hold=plane, drills=plane)


@contextlib.asynccontextmanager
async def staged(case: Case, state: Path) -> AsyncIterator[tuple[composition.Parts, World]]:
    parts = make_parts(state)
    assert isinstance(parts.plane, MemoryPlane)
    world = World(plane=parts.plane, clients=parts.clients)  # type: ignore[arg-type]
    world.plane.requests = 1000
    case.prepare(world.plane, world.clients)
    if case.begins:
        config = parts.config.model_copy(update={"communications": Communications.model_validate(OUTSIDE)})
        parts = replace(parts, config=config, channels={ChannelName.WEBHOOK: MemoryChannel()})
    if case.kind != "FailoverDrill":
        yield parts, world
        return
    async with practising(parts, state) as real:
        yield real, world


async def record(client: Client, name: str, state: Path) -> None:
    case = CASES[name]
    async with staged(case, state) as (parts, world), composition.build_worker(client, parts, task_queue=name):
        request = {key: value for key, value in case.request.items() if value is not None}
        id = f"drill/{name}" if case.kind == "FailoverDrill" else name
        run: Run = await client.start_workflow(case.kind, request, id=id, task_queue=name)
        await case.drive(run, world)
        with contextlib.suppress(WorkflowFailureError):
            await run.result()
        if case.begins:
            run = client.get_workflow_handle(f"{case.begins}{run.result_run_id}")
            await run.result()
        history = (await run.fetch_history()).to_json_dict()
        kind = (await run.describe()).workflow_type
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
        await register_search_attributes(client)
        yield client
    finally:
        await server.stop()


async def main() -> None:
    with tempfile.TemporaryDirectory() as directory:
        async with connected(Path(directory)) as client:
            for name in sys.argv[1:] or CASES:
                await record(client, name, Path(directory))


if __name__ == "__main__":
    asyncio.run(main())
    sys.stdout.flush()
    # The SDK's Rust core can abort while the interpreter finalises.
    os._exit(0)
