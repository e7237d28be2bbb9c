"""Every ramp at the runbook's real durations, on a server whose clock leaps: policy after every step, clocks, outcome."""

from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from typing import Any

import pytest
from temporalio.client import WorkflowHandle
from temporalio.testing import WorkflowEnvironment

import worker as composition
from failover.config import Gating, Procedures
from failover.distribution import Distribution
from failover.incident import Outcome, RunRecord
from failover.requests import RunResult
from traffic.memory import MemoryPlane

Run = WorkflowHandle[Any, RunResult]
Start = Callable[..., Any]


@pytest.fixture
def parts(make_parts: Callable[..., composition.Parts]) -> composition.Parts:
    """The runbook's own values: the shipped configuration, not the demo's short waits."""
    return make_parts(procedures=Procedures(gating=Gating(minimum_requests=20)))


@pytest.fixture
def plane(parts: composition.Parts) -> MemoryPlane:
    assert isinstance(parts.plane, MemoryPlane)
    parts.plane.requests = 1000
    return parts.plane


@pytest.fixture
async def start(
    time_skipping_env: WorkflowEnvironment, parts: composition.Parts, plane: MemoryPlane, task_queue: str
) -> AsyncIterator[Start]:
    async with composition.build_worker(time_skipping_env.client, parts, task_queue=task_queue):

        async def start(procedure: str, **request: Any) -> Run:
            return await time_skipping_env.client.start_workflow(
                procedure, {"route": "chat", **request}, id="run", task_queue=task_queue, result_type=RunResult
            )

        yield start


def steps(plane: MemoryPlane) -> list[Distribution]:
    """The distributions that were written, without repetitions."""
    written = [dict(change.distribution) for change in plane.applied]
    return [one for index, one in enumerate(written) if index == 0 or one != written[index - 1]]


def record(parts: composition.Parts) -> RunRecord:
    found = parts.evidence.latest()
    assert found is not None
    return found


async def test_a_canary_of_a_quarter_of_an_hour(start: Start, plane: MemoryPlane, parts: composition.Parts) -> None:
    """5 % for 300 s, then 10, 25, 50, 75, 100 % with 120 s each: 15 minutes."""
    run = await start("CanaryFailover", source_provider="bedrock", target_provider="google")
    result = await run.result()
    assert (result.outcome, result.reason) == (
        Outcome.COMPLETED,
        "chat: bedrock → google: done, google:90,meta:10,bedrock:0 is in force and verified.",
    )
    assert steps(plane) == [
        {"bedrock": 7000, "google": 2000, "meta": 1000},
        {"bedrock": 6650, "google": 2350, "meta": 1000},
        {"bedrock": 6300, "google": 2700, "meta": 1000},
        {"bedrock": 5250, "google": 3750, "meta": 1000},
        {"bedrock": 3500, "google": 5500, "meta": 1000},
        {"bedrock": 1750, "google": 7250, "meta": 1000},
        {"bedrock": 0, "google": 9000, "meta": 1000},
    ]
    assert plane.policy("chat").claim is None
    moments = record(parts).moments
    assert moments.closed is not None
    took = moments.closed - moments.decided
    assert timedelta(minutes=15) <= took < timedelta(minutes=17)
