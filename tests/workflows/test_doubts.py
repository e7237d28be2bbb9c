"""In doubt: what people are asked says what is so now, and nobody goes back to a provider in doubt without their word."""

import asyncio
from typing import Any

import pytest

from activities.notifiers.memory import MemoryNotifier
from failover.failure import FailureKind
from failover.incident import Outcome
from providers.memory import MemoryClient
from starter import worker_parts as composition
from tests.workflows.conftest import FOUND, Ramps, Run, details, ended, order, said, until, until_details
from traffic.memory import MemoryPlane

BACK = {"points": ["doubtful_rollback"], "deadline": "20s", "remind_after": ["300ms"]}

CANARY_AT_5 = {"bedrock": 6650, "google": 2350, "meta": 1000}


def client_of(parts: composition.Parts, provider: str) -> MemoryClient:
    client = parts.clients[provider]
    assert isinstance(client, MemoryClient)
    return client


async def shown(run: Run) -> str:
    """What the Web UI shows."""
    metadata = await run.query("__temporal_workflow_metadata")
    return str(metadata.current_details)


async def until_told(parts: composition.Parts, words: str) -> None:
    assert isinstance(parts.notifier, MemoryNotifier)
    async with asyncio.timeout(10):
        while not any(words in message.text and message.urgent for message in parts.notifier.messages):
            await asyncio.sleep(0.02)


async def test_a_question_says_what_is_so_now(
    ramps: Ramps, ramp_plane: MemoryPlane, ramp_parts: composition.Parts
) -> None:
    """Asked for want of requests, a gate then fails: the question, the Web UI and whoever is told hear of that."""
    ramp_plane.requests = 10
    run = await ramps.gradual(approvals={"remind_after": ["4s"]})
    now = await until_details(run, lambda now: bool(now.get("question")))
    assert "20 are needed to tell" in now["question"]
    ramp_plane.requests, ramp_plane.failing = 1000, {"google"}
    now = await until_details(run, lambda now: (now.get("question") or "").startswith("google success: "))
    assert "0.0 % good of 300 requests, passes at 98 %" in now["question"]
    assert f"**In doubt**: {now['question']}" in await shown(run)
    await until_told(ramp_parts, "step-1: google success: ")
    await until(run, "still waits for a decision; people are told again")
    ramp_plane.failing = set()
    now = await until_details(run, lambda now: "It failed, and does well now" in (now.get("question") or ""))
    await asyncio.sleep(0.5)  # several samples: what has failed goes on by a person's word only
    assert (await details(run))["step"] == 0
    assert (await order(run, "advance")).accepted
    assert (await ended(run)).outcome is Outcome.COMPLETED


async def test_a_doubt_that_data_dispels_needs_nobody(ramps: Ramps, ramp_plane: MemoryPlane) -> None:
    ramp_plane.requests = 10
    run = await ramps.gradual()
    await until_details(run, lambda now: bool(now.get("question")))
    ramp_plane.requests = 1000
    assert (await ended(run)).outcome is Outcome.COMPLETED
    assert any("No longer in doubt" in text for text in await said(run))


async def canary_fails_with_source_in_doubt(
    ramps: Ramps, plane: MemoryPlane, parts: composition.Parts, **request: Any
) -> Run:
    """The canary's gate breaks while its source is throttled: nobody knows whether that one is well."""
    run = await ramps.canary(**{"initial_seconds": 60, "approvals": BACK} | request)
    await until(run, "pass: google success")
    client_of(parts, "bedrock").fail_with = FailureKind.THROTTLED
    plane.failing = {"google"}
    return run


async def asked_to_go_back(run: Run) -> dict[str, str]:
    now = await until_details(run, lambda now: bool(now.get("approval")))
    assert now["approval"]["step"] == "put-back"
    return {"step": "put-back", "digest": now["approval"]["digest"]}


async def test_a_provider_in_doubt_gets_nothing_back_before_people_agree(
    ramps: Ramps, ramp_plane: MemoryPlane, ramp_parts: composition.Parts
) -> None:
    """They are told why, and told again; then it is rolled back as any other."""
    run = await canary_fails_with_source_in_doubt(ramps, ramp_plane, ramp_parts)
    bound = await asked_to_go_back(run)
    await until(run, "put-back still waits for an approval; people are told again.")
    asked = (await details(run))["approval"]["text"]
    assert "google success: " in asked and "Approve putting back bedrock:70,google:20,meta:10" in asked
    assert "though bedrock is in doubt: blind, a deep probe failed: " in asked
    await until_told(ramp_parts, f"failoverctl approve {run.id} --step put-back --digest {bound['digest']}")
    assert ramp_plane.distribution("chat") == CANARY_AT_5
    further = await order(run, "escalate")
    assert not further.accepted and further.accepted_now == ["approve", "reject", "abort", "pause"]
    assert (await order(run, "approve", **bound)).said == "Approved put-back."
    result = await ended(run)
    assert (result.outcome, ramp_plane.distribution("chat")) == (Outcome.ROLLED_BACK, FOUND)


@pytest.mark.parametrize("answer", ["rejected", "unanswered"])
async def test_without_agreement_it_is_held_as_it_stands(
    ramps: Ramps, ramp_plane: MemoryPlane, ramp_parts: composition.Parts, answer: str
) -> None:
    """And the route is given free, with the reason for all of it."""
    wait = "700ms" if answer == "unanswered" else "20s"
    run = await canary_fails_with_source_in_doubt(
        ramps, ramp_plane, ramp_parts, approvals={**BACK, "deadline": wait, "remind_after": []}
    )
    if answer == "rejected":
        await order(run, "reject", **await asked_to_go_back(run))
    result = await ended(run)
    assert result.outcome is Outcome.HELD
    said_no = {"rejected": "alice rejected put-back.", "unanswered": "Nobody approved put-back within 700ms."}
    assert "step-1 failed: google success: " in result.reason and said_no[answer] in result.reason
    assert "Held as it stands: bedrock:66.5,google:23.5,meta:10." in result.reason
    assert (ramp_plane.distribution("chat"), ramp_plane.policy("chat").claim) == (CANARY_AT_5, None)


async def test_an_abort_never_waits_for_that_approval(
    ramps: Ramps, ramp_plane: MemoryPlane, ramp_parts: composition.Parts
) -> None:
    """A person has ordered it: what was found is put back, and the question is over."""
    run = await canary_fails_with_source_in_doubt(ramps, ramp_plane, ramp_parts)
    await asked_to_go_back(run)
    assert (await order(run, "abort")).accepted
    assert (await ended(run)).outcome is Outcome.ABORTED
    assert ramp_plane.distribution("chat") == FOUND
    assert (await details(run))["approval"] is None


async def test_a_provider_that_turns_out_well_gets_its_traffic_back_unasked(
    ramps: Ramps, ramp_plane: MemoryPlane, ramp_parts: composition.Parts
) -> None:
    run = await canary_fails_with_source_in_doubt(ramps, ramp_plane, ramp_parts)
    await asked_to_go_back(run)
    client_of(ramp_parts, "bedrock").fail_with = None
    result = await ended(run)
    assert (result.outcome, ramp_plane.distribution("chat")) == (Outcome.ROLLED_BACK, FOUND)


async def test_one_that_turns_out_down_gets_none(
    ramps: Ramps, ramp_plane: MemoryPlane, ramp_parts: composition.Parts
) -> None:
    """Nobody can approve that: held, and said."""
    run = await canary_fails_with_source_in_doubt(ramps, ramp_plane, ramp_parts)
    await asked_to_go_back(run)
    client_of(ramp_parts, "bedrock").fail_with = FailureKind.SERVER_ERROR
    result = await ended(run)
    assert (result.outcome, ramp_plane.distribution("chat")) == (Outcome.HELD, CANARY_AT_5)
    assert "bedrock would get more traffic, and is down" in result.reason


@pytest.mark.parametrize("more", [{"emergency": True}, {"approvals": {"points": ["first_shift"]}, "emergency": True}])
async def test_an_emergency_asks_nobody(
    ramps: Ramps, ramp_plane: MemoryPlane, ramp_parts: composition.Parts, more: dict[str, Any]
) -> None:
    run = await canary_fails_with_source_in_doubt(ramps, ramp_plane, ramp_parts, **more)
    assert (await ended(run)).outcome is Outcome.ROLLED_BACK
    assert not any("Waiting for 1 to approve put-back" in text for text in await said(run))


async def test_a_step_back_asks_as_well(ramps: Ramps, ramp_plane: MemoryPlane, ramp_parts: composition.Parts) -> None:
    """A failback whose step fails would give google more again, which is throttled now."""
    await ended(await ramps.immediate())
    run = await ramps.start("Failback", original_provider="bedrock", step_seconds=60, approvals=BACK)
    await until(run, "pass: bedrock success")
    client_of(ramp_parts, "google").fail_with = FailureKind.THROTTLED
    ramp_plane.failing = {"bedrock"}
    await order(run, "approve", **await asked_to_go_back(run))
    result = await ended(run)
    assert result.outcome is Outcome.STOPPED
    assert ramp_plane.distribution("chat") == {"bedrock": 0, "google": 9000, "meta": 1000}


async def test_silence_that_ends_in_a_roll_back_asks_as_well(
    ramps: Ramps, ramp_plane: MemoryPlane, ramp_parts: composition.Parts
) -> None:
    """Nobody ordered anything in time, and the source is in doubt."""
    run = await ramps.canary(manual=True, initial_seconds=0.2, manual_deadline_seconds=1.5, approvals=BACK)
    await until(run, "holds and waits for orders")
    client_of(ramp_parts, "bedrock").fail_with = FailureKind.THROTTLED
    await order(run, "reject", **await asked_to_go_back(run))
    result = await ended(run)
    assert (result.outcome, ramp_plane.distribution("chat")) == (Outcome.HELD, CANARY_AT_5)
    assert "Nobody ordered anything in time. alice rejected put-back." in result.reason


async def test_somebody_elses_change_ends_the_question(
    ramps: Ramps, ramp_plane: MemoryPlane, ramp_parts: composition.Parts
) -> None:
    """An immediate failover meanwhile: superseded, nothing touched."""
    run = await canary_fails_with_source_in_doubt(ramps, ramp_plane, ramp_parts)
    await asked_to_go_back(run)
    ramp_plane.failing = set()
    await ramps.immediate("bedrock", target_provider="meta")
    assert (await ended(run)).outcome is Outcome.SUPERSEDED
    assert ramp_plane.distribution("chat")["bedrock"] == 0
