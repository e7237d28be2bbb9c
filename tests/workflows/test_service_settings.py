"""Cache and queue set by a run: fenced, verified, refused under a ramp, put back when it is cancelled."""

from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from temporalio.client import Client, WorkflowExecutionStatus, WorkflowFailureError
from temporalio.exceptions import ApplicationError
from temporalio.testing import WorkflowEnvironment

from failover.config.procedures import Immediate, Procedures
from failover.incident import Outcome
from failover.policy import Change, ChangedBy
from failover.requests import RunResult
from starter import worker_parts as composition
from tests.workflows.conftest import SHORT, Run, ended
from traffic.memory import MemoryPlane

Start = Callable[..., Any]


@pytest.fixture
def parts(make_parts: Callable[..., composition.Parts]) -> composition.Parts:
    return make_parts(procedures=Procedures(immediate=Immediate.model_validate(SHORT["immediate"])))


@pytest.fixture
def plane(parts: composition.Parts) -> MemoryPlane:
    assert isinstance(parts.plane, MemoryPlane)
    return parts.plane


@pytest.fixture
async def start(temporal_client: Client, parts: composition.Parts, task_queue: str) -> AsyncIterator[Start]:
    async with composition.build_worker(temporal_client, parts, task_queue=task_queue):
        yield partial(begin, temporal_client, task_queue)


async def begin(client: Client, task_queue: str, **request: Any) -> Run:
    return await client.start_workflow(
        "ServiceSettings",
        {"route": "chat", **request},
        id=f"service-{task_queue}",
        task_queue=task_queue,
        result_type=RunResult,
    )


def by_somebody_else(plane: MemoryPlane, **change: Any) -> None:
    policy = plane.policy("chat")
    wanted = Change(
        route="chat",
        decided_on=policy.revision,
        key=f"other/{policy.revision}",
        distribution=dict(policy.distribution),
        changed_by=ChangedBy(actor="mallory"),
        reason="by hand",
        **change,
    )
    assert plane.write(wanted).in_force


async def test_settings_are_written_and_read_back(start: Start, plane: MemoryPlane) -> None:
    """The shares stay; doing it again changes nothing."""
    before = plane.distribution("chat")
    assert (await ended(await start(cache="emergency", cache_ttl_seconds=60))).outcome is Outcome.COMPLETED
    policy = plane.policy("chat")
    assert (policy.distribution, policy.degraded) == (before, {"cache": {"ttl": "1m", "serve_stale": True}})
    again = await ended(await start(cache_ttl_seconds=60))
    assert "nothing to set" in again.reason and plane.policy("chat").revision == policy.revision


async def test_somebody_who_is_faster_is_read_again(start: Start, plane: MemoryPlane) -> None:
    """The write is decided anew on what is in force then: the banner that came between is kept."""
    plane.before_write = lambda: by_somebody_else(plane, degraded={"banner": "hello"})
    assert (await ended(await start(queue="on", queue_size=5))).outcome is Outcome.COMPLETED
    assert plane.policy("chat").degraded == {"banner": "hello", "queue": {"size": 5, "timeout": "5m"}}


async def test_a_ramp_that_holds_the_route_is_not_written_under(
    start: Start, plane: MemoryPlane, temporal_client: Client, task_queue: str
) -> None:
    """Its name is told; a claim whose run is gone holds nobody up."""
    holder = await temporal_client.start_workflow(
        "Elsewhere", id=f"canary-{task_queue}", task_queue="nobody-works-here"
    )
    by_somebody_else(plane, claim=holder.id)
    refused = await ended(await start(cache="on"))
    assert refused.outcome is Outcome.REJECTED and holder.id in refused.reason
    assert plane.policy("chat").degraded == {}
    await holder.terminate()
    assert (await ended(await start(cache="on"))).outcome is Outcome.COMPLETED


async def test_what_is_not_obeyed_needs_a_person(start: Start, plane: MemoryPlane) -> None:
    """Accepted and not kept is not done: the command for a person stands in the message."""
    plane.forget_writes = True
    with pytest.raises(ApplicationError, match=r"reads back without it\. Run: failoverctl restore chat --yes"):
        await ended(await start(cache="on"))


async def test_a_cancelled_run_puts_back_what_it_found(
    start: Start, plane: MemoryPlane, parts: composition.Parts
) -> None:
    """Also when it is cancelled while its write hangs."""
    by_somebody_else(plane, degraded={"banner": "hello"})
    plane.late = timedelta(milliseconds=500)
    run = await start(cache="on")
    while (await run.query("status"))["phase"] != "set":
        pass
    plane.late = None
    await run.cancel()
    with pytest.raises(WorkflowFailureError):
        await run.result()
    assert (await run.describe()).status is WorkflowExecutionStatus.CANCELED
    assert plane.policy("chat").degraded == {"banner": "hello"}


async def test_bad_input_changes_nothing(start: Start, plane: MemoryPlane) -> None:
    """Whichever door it came through."""
    with pytest.raises(Exception, match="takes neither a TTL"):
        await ended(await start(cache="off", cache_ttl_seconds=3))
    assert plane.applied == []


async def test_a_data_plane_that_is_away_from_the_start_ends_in_a_person(
    time_skipping_env: WorkflowEnvironment, plane: MemoryPlane, parts: composition.Parts, task_queue: str
) -> None:
    """Bounded, with the command to run when it answers again, and the record kept: as every run ends."""
    plane.unavailable = True
    async with composition.build_worker(time_skipping_env.client, parts, task_queue=task_queue):
        run = await begin(time_skipping_env.client, task_queue, cache="on")
        with pytest.raises(
            ApplicationError, match=r"nothing was changed.*Run: failoverctl restore chat --yes"
        ) as failed:
            await ended(run)
    record = parts.evidence.latest()
    assert failed.value.type == "NeedsHuman"
    assert record is not None and record.outcome is Outcome.NEEDS_HUMAN


async def test_a_cancellation_before_anything_is_read_is_recorded(
    start: Start, plane: MemoryPlane, parts: composition.Parts
) -> None:
    """It leaves as canceled, and says that nothing had been changed."""
    plane.unavailable = True
    run = await start(cache="on")
    await run.query("timeline")  # Answered once it has begun.
    await run.cancel()
    with pytest.raises(WorkflowFailureError):
        await run.result()
    assert (await run.describe()).status is WorkflowExecutionStatus.CANCELED
    record = parts.evidence.latest()
    assert record is not None and "Nothing had been changed" in record.reason
