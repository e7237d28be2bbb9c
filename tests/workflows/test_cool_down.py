"""No ping-pong: automatic ramps rest after an automatic change, and past the budget of an hour people decide."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from failover.config.procedures import Procedures
from failover.incident import Outcome
from starter import worker_parts as composition
from tests.workflows.conftest import SHORT, Ramps, ended, order, said, until, until_details
from traffic.memory import MemoryPlane

AUTOMATIC: dict[str, Any] = {"trigger": "automatic", "requested_by": "health-check"}


@pytest.fixture
def ramp_parts(make_parts: Callable[..., composition.Parts]) -> composition.Parts:
    """The cool-down lasts three seconds, the budget is of two changes; nothing follows a failover by itself."""
    found = make_parts().config
    limits = {"cool_down": timedelta(seconds=3), "automatic_switches_per_hour": 2}
    return make_parts(
        procedures=Procedures.model_validate(SHORT),
        detection=found.detection.model_copy(update=limits),
        routes={"chat": found.routes["chat"].model_copy(update={"failback": "off"})},
    )


async def test_an_automatic_ramp_rests_after_an_automatic_change(ramps: Ramps, ramp_plane: MemoryPlane) -> None:
    """And plans anew once it has rested; what people start themselves rests for nobody."""
    assert (await ended(await ramps.immediate(**AUTOMATIC))).outcome is Outcome.COMPLETED
    run = await ramps.gradual(failed_provider="google", **AUTOMATIC)
    await until(run, "Resting for")
    assert ramp_plane.policy("chat").claim is None
    result = await ended(run)
    assert result.outcome is Outcome.COMPLETED, result.reason
    plans = [entry["at"] for entry in await run.query("timeline") if entry["text"].startswith("chat: google: ")]
    assert len(plans) == 2, "before the rest and after it"


async def test_what_a_person_starts_or_ends_rests_for_nobody(ramps: Ramps, ramp_plane: MemoryPlane) -> None:
    """A manual ramp begins at once, and an order ends the rest of an automatic one."""
    await ended(await ramps.immediate(**AUTOMATIC))
    resting = await ramps.gradual(failed_provider="google", **AUTOMATIC)
    await until(resting, "Resting for")
    assert (await order(resting, "advance")).accepted
    assert (await ended(resting)).outcome is Outcome.COMPLETED
    manual = await ramps.start("CanaryFailover", source_provider="meta", target_provider="google", initial_percent=50)
    assert (await ended(manual)).outcome is Outcome.COMPLETED
    assert not any("Resting" in text for text in await said(manual))


async def test_past_the_budget_of_an_hour_people_decide(ramps: Ramps, ramp_plane: MemoryPlane) -> None:
    """Two automatic changes were made; one that was rejected is none. The third asks before it moves anything."""
    await ended(await ramps.immediate(**AUTOMATIC))
    approvals = {"points": ["first_shift"], "deadline": "20s"}
    rejected = await ramps.gradual(
        id=f"no-{ramps.task_queue}", failed_provider="google", approvals=approvals, **AUTOMATIC
    )
    bound = (await until_details(rejected, lambda now: bool(now.get("approval"))))["approval"]
    await order(rejected, "reject", step=bound["step"], digest=bound["digest"])
    assert (await ended(rejected)).outcome is Outcome.REJECTED
    second = await ramps.gradual(id=f"two-{ramps.task_queue}", failed_provider="google", **AUTOMATIC)
    assert (await ended(second)).outcome is Outcome.COMPLETED
    assert not any("Waiting for 1 to approve" in text for text in await said(second))
    third = await ramps.gradual(id=f"three-{ramps.task_queue}", failed_provider="meta", **AUTOMATIC)
    before = ramp_plane.policy("chat").distribution
    await until(third, "Waiting for 1 to approve step-1")
    assert ramp_plane.policy("chat").distribution == before
    await order(third, "abort")
    assert (await ended(third)).outcome is Outcome.ABORTED
