"""ImmediateFailover on a real server, over adapters in memory: what it does when all goes well, and when nothing does."""

import asyncio
import contextlib
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from temporalio.client import Client, WorkflowExecutionStatus, WorkflowFailureError, WorkflowHandle
from temporalio.exceptions import ApplicationError, CancelledError
from temporalio.service import RPCError
from temporalio.testing import WorkflowEnvironment

from activities.notifiers.memory import MemoryNotifier
from failover.config.procedures import Immediate, Procedures
from failover.failure import FailureKind
from failover.incident import Outcome
from failover.policy import Change, ChangedBy, Mode, Revision
from failover.requests import RunResult
from providers.memory import MemoryClient
from starter import worker_parts as composition
from traffic.memory import MemoryPlane

Run = WorkflowHandle[Any, RunResult]
Start = Callable[..., Any]

MOVED = {"bedrock": 0, "google": 9000, "meta": 1000}
FOUND = {"bedrock": 7000, "google": 2000, "meta": 1000}


@pytest.fixture
def parts(make_parts: Callable[..., composition.Parts]) -> composition.Parts:
    """Short waits, as values of the configuration."""
    waits = {"verify_timeout": "1s", "validate_timeout": "1s", "validate_interval": "100ms", "abort_timeout": "3s"}
    return make_parts(procedures=Procedures(immediate=Immediate.model_validate(waits)))


@pytest.fixture
def plane(parts: composition.Parts) -> MemoryPlane:
    assert isinstance(parts.plane, MemoryPlane)
    return parts.plane


@pytest.fixture
def start(temporal_client: Client, failover_worker: str) -> Start:
    async def start(**request: Any) -> Run:
        return await temporal_client.start_workflow(
            "ImmediateFailover",
            {"failed_provider": "bedrock", **request},
            id=f"run-{failover_worker}",
            task_queue=failover_worker,
            result_type=RunResult,
        )

    return start


async def said(run: Run) -> list[str]:
    return [entry["text"] for entry in await run.query("timeline")]


async def until_said(run: Run, words: str) -> None:
    async with asyncio.timeout(10):
        while not any(words in text for text in await said(run)):
            await asyncio.sleep(0.02)


async def failure(run: Run, patience: float = 20) -> ApplicationError:
    with pytest.raises(WorkflowFailureError) as failed:
        await asyncio.wait_for(run.result(), patience)
    assert isinstance(failed.value.cause, ApplicationError)
    return failed.value.cause


def client_of(parts: composition.Parts, provider: str) -> MemoryClient:
    client = parts.clients[provider]
    assert isinstance(client, MemoryClient)
    return client


async def test_all_traffic_moves_and_is_verified_validated_told_and_kept(
    start: Start, plane: MemoryPlane, parts: composition.Parts
) -> None:
    """One field is enough: the chain chooses, the policy is written once, people are told, the record is kept."""
    result = await (await start()).result()
    assert result.outcome is Outcome.COMPLETED
    assert plane.distribution("chat") == MOVED
    assert [change.changed_by.workflow_id for change in plane.applied] == [(await start()).id]
    record = parts.evidence.latest()
    assert record is not None
    assert record.routes[0].before == FOUND
    assert record.moments.verified is not None
    assert record.moments.restored is not None
    assert isinstance(parts.notifier, MemoryNotifier)
    assert "failing over" in parts.notifier.messages[0].text
    assert "COMPLETED" in parts.notifier.messages[-1].text


async def test_a_dry_run_changes_nothing(start: Start, plane: MemoryPlane) -> None:
    """It says what it would do."""
    result = await (await start(dry_run=True)).result()
    assert "nothing was changed" in result.reason
    assert "bedrock to google" in result.reason
    assert not plane.applied


@pytest.mark.parametrize(
    ("request_", "named"),
    [
        ({"failed_provider": "bedrok"}, "'bedrok' is no provider"),
        ({"target_provider": "bedrock"}, "equals failed_provider"),
        ({"routes": ["nope"]}, "'nope'"),
    ],
)
async def test_a_request_that_names_what_is_not_there_fails_at_once(
    start: Start, plane: MemoryPlane, request_: dict[str, Any], named: str
) -> None:
    """Within seconds, with the name and what is known, and nothing changed."""
    error = await failure(await start(**request_))
    assert error.type == "RequestError"
    assert named in error.message
    assert not plane.applied


async def test_a_data_plane_that_stores_and_disobeys_fails_the_run(start: Start, plane: MemoryPlane) -> None:
    """Set, then verify: the share really served speaks louder than the stored policy."""
    plane.disobey = True
    error = await failure(await start())
    assert error.type == "NeedsHuman"
    assert "first tries still went to bedrock" in error.message
    assert "failoverctl failover --failed-provider bedrock" in error.message


async def test_a_data_plane_that_forgets_fails_the_run(start: Start, plane: MemoryPlane) -> None:
    """Applied, it said; reads back otherwise."""
    plane.forget_writes = True
    assert "reads back as bedrock:70" in (await failure(await start())).message


async def test_verified_means_that_every_live_instance_obeys(start: Start, plane: MemoryPlane) -> None:
    """One that still serves by the old policy is named, and the step has failed."""
    plane.laggard = True
    assert "instance laggard still obeys memory.1 of route chat" in (await failure(await start())).message


async def test_cannot_tell_is_never_verified(start: Start, plane: MemoryPlane) -> None:
    """A data plane that does not count does not pass as one that obeys."""
    plane.blind = True
    assert "cannot tell" in (await failure(await start())).message


async def test_an_idle_route_is_verified_by_its_policy(start: Start, plane: MemoryPlane) -> None:
    """Without users there is nothing to count; the question that validation asks is what speaks then."""
    plane.requests = 0
    assert (await (await start()).result()).outcome is Outcome.COMPLETED


async def test_a_refused_write_is_decided_anew(start: Start, plane: MemoryPlane) -> None:
    """Somebody changed the route between reading and writing: the run decides on what is there now."""
    plane.before_write = lambda: overrule(plane, {"bedrock": 5000, "google": 1000, "meta": 4000})
    result = await (await start()).result()
    assert result.outcome is Outcome.COMPLETED
    assert plane.distribution("chat") == {"bedrock": 0, "google": 6000, "meta": 4000}


async def test_a_route_that_somebody_else_evacuated_is_left_as_it_is(start: Start, plane: MemoryPlane) -> None:
    """Nothing is written on top of a change that does the same."""
    plane.before_write = lambda: overrule(plane, {"meta": 10000})
    assert (await (await start()).result()).outcome is Outcome.COMPLETED
    assert plane.distribution("chat") == {"meta": 10000}


async def test_the_next_in_the_chain_takes_over_where_validation_fails(start: Start, plane: MemoryPlane) -> None:
    """Google answered its probe but does not serve; meta gets what bedrock had, and google what it had."""
    plane.failing.add("google")
    plane.text = "PONG"
    run = await start()
    await until_said(run, "google did not restore the service")
    plane.failing.clear()
    result = await run.result()
    assert result.outcome is Outcome.COMPLETED
    assert plane.distribution("chat") == {"bedrock": 0, "google": 2000, "meta": 8000}


async def test_candidates_that_are_down_get_nothing(start: Start, plane: MemoryPlane, parts: composition.Parts) -> None:
    """Google fails its deep probe, so meta is chosen although the chain prefers google."""
    client_of(parts, "google").fail_with = FailureKind.SERVER_ERROR
    await (await start()).result()
    assert plane.distribution("chat") == {"bedrock": 0, "google": 2000, "meta": 8000}


async def test_with_nobody_left_the_emergency_begins_and_no_traffic_moves(
    start: Start, plane: MemoryPlane, parts: composition.Parts, temporal_client: Client
) -> None:
    """No traffic is sent to anybody known to be down; the record is kept all the same."""
    for provider in ("google", "meta"):
        client_of(parts, provider).fail_with = FailureKind.AUTHENTICATION
    emergency = temporal_client.get_workflow_handle("emergency")
    with contextlib.suppress(RPCError):
        await emergency.terminate("another test's")
    result = await (await start()).result()
    assert result.outcome is Outcome.HELD
    assert "google is unusable" in result.reason
    assert "The emergency procedure has begun: run emergency." in result.reason
    assert plane.distribution("chat") == FOUND
    async with asyncio.timeout(10):
        while plane.policy("chat").mode is not Mode.DEGRADED:
            await asyncio.sleep(0.05)
    await emergency.terminate("over")
    record = parts.evidence.latest()
    assert record is not None
    assert record.outcome is Outcome.HELD


async def test_a_route_that_nobody_can_take_holds_no_other_up(
    temporal_client: Client, make_parts: Callable[..., composition.Parts], task_queue: str
) -> None:
    """Both writes are refused, and decided anew one of them has nobody left: the other moves all the same."""
    chat = make_parts().config.routes["chat"]
    lonely = chat.model_copy(update={"distribution": {"bedrock": 7000, "google": 3000}, "chains": {"bedrock": []}})
    parts = make_parts(routes={"chat": chat, "lonely": lonely})
    plane = parts.plane
    assert isinstance(plane, MemoryPlane)

    def interfere() -> None:
        overrule(plane, {"bedrock": 10000}, "lonely")
        overrule(plane, {"bedrock": 5000, "google": 1000, "meta": 4000})

    plane.before_write = interfere
    emergency = temporal_client.get_workflow_handle("emergency")
    with contextlib.suppress(RPCError):
        await emergency.terminate("another test's")
    async with composition.build_worker(temporal_client, parts, task_queue=task_queue):
        run = await temporal_client.start_workflow(
            "ImmediateFailover",
            {"failed_provider": "bedrock"},
            id=task_queue,
            task_queue=task_queue,
            result_type=RunResult,
        )
        result = await run.result()
        await emergency.terminate("over")
    assert result.outcome is Outcome.HELD
    assert "route 'lonely'" in result.reason
    assert plane.distribution("chat") == {"bedrock": 0, "google": 6000, "meta": 4000}
    assert plane.distribution("lonely") == {"bedrock": 10000}


async def test_an_automatic_failover_starts_its_failback_watch(
    start: Start, plane: MemoryPlane, parts: composition.Parts, temporal_client: Client
) -> None:
    """Linked to the failover that it undoes; here it asks before anything returns (`failback: propose`)."""
    failback = temporal_client.get_workflow_handle("failback/chat")
    with contextlib.suppress(RPCError):
        await failback.terminate("another test's")
    run = await start(trigger="automatic")
    assert (await run.result()).outcome is Outcome.COMPLETED
    request = (await failback.fetch_history()).events[0].workflow_execution_started_event_attributes.input.payloads[0]
    asked = json.loads(request.data)
    await failback.terminate("over")
    assert (asked["original_provider"], asked["auto"], asked["undoes_workflow_id"]) == ("bedrock", False, run.id)


async def test_a_run_whose_id_no_request_takes_ends_as_any_other(
    temporal_client: Client, failover_worker: str, plane: MemoryPlane
) -> None:
    """By hand it may be called anything; only the watch for its failback does not start."""
    run = await temporal_client.start_workflow(
        "ImmediateFailover",
        {"failed_provider": "bedrock", "trigger": "automatic"},
        id=f"run-{failover_worker}-{'x' * 200}",
        task_queue=failover_worker,
        result_type=RunResult,
    )
    assert (await asyncio.wait_for(run.result(), 20)).outcome is Outcome.COMPLETED


async def test_a_named_target_that_is_down_is_rejected(
    start: Start, plane: MemoryPlane, parts: composition.Parts
) -> None:
    """The operator named it: nobody else is chosen behind their back."""
    client_of(parts, "google").fail_with = FailureKind.SERVER_ERROR
    result = await (await start(target_provider="google")).result()
    assert result.outcome is Outcome.REJECTED
    assert not plane.applied


async def test_a_helper_that_fails_never_blocks_traffic_work(
    start: Start, plane: MemoryPlane, parts: composition.Parts
) -> None:
    """Nobody can be told: the traffic moves all the same, and the report says who was not told."""
    assert isinstance(parts.notifier, MemoryNotifier)
    parts.notifier.fail = ApplicationError("Slack refused: invalid_auth", non_retryable=True)
    result = await (await start()).result()
    assert result.outcome is Outcome.COMPLETED
    record = parts.evidence.latest()
    assert record is not None
    assert any("invalid_auth" in sentence for sentence in record.unfinished_helpers)


async def test_cancel_puts_back_what_was_found(start: Start, plane: MemoryPlane) -> None:
    """`temporal workflow cancel` on a healthy provider's maintenance failover: the snapshot, verified, then CANCELED."""
    plane.text = "nonsense"
    run = await start()
    await until_said(run, "not good")
    await run.cancel()
    with pytest.raises(WorkflowFailureError) as ended:
        await asyncio.wait_for(run.result(), 20)
    assert isinstance(ended.value.cause, CancelledError)
    assert (await run.describe()).status is WorkflowExecutionStatus.CANCELED
    assert plane.distribution("chat") == FOUND


async def test_an_abort_wins_against_its_own_late_write(start: Start, plane: MemoryPlane) -> None:
    """Cancelled while the write is on its way: the snapshot becomes a new revision, on which the late write is stale."""
    plane.hang = True
    run = await start()
    await until_said(run, "Writing 1 route")
    await run.cancel()
    plane.hang = False  # Not before: the write that is stopped might be tried again, and go through.
    with pytest.raises(WorkflowFailureError) as ended:
        await asyncio.wait_for(run.result(), 20)
    assert isinstance(ended.value.cause, CancelledError)
    assert plane.distribution("chat") == FOUND
    assert plane.policy("chat").revision.number == 2
    late = plane.applied[0]
    assert not plane.write(replace(late, key="late", decided_on=Revision("memory", 1))).in_force


async def test_abort_always_ends(start: Start, plane: MemoryPlane, parts: composition.Parts) -> None:
    """A data plane that never answers again: within its deadline, with the command that a person must run."""
    plane.hang = True
    run = await start()
    await until_said(run, "Writing 1 route")
    await run.cancel()
    error = await failure(run)
    assert error.type == "NeedsHuman"
    assert "could not be put back" in error.message
    assert "failoverctl failover --failed-provider bedrock" in error.message
    record = parts.evidence.latest()
    assert record is not None
    assert record.outcome is Outcome.NEEDS_HUMAN


async def test_cancel_never_sends_traffic_back_to_a_provider_known_to_be_down(
    start: Start, plane: MemoryPlane, parts: composition.Parts
) -> None:
    """It holds, and says so."""
    plane.text = "nonsense"
    down = {"provider": "bedrock", "condition": "unavailable", "reason": "x", "at": "2026-01-01T00:00:00Z"}
    run = await start(verdicts=[down])
    await until_said(run, "not good")
    await run.cancel()
    with pytest.raises(WorkflowFailureError):
        await asyncio.wait_for(run.result(), 20)
    assert plane.distribution("chat") == MOVED
    record = parts.evidence.latest()
    assert record is not None
    assert record.outcome is Outcome.ABORTED
    assert "held" in record.reason


async def test_an_abort_that_cannot_read_the_routes_says_why(
    time_skipping_env: WorkflowEnvironment, plane: MemoryPlane, parts: composition.Parts, task_queue: str
) -> None:
    """A data plane that went away after the write: the command for a person, and what stands in the way."""
    immediate = parts.config.procedures.immediate.model_copy(update={"abort_timeout": timedelta(minutes=1)})
    procedures = parts.config.procedures.model_copy(update={"immediate": immediate})
    parts = replace(parts, config=parts.config.model_copy(update={"procedures": procedures}))
    plane.text = "nonsense"
    async with composition.build_worker(time_skipping_env.client, parts, task_queue=task_queue):
        run = await time_skipping_env.client.start_workflow(
            "ImmediateFailover", {"failed_provider": "bedrock"}, id=task_queue, task_queue=task_queue
        )
        await until_said(run, "not good")
        plane.unavailable = True
        await run.cancel()
        error = await failure(run)
    assert error.type == "NeedsHuman"
    assert "could not be put back" in error.message and "told not to answer" in error.message
    assert "failoverctl failover --failed-provider bedrock" in error.message


async def test_a_data_plane_that_goes_away_halfway_ends_in_a_person(
    time_skipping_env: WorkflowEnvironment, make_parts: Callable[..., composition.Parts], task_queue: str
) -> None:
    """One route is moved, the other refused and nowhere to be read again: recorded, told, with the command to run."""
    chat = make_parts().config.routes["chat"]
    parts = make_parts(routes={"chat": chat, "search": chat})
    plane, notifier = parts.plane, parts.notifier
    assert isinstance(plane, MemoryPlane) and isinstance(notifier, MemoryNotifier)

    def interfere() -> None:
        overrule(plane, {"bedrock": 5000, "google": 1000, "meta": 4000}, "search")
        plane.unavailable = True

    plane.before_write = interfere
    async with composition.build_worker(time_skipping_env.client, parts, task_queue=task_queue):
        run = await time_skipping_env.client.start_workflow(
            "ImmediateFailover", {"failed_provider": "bedrock"}, id=task_queue, task_queue=task_queue
        )
        error = await failure(run, patience=60)
    assert error.type == "NeedsHuman"
    assert "told not to answer" in error.message
    assert "failoverctl failover --failed-provider bedrock" in error.message
    record = parts.evidence.latest()
    assert record is not None
    assert (record.outcome, [shift.route for shift in record.routes]) == (Outcome.NEEDS_HUMAN, ["chat"])
    assert "NEEDS_HUMAN" in notifier.messages[-1].text


async def test_a_thousand_routes_are_one_run_and_two_batches(
    temporal_client: Client, make_parts: Callable[..., composition.Parts], task_queue: str
) -> None:
    """Every route that uses the provider moves, in payloads that Temporal takes."""
    base = make_parts()
    routes = {f"route-{number}": base.config.routes["chat"] for number in range(1000)}
    parts = make_parts(routes=routes, default_route=None)
    async with composition.build_worker(temporal_client, parts, task_queue=task_queue):
        run = await temporal_client.start_workflow(
            "ImmediateFailover", {"failed_provider": "bedrock"}, id=task_queue, task_queue=task_queue
        )
        result = await run.result()
    assert isinstance(parts.plane, MemoryPlane)
    assert all(parts.plane.distribution(route) == MOVED for route in routes)
    assert len(parts.plane.applied) == 1000
    assert result["route_count"] == 1000
    assert len(result["routes"]) == 20


async def test_a_data_plane_that_never_answers_ends_in_a_person(start: Start, plane: MemoryPlane) -> None:
    """Bounded: after half a minute of trying, with the command to run when it answers again."""
    plane.unavailable = True
    run = await start()
    error = await failure(run, patience=60)
    assert error.type == "NeedsHuman"
    assert "failoverctl failover --failed-provider bedrock" in error.message


async def test_nothing_secret_is_in_the_history(start: Start) -> None:
    """No token, key or user's prompt: the whole history is searched."""
    run = await start()
    await run.result()
    history = json.dumps((await run.fetch_history()).to_json_dict())
    assert "Bearer" not in history
    assert "api-token" not in history


def overrule(plane: MemoryPlane, shares: dict[str, int], route: str = "chat") -> None:
    """Somebody else changes the route."""
    policy = plane.policy(route)
    change = Change(
        route=route,
        decided_on=policy.revision,
        key="somebody-else",
        distribution=shares,
        changed_by=ChangedBy(actor="anna"),
        reason="maintenance",
    )
    assert plane.write(change).in_force
    plane.applied.clear()
