"""One trace from an alert's delivery to the gateway's policy write, at a real OTLP door; and nothing at all when it is off."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Sequence

import httpx
import pytest
from opentelemetry.sdk.trace import TracerProvider
from temporalio.client import WorkflowFailureError, WorkflowHistory
from temporalio.contrib.opentelemetry import TracingInterceptor
from temporalio.worker import Interceptor, Replayer

from failover.errors import FailoverError
from starter import worker_parts as composition
from starter.spans import SENT
from starter.tracing import is_wanted
from tests.seeing.conftest import ALERT_TOKEN, PATIENCE, ROOT, Collector, Scraped, Span
from workflows.payloads import RefuseMalformed, data_converter

pytestmark = pytest.mark.timeout(300)

RUN = "failover/google"

LAST = {"POST /webhooks", "POST /policies", "CompleteWorkflow:ImmediateFailover"}
"""Of each process, what ends last."""

ALERT = {
    "version": "4",
    "status": "firing",
    "receiver": "failover",
    "groupKey": "{}",
    "groupLabels": {},
    "commonLabels": {},
    "commonAnnotations": {},
    "externalURL": "http://alertmanager",
    "truncatedAlerts": 0,
    "alerts": [
        {
            "status": "firing",
            "labels": {"alertname": "Errors", "failover_provider": "google", "trigger": "unavailable"},
            "annotations": {"summary": "words-of-an-alert"},
            "startsAt": "2026-01-31T12:00:00Z",
            "endsAt": "0001-01-01T00:00:00Z",
            "generatorURL": "",
            "fingerprint": "f",
        }
    ],
}


@pytest.fixture(scope="module")
async def moved(scraped: Scraped, collector: Collector) -> Sequence[Span]:
    """An alert about google moves its traffic → the spans of its trace, when all of them have arrived."""
    await scraped.heal()
    url = f"{scraped.stack.addresses.webhooks}/webhooks/alertmanager"
    async with httpx.AsyncClient(trust_env=False) as http:
        answer = await http.post(url, json=ALERT, headers={"Authorization": f"Bearer {ALERT_TOKEN}"})
        assert answer.is_success, answer.text
    async with asyncio.timeout(PATIENCE):
        try:
            result = await scraped.client.get_workflow_handle(RUN).result()
        except WorkflowFailureError as error:
            pytest.fail(str(error.cause))
        assert result["outcome"] == "COMPLETED", result
        while not _names(_of_the_delivery(collector.spans)) >= LAST:
            await asyncio.sleep(0.1)
    return _of_the_delivery(collector.spans)


def _names(spans: Sequence[Span]) -> set[str]:
    return {one.name for one in spans}


def _of_the_delivery(spans: Sequence[Span]) -> list[Span]:
    """Of the trace in which the webhook server started the run."""
    started = {one.trace for one in spans if one.service == "failover-webhooks" and "Workflow:" in one.name}
    return [one for one in spans if one.trace in started]


async def test_one_trace_from_the_alert_to_the_policy_write(moved: Sequence[Span]) -> None:
    """Each span is within the one before, across four processes."""
    by_id = {one.id: one for one in moved}
    assert len({one.trace for one in moved}) == 1
    [write] = [one for one in moved if one.name == "POST /policies"]
    way = [write]
    while way[-1].parent:
        way.append(by_id[way[-1].parent])
    assert [(one.service, one.name) for one in reversed(way)] == [
        ("failover-webhooks", "POST /webhooks"),
        ("failover-webhooks", "StartWorkflow:ImmediateFailover"),
        ("failover-worker", "StartActivity:traffic.apply"),
        ("failover-worker", "RunActivity:traffic.apply"),
        ("failover-gateway", "POST /policies"),
    ]
    assert "RunWorkflow:ImmediateFailover" in _names(moved)
    assert any(one.service == "failover-gateway" and one.name == "POST /v1" for one in moved), (
        "the questions asked through it"
    )


async def test_nothing_of_users_and_no_secret_leaves(
    moved: Sequence[Span], scraped: Scraped, collector: Collector
) -> None:
    """Names, ids and durations: attributes by a list, and not a word of anybody."""
    assert {name for one in collector.spans for name in one.attributes} <= SENT
    sent = b"".join(collector.raw)
    for word in (ALERT_TOKEN, scraped.stack.token, "words-of-an-alert", "traceback", "InternalServerException"):
        assert word.encode() not in sent, word


async def test_users_requests_are_not_traced(moved: Sequence[Span], scraped: Scraped, collector: Collector) -> None:
    """Twenty a second came all the while; only questions of the procedures' own are spans."""
    asked = [one for one in collector.spans if one.name == "POST /v1"]
    assert asked and all(one.parent for one in asked)


@pytest.mark.parametrize("traced", [False, True])
async def test_a_traced_run_replays(moved: Sequence[Span], scraped: Scraped, traced: bool) -> None:
    """With traces and without: switching them on or off harms no open run."""
    history = await scraped.client.get_workflow_handle(RUN).fetch_history()
    spans: Sequence[Interceptor] = [TracingInterceptor(TracerProvider().get_tracer("test"))] if traced else []
    replayer = Replayer(
        workflows=composition.WORKFLOWS,
        data_converter=data_converter,
        workflow_runner=composition.workflow_runner(),
        interceptors=[*spans, RefuseMalformed()],
        workflow_failure_exception_types=[FailoverError],
    )
    await replayer.replay_workflow(WorkflowHistory(RUN, history.events))


@pytest.mark.parametrize(
    ("environ", "wanted"),
    [
        ({}, False),
        ({"OTEL_SERVICE_NAME": "x"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": " "}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://collector:4318/v1/traces"}, True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c", "OTEL_SDK_DISABLED": "TRUE"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c", "OTEL_TRACES_EXPORTER": "none"}, False),
    ],
)
def test_a_named_collector_switches_it_on(environ: dict[str, str], wanted: bool) -> None:
    """And the standard ways to switch it off do."""
    assert is_wanted(environ) is wanted


def test_off_imports_nothing() -> None:
    """Neither the SDK nor Temporal's part of it, in any of the processes."""
    script = """
import asyncio, sys
from contextlib import AsyncExitStack
import worker, starter.alone, starter.webhooks.serving, gateway.process
from starter.settings import Settings
from starter.tracing import OFF, tracing
assert asyncio.run(tracing(Settings.from_env({}), "x", AsyncExitStack())) is OFF
found = [name for name in sys.modules if name.startswith(("opentelemetry.sdk", "opentelemetry.exporter", "starter.spans"))]
sys.exit(f"imported: {found}" if found or "temporalio.contrib.opentelemetry" in sys.modules else 0)
"""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("OTEL_", "FAILOVER_"))}
    done = subprocess.run(
        [sys.executable, "-c", script], env=kept | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
