"""Bad input fails at once, and clearly, whichever door it came through: here, the `temporal` command line."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from temporalio.api.common.v1 import Payload
from temporalio.client import Client, WorkflowFailureError, WorkflowHandle
from temporalio.common import RawValue
from temporalio.exceptions import ApplicationError

from starter import worker_parts as composition
from traffic.memory import MemoryPlane

SECRET = "hunter2"

BAD_STARTS: dict[str, list[str]] = {
    "missing field": ["--input", "{}"],
    "wrong type": ["--input", json.dumps({"failed_provider": {"name": SECRET}})],
    "unknown field": ["--input", json.dumps({"failed_provider": "bedrock", "passwd": SECRET})],
    "list": ["--input", json.dumps([SECRET])],
    "string": ["--input", json.dumps(SECRET)],
    "number": ["--input", "42"],
    "null": ["--input", "null"],
    "no input": [],
    "two inputs": ["--input", '{"failed_provider":"bedrock"}', "--input", json.dumps(SECRET)],
    "binary": [
        *("--input-base64", "--input", base64.b64encode(SECRET.encode()).decode()),
        *("--input-meta", "encoding=binary/plain"),
    ],
    "unknown encoding": ["--input", json.dumps(SECRET), "--input-meta", "encoding=application/x-unknown"],
}

NAMED = {"missing field": "failed_provider", "wrong type": "failed_provider", "unknown field": "passwd"}

Temporal = Callable[..., Any]


@pytest.fixture
def temporal(temporal_cli: Path, dev_server: Any) -> Temporal:
    """The real command line, against the real server."""

    async def run(*args: str) -> tuple[int, str]:
        process = await asyncio.create_subprocess_exec(
            *(str(temporal_cli), *args, "--address", dev_server.address),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await process.communicate()
        assert process.returncode is not None
        return process.returncode, output.decode()

    return run


@pytest.fixture
async def waiting_run(
    temporal_client: Client, failover_worker: str, parts: composition.Parts, request: pytest.FixtureRequest
) -> AsyncIterator[WorkflowHandle[Any, Any]]:
    """A run that goes on validating, since the route answers nonsense."""
    assert isinstance(parts.plane, MemoryPlane)
    parts.plane.text = "nonsense"
    run = await temporal_client.start_workflow(
        "ImmediateFailover", {"failed_provider": "bedrock"}, id=f"waiting-{failover_worker}", task_queue=failover_worker
    )
    async with asyncio.timeout(10):
        while not any("not good" in entry["text"] for entry in await run.query("timeline")):
            await asyncio.sleep(0.05)
    yield run
    await run.terminate()


@pytest.mark.parametrize("kind", BAD_STARTS)
async def test_a_malformed_start_fails_within_seconds(
    kind: str, temporal: Temporal, temporal_client: Client, failover_worker: str
) -> None:
    """The run is FAILED, not retried for ever; the field is named where there is one, no value is shown."""
    run_id = f"malformed-{kind.replace(' ', '-')}"
    start = ("workflow", "start", "--type", "ImmediateFailover", "--task-queue", failover_worker)
    code, output = await temporal(*start, "--workflow-id", run_id, *BAD_STARTS[kind])
    assert code == 0, output
    with pytest.raises(WorkflowFailureError) as failed:
        await asyncio.wait_for(temporal_client.get_workflow_handle(run_id).result(), timeout=10)
    cause = failed.value.cause
    assert isinstance(cause, ApplicationError)
    assert cause.type == "MalformedInput"
    assert NAMED.get(kind, "") in str(cause)
    assert SECRET not in str(cause)


BROKEN_JSON = RawValue(Payload(metadata={"encoding": b"json/plain"}, data=b'{"failed_provider": ' + SECRET.encode()))
"""What the command line refuses to send, and another client may not."""


async def test_broken_json_fails_a_start_and_drops_a_message(
    temporal_client: Client, failover_worker: str, waiting_run: WorkflowHandle[Any, Any]
) -> None:
    """The same, from a client that checks nothing."""
    broken = await temporal_client.start_workflow(
        "ImmediateFailover", BROKEN_JSON, id=f"broken-{failover_worker}", task_queue=failover_worker
    )
    with pytest.raises(WorkflowFailureError) as failed:
        await asyncio.wait_for(broken.result(), timeout=10)
    assert SECRET not in str(failed.value.cause)
    await waiting_run.signal("note", BROKEN_JSON)
    async with asyncio.timeout(10):
        while not any("malformed note" in entry["text"] for entry in await waiting_run.query("timeline")):
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("kind", BAD_STARTS)
async def test_a_malformed_message_neither_wedges_nor_kills_a_run(
    kind: str, temporal: Temporal, waiting_run: Any
) -> None:
    """The run goes on, still answers queries, and what it could say of the message is in its timeline."""
    signal = ("workflow", "signal", "--workflow-id", waiting_run.id, "--name", "note")
    code, output = await temporal(*signal, *BAD_STARTS[kind])
    assert code == 0, output
    await temporal(*signal, "--input", json.dumps({"by": "anna", "text": f"after {kind}"}))

    async def noted() -> list[str]:
        return [entry["text"] for entry in await waiting_run.query("timeline")]

    async with asyncio.timeout(10):
        while f"anna: after {kind}" not in (said := await noted()):
            await asyncio.sleep(0.05)
    assert not any(SECRET in text for text in said)


UNMEANT: list[tuple[str, dict[str, Any], str]] = [
    ("CanaryFailover", {"initial_seconds": 1e300}, "initial_seconds"),
    ("CanaryFailover", {"step_seconds": -1}, "step_seconds"),
    ("CanaryFailover", {"manual_deadline_seconds": 0}, "manual_deadline_seconds"),
    ("CanaryFailover", {"percents": [SECRET]}, "percents.0"),
    ("CanaryFailover", {"approvals": {"deadline": SECRET}}, "approvals.deadline"),
    ("CanaryFailover", {"approvals": {"deadline": "9" * 30 + "d"}}, "approvals.deadline"),
    ("CanaryFailover", {"approvals": {"points": [SECRET]}}, "approvals.points.0"),
    ("GradualFailover", {"transition_seconds": 1e17, "target_distribution": {"google": 100}}, "transition_seconds"),
    ("GradualFailover", {"target_distribution": {"google": SECRET}}, "target_distribution"),
    ("GradualFailover", {"target_distribution": {"google": "1e999999"}}, "target_distribution"),
    ("GradualFailover", {"target_distribution": SECRET}, "target_distribution"),
    ("GradualFailover", {"failed_provider": "bedrock", "phases": [[]]}, "phases"),
    ("Failback", {"original_provider": "bedrock", "recovery_seconds": 1e300}, "recovery_seconds"),
    ("MultiProviderEmergency", {"routes": []}, "routes"),
    ("ServiceSettings", {"cache": "on", "cache_ttl_seconds": 1e300}, "cache_ttl_seconds"),
    ("ServiceSettings", {"queue": "on", "queue_timeout_seconds": 1e300}, "queue_timeout_seconds"),
    (
        "ImmediateFailover",
        {
            "failed_provider": "bedrock",
            "verdicts": [
                {"provider": "bedrock", "condition": "unavailable", "reason": SECRET, "at": "2026-01-01T00:00:00"}
            ],
        },
        "verdicts",
    ),
    (
        "Proposal",
        {
            **{"procedure": "ImmediateFailover", "workflow_id": "failover/x", "request": {}, "provider": "bedrock"},
            **{"routes": ["chat"], "deadline_seconds": 1e300},
        },
        "deadline_seconds",
    ),
]
"""Values in the right form that nobody can mean: any of them would be tried for ever, were it found out in the run."""


@pytest.mark.parametrize(
    ("procedure", "request_", "field"), UNMEANT, ids=[f"{name} {field}" for name, _, field in UNMEANT]
)
async def test_a_value_that_cannot_be_meant_fails_within_seconds(
    temporal_client: Client,
    failover_worker: str,
    parts: composition.Parts,
    procedure: str,
    request_: dict[str, Any],
    field: str,
) -> None:
    """With the field's name and without the value, and nothing is changed."""
    usual = {"CanaryFailover": {"route": "chat", "source_provider": "bedrock", "target_provider": "google"}}
    rest = usual.get(procedure, {} if procedure in NO_ROUTE else {"route": "chat"})
    run = await temporal_client.start_workflow(
        procedure, rest | request_, id=f"unmeant-{failover_worker}", task_queue=failover_worker
    )
    with pytest.raises(WorkflowFailureError) as failed:
        await asyncio.wait_for(run.result(), timeout=10)
    cause = failed.value.cause
    assert isinstance(cause, ApplicationError)
    assert cause.type in ("MalformedInput", "RequestError") and field in str(cause)
    assert SECRET not in str(cause)
    assert isinstance(parts.plane, MemoryPlane)
    assert parts.plane.applied == []


NO_ROUTE = ("ImmediateFailover", "MultiProviderEmergency", "Proposal")
