"""The composition root: settings and configuration in, a running Temporal worker out. No rule lives here."""

import argparse
import asyncio
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import structlog
from temporalio.client import Client
from temporalio.runtime import PrometheusConfig, Runtime, TelemetryConfig

from activities.analyzing import LOGS, Analysing, Gatherer, Sources, places_of
from activities.board import VerdictBoard
from activities.deploys import DeployLog
from activities.evidence import EvidenceStore
from activities.hold import HeldAutomation
from activities.notifiers.slack import SlackNotifier
from activities.samples import SampleLog
from activities.statuses import StatusLog
from failover.config import Config
from failover.config_file import LoadedConfig
from failover.errors import FailoverError
from gateway.process import listening
from providers.status_page import StatusPages
from starter.channels import channels
from starter.configuration import load
from starter.connection import connect
from starter.golden import load_prompt_sets
from starter.logs import configure
from starter.parts import (
    SAMPLES,
    evidence_store,
    examiner,
    notifier,
    passive_sources,
    plane_of,
    provider_clients,
    readiness_store,
    secrets_of,
)
from starter.ports import LOOPBACK, free_port
from starter.running import DEFAULT_HOME, find, write_atomically
from starter.search_attributes import register_search_attributes
from starter.settings import Settings
from starter.tracing import OFF, Tracing, tracing
from starter.worker_health import Readiness, create_app
from starter.worker_metrics import CountedNotifier, WorkerMetrics, open_at_zero
from starter.worker_parts import PROCEDURES, Parts, build_worker
from workflows.queue import TASK_QUEUE

log = structlog.get_logger("worker")


async def serve(options: argparse.Namespace, settings: Settings) -> None:
    """Run one worker until SIGTERM or SIGINT; its activities may finish, within bounds."""
    loaded = load(options.config)
    stop = stop_on_signals()
    async with AsyncExitStack() as held:
        metrics = f"{LOOPBACK}:{free_port()}"
        traced = await tracing(settings, "failover-worker", held)
        client = await connect_worker(settings, metrics, traced)
        board = VerdictBoard()
        figures = WorkerMetrics(loaded.config, board, PROCEDURES)
        parts = await assemble(loaded, settings, options.state, board, figures, traced)
        held.push_async_callback(parts.plane.aclose)
        if parts.drills is not None:
            held.push_async_callback(parts.drills.aclose)
        if parts.hold is not None:
            held.push_async_callback(parts.hold.aclose)
        for provider in parts.clients.values():
            held.push_async_callback(provider.aclose)
        for source in parts.sources.values():
            held.push_async_callback(source.aclose)
        for channel in parts.channels.values():
            held.push_async_callback(channel.aclose)
        worker = await held.enter_async_context(build_worker(client, parts))
        readiness = Readiness(client, worker, parts.config, HeldAutomation(parts.hold))
        app = create_app(readiness, parts.board, f"http://{metrics}/metrics", figures)
        url = await held.enter_async_context(listening(app, settings.worker_host, settings.worker_port))
        if options.ready_file:
            write_atomically(options.ready_file, {"health": url})
        log.info("ready", task_queue=TASK_QUEUE, health=url)
        await stop.wait()
        readiness.draining = True
        log.info("stopping")


async def assemble(
    loaded: LoadedConfig, settings: Settings, state: Path, board: VerdictBoard, figures: WorkerMetrics, traced: Tracing
) -> Parts:
    """The real adapters, as the settings wire them."""
    config, stack = loaded.config, find(settings)
    clients = await provider_clients(config, settings)
    statuses = StatusLog(config.analysis, StatusPages(config.analysis.status_timeout.total_seconds()), state)
    evidence = evidence_store(config, state)
    telling = notifier(config, settings)
    return Parts(
        config=config,
        clients=clients,
        plane=plane_of(stack, traced.headers),
        notifier=CountedNotifier(telling, figures),
        evidence=evidence,
        board=board,
        examiner=examiner(loaded, clients, state),
        sources=passive_sources(config, settings),
        hold=plane_of(stack),
        samples=SampleLog(state / SAMPLES, config.detection.samples_max_bytes),
        statuses=statuses,
        analysing=analysing(config, settings, state, statuses, evidence),
        channels=channels(config, settings),
        metrics=figures,
        prompt_sets=load_prompt_sets(loaded),
        readiness=readiness_store(config, state),
        reachable={"messages": telling},
        directory=telling if isinstance(telling, SlackNotifier) else None,
        drills=plane_of(stack),
    )


def analysing(
    config: Config, settings: Settings, state: Path, statuses: StatusLog, evidence: EvidenceStore
) -> Analysing:
    """Root causes of closed runs, by what lies in the state directory."""
    own = config.analysis
    sources = Sources(
        settings=own,
        evidence=evidence,
        samples=SampleLog(state / SAMPLES, 0),
        deploys=DeployLog(state, own.deploys_max_bytes, config.webhooks.replay_window),
        statuses=statuses,
        places=places_of(config),
        secrets=secrets_of(config, settings.environ, settings.api_token),
        logs=state / LOGS,
    )
    return Analysing(Gatherer(sources), evidence)


async def connect_worker(settings: Settings, metrics: str, traced: Tracing = OFF) -> Client:
    """A client with the SDK's metrics on `metrics` (host:port), and our search attributes registered."""
    runtime = Runtime(telemetry=TelemetryConfig(metrics=PrometheusConfig(bind_address=metrics)))
    client = await connect(settings, find(settings), runtime=runtime, interceptors=traced.interceptors)
    await register_search_attributes(client)
    open_at_zero(runtime.metric_meter, PROCEDURES, client.namespace, TASK_QUEUE)
    return client


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
