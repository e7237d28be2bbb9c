"""Approvals: late, double, by the wrong person, for another plan, after a restart; and every other order, by every door."""

import asyncio
from typing import Any

import pytest
from temporalio.client import Client, WorkflowUpdateFailedError
from temporalio.exceptions import ApplicationError

from activities.notifiers.memory import MemoryNotifier
from failover.driving import Answer
from failover.incident import Outcome
from starter import worker_parts as composition
from tests.workflows.conftest import FOUND, Ramps, Run, details, ended, order, said, until, until_details
from traffic.memory import MemoryPlane

FIRST = {"points": ["first_shift"], "deadline": "20s"}


async def asked(run: Run) -> dict[str, str]:
    """What an approval must name."""
    now = await until_details(run, lambda now: bool(now.get("approval")))
    return {"step": now["approval"]["step"], "digest": now["approval"]["digest"]}


async def test_nothing_moves_before_the_approval(ramps: Ramps, ramp_plane: MemoryPlane) -> None:
    """The route is claimed, its distribution untouched; then it goes on."""
    run = await ramps.canary(approvals=FIRST, requested_by="bob")
    bound = await asked(run)
    assert (ramp_plane.distribution("chat"), ramp_plane.policy("chat").claim) == (FOUND, run.id)
    answer = await order(run, "approve", comment="seen", **bound)
    assert (answer.accepted, answer.said) == (True, "Approved step-1.")
    assert (await ended(run)).outcome is Outcome.COMPLETED
    assert "alice, approve (seen): Approved step-1." in await said(run)


async def test_a_rejection_ends_the_run_with_nothing_moved(ramps: Ramps, ramp_plane: MemoryPlane) -> None:
    run = await ramps.canary(approvals=FIRST)
    await order(run, "reject", comment="not now", **await asked(run))
    result = await ended(run)
    assert (result.outcome, result.reason) == (Outcome.REJECTED, "alice rejected step-1. No traffic was moved.")
    assert (ramp_plane.distribution("chat"), ramp_plane.policy("chat").claim) == (FOUND, None)


async def test_silence_is_no_approval(ramps: Ramps, ramp_plane: MemoryPlane) -> None:
    """At the deadline the request counts as rejected."""
    run = await ramps.canary(approvals={"points": ["first_shift"], "deadline": "500ms"})
    bound = await asked(run)
    result = await ended(run)
    assert (result.outcome, result.reason) == (
        Outcome.REJECTED,
        "Nobody approved step-1 within 500ms. No traffic was moved.",
    )
    with pytest.raises((WorkflowUpdateFailedError, Exception)):
        await run.execute_update("approve", {"actor": "late", **bound}, result_type=Answer)
    assert ramp_plane.distribution("chat") == FOUND


async def test_approvals_are_bound_to_step_and_plan(ramps: Ramps) -> None:
    """Another step's or another plan's is refused, with a reason, and the refusal is in the timeline."""
    run = await ramps.canary(approvals=FIRST)
    bound = await asked(run)
    wrong_step = await order(run, "approve", step="step-2", digest=bound["digest"])
    assert wrong_step.said == "Refused: the approval that waits is for step-1, not step-2"
    wrong_plan = await order(run, "approve", step="step-1", digest="beef")
    assert wrong_plan.said.startswith(f"Refused: the plan has the digest {bound['digest']}, not beef")
    assert wrong_plan.accepted_now == ["approve", "reject", "abort", "pause", "escalate"]
    assert any("Refused: the plan has the digest" in text for text in await said(run))
    await order(run, "abort")
    assert (await ended(run)).outcome is Outcome.ABORTED


async def test_the_requester_may_not_approve_where_the_route_forbids_it(ramps: Ramps) -> None:
    run = await ramps.canary(approvals={**FIRST, "approver_is_not_requester": True}, requested_by="Alice")
    bound = await asked(run)
    own = await order(run, "approve", **bound)
    assert (own.accepted, "wants somebody else's approval" in own.said) == (False, True)
    assert (await run.execute_update("approve", {"actor": "bob", **bound}, result_type=Answer)).accepted
    assert (await ended(run)).outcome is Outcome.COMPLETED


async def test_a_quorum_is_of_different_people(ramps: Ramps, ramp_plane: MemoryPlane) -> None:
    run = await ramps.canary(approvals={**FIRST, "quorum": 2})
    bound = await asked(run)
    assert (await order(run, "approve", **bound)).said == "Approved step-1; 1 more must agree."
    twice = await order(run, "approve", **bound)
    assert "has approved it already" in twice.said
    assert ramp_plane.distribution("chat") == FOUND
    assert (await run.execute_update("approve", {"actor": "bob", **bound}, result_type=Answer)).accepted
    assert (await ended(run)).outcome is Outcome.COMPLETED


async def test_a_double_click_is_one_approval(ramps: Ramps) -> None:
    """The same id gets the first answer again, and stands in the timeline once."""
    run = await ramps.canary(approvals={**FIRST, "quorum": 2})
    bound = await asked(run)
    first = await order(run, "approve", id="click-1", **bound)
    again = await order(run, "approve", id="click-1", **bound)
    assert first == again
    assert sum("Approved step-1; 1 more" in text for text in await said(run)) == 1
    await order(run, "abort")
    await ended(run)


async def test_approve_and_reject_at_once_are_one_decision(ramps: Ramps, ramp_plane: MemoryPlane) -> None:
    """Whoever comes first decides; the other is refused, and what is in force agrees with who was first."""
    run = await ramps.canary(approvals=FIRST)
    bound = await asked(run)
    answers = await asyncio.gather(
        run.execute_update("approve", {"actor": "alice", **bound}, result_type=Answer),
        run.execute_update("reject", {"actor": "bob", **bound}, result_type=Answer),
    )
    assert sorted(answer.accepted for answer in answers) == [False, True]
    result = await ended(run)
    approved = answers[0].accepted
    assert result.outcome is (Outcome.COMPLETED if approved else Outcome.REJECTED)
    assert (ramp_plane.distribution("chat") == FOUND) is not approved


async def test_an_unanswered_request_is_told_again(ramps: Ramps, ramp_parts: composition.Parts) -> None:
    """By durable timers, urgently, with the command."""
    run = await ramps.canary(approvals={**FIRST, "remind_after": ["300ms"]})
    bound = await asked(run)
    await until(run, "people are told again")
    command = f"failoverctl approve {run.id} --step step-1 --digest {bound['digest']}"
    assert isinstance(ramp_parts.notifier, MemoryNotifier)
    posted = ramp_parts.notifier.messages
    async with asyncio.timeout(5):
        while sum(command in message.text for message in posted) < 2:
            await asyncio.sleep(0.02)
    await order(run, "abort")
    await ended(run)


async def test_an_approval_before_the_last_step_only(ramps: Ramps, ramp_plane: MemoryPlane) -> None:
    """And a rejection there rolls a canary back."""
    run = await ramps.canary(approvals={"points": ["full"], "deadline": "20s"})
    bound = await asked(run)
    assert ramp_plane.distribution("chat") == {"bedrock": 3500, "google": 5500, "meta": 1000}
    await order(run, "reject", **bound)
    result = await ended(run)
    assert (result.outcome, ramp_plane.distribution("chat")) == (Outcome.REJECTED, FOUND)


async def test_gates_act_while_an_approval_is_waited_for(ramps: Ramps, ramp_plane: MemoryPlane) -> None:
    """What was moved already is watched on."""
    run = await ramps.canary(approvals={"points": ["full"], "deadline": "20s"})
    await asked(run)
    ramp_plane.failing = {"google"}
    result = await ended(run)
    assert (result.outcome, ramp_plane.distribution("chat")) == (Outcome.ROLLED_BACK, FOUND)


async def test_an_approval_survives_the_death_of_the_worker(
    temporal_client: Client, ramp_parts: composition.Parts, ramp_plane: MemoryPlane, task_queue: str
) -> None:
    """Given while no worker runs: by Signal, obeyed by the next one."""
    ramps = Ramps(temporal_client, task_queue, ramp_plane)
    async with composition.build_worker(temporal_client, ramp_parts, task_queue=task_queue):
        run = await ramps.canary(approvals=FIRST)
        bound = await asked(run)
    await run.signal("approve", {"actor": "alice", **bound})
    async with composition.build_worker(temporal_client, ramp_parts, task_queue=task_queue):
        assert (await ended(run)).outcome is Outcome.COMPLETED


SIGNALS: list[tuple[str, dict[str, Any], str]] = [
    ("pause", {}, "Paused"),
    ("resume", {}, "Refused: the run is not paused"),
    ("advance", {}, "The present wait ends now."),
    ("escalate", {}, "Going straight to the last step"),
    ("retry", {}, "Refused: no step has failed or is in doubt"),
    ("approve", {"step": "step-1", "digest": "x"}, "Refused: nothing waits for an approval"),
    ("reject", {"step": "step-1", "digest": "x"}, "Refused: nothing waits for an approval"),
    ("set_percent", {"percent": 50}, "Going to 50 %."),
    ("abort", {}, "Aborting: what was found is put back"),
]


@pytest.mark.parametrize(("verb", "more", "answer"), SIGNALS, ids=[verb for verb, _, _ in SIGNALS])
async def test_every_order_has_a_signal_of_the_same_name(
    ramps: Ramps, verb: str, more: dict[str, Any], answer: str
) -> None:
    """For `temporal workflow signal` and the Web UI; its answer stands in the timeline."""
    run = await ramps.canary(initial_seconds=60)
    await until(run, "Verified")
    await run.signal(verb, {"actor": "alice", **more})
    await until(run, f"alice, {verb}: {answer}")
    if verb != "abort":
        await order(run, "abort")
    await ended(run)


@pytest.mark.parametrize("verb", ["approve", "abort", "set_percent", "pause"])
@pytest.mark.parametrize("args", [[], [{"actor": ""}], [{"actor": "a"}, {"actor": "b"}], [[1]], ["x"], [{"who": "a"}]])
async def test_malformed_orders_change_nothing(ramps: Ramps, verb: str, args: list[Any]) -> None:
    """By Update they are rejected with the fields' names, by Signal dropped with a note; the run goes on."""
    run = await ramps.canary(initial_seconds=60)
    await until(run, "Verified")
    with pytest.raises(WorkflowUpdateFailedError) as rejected:
        await run.execute_update(verb, args=args)
    assert isinstance(rejected.value.cause, ApplicationError)
    await run.signal(verb, args=args)
    await until(run, f"A malformed {verb} message was dropped")
    assert (await details(run))["paused"] is False
    await order(run, "abort")
    assert (await ended(run)).outcome is Outcome.ABORTED
