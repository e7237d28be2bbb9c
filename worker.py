"""The composition root: settings and configuration in, a running Temporal worker out. No rule lives here."""

import argparse
import asyncio
import os
import signal
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import structlog
from temporalio.api.operatorservice.v1 import AddSearchAttributesRequest, ListSearchAttributesRequest
from temporalio.client import Client
from temporalio.runtime import PrometheusConfig, Runtime, TelemetryConfig
from temporalio.service import RPCError, RPCStatusCode
from temporalio.worker import Interceptor, Worker
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner, SandboxRestrictions

from activities.accuracy import Accuracy, Examiner
from activities.board import VerdictBoard
from activities.clock import SYSTEM
from activities.emergency import Ecosystem
from activities.evidence import Evidence, EvidenceStore
from activities.hold import HeldAutomation
from activities.notify import Notifier, Notify
from activities.probing import Prober, Probing
from activities.ramping import Ramping
from activities.responding import TemporalResponder
from activities.restoration import Restoration
from activities.runs import Runs
from activities.samples import SampleLog
from activities.sources import Readings
from activities.traffic import Traffic
from activities.watching import Watching
from failover.config import Config
from failover.config_file import LoadedConfig
from failover.errors import FailoverError
from failover.ports import Clock, HoldStore, PassiveSource, ProviderClient, TrafficPlane
from gateway.process import listening
from starter.connection import connect
from starter.logs import configure
from starter.parts import (
    EVIDENCE,
    SAMPLES,
    examiner,
    gateway_plane,
    hold_store,
    notifier,
    passive_sources,
    provider_clients,
)
from starter.ports import LOOPBACK, free_port
from starter.running import DEFAULT_HOME, find, write_atomically
from starter.settings import Settings
from starter.stack import load
from starter.worker_health import Readiness, create_app
from workflows.canary_failover import CanaryFailover
from workflows.emergency import MultiProviderEmergency
from workflows.failback import Failback
from workflows.gradual_failover import GradualFailover
from workflows.health_check import HealthCheck
from workflows.immediate_failover import ImmediateFailover
from workflows.journal import SEARCH_ATTRIBUTES
from workflows.payloads import RefuseMalformed
from workflows.proposal import Proposal
from workflows.queue import TASK_QUEUE
from workflows.service_settings import ServiceSettings

log = structlog.get_logger("worker")

WORKFLOWS: Sequence[type] = (
    HealthCheck,
    ImmediateFailover,
    GradualFailover,
    CanaryFailover,
    Failback,
    MultiProviderEmergency,
    ServiceSettings,
    Proposal,
)


def workflow_runner() -> SandboxedWorkflowRunner:
    """The one sandbox of workers, tests and replays: our own modules are passed through, and lint keeps them pure."""
    passed = SandboxRestrictions.default.with_passthrough_modules("failover", "activities", "structlog", "yaml")
    return SandboxedWorkflowRunner(restrictions=passed)


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What a worker is made of, real or not: tests put other adapters in the same places."""

    config: Config
    clients: Mapping[str, ProviderClient]
    plane: TrafficPlane
    notifier: Notifier
    evidence: EvidenceStore
    board: VerdictBoard
    examiner: Examiner | None = None
    sources: Mapping[str, PassiveSource] = field(default_factory=dict)
    hold: HoldStore | None = None
    samples: SampleLog | None = None
    clock: Clock = SYSTEM


def build_worker(
    client: Client, parts: Parts, *, task_queue: str = TASK_QUEUE, interceptors: Sequence[Interceptor] = ()
) -> Worker:
    """A worker that serves every workflow and activity of the product."""
    prober = Prober(parts.config, parts.clients, parts.clock)
    traffic = Traffic(parts.config, parts.plane, parts.board, parts.clock)
    restoration = Restoration(parts.config, parts.plane, prober)
    responder = TemporalResponder(client, task_queue, parts.notifier, parts.config)
    hold = HeldAutomation(parts.hold)
    readings = Readings(parts.config, parts.plane, parts.sources, parts.clock)
    watching = Watching(
        *(parts.config, parts.plane, prober, parts.board, responder),
        *(parts.examiner, readings, hold, parts.samples, parts.clock),
    )
    evidence = Evidence(parts.evidence)
    ramping = Ramping(parts.config, parts.plane, parts.board, prober, parts.evidence, parts.clock)
    runs = Runs(client, task_queue, hold)
    ecosystem = Ecosystem(parts.config, parts.plane)
    activities: list[Callable[..., Any]] = [
        *(traffic.brief, traffic.reread, traffic.apply, traffic.verify),
        *(restoration.sample, restoration.impact),
        *(watching.plan, watching.watch),
        *(ramping.brief, ramping.look, ramping.sample, ramping.recovery, ramping.comprehensive),
        *(runs.is_open, runs.start),
        *(ecosystem.brief, ecosystem.look, ecosystem.demand),
        *(Probing(prober).candidates, Notify(parts.notifier).post, evidence.keep),
        *([Accuracy(parts.examiner).assess] if parts.examiner else ()),
    ]
    return Worker(
        client,
        task_queue=task_queue,
        workflows=WORKFLOWS,
        activities=activities,
        interceptors=[RefuseMalformed(), *interceptors],
        workflow_runner=workflow_runner(),
        workflow_failure_exception_types=[FailoverError],
        graceful_shutdown_timeout=timedelta(seconds=5),
        # What a dead worker had cached is picked up by the next one after this, not after ten seconds.
        sticky_queue_schedule_to_start_timeout=timedelta(seconds=1),
        max_concurrent_activities=200,
    )


async def serve(options: argparse.Namespace, settings: Settings) -> None:
    """Run one worker until SIGTERM or SIGINT; its activities may finish, within bounds."""
    loaded = load(options.config)
    stop = stop_on_signals()
    async with AsyncExitStack() as held:
        metrics = f"{LOOPBACK}:{free_port()}"
        client = await connect_worker(settings, metrics)
        parts = await assemble(loaded, settings, options.state)
        held.push_async_callback(parts.plane.aclose)
        if parts.hold is not None:
            held.push_async_callback(parts.hold.aclose)
        for provider in parts.clients.values():
            held.push_async_callback(provider.aclose)
        for source in parts.sources.values():
            held.push_async_callback(source.aclose)
        worker = await held.enter_async_context(build_worker(client, parts))
        readiness = Readiness(client, worker, parts.config, HeldAutomation(parts.hold))
        app = create_app(readiness, parts.board, f"http://{metrics}/metrics")
        url = await held.enter_async_context(listening(app, settings.worker_host, settings.worker_port))
        if options.ready_file:
            write_atomically(options.ready_file, {"health": url})
        log.info("ready", task_queue=TASK_QUEUE, health=url)
        await stop.wait()
        readiness.draining = True
        log.info("stopping")


async def assemble(loaded: LoadedConfig, settings: Settings, state: Path) -> Parts:
    """The real adapters, as the settings wire them."""
    config = loaded.config
    clients = await provider_clients(config, settings)
    return Parts(
        config=config,
        clients=clients,
        plane=gateway_plane(settings),
        notifier=notifier(config, settings),
        evidence=EvidenceStore(state / EVIDENCE),
        board=VerdictBoard(),
        examiner=examiner(loaded, clients, state),
        sources=passive_sources(config, settings),
        hold=hold_store(settings),
        samples=SampleLog(state / SAMPLES, config.detection.samples_max_bytes),
    )


async def connect_worker(settings: Settings, metrics: str) -> Client:
    """A client with the SDK's metrics on `metrics` (host:port), and our search attributes registered."""
    runtime = Runtime(telemetry=TelemetryConfig(metrics=PrometheusConfig(bind_address=metrics)))
    client = await connect(settings, find(settings), runtime=runtime)
    await register_search_attributes(client)
    return client


async def register_search_attributes(client: Client) -> None:
    """Add what is missing; a start that names an attribute which is not registered would be retried for ever."""
    wanted = {key.name: cast(Any, key.indexed_value_type.value) for key in SEARCH_ATTRIBUTES}
    known = await _known_search_attributes(client)
    missing = {name: kind for name, kind in wanted.items() if name not in known}
    if missing:
        request = AddSearchAttributesRequest(namespace=client.namespace, search_attributes=missing)
        await client.operator_service.add_search_attributes(request)


async def _known_search_attributes(client: Client) -> Collection[str]:
    request = ListSearchAttributesRequest(namespace=client.namespace)
    try:
        return set((await client.operator_service.list_search_attributes(request)).custom_attributes)
    except RPCError as error:
        if error.status is RPCStatusCode.UNIMPLEMENTED:  # the time-skipping test server
            return set()
        raise


def stop_on_signals() -> asyncio.Event:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop


def main(argv: Sequence[str] | None = None) -> None:
    """`failover-worker`: exit 0 after a signal, the error's code and its sentence otherwise."""
    settings = Settings.from_env(os.environ)
    parser = argparse.ArgumentParser(prog="failover-worker", description="Runs the workflows and their activities.")
    parser.add_argument("--config", type=Path, default=settings.config, required=settings.config is None)
    parser.add_argument("--state", type=Path, default=settings.state or DEFAULT_HOME)
    parser.add_argument("--ready-file", type=Path, default=None, help="written once everything answers")
    options = parser.parse_args(argv)
    configure(settings.log_format or "console", settings.log_level)
    code = 0
    try:
        asyncio.run(serve(options, settings))
    except FailoverError as error:
        print(error, file=sys.stderr)
        code = error.exit_code
    sys.stdout.flush()
    sys.stderr.flush()
    # The SDK's Rust core can abort while the interpreter finalises; the exit code must not depend on that.
    os._exit(code)


if __name__ == "__main__":
    main()
