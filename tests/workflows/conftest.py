"""Ramps on a real server over adapters in memory, with waits short enough to be waited for."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from temporalio.client import Client, WorkflowFailureError, WorkflowHandle, WorkflowUpdateFailedError
from temporalio.exceptions import ApplicationError

from failover.config.procedures import Procedures
from failover.driving import Answer
from failover.incident import Outcome
from failover.requests import RunResult
from starter import worker_parts as composition
from traffic.memory import MemoryPlane

Run = WorkflowHandle[Any, RunResult]

FOUND = {"bedrock": 7000, "google": 2000, "meta": 1000}

SHORT: dict[str, Any] = {
    "immediate": {
        "verify_timeout": "300ms",
        "abort_timeout": "4s",
        "validate_interval": "100ms",
        "validate_timeout": "1s",
    },
    "gating": {"sample_interval": "100ms", "window": "1s", "minimum_requests": 20, "ask_deadline": "20s"},
    "canary": {"initial_hold": "400ms", "step_hold": "300ms", "percents": [50, 100], "manual_deadline": "20s"},
    "gradual": {"settle": "100ms", "monitor": "300ms"},
    "failback": {"recovery_watch": "300ms", "watch_interval": "100ms", "step_hold": "300ms", "percents": [50, 100]},
}
"""The runbook's procedures in tenths of seconds; nothing but values differs."""


@pytest.fixture
def ramp_parts(make_parts: Callable[..., composition.Parts]) -> composition.Parts:
    return make_parts(procedures=Procedures.model_validate(SHORT))


@pytest.fixture
def ramp_plane(ramp_parts: composition.Parts) -> MemoryPlane:
    assert isinstance(ramp_parts.plane, MemoryPlane)
    ramp_parts.plane.requests = 1000
    return ramp_parts.plane


class Ramps:
    """Starts ramps on one worker, and drives them as people do."""

    def __init__(self, client: Client, task_queue: str, plane: MemoryPlane) -> None:
        self.client = client
        self.task_queue = task_queue
        self.plane = plane

    async def start(self, procedure: str, *, id: str | None = None, **request: Any) -> Run:
        return await self.client.start_workflow(
            procedure,
            {"route": "chat", **request},
            id=id or f"{procedure}-{self.task_queue}",
            task_queue=self.task_queue,
            result_type=RunResult,
        )

    async def canary(self, **request: Any) -> Run:
        return await self.start("CanaryFailover", source_provider="bedrock", target_provider="google", **request)

    async def gradual(self, **request: Any) -> Run:
        given = {"failed_provider": "bedrock"} | request
        return await self.start("GradualFailover", **given)

    async def immediate(self, provider: str = "bedrock", **request: Any) -> Run:
        return await self.client.start_workflow(
            "ImmediateFailover",
            {"failed_provider": provider, **request},
            id=f"immediate-{self.task_queue}",
            task_queue=self.task_queue,
            result_type=RunResult,
        )


Restart = Callable[[], Awaitable[None]]


@pytest.fixture
async def ramps(
    temporal_client: Client, ramp_parts: composition.Parts, ramp_plane: MemoryPlane, task_queue: str
) -> Any:
    async with composition.build_worker(temporal_client, ramp_parts, task_queue=task_queue):
        yield Ramps(temporal_client, task_queue, ramp_plane)


async def order(run: Run, verb: str, **said: Any) -> Answer:
    """One order by Update."""
    try:
        answer: Answer = await run.execute_update(verb, {"actor": "alice", **said}, result_type=Answer)
    except WorkflowUpdateFailedError as error:
        raise AssertionError(f"{verb} was rejected: {error.cause}") from error
    return answer


async def said(run: Run) -> list[str]:
    return [entry["text"] for entry in await run.query("timeline")]


async def until(run: Run, words: str, patience: float = 15) -> None:
    """Until the timeline says so."""
    try:
        async with asyncio.timeout(patience):
            while not any(words in text for text in await said(run)):
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise AssertionError(f"{words!r} was never said, but: {await said(run)}") from None


async def details(run: Run) -> dict[str, Any]:
    found: dict[str, Any] = (await run.query("status"))["details"]
    return found


async def until_details(run: Run, good: Callable[[dict[str, Any]], bool], patience: float = 15) -> dict[str, Any]:
    async with asyncio.timeout(patience):
        while not good(found := await details(run)):
            await asyncio.sleep(0.02)
    return found


async def ended(run: Run, patience: float = 30) -> RunResult:
    """The result; a run that needs a person raises ApplicationError."""
    try:
        return await asyncio.wait_for(run.result(), patience)
    except WorkflowFailureError as error:
        raise (error.cause if isinstance(error.cause, ApplicationError) else AssertionError(error.cause)) from None
    except TimeoutError:
        raise AssertionError(f"not over after {patience} s: {await said(run)}") from None


async def outcome_of(run: Run, patience: float = 30) -> Outcome:
    """How it ended; one that needs a person says so with the command that the person must run."""
    try:
        return (await ended(run, patience)).outcome
    except ApplicationError as error:
        if error.type == "NeedsHuman" and "Run: failoverctl restore chat --yes" in error.message:
            return Outcome.NEEDS_HUMAN
        raise
