"""Ramps: what they do when all goes well, when a gate says no, and when nobody can tell."""

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest
from temporalio.exceptions import ApplicationError

from failover.config.providers import Capacity
from failover.failure import FailureKind
from failover.health import Condition, Verdict
from failover.incident import Outcome
from providers.memory import MemoryClient
from starter import worker_parts as composition
from tests.workflows.conftest import FOUND, Ramps, ended, order, said, until, until_details
from traffic.memory import MemoryPlane


def shares(plane: MemoryPlane) -> list[dict[str, int]]:
    """What was written, without repetitions."""
    written = [dict(change.distribution) for change in plane.applied]
    return [one for index, one in enumerate(written) if index == 0 or one != written[index - 1]]


def client_of(parts: composition.Parts, provider: str) -> MemoryClient:
    client = parts.clients[provider]
    assert isinstance(client, MemoryClient)
    return client


async def test_a_gradual_failover_goes_through_its_phases(ramps: Ramps, ramp_plane: MemoryPlane) -> None:
    """50/30/20, 25/50/25, 0/70/30."""
    result = await ended(await ramps.gradual())
    assert result.outcome is Outcome.COMPLETED
    assert shares(ramp_plane) == [
        FOUND,
        {"bedrock": 5000, "google": 3000, "meta": 2000},
        {"bedrock": 2500, "google": 5000, "meta": 2500},
        {"bedrock": 0, "google": 7000, "meta": 3000},
    ]
    assert ramp_plane.policy("chat").claim is None


async def test_a_transition_goes_in_equal_steps(ramps: Ramps, ramp_plane: MemoryPlane) -> None:
    """To any distribution; providers left out end at 0."""
    run = await ramps.start(
        "GradualFailover", target_distribution={"google": 80, "meta": 20}, transition_seconds=10, enforce_gates=False
    )
    await until(run, "1 of 2")
    assert (await order(run, "escalate")).accepted
    result = await ended(run)
    assert result.outcome is Outcome.COMPLETED
    assert shares(ramp_plane)[1:] == [
        {"bedrock": 3500, "google": 5000, "meta": 1500},
        {"bedrock": 0, "google": 8000, "meta": 2000},
    ]


async def test_a_canary_that_fails_is_rolled_back_and_verified(ramps: Ramps, ramp_plane: MemoryPlane) -> None:
    """To the snapshot, as a new revision, claim given back."""
    run = await ramps.canary(initial_seconds=30)
    await until(run, "Verified")
    ramp_plane.failing = {"google"}
    result = await ended(run)
    assert result.outcome is Outcome.ROLLED_BACK
    assert "google success: " in result.reason
    assert "bedrock:70,google:20,meta:10 is in force, verified." in result.reason
    assert (ramp_plane.distribution("chat"), ramp_plane.policy("chat").claim) == (FOUND, None)


async def test_a_gate_that_breaks_acts_within_two_samples(ramps: Ramps, ramp_plane: MemoryPlane) -> None:
    """10 s into a hold of 300 s, here in tenths: long before the hold is over."""
    run = await ramps.canary(initial_seconds=300)
    await until(run, "pass: google success")
    ramp_plane.failing = {"google"}
    result = await ended(run)
    assert result.outcome is Outcome.ROLLED_BACK
    entries = await run.query("timeline")
    broke = next(entry for entry in entries if entry["text"].startswith("fail: google success"))
    acted = next(entry for entry in entries if "step-1 failed" in entry["text"])
    samples = (_seconds(acted["at"]) - _seconds(broke["at"])) / 0.1
    assert samples < 5, f"{samples:.1f} sample intervals between the first bad sample and the failure"


def _seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


async def test_a_failback_returns_what_was_moved_away(ramps: Ramps, ramp_plane: MemoryPlane) -> None:
    """To the distribution that the failover found, which is on record."""
    assert (await ended(await ramps.immediate())).outcome is Outcome.COMPLETED
    run = await ramps.start("Failback", original_provider="bedrock")
    result = await ended(run)
    assert (result.outcome, ramp_plane.distribution("chat")) == (Outcome.COMPLETED, FOUND)
    assert {"bedrock": 3500, "google": 5500, "meta": 1000} in shares(ramp_plane)


async def test_a_failback_that_fails_goes_one_step_back_and_stops(ramps: Ramps, ramp_plane: MemoryPlane) -> None:
    """Not to the beginning: to the last good step."""
    await ended(await ramps.immediate())
    run = await ramps.start("Failback", original_provider="bedrock", percents=[25, 50, 100], step_seconds=0.5)
    await until_details(run, lambda now: now.get("step") == 1 and now["distribution"]["bedrock"] == 35)
    ramp_plane.failing = {"bedrock"}
    result = await ended(run)
    assert result.outcome is Outcome.STOPPED
    assert ramp_plane.distribution("chat") == {"bedrock": 1750, "google": 7250, "meta": 1000}


async def test_a_failback_waits_until_the_original_is_well(
    ramps: Ramps, ramp_plane: MemoryPlane, ramp_parts: composition.Parts
) -> None:
    """No traffic moves and no claim is held while it is watched."""
    await ended(await ramps.immediate())
    client_of(ramp_parts, "bedrock").fail_with = FailureKind.SERVER_ERROR
    run = await ramps.start("Failback", original_provider="bedrock")
    await until(run, "its last probe failed")
    assert ramp_plane.policy("chat").claim is None
    client_of(ramp_parts, "bedrock").fail_with = None
    assert (await ended(run)).outcome is Outcome.COMPLETED


async def test_no_data_is_not_good_news(ramps: Ramps, ramp_plane: MemoryPlane) -> None:
    """Without users nothing is promoted: a person is asked, and the declared default follows."""
    ramp_plane.requests = 0
    run = await ramps.canary()
    await until(run, "Inconclusive: google success: 0 requests")
    assert ramp_plane.distribution("chat")["google"] == 2350
    assert (await order(run, "advance", comment="we know")).accepted
    await until_details(run, lambda now: now["step"] == 1)
    assert (await order(run, "abort")).accepted
    assert (await ended(run)).outcome is Outcome.ABORTED
    assert ramp_plane.distribution("chat") == FOUND


async def test_synthetic_requests_speak_for_a_canary_without_users(
    ramps: Ramps, ramp_plane: MemoryPlane, ramp_parts: composition.Parts
) -> None:
    """Capped, sent to the provider itself, and in no user's figure."""
    ramp_plane.requests = 0
    run = await ramps.canary(synthetic_per_sample=20, initial_seconds=0.5)
    result = await ended(run)
    assert result.outcome is Outcome.COMPLETED, result.reason
    assert client_of(ramp_parts, "google").calls >= 60


async def test_what_does_not_fit_is_said_and_goes_to_the_next(
    ramps: Ramps, ramp_plane: MemoryPlane, ramp_parts: composition.Parts
) -> None:
    """google may take 400 of the route's 1,000 requests a minute: 40 %."""
    providers = dict(ramp_parts.config.providers)
    providers["google"] = providers["google"].model_copy(update={"capacity": Capacity(requests_per_minute=400)})
    object.__setattr__(ramp_parts.config, "providers", providers)
    run = await ramps.gradual()
    result = await ended(run)
    assert result.outcome is Outcome.COMPLETED
    assert all(one["google"] <= 4000 for one in shares(ramp_plane))
    assert ramp_plane.distribution("chat") == {"bedrock": 0, "google": 4000, "meta": 6000}
    assert any("google can take 40 % of the route" in text for text in await said(run))


async def test_a_failed_gradual_step_asks_a_person(ramps: Ramps, ramp_plane: MemoryPlane) -> None:
    """The target suffers: hold and ask; a retry goes on once it is well."""
    run = await ramps.gradual(monitor_seconds=0.6)
    await until(run, "Verified")
    ramp_plane.failing = {"google"}
    await until(run, "What now")
    refused = await order(run, "resume")
    assert (refused.accepted, refused.said) == (False, "Refused: the run is not paused")
    assert refused.accepted_now == ["abort", "pause", "advance", "escalate", "retry"]
    ramp_plane.failing = set()
    assert (await order(run, "retry")).accepted
    assert (await ended(run)).outcome is Outcome.COMPLETED


async def test_a_source_that_gets_worse_makes_a_gradual_failover_hurry(ramps: Ramps, ramp_plane: MemoryPlane) -> None:
    """Its monitored window of five minutes is not waited out."""
    run = await ramps.gradual(monitor_seconds=300, settle_seconds=0)
    await until(run, "Verified")
    ramp_plane.failing = {"bedrock"}
    assert (await ended(run)).outcome is Outcome.COMPLETED
    assert any("Going on faster" in text for text in await said(run))


async def test_a_step_never_raises_the_share_of_a_provider_known_to_be_down(
    ramps: Ramps, ramp_plane: MemoryPlane, ramp_parts: composition.Parts
) -> None:
    """It is probed before each step that gives it traffic."""
    run = await ramps.canary(initial_seconds=2)
    await until(run, "Verified")
    client_of(ramp_parts, "google").fail_with = FailureKind.SERVER_ERROR
    result = await ended(run)
    assert (result.outcome, ramp_plane.distribution("chat")) == (Outcome.ROLLED_BACK, FOUND)
    assert "google would get more traffic, and is down" in result.reason


async def test_a_rollback_to_a_provider_that_is_down_holds(
    ramps: Ramps, ramp_plane: MemoryPlane, ramp_parts: composition.Parts
) -> None:
    """Restoring never sends traffic to a provider known to be down: it says so and holds."""
    run = await ramps.canary(initial_seconds=30)
    await until(run, "Verified")
    client_of(ramp_parts, "bedrock").fail_with = FailureKind.SERVER_ERROR
    assert (await order(run, "abort")).accepted
    result = await ended(run)
    assert result.outcome is Outcome.ABORTED
    assert "not put back: bedrock would get more traffic, and is down" in result.reason
    assert ramp_plane.distribution("chat") == {"bedrock": 6650, "google": 2350, "meta": 1000}
    assert ramp_plane.policy("chat").claim is None


async def test_a_canary_can_be_led_by_percents(ramps: Ramps, ramp_plane: MemoryPlane) -> None:
    """It holds and waits for orders; 100 ends it."""
    run = await ramps.canary(manual=True, initial_percent=5, initial_seconds=0.3, step_seconds=0.3)
    await until(run, "waits for orders")
    assert (await order(run, "set_percent", percent=50)).accepted
    await until_details(run, lambda now: now["distribution"]["google"] == 55)
    assert (await order(run, "set_percent", percent=100)).accepted
    result = await ended(run)
    assert (result.outcome, ramp_plane.distribution("chat")["bedrock"]) == (Outcome.COMPLETED, 0)


async def test_a_doubt_that_data_settle_is_no_order(ramps: Ramps, ramp_plane: MemoryPlane) -> None:
    """A canary that is led by percents waits for them also after a quiet minute: it does not end by itself at its first."""
    ramp_plane.requests = 0
    run = await ramps.canary(manual=True, initial_percent=5, initial_seconds=0.3, step_seconds=0.3)
    await until(run, "Inconclusive: google success: 0 requests")
    ramp_plane.requests = 100
    await until(run, "No longer in doubt")
    await until(run, "waits for orders")
    assert (await order(run, "set_percent", percent=100)).accepted
    result = await ended(run)
    assert (result.outcome, ramp_plane.distribution("chat")["bedrock"]) == (Outcome.COMPLETED, 0)


async def test_a_canary_that_nobody_leads_rolls_back(ramps: Ramps, ramp_plane: MemoryPlane) -> None:
    """At its deadline, as declared."""
    run = await ramps.canary(manual=True, initial_seconds=0.3, manual_deadline_seconds=0.5)
    result = await ended(run)
    assert (result.outcome, ramp_plane.distribution("chat")) == (Outcome.ROLLED_BACK, FOUND)
    assert "Nobody ordered anything in time." in result.reason


async def test_pause_freezes_the_plan_and_the_gates_are_still_watched(ramps: Ramps, ramp_plane: MemoryPlane) -> None:
    """A gate that breaks while paused acts."""
    run = await ramps.canary()
    await until(run, "Verified")
    assert (await order(run, "pause")).accepted
    await asyncio.sleep(1.5)  # longer than the whole hold: it must not have gone on
    assert ramp_plane.distribution("chat")["google"] == 2350
    ramp_plane.failing = {"google"}
    result = await ended(run)
    assert (result.outcome, ramp_plane.distribution("chat")) == (Outcome.ROLLED_BACK, FOUND)


async def test_a_paused_run_resumes_where_it_was(ramps: Ramps, ramp_plane: MemoryPlane) -> None:
    """And the time it was paused counts as waiting for people."""
    run = await ramps.canary(initial_seconds=3)
    await until(run, "Verified")
    await order(run, "pause")
    await until_details(run, lambda now: now["waited_seconds"] >= 0.5)
    await order(run, "resume")
    result = await ended(run)
    assert result.outcome is Outcome.COMPLETED


async def test_a_dry_run_plans_and_changes_nothing(ramps: Ramps, ramp_plane: MemoryPlane) -> None:
    """Its reason is the plan."""
    result = await ended(await ramps.canary(dry_run=True))
    assert result.outcome is Outcome.COMPLETED
    assert "5 % of bedrock on google → bedrock:66.5,google:23.5,meta:10" in result.reason
    assert ramp_plane.applied == []


@pytest.mark.parametrize(
    ("procedure", "request_", "why"),
    [
        ("GradualFailover", {}, "Name either failed_provider or target_distribution"),
        ("GradualFailover", {"failed_provider": "azure"}, "'azure' is no provider"),
        ("GradualFailover", {"failed_provider": "bedrock", "route": "search"}, "There is no route 'search'"),
        ("GradualFailover", {"target_distribution": {"bedrock": 70, "google": 20}}, "sums to"),
        ("CanaryFailover", {"source_provider": "google", "target_provider": "google"}, "are both 'google'"),
        (
            "CanaryFailover",
            {"source_provider": "bedrock", "target_provider": "google", "percents": [50, 10]},
            "must rise from step to step",
        ),
        ("Failback", {"original_provider": "bedrock"}, "nothing is to be returned"),
        ("Failback", {"original_provider": "bedrock", "undoes_workflow_id": "failover/x"}, "is on record"),
    ],
)
async def test_what_cannot_be_meant_fails_at_once_with_nothing_changed(
    ramps: Ramps, ramp_plane: MemoryPlane, procedure: str, request_: dict[str, Any], why: str
) -> None:
    """In words, whichever door it came through."""
    with pytest.raises(ApplicationError, match=why):
        await ended(await ramps.start(procedure, **request_))
    assert ramp_plane.applied == []


@pytest.mark.parametrize(
    ("procedure", "request_"),
    [
        ("GradualFailover", {"target_distribution": {"google": 100}}),
        ("CanaryFailover", {"source_provider": "bedrock", "target_provider": "google"}),
    ],
)
async def test_more_traffic_for_a_provider_that_is_down_is_refused_not_failed(
    ramps: Ramps, ramp_plane: MemoryPlane, ramp_parts: composition.Parts, procedure: str, request_: dict[str, Any]
) -> None:
    """It can be meant, and may not be done as things stand: REJECTED, with nothing changed, the claim included."""
    down = Verdict(provider="google", condition=Condition.UNAVAILABLE, reason="it hangs", at=datetime.now(UTC))
    ramp_parts.board.post(down)
    result = await ended(await ramps.start(procedure, **request_))
    assert result.outcome is Outcome.REJECTED
    assert "google" in result.reason and "is down: it hangs" in result.reason
    assert result.reason.endswith("Nothing was changed.")
    assert ramp_plane.applied == []
