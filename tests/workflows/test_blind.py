"""The blind matrix: however telemetry fails, nothing is promoted, nothing fails over, and a person is asked."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from failover.incident import Outcome
from tests.workflows.conftest import FOUND, Ramps, ended, order, outcome_of, until
from traffic.memory import MemoryPlane

MOVED = {"bedrock": 0, "google": 9000, "meta": 1000}

FIRST = {
    "canary": {"bedrock": 6650, "google": 2350, "meta": 1000},
    "gradual": {"bedrock": 5000, "google": 3000, "meta": 2000},
    "failback": {"bedrock": 1750, "google": 7250, "meta": 1000},
}


def empty(plane: MemoryPlane) -> None:
    plane.requests = 0


def nothing_told(plane: MemoryPlane) -> None:
    plane.blind = True


def stale(plane: MemoryPlane) -> None:
    plane.frozen = datetime.now(UTC)


def partial(plane: MemoryPlane) -> None:
    plane.partial = True


def answers_500(plane: MemoryPlane) -> None:
    plane.dark = True


def hanging(plane: MemoryPlane) -> None:
    plane.mute = True


def turned_back(plane: MemoryPlane) -> None:
    plane.skew = -timedelta(hours=1)


BLINDNESS = [empty, nothing_told, stale, partial, answers_500, hanging, turned_back]


@pytest.mark.parametrize("procedure", ["canary", "gradual", "failback"])
@pytest.mark.parametrize("blind", BLINDNESS, ids=lambda blind: blind.__name__)
async def test_no_data_is_not_good_news(
    ramps: Ramps, ramp_plane: MemoryPlane, blind: Callable[[MemoryPlane], None], procedure: str
) -> None:
    """The monitor goes blind in the first hold: people are asked, nothing is promoted, and it goes back in the end."""
    found = MOVED if procedure == "failback" else FOUND
    ramp_plane.put("chat", found)
    if procedure == "canary":
        run = await ramps.canary(initial_seconds=1)
    elif procedure == "gradual":
        run = await ramps.gradual(settle_seconds=0, monitor_seconds=1)
    else:
        run = await ramps.start("Failback", original_provider="bedrock", percents=[25, 100], step_seconds=1)
    await until(run, f"pass: {'bedrock' if procedure == 'failback' else 'google'} success")
    blind(ramp_plane)
    await until(run, "What now: advance, retry or abort?", patience=40)
    assert ramp_plane.distribution("chat") == FIRST[procedure]
    assert (await order(run, "abort")).accepted
    # A data plane that cannot tell what it serves proves nothing: then a person is asked to look.
    assert await outcome_of(run) in (Outcome.ABORTED, Outcome.NEEDS_HUMAN)
    assert ramp_plane.distribution("chat") == found


async def test_another_clock_is_no_blindness(ramps: Ramps, ramp_plane: MemoryPlane) -> None:
    """A data plane whose clock is off by an hour is judged by its own clock."""
    ramp_plane.skew = timedelta(hours=1)
    assert (await ended(await ramps.canary())).outcome is Outcome.COMPLETED


async def test_monitor_errors_are_not_bad_measurements(ramps: Ramps, ramp_plane: MemoryPlane) -> None:
    """Once the monitor answers again the run goes on by itself; nobody was rolled back."""
    run = await ramps.canary(initial_seconds=1)
    await until(run, "pass: google success")
    ramp_plane.blind = True
    await until(run, "The monitor is blind")
    ramp_plane.blind = False
    result = await ended(run)
    assert result.outcome is Outcome.COMPLETED


async def test_the_question_has_a_deadline_and_a_declared_default(ramps: Ramps, ramp_plane: MemoryPlane) -> None:
    """A canary in doubt rolls back; a gradual failover holds."""
    ramp_plane.requests = 0
    run = await ramps.start("GradualFailover", failed_provider="bedrock")
    await until(run, "Otherwise: hold")
    result = await ended(run, patience=40)
    assert result.outcome is Outcome.HELD
    assert ramp_plane.distribution("chat") == {"bedrock": 5000, "google": 3000, "meta": 2000}
    assert ramp_plane.policy("chat").claim is None
