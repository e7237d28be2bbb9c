"""No write sends a provider more than it can take by the demand of that moment; and nothing at all moves in a pause."""

from failover.config.providers import Capacity
from failover.incident import Outcome
from starter import worker_parts as composition
from tests.workflows.conftest import FOUND, Ramps, details, ended, order, outcome_of, said, until, until_details
from traffic.memory import MemoryPlane


def declare(parts: composition.Parts, **requests_per_minute: int) -> None:
    """What each provider can take; the route is asked 1,000 times a minute."""
    providers = dict(parts.config.providers)
    for name, limit in requests_per_minute.items():
        capacity = Capacity(requests_per_minute=limit)
        providers[name] = providers[name].model_copy(update={"capacity": capacity})
    object.__setattr__(parts.config, "providers", providers)


async def test_a_step_goes_only_as_far_as_the_demand_of_now_allows(
    ramps: Ramps, ramp_parts: composition.Parts, ramp_plane: MemoryPlane
) -> None:
    """All of it fitted when it was planned; then the demand doubled."""
    declare(ramp_parts, google=1600)
    run = await ramps.canary(percents=[100], initial_percent=50, initial_seconds=1)
    await until(run, "Verified")
    ramp_plane.requests = 2000
    result = await ended(run)
    assert result.outcome is Outcome.COMPLETED
    assert ramp_plane.distribution("chat") == {"bedrock": 1000, "google": 8000, "meta": 1000}
    assert "Capacity: google can take 80 % of the route, not 90 %" in await said(run)


async def test_an_abort_sends_nobody_more_than_it_can_take_either(
    ramps: Ramps, ramp_parts: composition.Parts, ramp_plane: MemoryPlane
) -> None:
    """bedrock held 70 % of 1,000 a minute, and can take 40 % of 2,000: it gets that, and the reason says so."""
    declare(ramp_parts, bedrock=800)
    run = await ramps.canary(percents=[100], initial_percent=50, initial_seconds=60)
    await until(run, "Verified")
    ramp_plane.requests = 2000
    assert (await order(run, "abort")).accepted
    result = await ended(run)
    assert result.outcome is Outcome.ABORTED
    assert ramp_plane.distribution("chat") == {"bedrock": 4000, "google": 5000, "meta": 1000}
    assert "bedrock can take 40 % of the route, not 70 %" in result.reason


async def test_an_unknown_demand_holds_no_abort_back(
    ramps: Ramps, ramp_parts: composition.Parts, ramp_plane: MemoryPlane
) -> None:
    """The counters hang: what was found is put back all the same, though nobody can prove that it is served."""
    declare(ramp_parts, bedrock=1)
    run = await ramps.canary(percents=[100], initial_percent=50, initial_seconds=60)
    await until(run, "Verified")
    ramp_plane.mute = True
    assert (await order(run, "abort")).accepted
    assert await outcome_of(run) is Outcome.NEEDS_HUMAN
    assert ramp_plane.distribution("chat") == FOUND


async def test_an_immediate_failover_divides_what_moves_and_leaves_nothing(
    ramps: Ramps, ramp_parts: composition.Parts, ramp_plane: MemoryPlane
) -> None:
    """google takes what it can, meta the rest, and what fits nowhere goes to google all the same."""
    declare(ramp_parts, google=600, meta=300)
    result = await ended(await ramps.immediate())
    assert result.outcome is Outcome.COMPLETED
    assert ramp_plane.distribution("chat") == {"bedrock": 0, "google": 7000, "meta": 3000}


async def test_a_step_that_is_approved_in_a_pause_waits_for_its_end(ramps: Ramps, ramp_plane: MemoryPlane) -> None:
    """Paused means that nothing moves, whoever agrees to whatever."""
    run = await ramps.canary(approvals={"points": ["first_shift"]})
    asked = (await until_details(run, lambda found: found.get("approval") is not None))["approval"]
    assert (await order(run, "pause")).accepted
    assert (await order(run, "approve", step=asked["step"], digest=asked["digest"])).accepted
    await until(run, "is approved by alice")
    assert not (await order(run, "advance")).accepted
    assert ramp_plane.distribution("chat") == FOUND
    assert (await details(run))["step"] == 0
    assert (await order(run, "resume")).accepted
    assert (await ended(run)).outcome is Outcome.COMPLETED
    assert ramp_plane.distribution("chat") == {"bedrock": 0, "google": 9000, "meta": 1000}
