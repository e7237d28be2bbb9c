"""The liar matrix: however the data plane misbehaves, every run ends within its deadline, with a true outcome."""

import asyncio
from collections.abc import Callable
from datetime import timedelta

import pytest
from temporalio.exceptions import ApplicationError

from failover.incident import Outcome
from tests.workflows.conftest import FOUND, Ramps, ended, order, outcome_of, said, until
from traffic.memory import MemoryPlane


def answers_500(plane: MemoryPlane) -> None:
    plane.unavailable = True


def hangs(plane: MemoryPlane) -> None:
    plane.hang = True


def accepts_and_does_not_apply(plane: MemoryPlane) -> None:
    plane.forget_writes = True


def stores_and_does_not_obey(plane: MemoryPlane) -> None:
    plane.disobey = True


def applies_late(plane: MemoryPlane) -> None:
    plane.late = timedelta(seconds=1.5)


def answers_stale_reads(plane: MemoryPlane) -> None:
    plane.stale_reads = True


def forgets_its_state(plane: MemoryPlane) -> None:
    plane.forget()


LIES = [
    answers_500,
    hangs,
    accepts_and_does_not_apply,
    stores_and_does_not_obey,
    applies_late,
    answers_stale_reads,
    forgets_its_state,
]

DEADLINE = 12.0
"""Seconds: abort_timeout is 4 s here, writes of a step are given up with it, and the machine is slow."""


def true(outcome: Outcome, plane: MemoryPlane, lie: Callable[[MemoryPlane], None]) -> bool:
    """Whether what is in force, and served, is what the outcome says."""
    settled = plane.distribution("chat") == FOUND and plane.serving["chat"] == FOUND
    if outcome in (Outcome.ABORTED, Outcome.ROLLED_BACK):
        return settled
    # A store that was made anew is another truth; that it reads back old revisions is nobody's change.
    return outcome is (Outcome.SUPERSEDED if lie is forgets_its_state else Outcome.NEEDS_HUMAN)


@pytest.mark.parametrize("lie", LIES, ids=lambda lie: lie.__name__)
async def test_abort_always_ends(ramps: Ramps, ramp_plane: MemoryPlane, lie: Callable[[MemoryPlane], None]) -> None:
    """Within its deadline, whatever the data plane does from the moment of the abort on."""
    run = await ramps.canary(initial_percent=60, initial_seconds=60)
    await until(run, "Verified")
    lie(ramp_plane)
    assert (await order(run, "abort")).accepted
    outcome = await outcome_of(run, DEADLINE)
    assert true(outcome, ramp_plane, lie), (outcome, await said(run))


@pytest.mark.parametrize("lie", LIES, ids=lambda lie: lie.__name__)
async def test_cancel_always_ends(ramps: Ramps, ramp_plane: MemoryPlane, lie: Callable[[MemoryPlane], None]) -> None:
    """`temporal workflow cancel` is an abort with restore."""
    run = await ramps.canary(initial_seconds=60)
    await until(run, "Verified")
    lie(ramp_plane)
    await run.cancel()
    async with asyncio.timeout(DEADLINE):
        with pytest.raises(Exception):  # noqa: B017 (canceled, or failed with what a person must do)
            await run.result()


@pytest.mark.parametrize("lie", LIES, ids=lambda lie: lie.__name__)
async def test_a_step_that_is_not_proved_is_not_built_upon(
    ramps: Ramps, ramp_plane: MemoryPlane, lie: Callable[[MemoryPlane], None]
) -> None:
    """The lie begins within the first hold: the second step must fail, and the outcome must be true."""
    run = await ramps.canary(initial_percent=20, initial_seconds=1)
    await until(run, "Verified")
    lie(ramp_plane)
    if lie in (answers_500, hangs, applies_late, answers_stale_reads):
        # A step's write is tried for a minute, and a person is asked about what nobody can read: no need to wait for it.
        await asyncio.sleep(1.5)
        await order(run, "abort")
    outcome = await outcome_of(run, DEADLINE)
    assert true(outcome, ramp_plane, lie), (outcome, await said(run))


async def test_an_abort_wins_against_its_own_late_write(ramps: Ramps, ramp_plane: MemoryPlane) -> None:
    """The write of a step hangs, is given up, and arrives after the abort: it is refused."""
    run = await ramps.canary(initial_seconds=0.5)
    await until(run, "Verified")
    ramp_plane.late = timedelta(seconds=3)
    async with asyncio.timeout(10):
        while not ramp_plane._later:
            await asyncio.sleep(0.02)
    ramp_plane.late = None
    assert (await order(run, "abort")).accepted
    result = await ended(run)
    assert (result.outcome, ramp_plane.distribution("chat")) == (Outcome.ABORTED, FOUND)
    await asyncio.gather(*ramp_plane._later)
    assert ramp_plane.distribution("chat") == FOUND


async def test_an_abort_that_fails_names_the_command_that_a_person_must_run(
    ramps: Ramps, ramp_plane: MemoryPlane
) -> None:
    """NEEDS_HUMAN, within the deadline."""
    run = await ramps.canary(initial_seconds=60)
    await until(run, "Verified")
    ramp_plane.unavailable = True
    await order(run, "abort", mode="hold")
    with pytest.raises(ApplicationError, match=r"Run: failoverctl restore chat --yes"):
        await ended(run, DEADLINE)
