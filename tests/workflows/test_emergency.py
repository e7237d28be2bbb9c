"""The multi-provider emergency: degraded at once, normal again by itself, driven by people."""

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from typing import Any

import pytest
from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.exceptions import ApplicationError

from activities.notifiers.memory import MemoryNotifier
from failover.config.emergency import Emergency
from failover.config.kpis import Kpis
from failover.config.procedures import Immediate, Procedures
from failover.config.providers import Capacity
from failover.failure import FailureKind
from failover.incident import Outcome
from failover.policy import Change, ChangedBy, Mode
from failover.requests import RunResult
from providers.memory import MemoryClient
from starter import worker_parts as composition
from tests.workflows.conftest import FOUND, SHORT, Run, ended, order, said, until
from traffic.memory import MemoryPlane

Start = Callable[..., Any]


@pytest.fixture
def parts(make_parts: Callable[..., composition.Parts]) -> composition.Parts:
    return make_parts(
        procedures=Procedures(immediate=Immediate.model_validate(SHORT["immediate"])),
        emergency=Emergency.model_validate({"watch_interval": "500ms", "update_interval": "400ms"}),
        kpis=Kpis(user_error_rate_percent=7),
    )


@pytest.fixture
def plane(parts: composition.Parts) -> MemoryPlane:
    assert isinstance(parts.plane, MemoryPlane)
    return parts.plane


@pytest.fixture
async def start(temporal_client: Client, parts: composition.Parts, task_queue: str) -> AsyncIterator[Start]:
    async with composition.build_worker(temporal_client, parts, task_queue=task_queue):

        async def start(**request: Any) -> Run:
            return await temporal_client.start_workflow(
                "MultiProviderEmergency",
                request,
                id=f"emergency-{task_queue}",
                task_queue=task_queue,
                result_type=RunResult,
            )

        yield start


def break_all(parts: composition.Parts) -> None:
    for name in parts.clients:
        client_of(parts, name).fail_with = FailureKind.SERVER_ERROR
    assert isinstance(parts.plane, MemoryPlane)
    parts.plane.failing = set(parts.clients)


def mend(parts: composition.Parts, *names: str) -> None:
    assert isinstance(parts.plane, MemoryPlane)
    for name in names:
        client_of(parts, name).fail_with = None
        parts.plane.failing.discard(name)


def client_of(parts: composition.Parts, provider: str) -> MemoryClient:
    client = parts.clients[provider]
    assert isinstance(client, MemoryClient)
    return client


async def test_the_first_provider_back_gets_the_traffic_and_service_becomes_normal(
    start: Start, plane: MemoryPlane, parts: composition.Parts
) -> None:
    """Degraded at once, people told; no command is needed for the way back."""
    break_all(parts)
    run = await start(reason="everything is down")
    await until(run, "Switching on degraded service on 1 route")
    async with asyncio.timeout(10):
        while plane.policy("chat").mode is not Mode.DEGRADED:
            await asyncio.sleep(0.02)
    degraded = plane.policy("chat").degraded
    assert degraded["cache"] == {"ttl": "2h", "serve_stale": True}
    assert degraded["queue"] == {"size": 10_000, "timeout": "5m"}
    assert degraded["banner"] and degraded["template"]
    await until(run, "Still degraded after")
    mend(parts, "meta")
    result = await ended(run)
    assert result.outcome is Outcome.COMPLETED, result.reason
    policy = plane.policy("chat")
    assert (policy.mode, policy.degraded, policy.distribution) == (Mode.NORMAL, {}, {"meta": 10_000})
    kept = parts.evidence.latest()
    assert kept is not None and kept.kpis.user_error_rate_percent == 7  # The limit in its plots.
    assert isinstance(parts.notifier, MemoryNotifier)
    assert any(
        message.urgent and "CRITICAL: Multi-provider AI outage" in message.text for message in parts.notifier.messages
    )


async def test_with_everybody_back_the_route_is_divided_as_before(
    start: Start, plane: MemoryPlane, parts: composition.Parts
) -> None:
    break_all(parts)
    run = await start()
    await until(run, "Still degraded after")
    mend(parts, *parts.clients)
    assert (await ended(run)).outcome is Outcome.COMPLETED
    assert plane.distribution("chat") == FOUND


async def test_settings_that_were_found_are_put_back(
    start: Start, plane: MemoryPlane, parts: composition.Parts
) -> None:
    """A cache that an operator had switched on before stays as it was."""
    before = {"cache": {"ttl": "60s", "serve_stale": False}}
    policy = plane.policy("chat")
    plane.write(
        Change(
            route="chat",
            decided_on=policy.revision,
            key="operator",
            distribution=policy.distribution,
            degraded=before,
            changed_by=ChangedBy(actor="carol"),
            reason="a small cache",
        )
    )
    break_all(parts)
    run = await start()
    await until(run, "Still degraded after")
    assert plane.policy("chat").degraded["cache"]["ttl"] == "2h"
    mend(parts, "google")
    assert (await ended(run)).outcome is Outcome.COMPLETED
    assert plane.policy("chat").degraded == before


async def test_a_provider_that_cannot_take_the_demand_keeps_service_degraded(
    start: Start, plane: MemoryPlane, parts: composition.Parts
) -> None:
    """It gets the traffic; the queue paces it; what it can take is said."""
    providers = dict(parts.config.providers)
    providers["meta"] = providers["meta"].model_copy(update={"capacity": Capacity(requests_per_minute=40)})
    object.__setattr__(parts.config, "providers", providers)
    break_all(parts)
    run = await start()
    await until(run, "Still degraded after")
    mend(parts, "meta")
    await until(run, "meta can take 40 % of the demand, not 100 %")
    assert (plane.policy("chat").mode, plane.distribution("chat")) == (Mode.DEGRADED, {"meta": 10_000})
    mend(parts, "bedrock", "google")
    assert (await ended(run)).outcome is Outcome.COMPLETED


async def test_abort_switches_degraded_service_off(start: Start, plane: MemoryPlane, parts: composition.Parts) -> None:
    """And moves no traffic: nobody is known to serve."""
    break_all(parts)
    run = await start()
    await until(run, "Still degraded after")
    assert (await order(run, "abort")).accepted
    result = await ended(run)
    assert (result.outcome, plane.policy("chat").mode, plane.distribution("chat")) == (
        Outcome.ABORTED,
        Mode.NORMAL,
        FOUND,
    )


async def test_an_abort_after_an_emergency_went_on_as_a_new_run_switches_it_off(
    start: Start, plane: MemoryPlane, parts: composition.Parts, temporal_client: Client
) -> None:
    """What the run before it wrote is its own."""
    break_all(parts)
    run = await start()
    await until(run, "Still degraded after")
    later, first = temporal_client.get_workflow_handle(run.id, result_type=RunResult), (await run.describe()).run_id
    async with asyncio.timeout(60):
        while (await later.describe()).run_id == first:
            notes = ({"by": "carol", "text": f"note {number}."} for number in range(50))
            await asyncio.gather(*(later.signal("note", note) for note in notes))
    assert (await order(later, "abort")).accepted
    result = await ended(later)
    assert (result.outcome, plane.policy("chat").mode) == (Outcome.ABORTED, Mode.NORMAL), result.reason
    assert "switched off" in result.reason


async def test_abort_with_hold_leaves_it_on(start: Start, plane: MemoryPlane, parts: composition.Parts) -> None:
    break_all(parts)
    run = await start()
    await until(run, "Still degraded after")
    assert (await order(run, "abort", mode="hold")).accepted
    assert (await ended(run)).outcome is Outcome.ABORTED
    assert plane.policy("chat").mode is Mode.DEGRADED


async def test_cancel_switches_it_off_and_ends_canceled(
    start: Start, plane: MemoryPlane, parts: composition.Parts
) -> None:
    break_all(parts)
    run = await start()
    await until(run, "Still degraded after")
    await run.cancel()
    with pytest.raises(AssertionError):
        await ended(run)
    assert (await run.describe()).status is WorkflowExecutionStatus.CANCELED
    assert plane.policy("chat").mode is Mode.NORMAL


async def test_abort_always_ends(start: Start, plane: MemoryPlane, parts: composition.Parts) -> None:
    """Also when the data plane answers nothing."""
    break_all(parts)
    run = await start()
    await until(run, "Still degraded after")
    plane.unavailable = True
    assert (await order(run, "abort")).accepted
    with pytest.raises(ApplicationError, match="Run: failoverctl restore chat --yes"):
        await ended(run, 12)


async def test_paused_it_watches_and_moves_nothing(start: Start, plane: MemoryPlane, parts: composition.Parts) -> None:
    break_all(parts)
    run = await start()
    await until(run, "Still degraded after")
    assert (await order(run, "pause")).accepted
    mend(parts, *parts.clients)
    await until(run, "bedrock answers again")
    await asyncio.sleep(1.2)  # more looks than are needed to return
    assert plane.policy("chat").mode is Mode.DEGRADED
    assert (await order(run, "resume")).accepted
    assert (await ended(run)).outcome is Outcome.COMPLETED


async def test_advance_without_any_provider_returns_to_nothing(start: Start, parts: composition.Parts) -> None:
    break_all(parts)
    run = await start()
    await until(run, "Still degraded after")
    assert (await order(run, "advance")).accepted
    await until(run, "Nobody serves: service stays degraded")
    assert (await order(run, "approve", step="x", digest="y")).said == "Refused: this procedure knows no approve"
    await order(run, "abort")
    await ended(run)


async def test_a_dry_run_says_what_it_would_do(start: Start, plane: MemoryPlane) -> None:
    result = await ended(await start(dry_run=True))
    assert "cached answers for 7200 s, stale ones without limit, a queue of 10000 for 300 s" in result.reason
    assert plane.applied == []


async def test_an_unknown_route_is_refused_with_those_that_are_there(start: Start, plane: MemoryPlane) -> None:
    with pytest.raises(ApplicationError, match="'nope'; the routes are chat"):
        await ended(await start(routes=["nope"]))
    assert plane.applied == []


async def test_its_claim_is_nobodys_business(start: Start, plane: MemoryPlane, parts: composition.Parts) -> None:
    """An emergency never queues behind a ramp: it evicts."""
    policy = plane.policy("chat")
    plane.write(
        Change(
            route="chat",
            decided_on=policy.revision,
            key="ramp",
            distribution=policy.distribution,
            claim="canary/chat",
            changed_by=ChangedBy(actor="x", workflow_id="canary/chat"),
            reason="ramp",
        )
    )
    break_all(parts)
    run = await start()
    await until(run, "Still degraded after")
    assert plane.policy("chat").claim is None
    await order(run, "abort")
    await ended(run)


async def test_every_route_gets_its_own_mode_back(
    make_parts: Callable[..., composition.Parts], temporal_client: Client, task_queue: str
) -> None:
    """One was served degraded already, by an operator: it still is when the emergency is over."""
    found = make_parts().config
    parts = make_parts(
        procedures=Procedures(immediate=Immediate.model_validate(SHORT["immediate"])),
        emergency=Emergency.model_validate({"watch_interval": "500ms"}),
        routes={"chat": found.routes["chat"], "search": found.routes["chat"]},
    )
    assert isinstance(parts.plane, MemoryPlane)
    banner = {"banner": "search is slow today"}
    parts.plane.write(
        Change(
            route="search",
            decided_on=parts.plane.policy("search").revision,
            key="operator",
            distribution=FOUND,
            mode=Mode.DEGRADED,
            degraded=banner,
            changed_by=ChangedBy(actor="carol"),
            reason="by hand",
        )
    )
    async with composition.build_worker(temporal_client, parts, task_queue=task_queue):
        run: Run = await temporal_client.start_workflow(
            "MultiProviderEmergency", {}, id=f"e-{task_queue}", task_queue=task_queue, result_type=RunResult
        )
        assert (await ended(run)).outcome is Outcome.COMPLETED
    after = {name: (parts.plane.policy(name).mode, parts.plane.policy(name).degraded) for name in ("chat", "search")}
    assert after == {"chat": (Mode.NORMAL, {}), "search": (Mode.DEGRADED, banner)}


async def test_what_nobody_can_tell_is_not_taken_for_true(
    start: Start, plane: MemoryPlane, parts: composition.Parts
) -> None:
    """A data plane that stores, and cannot say what it serves: people are told at once, and it is asked again."""
    break_all(parts)
    plane.blind = True
    run = await start()
    await until(run, "it could not be verified")
    mend(parts, *parts.clients)
    await until(run, "bedrock answers again")
    await asyncio.sleep(1)
    assert not any("Degraded service is in force, verified" in text for text in await said(run))
    assert plane.policy("chat").mode is Mode.DEGRADED
    assert len(plane.applied) == 1, "what is stored is not written again, only asked after"
    assert isinstance(parts.notifier, MemoryNotifier)
    assert any(m.urgent and "failoverctl restore chat --yes" in m.text for m in parts.notifier.messages)
    plane.blind = False
    assert (await ended(run)).outcome is Outcome.COMPLETED


async def test_a_provider_that_comes_back_and_goes_again_keeps_service_degraded(
    start: Start, plane: MemoryPlane, parts: composition.Parts
) -> None:
    """Good samples count in a row only; the next provider back is given the traffic."""
    object.__setattr__(parts.config, "emergency", parts.config.emergency.model_copy(update={"good_samples": 8}))
    break_all(parts)
    run = await start()
    await until(run, "Still degraded after")
    mend(parts, "meta")
    await until(run, "Back: meta")
    client_of(parts, "meta").fail_with = FailureKind.SERVER_ERROR
    await until(run, "meta is down")
    plane.failing = {"bedrock", "google", "meta"}
    mend(parts, "google")
    await until(run, "Back: google")
    assert (await ended(run)).outcome is Outcome.COMPLETED
    assert plane.distribution("chat") == {"google": 10_000}


async def test_an_abort_wins_against_its_own_late_write(
    start: Start, plane: MemoryPlane, parts: composition.Parts
) -> None:
    """Degraded service is being switched on, and the write arrives after the abort: it is refused."""
    break_all(parts)
    plane.late = timedelta(seconds=3)
    run = await start()
    async with asyncio.timeout(10):
        while not plane._later:
            await asyncio.sleep(0.02)
    plane.late = None
    assert (await order(run, "abort")).accepted
    result = await ended(run)
    assert (result.outcome, plane.policy("chat").mode) == (Outcome.ABORTED, Mode.NORMAL), result.reason
    await asyncio.gather(*plane._later)
    assert (plane.policy("chat").mode, plane.distribution("chat")) == (Mode.NORMAL, FOUND)
