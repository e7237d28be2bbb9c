"""From fault to verdict in virtual time, by the health checks' own code; no server is needed."""

from datetime import UTC, datetime, timedelta

import pytest

from failover.config import Config
from failover.health import Condition
from failover.rehearsal import as_rehearsed
from failover.world import Fault, FaultKind, Script, World
from starter.rehearsal.detection import LIMIT, detect

BEGAN = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)


async def found_of(config: Config, kind: FaultKind, percent: float = 100) -> tuple[float, str | None, Condition] | None:
    """Seconds after the fault, what would be started, and the verdict."""
    script = Script(faults=[Fault(provider="bedrock", fault=kind, percent=percent)])
    world = World(as_rehearsed(config, "PONG"), BEGAN, script)
    shares = {name: route.distribution for name, route in config.routes.items()}
    found = (await detect(world, shares, ["bedrock"], LIMIT)).get("bedrock")
    if found is None:
        return None
    return (found.at - BEGAN - timedelta(minutes=1)).total_seconds(), found.procedure, found.verdict.condition


@pytest.mark.parametrize(
    ("kind", "percent", "seconds", "procedure", "condition"),
    [
        (FaultKind.UNAVAILABLE, 100, 5, "immediate", Condition.UNAVAILABLE),
        (FaultKind.HANG, 100, 15, "immediate", Condition.UNAVAILABLE),
        (FaultKind.WRONG_ANSWERS, 100, 10.4, "immediate", Condition.INVALID_ANSWERS),
        (FaultKind.CREDENTIALS, 100, 5, "immediate", Condition.UNUSABLE),
        (FaultKind.THROTTLE, 50, 15, "gradual", Condition.THROTTLED),
        (FaultKind.SLOW, 100, 303, "gradual", Condition.SLOW),
    ],
)
async def test_each_fault_is_found_as_production_finds_it(
    shipped: Config, kind: FaultKind, percent: float, seconds: float, procedure: str, condition: Condition
) -> None:
    """Three probes at five seconds, a hanging one's timeout, the minute's rate, five minutes of slowness."""
    found = await found_of(shipped, kind, percent)
    assert found is not None
    assert found[0] == pytest.approx(seconds, abs=0.01)
    assert found[1:] == (procedure, condition)


async def test_the_same_question_has_the_same_answer(shipped: Config) -> None:
    assert await found_of(shipped, FaultKind.HANG) == await found_of(shipped, FaultKind.HANG)


async def test_what_stays_below_every_limit_is_not_found(shipped: Config) -> None:
    """4 % of the tries fail, the limit is 5 %."""
    assert await found_of(shipped, FaultKind.UNAVAILABLE, 4) is None


async def test_the_configured_cadence_counts(shipped: Config) -> None:
    probe = shipped.detection.probe.model_copy(update={"cadence": timedelta(seconds=2)})
    quick = shipped.model_copy(update={"detection": shipped.detection.model_copy(update={"probe": probe})})
    slow, fast = await found_of(shipped, FaultKind.HANG), await found_of(quick, FaultKind.HANG)
    assert slow is not None
    assert fast is not None
    assert fast[0] == pytest.approx(9, abs=0.01)  # two cadences and one timeout
    assert slow[0] - fast[0] == pytest.approx(6, abs=0.01)
