"""Runs whose payloads are encrypted: started in every way, read by nobody without a key, and never ended by a missing one."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from temporalio.client import Client, WorkflowExecutionStatus, WorkflowFailureError, WorkflowHandle
from temporalio.exceptions import ApplicationError

from starter import schedules
from starter import worker_parts as composition
from starter.configuration import demo_config, load
from tests.codec.conftest import NEW, OLD, STRANGE, Encrypted, Temporal
from traffic.memory import MemoryPlane

SECRET = "hunter2-of-the-incident"

REQUEST = {"failed_provider": "bedrock", "reason": SECRET}


async def until_failed(handle: WorkflowHandle[Any, Any]) -> ApplicationError:
    with pytest.raises(WorkflowFailureError) as failed:
        await asyncio.wait_for(handle.result(), timeout=15)
    assert isinstance(failed.value.cause, ApplicationError)
    return failed.value.cause


async def bytes_of(client: Client, workflow_id: str) -> bytes:
    """All that Temporal keeps of a run."""
    history = await client.get_workflow_handle(workflow_id).fetch_history()
    return b"".join(event.SerializeToString() for event in history.events)


async def test_history_shows_nothing_and_plain_json_is_taken(
    encrypted: Encrypted, temporal: Temporal, temporal_client: Client, parts: composition.Parts, task_queue: str
) -> None:
    """By a client with the key, and by the command line that has none; only what was typed plainly stands there plainly."""
    client = await encrypted(NEW, OLD)
    async with composition.build_worker(client, parts, task_queue=task_queue):
        sealed = await client.start_workflow(
            "ImmediateFailover", REQUEST, id=f"sealed-{task_queue}", task_queue=task_queue, static_summary=SECRET
        )
        result = await sealed.result()
        assert result["outcome"] == "COMPLETED"
        start = ("workflow", "start", "--type", "ImmediateFailover", "--task-queue", task_queue)
        code, output = await temporal(
            *start, "--workflow-id", f"plain-{task_queue}", "--input", '{"failed_provider": "google"}'
        )
        assert code == 0, output
        assert (await client.get_workflow_handle(f"plain-{task_queue}").result())["outcome"] == "COMPLETED"
    kept = await bytes_of(temporal_client, sealed.id)
    assert b"binary/encrypted" in kept
    assert SECRET.encode() not in kept
    assert b"failed_provider" not in kept
    plainly = await bytes_of(temporal_client, f"plain-{task_queue}")
    assert b'{"failed_provider": "google"}' in plainly
    assert b"request_loss" not in plainly and b'"timeline"' not in plainly, "what followed is encrypted all the same"


async def test_a_start_by_an_unknown_key_fails_within_seconds(
    encrypted: Encrypted, parts: composition.Parts, task_queue: str
) -> None:
    """Like any other malformed input: FAILED, with a sentence, and no value."""
    ours, theirs = await encrypted(NEW), await encrypted(STRANGE)
    async with composition.build_worker(ours, parts, task_queue=task_queue):
        started = await theirs.start_workflow(
            "ImmediateFailover", REQUEST, id=f"strange-{task_queue}", task_queue=task_queue
        )
        cause = await until_failed(ours.get_workflow_handle(started.id))
    assert cause.type == "MalformedInput"
    assert "a key that is not configured here" in cause.message
    assert SECRET not in str(cause)


async def test_a_message_by_an_unknown_key_is_dropped_with_a_note(
    encrypted: Encrypted, parts: composition.Parts, task_queue: str
) -> None:
    """The run goes on, and takes the next one."""
    assert isinstance(parts.plane, MemoryPlane)
    parts.plane.text = "nonsense"
    ours, theirs = await encrypted(NEW), await encrypted(STRANGE)
    async with composition.build_worker(ours, parts, task_queue=task_queue):
        run = await ours.start_workflow("ImmediateFailover", REQUEST, id=f"told-{task_queue}", task_queue=task_queue)
        await theirs.get_workflow_handle(run.id).signal("note", {"by": "mallory", "text": SECRET})
        await run.signal("note", {"by": "anna", "text": "still here"})
        async with asyncio.timeout(15):
            while "anna: still here" not in (said := [entry["text"] for entry in await run.query("timeline")]):
                await asyncio.sleep(0.05)
        await run.terminate()
    assert any("malformed note" in text and "not configured here" in text for text in said), said
    assert not any(SECRET in text and "mallory" in text for text in said)


@pytest.mark.parametrize(
    ("first", "lacking"),
    [([NEW], [OLD]), ([OLD], [OLD]), ([NEW, OLD], [OLD])],
    ids=["the run's own key", "nothing", "the key that was added since"],
)
async def test_a_worker_without_the_key_never_ends_a_run(
    encrypted: Encrypted, parts: composition.Parts, task_queue: str, first: Sequence[Any], lacking: Sequence[Any]
) -> None:
    """It waits, however far it has come, for a worker that can read it; and then goes on where it was."""
    assert isinstance(parts.plane, MemoryPlane)
    parts.plane.text = "nonsense"
    knows, asks = await encrypted(*first), await encrypted(OLD if OLD in first else NEW)
    run = await asks.start_workflow("ImmediateFailover", REQUEST, id=f"waits-{task_queue}", task_queue=task_queue)
    handle = knows.get_workflow_handle(run.id)
    async with composition.build_worker(knows, parts, task_queue=task_queue), asyncio.timeout(20):
        while not any("not good" in entry["text"] for entry in await handle.query("timeline")):
            await asyncio.sleep(0.05)
    async with composition.build_worker(await encrypted(*lacking), parts, task_queue=task_queue):
        await asyncio.sleep(2.5)  # several attempts at its task
        assert (await handle.describe()).status is WorkflowExecutionStatus.RUNNING
    parts.plane.text = "PONG"
    async with composition.build_worker(knows, parts, task_queue=task_queue):
        assert (await asyncio.wait_for(handle.result(), timeout=60))["outcome"] == "COMPLETED"


async def test_schedules_follow_the_keys(encrypted: Encrypted) -> None:
    """An input under an older key is drift, and put right while both are known: later every start would be refused."""
    config, name = load(demo_config()).config, schedules.HEALTH_CHECK
    config = config.model_copy(update={"readiness": config.readiness.model_copy(update={"enabled": False})})
    before, both, after = await encrypted(OLD), await encrypted(NEW, OLD), await encrypted(NEW)
    try:
        assert (await schedules.apply(before, config))[name] is schedules.Applied.CREATED
        assert (await schedules.apply(before, config))[name] is schedules.Applied.UNCHANGED
        [listed] = await schedules.listed(both, config)
        assert listed.drift == ["its input is encrypted with the key 2025-01, and should be with the key 2026-11"]
        assert (await schedules.apply(both, config))[name] is schedules.Applied.UPDATED
        [listed] = await schedules.listed(after, config)
        assert (listed.id, listed.drift) == (name, [])
        assert (await schedules.apply(after, config))[name] is schedules.Applied.UNCHANGED
    finally:
        await schedules.remove(after)


async def test_a_watch_goes_on_though_what_the_last_check_knew_cannot_be_read(
    encrypted: Encrypted, temporal_client: Client, parts: composition.Parts, task_queue: str
) -> None:
    """Its key is gone: the next check begins anew, instead of failing for ever."""
    detection = parts.config.detection.model_copy(update={"schedule_interval": timedelta(seconds=2)})
    quick = replace(parts, config=parts.config.model_copy(update={"detection": detection}))
    run = await temporal_client.start_workflow(
        "HealthCheck", {}, id=f"watch-{task_queue}", task_queue=task_queue, cron_schedule="@every 6s"
    )
    handle = temporal_client.get_workflow_handle(run.id)
    try:
        async with composition.build_worker(await encrypted(OLD), quick, task_queue=task_queue):
            second = await _run_after(handle, run.first_execution_run_id)
        async with composition.build_worker(await encrypted(NEW), quick, task_queue=task_queue):
            await _run_after(handle, second)
        described = await temporal_client.get_workflow_handle(run.id, run_id=second).describe()
        assert described.status is WorkflowExecutionStatus.COMPLETED
    finally:
        await handle.terminate()


async def _run_after(handle: WorkflowHandle[Any, Any], run_id: str | None) -> str:
    """The id of the run that follows this one, once it is over."""
    async with asyncio.timeout(40):
        while (now := (await handle.describe()).run_id) == run_id:
            await asyncio.sleep(0.1)
    return now
