"""The health check's schedule, on a real Temporal server."""

import asyncio
import dataclasses
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import ValidationError
from temporalio.client import Client, ScheduleActionStartWorkflow, ScheduleOverlapPolicy, ScheduleUpdate

from failover.config import Config
from failover.config.detection import Detection
from failover.config.providers import Provider
from failover.config.readiness import Readiness
from failover.config.routes import Route
from failover.errors import RequestError
from starter.embedded.temporal_server import start_dev_server
from starter.schedules import HEALTH_CHECK, MANAGED, READINESS_AUDIT, Applied, apply, listed, pause, resume


@pytest.fixture(scope="module")
async def server(temporal_cli: Path, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Client]:
    """A server of its own: the schedule's id is always the same."""
    log = tmp_path_factory.mktemp("schedules") / "server.log"
    running = await start_dev_server(temporal_cli, ui_port=None, db=None, log=log)
    yield await Client.connect(running.address)
    await running.stop()


@pytest.fixture
async def client(server: Client) -> AsyncIterator[Client]:
    yield server
    await apply(server, config(enabled=False))


def config(interval: timedelta = timedelta(seconds=30), *, enabled: bool = True, audits: bool = False) -> Config:
    return Config(
        providers={"meta": Provider(kind="llama", model="m")},
        routes={"chat": Route(distribution={"meta": 100})},
        detection=Detection(schedule_interval=interval, enabled=enabled),
        readiness=Readiness(enabled=audits),
    )


async def applied(client: Client, settings: Config) -> Applied:
    return (await apply(client, settings))[HEALTH_CHECK]


async def test_applying_twice_changes_nothing(client: Client) -> None:
    """Created, then unchanged; a new interval is an update."""
    assert await applied(client, config()) is Applied.CREATED
    assert await applied(client, config()) is Applied.UNCHANGED
    assert await applied(client, config(timedelta(seconds=10))) is Applied.UPDATED
    assert await applied(client, config(timedelta(seconds=10))) is Applied.UNCHANGED
    assert await applied(client, config(timedelta(seconds=5))) is Applied.UPDATED
    assert await applied(client, config(timedelta(seconds=5))) is Applied.UNCHANGED


async def test_the_schedule_is_as_the_design_has_it(client: Client) -> None:
    """The interval, one buffered run, no backlog after an outage, never paused by a failure, {} as input."""
    await apply(client, config())
    schedule = (await client.get_schedule_handle(HEALTH_CHECK).describe()).schedule
    action, interval = schedule.action, timedelta(seconds=30)
    assert isinstance(action, ScheduleActionStartWorkflow)
    assert (action.workflow, action.id, action.task_queue) == ("HealthCheck", "health-check", "failover")
    assert len(action.args) == 1 and getattr(action.args[0], "data", action.args[0]) in (b"{}", {})
    assert action.execution_timeout is not None and interval < action.execution_timeout <= 5 * interval
    assert [spec.every for spec in schedule.spec.intervals] == [interval]
    assert schedule.policy.overlap is ScheduleOverlapPolicy.BUFFER_ONE
    assert schedule.policy.catchup_window == interval
    assert not schedule.policy.pause_on_failure


async def test_audits_have_a_schedule_of_their_own(client: Client) -> None:
    """Rare, spread out, one at a time; one that was missed is made up for within the hour; never paused by a failure."""
    assert (await apply(client, config(audits=True)))[READINESS_AUDIT] is Applied.CREATED
    schedule = (await client.get_schedule_handle(READINESS_AUDIT).describe()).schedule
    action = schedule.action
    assert isinstance(action, ScheduleActionStartWorkflow)
    assert (action.workflow, action.id, action.task_queue) == ("ReadinessAudit", "readiness-audit", "failover")
    assert action.execution_timeout == timedelta(minutes=30)
    assert [spec.every for spec in schedule.spec.intervals] == [timedelta(hours=6)]
    assert schedule.spec.jitter == timedelta(minutes=10)
    assert schedule.policy.overlap is ScheduleOverlapPolicy.SKIP
    assert schedule.policy.catchup_window == timedelta(hours=1) and not schedule.policy.pause_on_failure
    found = {one.id: one for one in await listed(client, config(audits=True))}
    assert found[READINESS_AUDIT].drift == [] and found[READINESS_AUDIT].every == timedelta(hours=6)
    assert (await apply(client, config()))[READINESS_AUDIT] is Applied.REMOVED
    assert (await apply(client, config()))[READINESS_AUDIT] is Applied.ABSENT


async def test_what_somebody_changed_by_hand_is_put_right_but_a_pause_stays(client: Client) -> None:
    """Drift is corrected; a person's pause is not undone behind their back."""
    await apply(client, config())
    handle = client.get_schedule_handle(HEALTH_CHECK)
    await handle.pause(note="by hand")

    def drift(found: object) -> ScheduleUpdate:
        schedule = found.description.schedule  # type: ignore[attr-defined]
        schedule.policy = dataclasses.replace(schedule.policy, overlap=ScheduleOverlapPolicy.SKIP)
        return ScheduleUpdate(schedule=schedule)

    await handle.update(drift)
    assert await applied(client, config()) is Applied.UPDATED
    schedule = (await handle.describe()).schedule
    assert schedule.policy.overlap is ScheduleOverlapPolicy.BUFFER_ONE
    assert schedule.state.paused and schedule.state.note == "by hand"


async def test_detection_switched_off_removes_it(client: Client) -> None:
    """And says so only once."""
    await apply(client, config())
    assert await applied(client, config(enabled=False)) is Applied.REMOVED
    assert await applied(client, config(enabled=False)) is Applied.ABSENT


async def test_a_schedule_of_ours_that_nothing_wants_is_shown_and_removed(client: Client) -> None:
    """One that an older version made, known by its memo; somebody else's is left alone."""
    await apply(client, config())
    old = (await client.get_schedule_handle(HEALTH_CHECK).describe()).schedule
    await client.create_schedule("weekly-drill", dataclasses.replace(old), memo=MANAGED)
    theirs = await client.create_schedule("theirs", dataclasses.replace(old))
    try:
        async with asyncio.timeout(10):
            while "weekly-drill" not in (found := {one.id: one for one in await listed(client, config())}):
                await asyncio.sleep(0.05)
        assert "nothing wants it" in found["weekly-drill"].drift[0]
        assert "theirs" not in found
        assert (await apply(client, config()))["weekly-drill"] is Applied.REMOVED
        assert (await theirs.describe()).id == "theirs"
    finally:
        await theirs.delete()


async def test_it_is_listed_with_how_it_differs(client: Client) -> None:
    """Missing, as wanted, and changed by hand: each difference in words."""
    (missing,) = await listed(client, config())
    assert "it is not there" in missing.drift[0]
    await apply(client, config())
    (found,) = await listed(client, config())
    assert (found.id, found.every, found.paused, found.drift) == (HEALTH_CHECK, timedelta(seconds=30), False, [])
    (other,) = await listed(client, config(timedelta(minutes=1)))
    assert other.drift == [
        "execution timeout is 90s, and should be 3m",
        "interval is 30s, and should be 1m",
        "catch-up window is 30s, and should be 1m",
    ]


async def test_a_pause_has_a_note_and_an_end(client: Client) -> None:
    """Who, when and why, for whoever finds nothing running; paused or not is no drift."""
    await apply(client, config())
    await pause(client, HEALTH_CHECK, by="anna", why="a migration")
    (found,) = await listed(client, config())
    assert found.paused and found.drift == [] and found.next_at is None
    assert "Paused by anna on " in found.note and found.note.endswith("UTC: a migration")
    assert await applied(client, config()) is Applied.UNCHANGED
    await resume(client, HEALTH_CHECK)
    (found,) = await listed(client, config())
    assert (found.paused, found.note) == (False, "")


async def test_a_schedule_that_is_not_there_cannot_be_paused(client: Client) -> None:
    """It is said which there are."""
    for switch in (pause(client, "nothing", by="anna", why="x"), resume(client, "nothing")):
        with pytest.raises(RequestError, match="There is no schedule 'nothing'"):
            await switch


async def test_jitter_is_applied_and_bounded(client: Client) -> None:
    """No more than a probe's cadence: between two checks nobody may go unwatched."""
    settings = config()
    jittered = settings.model_copy(
        update={"detection": settings.detection.model_copy(update={"schedule_jitter": timedelta(seconds=2)})}
    )
    await apply(client, settings)
    assert await applied(client, jittered) is Applied.UPDATED
    schedule = (await client.get_schedule_handle(HEALTH_CHECK).describe()).schedule
    assert schedule.spec.jitter == timedelta(seconds=2)
    with pytest.raises(ValidationError, match="longer than the probes' cadence"):
        Detection(schedule_jitter=timedelta(seconds=6))
