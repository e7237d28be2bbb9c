"""The health check's schedule, on a real Temporal server."""

import asyncio
import dataclasses
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
from temporalio.client import Client, ScheduleActionStartWorkflow, ScheduleOverlapPolicy, ScheduleUpdate
from temporalio.testing import WorkflowEnvironment

from failover.config import Config, Detection, Provider, Route
from starter.schedules import HEALTH_CHECK, Applied, apply, listed


@pytest.fixture(scope="module")
async def server(temporal_cli: Path) -> AsyncIterator[Client]:
    """A server of its own: schedules are everybody's."""
    async with await WorkflowEnvironment.start_local(dev_server_existing_path=str(temporal_cli)) as environment:
        yield environment.client


@pytest.fixture
async def client(server: Client) -> AsyncIterator[Client]:
    yield server
    await apply(server, config(enabled=False))


def config(interval: timedelta = timedelta(seconds=30), *, enabled: bool = True) -> Config:
    return Config(
        providers={"meta": Provider(kind="llama", model="m")},
        routes={"chat": Route(distribution={"meta": 100})},
        detection=Detection(schedule_interval=interval, enabled=enabled),
    )


async def test_applying_twice_changes_nothing(client: Client) -> None:
    """Created, then unchanged; a new interval is an update."""
    assert await apply(client, config()) is Applied.CREATED
    assert await apply(client, config()) is Applied.UNCHANGED
    assert await apply(client, config(timedelta(seconds=10))) is Applied.UPDATED
    assert await apply(client, config(timedelta(seconds=10))) is Applied.UNCHANGED


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
    assert await apply(client, config()) is Applied.UPDATED
    schedule = (await handle.describe()).schedule
    assert schedule.policy.overlap is ScheduleOverlapPolicy.BUFFER_ONE
    assert schedule.state.paused


async def test_detection_switched_off_removes_it(client: Client) -> None:
    """And says so only once."""
    await apply(client, config())
    assert await apply(client, config(enabled=False)) is Applied.REMOVED
    assert await apply(client, config(enabled=False)) is Applied.ABSENT


async def test_it_is_listed(client: Client) -> None:
    """What `schedules list` shows; the server's listing follows a moment later."""
    await apply(client, config())
    async with asyncio.timeout(10):
        while not (found := await listed(client)):
            await asyncio.sleep(0.05)
    assert (found[0].id, found[0].every, found[0].paused) == (HEALTH_CHECK, timedelta(seconds=30), False)
