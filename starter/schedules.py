"""The health check's Temporal Schedule, applied idempotently."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from temporalio.client import (
    Client,
    Schedule,
    ScheduleActionStartWorkflow,
    ScheduleAlreadyRunningError,
    ScheduleHandle,
    ScheduleIntervalSpec,
    ScheduleOverlapPolicy,
    SchedulePolicy,
    ScheduleSpec,
    ScheduleState,
    ScheduleUpdate,
    ScheduleUpdateInput,
)
from temporalio.service import RPCError, RPCStatusCode

from failover.config import Config
from failover.errors import TemporalUnavailable
from workflows.queue import TASK_QUEUE

HEALTH_CHECK = "health-check"
"""Id of the schedule and of the runs that it starts."""

INTERVALS_TO_LIVE = 3
"""A health check that lives longer than so many intervals is stuck; the server ends it, and the next one starts."""


class Applied(StrEnum):
    CREATED = "created"
    UPDATED = "updated"
    UNCHANGED = "unchanged"
    REMOVED = "removed"
    ABSENT = "absent"


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """One schedule of ours, for people."""

    id: str
    every: timedelta | None
    paused: bool
    next_at: datetime | None
    last_at: datetime | None


async def apply(client: Client, config: Config) -> Applied:
    """Make the schedule what the configuration says; detection switched off removes it. A pause by hand is kept."""
    handle = client.get_schedule_handle(HEALTH_CHECK)
    try:
        if not config.detection.enabled:
            return await remove(client)
        wanted = _wanted(config.detection.schedule_interval)
        try:
            # Watching begins now, not at the next full interval.
            await client.create_schedule(HEALTH_CHECK, wanted, trigger_immediately=True)
        except ScheduleAlreadyRunningError:
            return await _update(handle, wanted)
        return Applied.CREATED
    except RPCError as error:
        raise TemporalUnavailable(f"Temporal did not take the schedule {HEALTH_CHECK!r}: {error.message}.") from error


def _wanted(interval: timedelta) -> Schedule:
    return Schedule(
        action=ScheduleActionStartWorkflow(
            "HealthCheck",
            {},
            id=HEALTH_CHECK,
            task_queue=TASK_QUEUE,
            execution_timeout=interval * INTERVALS_TO_LIVE,
            static_summary="Watches every provider until the next check is due",
        ),
        spec=ScheduleSpec(intervals=[ScheduleIntervalSpec(every=interval)]),
        policy=SchedulePolicy(
            # A check lasts as long as the interval: SKIP would leave every other interval unwatched.
            overlap=ScheduleOverlapPolicy.BUFFER_ONE,
            # After an outage of Temporal, one check is news; a backlog of them is noise.
            catchup_window=interval,
            # One failed check must not end the watching.
            pause_on_failure=False,
        ),
        state=ScheduleState(note="Managed by `failoverctl schedules apply`"),
    )


async def remove(client: Client) -> Applied:
    """Take the schedule away; it is no error that there is none."""
    try:
        await client.get_schedule_handle(HEALTH_CHECK).delete()
    except RPCError as error:
        if error.status is RPCStatusCode.NOT_FOUND:
            return Applied.ABSENT
        raise
    return Applied.REMOVED


async def _update(handle: ScheduleHandle, wanted: Schedule) -> Applied:
    current = (await handle.describe()).schedule
    if _essence(current) == _essence(wanted):
        return Applied.UNCHANGED

    def updater(found: ScheduleUpdateInput) -> ScheduleUpdate:
        wanted.state.paused = found.description.schedule.state.paused
        return ScheduleUpdate(schedule=wanted)

    await handle.update(updater)
    return Applied.UPDATED


def _essence(schedule: Schedule) -> tuple[object, ...]:
    """What makes two schedules do the same."""
    action, policy = schedule.action, schedule.policy
    assert isinstance(action, ScheduleActionStartWorkflow)
    spec = schedule.spec
    return (
        action.workflow,
        action.id,
        action.task_queue,
        action.execution_timeout,
        [(interval.every, interval.offset) for interval in spec.intervals],
        [*spec.calendars, *spec.cron_expressions, *spec.skip],
        (policy.overlap, policy.catchup_window, policy.pause_on_failure),
    )


async def listed(client: Client) -> list[Listed]:
    """The schedules that start health checks."""
    found = []
    try:
        async for entry in await client.list_schedules():
            if entry.id != HEALTH_CHECK or entry.schedule is None or entry.info is None:
                continue
            intervals = entry.schedule.spec.intervals
            recent, coming = entry.info.recent_actions, entry.info.next_action_times
            found.append(
                Listed(
                    id=entry.id,
                    every=intervals[0].every if intervals else None,
                    paused=entry.schedule.state.paused,
                    next_at=coming[0] if coming else None,
                    last_at=recent[-1].started_at if recent else None,
                )
            )
    except RPCError as error:
        raise TemporalUnavailable(f"Temporal did not list its schedules: {error.message}.") from error
    return found
