"""What users felt, by the gateway's own counters."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from temporalio.testing import ActivityEnvironment

import worker as composition
from activities.probing import Prober
from activities.restoration import ImpactOrder, Restoration
from failover.incident import Impact
from failover.telemetry import Telemetry
from gateway.counters import Counters, RequestOutcome
from traffic.memory import MemoryPlane

T0 = datetime(2026, 1, 31, 3, 0, tzinfo=UTC)
SECOND = timedelta(seconds=1)


class CountedPlane(MemoryPlane):
    """Tells what the gateway's counters hold."""

    def __init__(self) -> None:
        super().__init__({})
        self.counters = Counters()

    async def observe(
        self, *, window: timedelta | None = None, since: datetime | None = None, until: datetime | None = None
    ) -> Telemetry | None:
        now = T0 + timedelta(minutes=5)
        return self.counters.read(since or now - (window or SECOND), until, now)

    def users(self, began: datetime, *outcomes: RequestOutcome, latency: timedelta = SECOND) -> None:
        for outcome in outcomes:
            self.counters.count_request("chat", started=began, outcome=outcome, latency=latency)


@pytest.fixture
def plane() -> CountedPlane:
    return CountedPlane()


async def felt(make_parts: Callable[..., composition.Parts], plane: CountedPlane, first_bad: datetime) -> Impact:
    config = make_parts().config
    restoration = Restoration(config, plane, Prober(config, {}))
    order = ImpactOrder(routes=["chat"], first_bad=first_bad, in_force=T0 + 5 * SECOND, restored=T0 + 10 * SECOND)
    found = await ActivityEnvironment().run(restoration.impact, order)
    assert found is not None
    return found


async def test_the_first_failure_belongs_to_the_impact(
    make_parts: Callable[..., composition.Parts], plane: CountedPlane
) -> None:
    """Also where it began within a tick of the counters; what began in the tick before it is of the time before."""
    first_bad = T0 + timedelta(milliseconds=50)
    plane.users(T0 - timedelta(milliseconds=50), RequestOutcome.ANSWERED, latency=2 * SECOND)
    plane.users(first_bad, RequestOutcome.FAILED)
    plane.users(T0 + SECOND, RequestOutcome.ANSWERED)
    found = await felt(make_parts, plane, first_bad)
    assert (found.requests, found.failed) == (2, 1)
    assert found.baseline_p95 == pytest.approx(2 * SECOND, rel=0.05)
