"""kill -9 of the worker around every activity of every procedure, in every situation: one policy, written once.

Many runs at once, each on a route and a worker of its own; a worker that dies is begun anew and dies again around the next
activity, until its run is over.
"""

import asyncio
import importlib
import inspect
import pkgutil
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import Client, WorkflowExecutionStatus, WorkflowFailureError
from temporalio.exceptions import CancelledError

import activities
from failover.distribution import Distribution
from failover.incident import Outcome
from failover.policy import Mode
from failover.requests import RunResult
from starter.embedded.temporal_server import DevServer
from tests.crashes.conftest import (
    FOUND,
    MOVED,
    Lab,
    Run,
    config_file,
    details,
    gateway,
    mortal_workers,
    order,
    said,
    until_said,
    writes_in_force,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ramp:
    """A ramp to try: what it is asked, from where, to where."""

    procedure: str
    request: dict[str, Any]
    found: Distribution
    target: Distribution


RAMPS = {
    "canary": Ramp(
        procedure="CanaryFailover",
        request={"source_provider": "bedrock", "target_provider": "google"},
        found=FOUND,
        target=MOVED,
    ),
    "gradual": Ramp(
        procedure="GradualFailover",
        request={"failed_provider": "bedrock"},
        found=FOUND,
        target={"bedrock": 0, "google": 7000, "meta": 3000},
    ),
    "failback": Ramp(
        procedure="Failback",
        request={"original_provider": "bedrock", "recovery_seconds": 1},
        found=MOVED,
        target=FOUND,
    ),
}

LONG: dict[str, Any] = {
    "CanaryFailover": {"initial_seconds": 60},
    "GradualFailover": {"monitor_seconds": 60},
    "Failback": {"step_seconds": 12},
}
"""First holds that are long enough to be ended by order."""

Scene = Callable[[Lab], Awaitable[list[Run]]]


# Ramps


def forward(ramp: Ramp) -> Scene:
    """Killed after everything from the first look to the evidence."""

    async def scene(lab: Lab) -> list[Run]:
        lab.arm("forward")
        run = await lab.start(ramp.procedure, {"route": lab.name, **ramp.request})
        assert (await run.result()).outcome is Outcome.COMPLETED, await said(run)
        assert lab.policy.distribution == ramp.target
        steps = {"claim", "step-1", "step-2", "release"}
        assert lab.struck >= {f"forward traffic.apply {step}" for step in steps}
        return [run]

    return scene


def paused(ramp: Ramp) -> Scene:
    """Killed in a pause: it stays paused, and goes on by order alone."""

    async def scene(lab: Lab) -> list[Run]:
        run = await lab.start(ramp.procedure, {"route": lab.name, **ramp.request, **LONG[ramp.procedure]})
        await until_said(run, "Verified")
        await order(run, "pause")
        at = lab.policy
        lab.arm("paused")
        await lab.until_struck("paused ramp.sample")
        lab.disarm()
        assert lab.policy == at
        await order(run, "resume")
        await order(run, "advance")
        assert (await run.result()).outcome is Outcome.COMPLETED, await said(run)
        assert lab.policy.distribution == ramp.target
        return [run]

    return scene


def waiting_for_approval(ramp: Ramp) -> Scene:
    """Killed with one of two approvals given: it is not lost, and nothing moves before the other."""

    async def scene(lab: Lab) -> list[Run]:
        approvals = {"points": ["full"], "quorum": 2, "deadline": "5m"}
        run = await lab.start(ramp.procedure, {"route": lab.name, **ramp.request, "approvals": approvals})
        await until_said(run, "Waiting for 2 to approve")
        asked = (await details(run))["approval"]
        bound = {"step": asked["step"], "digest": asked["digest"]}
        await order(run, "approve", **bound)
        at = lab.policy
        lab.arm("waiting")
        await lab.until_struck("waiting ramp.sample")
        lab.disarm()
        still = (await details(run))["approval"]
        assert (still["granted"], lab.policy) == (["alice"], at)
        await order(run, "approve", **{**bound, "actor": "bob"})
        assert (await run.result()).outcome is Outcome.COMPLETED, await said(run)
        assert "step-2 is approved by alice, bob." in await said(run)
        assert lab.policy.distribution == ramp.target
        return [run]

    return scene


def aborting(ramp: Ramp) -> Scene:
    """Killed after everything that an abort does."""

    async def scene(lab: Lab) -> list[Run]:
        run = await lab.start(ramp.procedure, {"route": lab.name, **ramp.request, **LONG[ramp.procedure]})
        await until_said(run, "Verified")
        lab.arm("aborting")
        await order(run, "abort")
        assert (await run.result()).outcome is Outcome.ABORTED, await said(run)
        assert lab.policy.distribution == ramp.found
        done = {"ramp.look", "traffic.apply put-back", "traffic.verify", "notify.post", "evidence.keep"}
        assert lab.struck >= {f"aborting {activity}" for activity in done}
        return [run]

    return scene


async def taking_a_stale_claim(lab: Lab) -> list[Run]:
    """The holder was terminated; the next ramp dies while it asks after it."""
    ramp = RAMPS["canary"]
    first = await lab.start(ramp.procedure, {"route": lab.name, **ramp.request, **LONG[ramp.procedure]})
    await until_said(first, "Verified")
    await first.terminate("by hand")
    lab.arm("taking-over")
    run = await lab.start(ramp.procedure, {"route": lab.name, **ramp.request}, id=f"{first.id}-next")
    assert (await run.result()).outcome is Outcome.COMPLETED, await said(run)
    assert lab.policy.distribution == MOVED
    return [first, run]


# Immediate


def immediate(moment: str) -> Scene:
    """An automatic one, which starts the watch for the failback, once."""

    async def scene(lab: Lab) -> list[Run]:
        lab.arm("forward", moment)
        request = {"failed_provider": "bedrock", "routes": [lab.name], "trigger": "automatic"}
        run = await lab.start("ImmediateFailover", request)
        assert (await run.result()).outcome is Outcome.COMPLETED
        lab.disarm()
        assert lab.policy.distribution == MOVED
        watch: Run = lab.client.get_workflow_handle(f"failback/{lab.name}")
        history = await watch.fetch_history()
        assert history.events[0].workflow_execution_started_event_attributes.attempt == 1
        assert (await watch.describe()).status is WorkflowExecutionStatus.RUNNING, await said(watch)
        await watch.terminate("the test is over")
        return [run]

    return scene


async def cancelled_immediate(lab: Lab) -> list[Run]:
    """Killed after everything that putting back does."""
    run = await lab.start("ImmediateFailover", {"failed_provider": "bedrock", "routes": [lab.name]})
    await lab.until(lambda: lab.policy.revision.number == 2)
    (lab.state / "down").touch()  # Nobody serves: it is still at its validation when the cancellation comes.
    lab.arm("aborting")
    await run.cancel()
    with pytest.raises(WorkflowFailureError) as failed:
        await run.result()
    assert isinstance(failed.value.cause, CancelledError)
    assert lab.policy.distribution == FOUND
    assert lab.struck >= {"aborting traffic.reread", "aborting traffic.verify", "aborting evidence.keep"}
    return [run]


# Emergency


async def _degraded(lab: Lab, *, armed: bool) -> Run:
    (lab.state / "down").touch()
    if armed:
        lab.arm("forward")
    run = await lab.start("MultiProviderEmergency", {"routes": [lab.name]})
    await until_said(run, "Every provider is watched")
    return run


async def emergency_forward(lab: Lab) -> list[Run]:
    """From degraded service to normal."""
    run = await _degraded(lab, armed=True)
    (lab.state / "down").unlink()
    assert (await run.result()).outcome is Outcome.COMPLETED, await said(run)
    assert (lab.policy.mode, lab.policy.distribution, lab.policy.degraded) == (Mode.NORMAL, FOUND, {})
    assert lab.struck >= {f"forward traffic.apply {step}" for step in ("degrade", "return", "normal")}
    return [run]


async def emergency_paused(lab: Lab) -> list[Run]:
    """It stays degraded and watches."""
    run = await _degraded(lab, armed=False)
    await order(run, "pause")
    lab.arm("paused")
    await lab.until_struck("paused probe.candidates")
    lab.disarm()
    (lab.state / "down").unlink()
    await until_said(run, "bedrock answers again")
    assert lab.policy.mode is Mode.DEGRADED
    await order(run, "resume")
    assert (await run.result()).outcome is Outcome.COMPLETED, await said(run)
    assert (lab.policy.mode, lab.policy.distribution) == (Mode.NORMAL, FOUND)
    return [run]


async def emergency_aborting(lab: Lab) -> list[Run]:
    """Switched off, and no traffic moved."""
    run = await _degraded(lab, armed=False)
    lab.arm("aborting")
    await order(run, "abort")
    assert (await run.result()).outcome is Outcome.ABORTED, await said(run)
    assert (lab.policy.mode, lab.policy.distribution, lab.policy.degraded) == (Mode.NORMAL, FOUND, {})
    assert lab.struck >= {f"aborting {name}" for name in ("emergency.look", "traffic.apply switch-off")}
    return [run]


async def drill_forward(lab: Lab) -> list[Run]:
    """Killed around everything that a drill does, and the failover that it practises: nothing is left broken."""
    lab.arm("forward", "before")
    run = await lab.start("FailoverDrill", {"provider": "bedrock", "route": lab.name}, id=f"drill/{lab.name}")
    result = await run.result()
    assert result.outcome in (Outcome.PASSED, Outcome.FAILED), result.reason
    assert lab.policy.distribution == FOUND
    return [run, lab.client.get_workflow_handle(f"drill/{lab.name}/failover", result_type=RunResult)]


SCENES: dict[str, Scene] = {
    **{f"{name}-forward": forward(ramp) for name, ramp in reversed(RAMPS.items())},
    "emergency-forward": emergency_forward,
    "drill-forward": drill_forward,
    "immediate-before": immediate("before"),
    "immediate-after": immediate("after"),
    "stale-claim": taking_a_stale_claim,
    **{f"{name}-paused": paused(ramp) for name, ramp in RAMPS.items()},
    **{f"{name}-waiting": waiting_for_approval(ramp) for name, ramp in RAMPS.items()},
    **{f"{name}-aborting": aborting(ramp) for name, ramp in RAMPS.items()},
    "immediate-cancelled": cancelled_immediate,
    "emergency-paused": emergency_paused,
    "emergency-aborting": emergency_aborting,
}
"""Route and queue → what happens there; the longest first."""

AT_ONCE = 8
"""Scenes; more would have their workers fight for the processor, and wait for that instead of for timeouts."""


def activities_of_procedures() -> set[str]:
    """Every activity that is defined, but those that no procedure waits for."""
    found = set()
    for module in pkgutil.walk_packages(activities.__path__, "activities."):
        for _, kind in inspect.getmembers(importlib.import_module(module.name), inspect.isclass):
            for _, method in inspect.getmembers(kind, inspect.isfunction):
                definition = getattr(method, "__temporal_activity_definition", None)
                found |= {definition.name} if definition else set()
    return {name for name in found if not name.startswith(BESIDE) or name in BEGUN}


BESIDE = ("health.", "accuracy.", "aftercare.", "communications.", "readiness.")
"""Activities of runs that change no traffic: they are retried, or made at the next turn."""

BEGUN = ("aftercare.begin", "communications.open")
"""But these are at the end of procedures, or beside them."""


@pytest.mark.timeout(590)
async def test_a_worker_killed_around_any_activity_ends_in_the_same_policy(
    dev_server: DevServer, temporal_client: Client, tmp_path: Path
) -> None:
    """The target or the snapshot, never another; no write twice, no approval lost, no claim left, whatever was in flight."""
    config = config_file(tmp_path, list(SCENES))
    initial = {name: MOVED if name.startswith("failback") else FOUND for name in SCENES}
    async with (
        gateway(config, tmp_path, initial) as (url, store),
        mortal_workers(dev_server.address, url, config, tmp_path, list(SCENES)),
    ):
        labs = {name: Lab(name=name, client=temporal_client, store=store, state=tmp_path / name) for name in SCENES}
        stage = asyncio.Semaphore(AT_ONCE)
        plays = [_play(labs[name], scene, stage) for name, scene in SCENES.items()]
        failed = [error for error in await asyncio.gather(*plays, return_exceptions=True) if error is not None]
    if failed:
        raise BaseExceptionGroup("runs that did not survive", failed)
    struck = {mark.split(" ")[-2 if "traffic.apply" in mark else -1] for lab in labs.values() for mark in lab.struck}
    assert not activities_of_procedures() - struck, "an activity is in no situation of this matrix"


async def _play(lab: Lab, scene: Scene, stage: asyncio.Semaphore) -> None:
    try:
        async with stage, asyncio.timeout(240):
            runs = await scene(lab)
        assert lab.policy.claim is None, "a claim was left behind"
        assert await writes_in_force(runs, lab.name) == lab.policy.revision.number - 1, "a write was made twice"
    except (Exception, TimeoutError) as error:
        error.add_note(f"in {lab.name}, struck {sorted(lab.struck)}, policy {lab.policy}")
        raise
