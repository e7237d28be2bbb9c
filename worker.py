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

from activities.accuracy import Examiner
from activities.aftercare import Aftercare
from activities.analyzing import LOGS, Analysing, Gatherer, Sources, places_of
from activities.baselines import BaselineRecorder, PerformanceBaselines
from activities.board import VerdictBoard
from activities.certificates import Certificates
from activities.checks.people import Outside
from activities.clock import SYSTEM
from activities.communications import Communicating
from activities.course import CourseOfUse
from activities.deploys import DeployLog
from activities.drilling import Drilling, PassedDrills
from activities.emergency import Ecosystem
from activities.evidence import Evidence, EvidenceStore
from activities.hold import HeldAutomation
from activities.notifiers.slack import SlackNotifier
from activities.notify import Notifier, Notify
from activities.probing import Prober, Probing
from activities.ramping import Ramping
from activities.readiness import Auditing, AuditParts
from activities.responding import TemporalResponder
from activities.restoration import Restoration
from activities.runs import Runs
from activities.samples import SampleLog
from activities.sources import Readings
from activities.statuses import AskingResponder, StatusLog
from activities.traffic import Traffic
from activities.watching import Responder, Watching
from failover.communications import Channel
from failover.config import Config
from failover.config.communications import ChannelName
from failover.config_file import LoadedConfig
from failover.errors import FailoverError
from failover.golden import Suite
from failover.ports import (
    Clock,
    Directory,
    DrillPlane,
    HoldStore,
    PassiveSource,
    ProviderClient,
    Reachable,
    ReadinessStore,
    TrafficPlane,
)
from gateway.process import listening
from providers.status_page import StatusPages
from starter.channels import channels
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
from starter.reporting import RunReporter
from starter.running import DEFAULT_HOME, find, write_atomically
from starter.settings import Settings
from starter.stack import load
from starter.tracing import OFF, Tracing, tracing
from starter.worker_health import Readiness, create_app
from starter.worker_metrics import CountedNotifier, WorkerMetrics, open_at_zero
from workflows.canary_failover import CanaryFailover
from workflows.communications import Communications
from workflows.emergency import MultiProviderEmergency
from workflows.failback import Failback
from workflows.failover_drill import FailoverDrill
from workflows.follow_up import FollowUp
from workflows.gradual_failover import GradualFailover
from workflows.health_check import HealthCheck
from workflows.immediate_failover import ImmediateFailover
from workflows.journal import SEARCH_ATTRIBUTES, Visible
from workflows.payloads import RefuseMalformed
from workflows.proposal import Proposal
from workflows.queue import TASK_QUEUE
from workflows.readiness_audit import ReadinessAudit
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
    FollowUp,
    Communications,
    ReadinessAudit,
    FailoverDrill,
)

PROCEDURES = tuple(kind.__name__ for kind in WORKFLOWS if issubclass(kind, Visible) and kind is not FollowUp)
"""What is counted as a run: a health check, or what follows an incident, is none."""


def workflow_runner() -> SandboxedWorkflowRunner:
    """The one sandbox of workers, tests and replays: our own modules are passed through, and lint keeps them pure."""
    passed = SandboxRestrictions.default.with_passthrough_modules(
        "failover", "activities", "structlog", "yaml", "opentelemetry"
    )
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
    statuses: StatusLog | None = None
    analysing: Analysing | None = None
    channels: Mapping[ChannelName, Channel] = field(default_factory=dict)
    metrics: WorkerMetrics | None = None
    prompt_sets: Mapping[str, Suite] = field(default_factory=dict)
    readiness: ReadinessStore | None = None
    reachable: Mapping[str, Reachable] = field(default_factory=dict)
    directory: Directory | None = None
    drills: DrillPlane | None = None
    clock: Clock = SYSTEM


def build_worker(
    client: Client, parts: Parts, *, task_queue: str = TASK_QUEUE, interceptors: Sequence[Interceptor] = ()
) -> Worker:
    """A worker that serves every workflow and activity of the product."""
    prober = Prober(parts.config, parts.clients, parts.clock)
    certificates = Certificates(parts.config, parts.prompt_sets, parts.readiness)
    traffic = Traffic(parts.config, parts.plane, parts.board, certificates, parts.clock)
    restoration = Restoration(parts.config, parts.plane, prober)
    responder: Responder = TemporalResponder(client, task_queue, parts.notifier, parts.config, certificates)
    if parts.statuses is not None:
        responder = AskingResponder(responder, parts.statuses)
    hold = HeldAutomation(parts.hold)
    readings = Readings(parts.config, parts.plane, parts.sources, parts.clock)
    demanded = parts.config.detection.automation.require_drill_within is not None
    runs = Runs(client, task_queue, hold)
    baselines = BaselineRecorder(
        parts.config,
        parts.plane,
        parts.board,
        PerformanceBaselines(parts.evidence.archive),
        runs.open_incidents,
    )
    watching = Watching(
        parts.config,
        parts.plane,
        prober,
        parts.board,
        responder,
        examiner=parts.examiner,
        readings=readings,
        hold=hold,
        samples=parts.samples,
        baselines=baselines,
        certificates=certificates,
        practised=PassedDrills(parts.evidence) if demanded else None,
        clock=parts.clock,
    )
    evidence = Evidence(parts.evidence, parts.metrics.closed if parts.metrics else None)
    ramping = Ramping(parts.config, parts.plane, parts.board, prober, parts.evidence, certificates, parts.clock)
    auditing = Auditing(_audit_parts(parts, prober))
    ecosystem = Ecosystem(parts.config, parts.plane)
    reporter = RunReporter(parts.evidence, parts.config)
    aftercare = Aftercare(parts.config, client, task_queue, parts.evidence, reporter, parts.samples, parts.analysing)
    telling = Communicating(parts.config, parts.channels, parts.evidence, client, task_queue)
    drilling = Drilling(parts.config, parts.plane, parts.drills, parts.board, prober, hold)
    activities: list[Callable[..., Any]] = [
        *(traffic.brief, traffic.reread, traffic.apply, traffic.verify),
        *(restoration.sample, restoration.impact),
        *(watching.plan, watching.watch),
        *(ramping.brief, ramping.look, ramping.sample, ramping.recovery, ramping.comprehensive),
        *(runs.is_open, runs.start),
        *(drilling.brief, drilling.look, drilling.inject, drilling.keep, drilling.heal),
        *(drilling.watch, drilling.load, drilling.guard),
        *(ecosystem.brief, ecosystem.look, ecosystem.demand),
        *(aftercare.begin, aftercare.report, aftercare.root_cause, aftercare.status_page, aftercare.next_drill),
        *(aftercare.thresholds, aftercare.keep),
        *(Probing(prober).candidates, Notify(parts.notifier).post),
        *(CourseOfUse(parts.plane).taken, evidence.keep),
        *(telling.open, telling.deliver, telling.keep),
        *(auditing.plan, auditing.provider, auditing.golden, auditing.context, auditing.traffic, auditing.people),
        *(auditing.keep, auditing.told),
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


def _audit_parts(parts: Parts, prober: Prober) -> AuditParts:
    return AuditParts(
        config=parts.config,
        clients=parts.clients,
        plane=parts.plane,
        prober=prober,
        examiner=parts.examiner,
        prompt_sets=parts.prompt_sets,
        store=parts.readiness,
        channels={**parts.reachable, **{name.value: Outside(name, one) for name, one in parts.channels.items()}},
        directory=parts.directory,
    )


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
