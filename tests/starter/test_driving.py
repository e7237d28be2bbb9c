"""Runs started, driven, listed and watched by failoverctl, as a process, before real parts."""

import asyncio
import json

import pytest
from temporalio.client import WorkflowExecutionStatus

from failover.policy import Mode
from tests.starter.conftest import Desk

pytestmark = pytest.mark.timeout(180)

CANARY = ("canary", "--source-provider", "bedrock", "--target-provider", "google")
MANUAL = (*CANARY, "--traffic-percentage", "10", "--duration", "1")


async def until_it_waits(desk: Desk, run: str = "canary/chat") -> None:
    await desk.until(run, lambda status: status["details"].get("stage") == "waiting for orders")


async def test_a_canary_is_started_steered_and_taken_back(desk: Desk) -> None:
    """It returns at once with its id; a percent is in force when the command returns; rolling back twice is harmless."""
    begun = await desk.ctl(*MANUAL, "--json")
    assert (begun.code, begun.data) == (0, {"workflow_id": "canary/chat"})
    again = await desk.ctl(*CANARY)
    assert again.code == 4 and "canary/chat is under way already" in again.err
    updated = await desk.ctl("canary", "--update-traffic", "50")
    assert updated.code == 0, updated.err
    assert await desk.shares() == "google:55,bedrock:35,meta:10"
    back = await desk.ctl("canary", "--rollback", "--reason", "enough")
    assert back.code == 0 and "ABORTED" in back.out and "(enough)" in back.err
    assert await desk.shares() == "bedrock:70,google:20,meta:10"
    nothing = await desk.ctl("canary", "--rollback")
    assert nothing.code == 0 and "nothing to roll back" in nothing.out
    late = await desk.ctl("canary", "--update-traffic", "50")
    assert late.code == 4 and "No canary is under way" in late.err


async def test_a_canary_that_completed_can_still_be_taken_back(desk: Desk) -> None:
    """While nobody changed the route since; then it is theirs, and left alone."""
    done = await desk.ctl(*CANARY, "--wait")
    assert done.code == 0 and "COMPLETED" in done.out
    assert await desk.shares() == "google:90,meta:10,bedrock:0"
    back = await desk.ctl("canary", "--rollback")
    assert back.code == 0, back.err
    assert await desk.shares() == "bedrock:70,google:20,meta:10"
    again = await desk.ctl(*CANARY, "--wait")
    assert again.code == 0
    await desk.interfere(google=100)
    assert (await desk.ctl("canary", "--rollback")).code == 0
    assert await desk.shares() == "google:100,bedrock:0,meta:0" or await desk.shares() == "google:100"


async def test_orders_are_answered_and_refused_with_what_would_be_accepted(desk: Desk) -> None:
    """The run may be left out; a refused order exits 4; an id makes a repetition harmless."""
    await desk.ctl(*MANUAL)
    await until_it_waits(desk)
    paused = await desk.ctl("pause", "--comment", "looking", "--id", "one", "--actor", "anna", "--json")
    assert paused.code == 0 and paused.data["accepted"] is True and paused.data["workflow_id"] == "canary/chat"
    repeated = await desk.ctl("pause", "canary/chat", "--id", "one", "--json")
    assert repeated.data["accepted"] is True
    refused = await desk.ctl("pause", "canary/chat")
    assert (
        refused.code == 4
        and "the run is paused already" in refused.err
        and "Accepted now: abort, resume" in refused.err
    )
    assert (await desk.ctl("approve", "canary/chat")).code == 4
    assert (await desk.ctl("resume")).code == 0
    said = [entry["text"] for entry in await desk.client.get_workflow_handle("canary/chat").query("timeline")]
    assert [text for text in said if text.startswith("anna, pause (looking): Paused")] and len(
        [text for text in said if ", pause" in text]
    ) == 2
    held = await desk.ctl("abort", "--mode", "hold", "--comment", "good enough")
    assert held.code == 0 and "Held as it stands" in held.out
    assert await desk.shares() == "bedrock:63,google:27,meta:10"
    over = await desk.ctl("resume", "canary/chat")
    assert over.code == 4 and "it is over, ABORTED" in over.err
    assert (await desk.ctl("resume")).code == 4
    unknown = await desk.ctl("pause", "canary/nowhere")
    assert unknown.code == 2 and "knows no run 'canary/nowhere'" in unknown.err


async def test_an_approval_is_shown_bound_and_given(desk: Desk) -> None:
    """What waits is told by every list and by the run that is followed; a digest of another plan is refused."""
    await desk.ctl(*CANARY, "--approval", "first_shift")
    status = await desk.until("canary/chat", lambda status: status["details"].get("approval"))
    asked = status["details"]["approval"]
    [listed] = (await desk.ctl("runs", "--recent", "0", "--json")).data
    assert (listed["workflow_id"], listed["waits_for"]) == ("canary/chat", "approval of step-1")
    other = await desk.ctl("approve", "--step", "step-1", "--digest", "0123456789ab")
    assert other.code == 4 and "another plan" in other.err
    assert await desk.shares() == "bedrock:70,google:20,meta:10"
    given = await desk.ctl("approve")
    assert given.code == 0 and asked["text"] in given.err and "Approved step-1." in given.out
    watched = await desk.ctl("watch", "canary/chat")
    assert watched.code == 0 and "COMPLETED" in watched.out
    assert f"failoverctl approve canary/chat --step step-1 --digest {asked['digest']}" not in watched.out


async def test_a_rejected_run_ends_and_its_command_says_so(desk: Desk) -> None:
    """The one who follows sees the command for it, and its exit code is that of a refusal."""
    followed = await desk.begin(*CANARY, "--approval", "first_shift", "--wait")
    assert followed.stderr is not None
    async with asyncio.timeout(60):
        while b"failoverctl approve canary/chat --step step-1 --digest " not in await followed.stderr.readline():
            assert followed.returncode is None
    assert (await desk.ctl("reject", "--comment", "not today")).code == 0
    out, _ = await asyncio.wait_for(followed.communicate(), 60)
    assert followed.returncode == 4 and b"REJECTED" in out


async def test_watching_as_json_lines(desk: Desk) -> None:
    """One object a line, versioned, until the run is over; the last one tells how."""
    await desk.ctl(*CANARY)
    watched = await desk.ctl("watch", "canary/chat", "--json")
    lines = [json.loads(line) for line in watched.out.splitlines()]
    assert watched.code == 0
    assert {line["version"] for line in lines} == {1}
    assert [line["kind"] for line in lines[-2:]] == ["look", "run"]
    assert lines[-1]["data"]["outcome"] == "COMPLETED"
    assert lines[0]["data"]["status"]["details"]["subject"] == "chat: bedrock → google"


async def test_shares_are_set_at_once_or_over_a_time(desk: Desk) -> None:
    """Left out is 0 and said; what is in force already is nothing to do; a run in the way is named."""
    done = await desk.ctl("config", "set", "--traffic-distribution", "google:80,meta:20")
    assert done.code == 0 and "they get 0 %: bedrock" in done.err
    assert await desk.shares() == "google:80,meta:20,bedrock:0"
    again = await desk.ctl("config", "set", "--traffic-distribution", "google:80,meta:20", "--json")
    assert again.code == 0 and again.data["outcome"] == "NOTHING_TO_DO"
    slow = await desk.ctl(
        *("config", "set", "--traffic-distribution", "bedrock:70,google:20,meta:10"),
        *("--transition-duration", "60s", "--no-wait"),
    )
    assert slow.code == 0
    rival = await desk.ctl("canary", "--source-provider", "google", "--target-provider", "bedrock", "--wait")
    assert rival.code == 4 and "claimed by gradual/chat" in rival.out
    assert (await desk.ctl("abort", "gradual/chat")).code == 0
    assert await desk.shares() == "google:80,meta:20,bedrock:0"


async def test_a_superseded_run_has_a_code_of_its_own(desk: Desk) -> None:
    """7: somebody else changed the route, and the run left it alone."""
    await desk.ctl(*MANUAL)
    await until_it_waits(desk)
    await desk.interfere(meta=100)
    watched = await desk.ctl("watch")
    assert watched.code == 7 and "SUPERSEDED" in watched.out and "mallory" in watched.out


async def test_cache_and_queue_are_set_by_a_run(desk: Desk) -> None:
    """In the runbook's words; while a ramp holds the route they are refused, with its name."""
    cached = await desk.ctl(
        "config", "set", "--cache-mode", "emergency", "--cache-ttl", "7200", "--serve-stale", "true"
    )
    queued = await desk.ctl(
        "config", "set", "--request-queuing", "enabled", "--queue-size", "500", "--queue-timeout", "5m"
    )
    assert (cached.code, queued.code) == (0, 0), cached.err + queued.err
    policy = await desk.policy()
    assert policy.degraded == {
        "cache": {"ttl": "2h", "serve_stale": True},
        "queue": {"size": 500, "timeout": "5m"},
    }
    assert policy.changed_by.workflow_id == "service/chat"
    off = await desk.ctl("config", "set", "--cache-mode", "off", "--request-queuing", "disabled")
    assert off.code == 0 and (await desk.policy()).degraded == {}
    await desk.ctl(*MANUAL)
    await until_it_waits(desk)
    refused = await desk.ctl("config", "set", "--cache-mode", "emergency")
    assert refused.code == 4 and "claimed by canary/chat" in refused.out


async def test_plans_change_nothing(desk: Desk) -> None:
    """Rendered and explained, with the digest that the run itself has when nothing changes meanwhile."""
    planned = await desk.ctl("plan", *CANARY, "--approval", "first_shift", "--json")
    assert planned.code == 0 and len(planned.data["plan"]["steps"]) == 3
    text = await desk.ctl("plan", "config", "set", "--traffic-distribution", "google:100")
    assert text.code == 0 and "Dry run, nothing was changed." in text.out and "gate: " not in text.err
    emergency = await desk.ctl("plan", "emergency")
    assert emergency.code == 0 and "degraded service on 1 route" in emergency.out
    assert (await desk.policy()).changed_by.actor == "configuration"
    assert [run for run in (await desk.ctl("runs", "--json")).data if "dry-run" in run["workflow_id"]] == []
    await desk.ctl(*CANARY, "--approval", "first_shift")
    status = await desk.until("canary/chat", lambda status: status["details"].get("approval"))
    assert status["details"]["digest"] == planned.data["digest"]


async def test_an_emergency_returns_once_service_is_degraded(desk: Desk) -> None:
    """It goes on by itself then; a second one joins it."""
    for provider in desk.providers.values():
        provider.fail_with = "server_error"  # type: ignore[assignment]
    begun = await desk.ctl("emergency", "--mode", "multi-provider-outage", "--enable-degraded-service")
    assert begun.code == 0 and "emergency is under way" in begun.out
    assert (await desk.policy()).mode is Mode.DEGRADED
    joined = await desk.ctl("emergency", "--reason", "still down")
    assert joined.code == 0 and "left a note" in joined.err
    aborted = await desk.ctl("abort", "emergency")
    assert aborted.code == 0 and (await desk.policy()).mode is Mode.NORMAL


async def test_a_failover_and_its_failback(desk: Desk) -> None:
    """Rollback is the runbook's word for it; the failback returns at once, and undoes it."""
    moved = await desk.ctl(
        "rollback", "--provider", "bedrock", "--target-provider", "google", "--reason", "maintenance"
    )
    assert moved.code == 0 and await desk.shares() == "google:90,meta:10,bedrock:0"
    idle = await desk.ctl("failover", "--from", "bedrock", "--auto-select-target")
    assert idle.code == 0 and "there is nothing to move" in idle.out
    back = await desk.ctl(
        *("failback", "--original-provider", "bedrock", "--current-provider", "google"),
        *("--auto-trigger", "--health-threshold", "99%"),
    )
    assert back.code == 0 and "failback/chat" in back.out
    assert (await desk.ctl("watch", "failback/chat")).code == 0
    assert await desk.shares() == "bedrock:70,google:20,meta:10"
    nothing = await desk.ctl("failback", "--original-provider", "bedrock", "--auto-trigger")
    assert nothing.code == 2 and "nothing is to be returned" in nothing.err


async def test_an_immediate_failover_is_aborted_by_cancelling_it(desk: Desk) -> None:
    """It takes no other order; what it found is put back."""

    async def spoil_what_was_moved() -> None:
        """The target is well until it has the traffic; so the run is still validating when it is aborted."""
        while await desk.shares() == "bedrock:70,google:20,meta:10":
            await asyncio.sleep(0.02)
        for provider in ("google", "meta"):
            desk.providers[provider].text = "nonsense"

    spoiling = asyncio.create_task(spoil_what_was_moved())
    begun = await desk.ctl("failover", "--from", "bedrock", "--to", "google", "--no-wait")
    assert begun.code == 0
    await asyncio.wait_for(spoiling, 30)
    await desk.until("failover/bedrock", lambda status: status["phase"] == "validate")
    hold = await desk.ctl("abort", "failover/bedrock", "--mode", "hold")
    assert hold.code == 4
    aborted = await desk.ctl("abort")
    assert aborted.code == 0 and "ABORTED" in aborted.out, aborted.err
    assert await desk.shares() == "bedrock:70,google:20,meta:10"


async def test_an_order_that_no_worker_answers_is_kept(desk_without_worker: Desk) -> None:
    """Exit 5, said so, and it is in the run's history as a signal with the order's id."""
    desk = desk_without_worker
    begun = await desk.ctl(*MANUAL)
    assert begun.code == 0
    left = await desk.ctl("abort", "canary/chat", "--id", "x1")
    assert left.code == 5 and "kept by Temporal" in left.err
    run = desk.client.get_workflow_handle("canary/chat")
    assert (await run.describe()).status is WorkflowExecutionStatus.RUNNING
    signals = [
        event.workflow_execution_signaled_event_attributes
        for event in (await run.fetch_history()).events
        if event.HasField("workflow_execution_signaled_event_attributes")
    ]
    assert [signal.signal_name for signal in signals] == ["abort"]
    assert json.loads(signals[0].input.payloads[0].data)["id"] == "x1"
