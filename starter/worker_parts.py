"""What a worker is made of, and the worker that is made of it: the real one, a rehearsal's, and those of the tests."""

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from temporalio.client import Client
from temporalio.worker import Interceptor, Worker
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner, SandboxRestrictions

from activities.accuracy import Examiner
from activities.aftercare import Aftercare
from activities.analyzing import Analysing
from activities.baselines import BaselineRecorder, KeptBaselines, PerformanceBaselines
from activities.board import VerdictBoard
from activities.certificates import Certificates
from activities.checks.people import Outside
from activities.clock import SYSTEM
from activities.communications import Communicating
from activities.course import CourseOfUse
from activities.drilling import Drilling, PassedDrills
from activities.emergency import Ecosystem
from activities.evidence import Evidence, EvidenceStore
from activities.hold import HeldAutomation
from activities.measuring_again import Remeasurer
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
from starter.reporting import RunReporter
from starter.worker_metrics import WorkerMetrics
from workflows.canary_failover import CanaryFailover
from workflows.communications import Communications
from workflows.emergency import MultiProviderEmergency
from workflows.failback import Failback
from workflows.failover_drill import FailoverDrill
from workflows.follow_up import FollowUp
from workflows.gradual_failover import GradualFailover
from workflows.health_check import HealthCheck
from workflows.immediate_failover import ImmediateFailover
from workflows.journal import Visible
from workflows.payloads import RefuseMalformed
from workflows.proposal import Proposal
from workflows.queue import TASK_QUEUE
from workflows.readiness_audit import ReadinessAudit
from workflows.service_settings import ServiceSettings

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
    return Worker(
        client,
        task_queue=task_queue,
        workflows=WORKFLOWS,
        activities=[*activities(client, parts, task_queue)],
        interceptors=[RefuseMalformed(), *interceptors],
        workflow_runner=workflow_runner(),
        workflow_failure_exception_types=[FailoverError],
        graceful_shutdown_timeout=timedelta(seconds=5),
        # What a dead worker had cached is picked up by the next one after this, not after ten seconds.
        sticky_queue_schedule_to_start_timeout=timedelta(seconds=1),
        max_concurrent_activities=200,
    )


def activities(client: Client, parts: Parts, task_queue: str) -> Iterator[Callable[..., Any]]:
    """Every method that is an activity, of everything that has some: none can be forgotten."""
    for one in _capable(client, parts, task_queue):
        for name, method in inspect.getmembers(type(one), inspect.isfunction):
            if hasattr(method, "__temporal_activity_definition"):
                yield getattr(one, name)


def _capable(client: Client, parts: Parts, task_queue: str) -> Sequence[object]:
    """The objects that have activities."""
    config, plane = parts.config, parts.plane
    prober = Prober(config, parts.clients, parts.clock)
    certificates = Certificates(config, parts.prompt_sets, parts.readiness)
    hold = HeldAutomation(parts.hold)
    runs = Runs(client, task_queue, hold)
    responder: Responder = TemporalResponder(client, task_queue, parts.notifier, config, certificates)
    if parts.statuses is not None:
        responder = AskingResponder(responder, parts.statuses)
    restoration = Restoration(config, plane, prober)
    return [
        Traffic(config, plane, parts.board, certificates, parts.clock),
        restoration,
        _watching(parts, prober, certificates, hold, runs, responder),
        Ramping(config, plane, parts.board, prober, parts.evidence, certificates, parts.clock),
        runs,
        Drilling(config, plane, parts.drills, parts.board, prober, hold),
        Ecosystem(config, plane),
        _aftercare(client, parts, task_queue, restoration),
        Probing(prober),
        Notify(parts.notifier),
        CourseOfUse(plane),
        Evidence(
            parts.evidence,
            parts.metrics.closed if parts.metrics else None,
            KeptBaselines(parts.evidence, config).keep,
        ),
        Communicating(config, parts.channels, parts.evidence, client, task_queue),
        Auditing(_audit_parts(parts, prober)),
    ]


def _watching(
    parts: Parts, prober: Prober, certificates: Certificates, hold: HeldAutomation, runs: Runs, responder: Responder
) -> Watching:
    config, plane, board = parts.config, parts.plane, parts.board
    demanded = config.detection.automation.require_drill_within is not None
    return Watching(
        config,
        plane,
        prober,
        board,
        responder,
        examiner=parts.examiner,
        readings=Readings(config, plane, parts.sources, parts.clock),
        hold=hold,
        samples=parts.samples,
        baselines=BaselineRecorder(
            config, plane, board, PerformanceBaselines(parts.evidence.archive), runs.open_incidents
        ),
        certificates=certificates,
        practised=PassedDrills(parts.evidence) if demanded else None,
        clock=parts.clock,
    )


def _aftercare(client: Client, parts: Parts, task_queue: str, restoration: Restoration) -> Aftercare:
    return Aftercare(
        parts.config,
        client,
        task_queue,
        parts.evidence,
        RunReporter(parts.evidence, parts.config),
        parts.samples,
        parts.analysing,
        Remeasurer(restoration, parts.plane, parts.evidence),
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
