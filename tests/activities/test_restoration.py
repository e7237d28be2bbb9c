"""What users felt, by the gateway's own counters."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from temporalio.testing import ActivityEnvironment

from activities.course import CourseOfUse, CourseOrder
from activities.evidence import EvidenceStore
from activities.measuring_again import Remeasurer
from activities.probing import Prober
from activities.restoration import ImpactOrder, Restoration
from failover.course import slice_of
from failover.incident import Impact, Moments, RouteShift, RunRecord
from failover.kpis import Kpi, measure
from failover.telemetry import Telemetry
from gateway.counters import Counters, RequestOutcome
from starter import worker_parts as composition
from tests.records import run_record
from traffic.memory import MemoryPlane

T0 = datetime(2026, 1, 31, 3, 0, tzinfo=UTC)
SECOND = timedelta(seconds=1)


class CountedPlane(MemoryPlane):
    """Tells what the gateway's counters hold."""

    def __init__(self) -> None:
        super().__init__({})
        self.counters = Counters()
        self.looks = 0
        self.remembers: datetime | None = None

    async def observe(
        self, *, window: timedelta | None = None, since: datetime | None = None, until: datetime | None = None
    ) -> Telemetry | None:
        self.looks += 1
        now = T0 + timedelta(minutes=5)
        since = since or now - (window or SECOND)
        return self.counters.read(max(since, self.remembers or since), until, now)

    def begin(self, began: datetime, number: int) -> list[int]:
        return [self.counters.begin_request("chat", started=began) for _ in range(number)]

    def users(self, began: datetime, *outcomes: RequestOutcome, latency: timedelta = SECOND) -> None:
        for outcome in outcomes:
            number = self.counters.begin_request("chat", started=began)
            self.counters.count_request("chat", number, started=began, outcome=outcome, latency=latency)


@pytest.fixture
def plane() -> CountedPlane:
    return CountedPlane()


async def felt(
    make_parts: Callable[..., composition.Parts], plane: CountedPlane, first_bad: datetime, *, to_the_end: bool = False
) -> Impact:
    config = make_parts().config
    restoration = Restoration(config, plane, Prober(config, {}))
    order = ImpactOrder(
        routes=["chat"], first_bad=first_bad, in_force=T0 + 5 * SECOND, restored=T0 + 10 * SECOND, to_the_end=to_the_end
    )
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


async def test_requests_that_hang_are_part_of_the_impact(
    make_parts: Callable[..., composition.Parts], plane: CountedPlane
) -> None:
    """None of them has ended: what is known says nothing of the loss, nor of latencies."""
    plane.users(T0 - SECOND, *[RequestOutcome.ANSWERED] * 20)
    plane.begin(T0 + SECOND, 30)
    plane.users(T0 + 7 * SECOND, *[RequestOutcome.ANSWERED] * 20)
    plane.begin(T0 + 7 * SECOND, 2)
    found = await felt(make_parts, plane, T0)
    assert (found.requests, found.pending) == (20, 32)
    assert found.baseline_p95 is not None and found.after_p95 is None and found.untimed == 2


@pytest.mark.parametrize(("to_the_end", "looks"), [(False, 1), (True, 6)])
async def test_requests_that_end_in_a_moment_are_waited_for(
    make_parts: Callable[..., composition.Parts], plane: CountedPlane, to_the_end: bool, looks: int
) -> None:
    """Those of a well service are under way whenever one looks; for a drill also those that hang, to their end."""
    [number] = plane.begin(T0 + 7 * SECOND, 1)
    measuring = asyncio.create_task(felt(make_parts, plane, T0, to_the_end=to_the_end))
    async with asyncio.timeout(10):
        while plane.looks < 3 * looks:
            await asyncio.sleep(0.01)
    plane.counters.count_request(
        "chat", number, started=T0 + 7 * SECOND, outcome=RequestOutcome.ANSWERED, latency=SECOND
    )
    found = await measuring
    assert (found.requests, found.pending, found.after_p95 is not None) == (1, 0, True)


async def test_the_follow_up_measures_what_had_not_ended(
    make_parts: Callable[..., composition.Parts], plane: CountedPlane, tmp_path: Path
) -> None:
    """Record and report tell it from then on; the record itself never changes."""
    numbers = plane.begin(T0 + SECOND, 30)
    config, store = make_parts().config, EvidenceStore(tmp_path)
    restoration = Restoration(config, plane, Prober(config, {}))
    since, until = T0, T0 + 2 * SECOND
    course = [slice_of(plane.counters.read(since, until, until), since, until, {"chat"})]
    store.keep(record(impact=await felt(make_parts, plane, T0), course=course))
    [folder] = store.list()
    assert loss(store.load(folder)).met is None and store.load(folder).course[0].pending == 30

    for number in numbers:
        plane.counters.count_request(
            "chat", number, started=T0 + SECOND, outcome=RequestOutcome.FAILED, latency=30 * SECOND
        )
    remeasurer = Remeasurer(restoration, plane, store)
    await ActivityEnvironment().run(remeasurer.settle, folder)
    assert loss(store.load(folder)).value == 100
    assert (store.load(folder).course[0].failed, store.load(folder).course[0].pending) == (30, 0)
    [report] = [name for name in store.files(folder) if name.endswith(".md")]
    told = (store.read(folder, report) or b"").decode()
    assert "| request loss | 100.0 % | < 1 % | MISSED |" in told and "## Measured again" in told


async def test_half_of_what_was_counted_settles_nothing(
    make_parts: Callable[..., composition.Parts], plane: CountedPlane, tmp_path: Path
) -> None:
    """What the data plane has forgotten in part stays unknown."""
    plane.begin(T0 + SECOND, 30)
    config, store = make_parts().config, EvidenceStore(tmp_path)
    store.keep(record(impact=await felt(make_parts, plane, T0)))
    [folder] = store.list()
    plane.remembers = T0
    await ActivityEnvironment().run(
        Remeasurer(Restoration(config, plane, Prober(config, {})), plane, store).settle, folder
    )
    assert loss(store.load(folder)).met is None


async def test_a_data_plane_that_began_anew_takes_nothing_back(
    make_parts: Callable[..., composition.Parts], plane: CountedPlane, tmp_path: Path
) -> None:
    """Counters that a restart has emptied are no reason to believe that nobody was lost."""
    plane.users(T0, *[RequestOutcome.FAILED] * 20)
    plane.begin(T0 + SECOND, 30)
    config, store = make_parts().config, EvidenceStore(tmp_path)
    restoration = Restoration(config, plane, Prober(config, {}))
    store.keep(record(impact=await felt(make_parts, plane, T0)))
    [folder] = store.list()
    before, plane.counters = store.load(folder), Counters()
    await ActivityEnvironment().run(Remeasurer(restoration, plane, store).settle, folder)
    assert store.load(folder) == before and before.impact is not None and before.impact.lost == 20


async def test_the_course_keeps_the_time_in_which_nobody_was_answered_yet(plane: CountedPlane) -> None:
    """All of them hang: none has ended, at no provider; it is the outage itself."""
    plane.begin(T0 + SECOND, 30)
    order = CourseOrder(routes=["chat"], since=T0, until=T0 + 5 * SECOND)
    taken = await ActivityEnvironment().run(CourseOfUse(plane).taken, order)
    assert sum(one.pending for one in taken) == 30


def loss(record: RunRecord) -> Kpi:
    return {kpi.name: kpi for kpi in measure(record)}["request loss"]


def record(**changes: Any) -> RunRecord:
    moments = Moments(
        first_bad=T0,
        decided=T0 + 4 * SECOND,
        in_force=T0 + 5 * SECOND,
        restored=T0 + 10 * SECOND,
        closed=T0 + 11 * SECOND,
    )
    shift = RouteShift(
        route="chat", before={"bedrock": 10_000}, after={"google": 10_000}, target="google", revision="2"
    )
    return run_record(
        moments=moments,
        routes=[shift],
        concerns=["chat"],
        **changes,
    )
