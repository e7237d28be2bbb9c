"""The composition root: settings and configuration in, a running Temporal worker out. No rule lives here."""

import argparse
import asyncio
import json
import os
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from temporalio.client import Client
from temporalio.envconfig import ClientConfig
from temporalio.runtime import PrometheusConfig, Runtime, TelemetryConfig
from temporalio.worker import Worker
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner, SandboxRestrictions

from activities.board import VerdictBoard
from activities.evidence import Evidence, EvidenceStore
from activities.notify import Notify, build_notifier
from activities.probing import Prober, Probing
from activities.responding import TemporalResponder
from activities.restoration import Restoration
from activities.traffic import Traffic
from activities.watching import Watching
from failover.config import Config
from failover.errors import FailoverError
from failover.ports import ProviderClient, TrafficPlane
from workflows.health_check import HealthCheck
from workflows.immediate_failover import ImmediateFailover
from workflows.payloads import RefuseMalformed, data_converter
from workflows.queue import TASK_QUEUE

WORKFLOWS: Sequence[type] = (HealthCheck, ImmediateFailover)


def workflow_runner() -> SandboxedWorkflowRunner:
    """The one sandbox of workers, tests and replays: our own modules are passed through, and lint keeps them pure."""
    passed = SandboxRestrictions.default.with_passthrough_modules("failover", "activities", "structlog", "yaml")
    return SandboxedWorkflowRunner(restrictions=passed)


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What a worker is made of, real or not: tests put other adapters in the same places."""

    config: Config
    clients: dict[str, ProviderClient]
    plane: TrafficPlane
    notify: Notify
    evidence: EvidenceStore
    board: VerdictBoard


def build_worker(client: Client, parts: Parts, *, task_queue: str = TASK_QUEUE) -> Worker:
    """A worker that serves every workflow and activity of the product."""
    prober = Prober(parts.config, parts.clients)
    traffic = Traffic(parts.config, parts.plane, parts.board)
    restoration = Restoration(parts.config, parts.plane, prober)
    responder = TemporalResponder(client, task_queue, parts.notify)
    watching = Watching(parts.config, parts.plane, prober, parts.board, responder)
    evidence = Evidence(parts.evidence)
    activities: list[Callable[..., Any]] = [
        *(traffic.brief, traffic.reread, traffic.apply, traffic.verify),
        *(restoration.sample, restoration.impact),
        *(watching.plan, watching.watch),
        *(Probing(prober).candidates, parts.notify.post, evidence.keep),
    ]
    return Worker(
        client,
        task_queue=task_queue,
        workflows=WORKFLOWS,
        activities=activities,
        interceptors=[RefuseMalformed()],
        workflow_runner=workflow_runner(),
        workflow_failure_exception_types=[FailoverError],
        graceful_shutdown_timeout=timedelta(seconds=5),
        # What a dead worker had cached is picked up by the next one after this, not after ten seconds.
        sticky_queue_schedule_to_start_timeout=timedelta(seconds=1),
        max_concurrent_activities=200,
    )
