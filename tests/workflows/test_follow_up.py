"""Follow-ups: begun by incidents, worked off by the product and by people, remembered, and never in anybody's way."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import Client, WorkflowHandle
from temporalio.service import RPCError, RPCStatusCode
from temporalio.testing import WorkflowEnvironment

from activities.notifiers.memory import MemoryNotifier
from failover.aftercare import CareItem
from failover.config.follow_up import FollowUp as Settings
from failover.config.procedures import Procedures
from failover.driving import Answer
from failover.incident import Outcome
from failover.requests import RunResult
from starter import worker_parts as composition
from tests.workflows.conftest import SHORT
from traffic.memory import MemoryPlane
from workflows.follow_up import FollowUp, FollowUpResult

Handle = WorkflowHandle[Any, Any]


def made(make_parts: Callable[..., composition.Parts], **changes: Any) -> composition.Parts:
    parts = make_parts(procedures=Procedures.model_validate(SHORT), follow_up=Settings(), **changes)
    assert isinstance(parts.plane, MemoryPlane)
    parts.plane.requests = 1000
    return parts


@pytest.fixture
async def incident(
    temporal_client: Client, make_parts: Callable[..., composition.Parts], task_queue: str
) -> AsyncIterator[tuple[RunResult, Handle, composition.Parts]]:
    """A closed failover, the follow-up that it began, and what they were made of."""
    parts = made(make_parts)
    async with composition.build_worker(temporal_client, parts, task_queue=task_queue):
        run = await temporal_client.start_workflow(
            "ImmediateFailover",
            {"failed_provider": "bedrock", "requested_by": "anna"},
            id=f"failover-{task_queue}",
            task_queue=task_queue,
            result_type=RunResult,
        )
        result = await run.result()
        follow_up = temporal_client.get_workflow_handle(f"follow-up/{run.id}/{(run.result_run_id or '')[-8:]}")
        yield result, follow_up, parts
        await follow_up.terminate()


async def items(follow_up: Handle) -> dict[str, CareItem]:
    return {item.key: item for item in await follow_up.query(FollowUp.items)}


def kept(parts: composition.Parts, result: RunResult) -> dict[str, str]:
    """Item → state, as it stands beside the record."""
    content = parts.evidence.read(Path(result.evidence).name, "aftercare.json")
    return {item["key"]: item["state"] for item in json.loads(content)["items"]} if content else {}


async def order(follow_up: Handle, verb: str, **said: Any) -> Answer:
    answer: Answer = await follow_up.execute_update(verb, {"actor": "bert", **said}, result_type=Answer)
    return answer


async def test_every_incident_begins_its_after_care_which_people_drive_and_evidence_remembers(
    incident: tuple[RunResult, Handle, composition.Parts],
) -> None:
    result, follow_up, parts = incident
    assert result.outcome is Outcome.COMPLETED
    assert (await order(follow_up, "done", item="runbook-update", comment="added a contact")).accepted
    assert (await order(follow_up, "assign", item="drill-review", owner="carla")).accepted
    refused = await order(follow_up, "skip", item="training-materials")
    assert (refused.accepted, refused.said) == (False, "Refused: whoever skips an item says why (comment).")
    now = await items(follow_up)
    assert (now["runbook-update"].by, now["drill-review"].owner, now["training-materials"].owner) == (
        "bert",
        "carla",
        "anna",
    )
    async with asyncio.timeout(10):
        while kept(parts, result).get("runbook-update") != "done":
            await asyncio.sleep(0.05)


async def test_a_signal_obeys_as_an_update_does_and_a_malformed_one_is_dropped(
    incident: tuple[RunResult, Handle, composition.Parts],
) -> None:
    _, follow_up, _ = incident
    await follow_up.signal("skip", {"actor": "bert", "itme": "runbook-update"})
    await follow_up.signal("skip", {"actor": "bert", "item": "runbook-update", "comment": "nothing to add"})
    async with asyncio.timeout(10):
        while (await items(follow_up))["runbook-update"].note != "nothing to add":
            await asyncio.sleep(0.02)
    said = [entry["text"] for entry in await follow_up.query("timeline")]
    assert [text for text in said if text.startswith("A malformed skip message was dropped:")], said


async def test_what_is_no_incident_has_no_after_care(
    temporal_client: Client, make_parts: Callable[..., composition.Parts], task_queue: str
) -> None:
    """A dry run, and a failover that had nothing to move."""
    async with composition.build_worker(temporal_client, made(make_parts), task_queue=task_queue):
        for request in ({"dry_run": True}, {"routes": ["chat"], "target_provider": "bedrock"}):
            run = await temporal_client.start_workflow(
                "ImmediateFailover",
                {"failed_provider": "bedrock", **request},
                id=f"failover-{task_queue}",
                task_queue=task_queue,
            )
            try:
                await run.result()
            except Exception:  # noqa: BLE001 (how it ended is no matter here)
                pass
            with pytest.raises(RPCError) as missing:
                id = f"follow-up/{run.id}/{(run.result_run_id or '')[-8:]}"
                await temporal_client.get_workflow_handle(id).describe()
            assert missing.value.status is RPCStatusCode.NOT_FOUND


async def test_three_weeks_of_an_after_care_that_nobody_looks_after(
    time_skipping_env: WorkflowEnvironment, make_parts: Callable[..., composition.Parts], task_queue: str
) -> None:
    """People are told when something is overdue, and daily; then it ends, and says what is open."""
    parts, client = made(make_parts), time_skipping_env.client
    closed = await time_skipping_env.get_current_time()
    request = {
        "workflow_id": "failover/bedrock",
        "run_id": "0123456789",
        "procedure": "ImmediateFailover",
        "provider": "bedrock",
        "outcome": "COMPLETED",
        "routes": ["chat"],
        "decided": (closed - timedelta(minutes=1)).isoformat(),
        "closed": closed.isoformat(),
    }
    async with composition.build_worker(client, parts, task_queue=task_queue):
        run = await client.start_workflow(
            "FollowUp", request, id="follow-up", task_queue=task_queue, result_type=FollowUpResult
        )
        result = await run.result()
        assert "validation" in result.done and "runbook-update" in result.open
        moments = (await run.query(FollowUp.status)).moments
        began = [
            event.activity_task_scheduled_event_attributes.activity_type.name
            async for event in run.fetch_history_events()
        ]
        took = moments.closed - closed if moments.closed else None
    assert took is not None and timedelta(days=21) <= took < timedelta(days=22)
    assert "communications.open" not in began, "reminders are for the team"
    assert isinstance(parts.notifier, MemoryNotifier)
    overdue = [message.text for message in parts.notifier.messages if "Overdue after failover/bedrock" in message.text]
    assert 14 <= len(overdue) <= 22
    assert "Update runbooks based on learnings (on-call)" in overdue[-1]


async def test_how_it_stands_lies_beside_the_record(
    temporal_client: Client, make_parts: Callable[..., composition.Parts], task_queue: str
) -> None:
    """And an after-care whose every item is settled is over."""
    parts = made(make_parts)
    async with composition.build_worker(temporal_client, parts, task_queue=task_queue):
        run = await temporal_client.start_workflow(
            "ImmediateFailover",
            {"failed_provider": "bedrock"},
            id=f"failover-{task_queue}",
            task_queue=task_queue,
            result_type=RunResult,
        )
        await run.result()
        id = f"follow-up/{run.id}/{(run.result_run_id or '')[-8:]}"
        follow_up: WorkflowHandle[Any, FollowUpResult] = temporal_client.get_workflow_handle(
            id, result_type=FollowUpResult
        )
        async with asyncio.timeout(20):
            while not (await items(follow_up))["incident-report"].settled:
                await asyncio.sleep(0.05)
        for key, item in (await items(follow_up)).items():
            if not item.settled:
                await order(follow_up, "skip", item=key, comment="a test")
        result = await follow_up.result()
    assert result.open == []
    folder = parts.evidence.find(run.id)
    assert folder is not None
    kept = json.loads(parts.evidence.read(folder, "aftercare.json") or b"")["items"]
    assert {item["state"] for item in kept} <= {"done", "skipped"} and len(kept) == 15
    assert any(
        name.startswith("failover-incident-") and name.endswith(".html") for name in parts.evidence.files(folder)
    )


async def test_a_run_of_any_name_ends_and_is_followed(
    temporal_client: Client, make_parts: Callable[..., composition.Parts], task_queue: str
) -> None:
    """Ids by hand may be long: nothing that follows a run may keep it from ending."""
    async with composition.build_worker(temporal_client, made(make_parts), task_queue=task_queue):
        run = await temporal_client.start_workflow(
            "ImmediateFailover",
            {"failed_provider": "bedrock"},
            id=f"{'x' * 600}-{task_queue}"[:900],
            task_queue=task_queue,
            result_type=RunResult,
        )
        result = await asyncio.wait_for(run.result(), 30)
        follow_up = temporal_client.get_workflow_handle(f"follow-up/{run.id}/{(run.result_run_id or '')[-8:]}")
        await follow_up.terminate()
    assert result.outcome is Outcome.COMPLETED
