"""Our Temporal Schedules: what the configuration wants, what Temporal has, and the difference put right.

Each is marked as ours by a memo, so that one that is no longer wanted is found and removed, whatever became of its note.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from temporalio.api.common.v1 import Payload
from temporalio.client import (
    Client,
    Schedule,
    ScheduleActionStartWorkflow,
    ScheduleAlreadyRunningError,
    ScheduleCalendarSpec,
    ScheduleDescription,
    ScheduleHandle,
    ScheduleIntervalSpec,
    ScheduleListDescription,
    ScheduleOverlapPolicy,
    SchedulePolicy,
    ScheduleRange,
    ScheduleSpec,
    ScheduleState,
    ScheduleUpdate,
    ScheduleUpdateInput,
)
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError, RPCStatusCode

from failover import kinds, policy
from failover.config import Config
from failover.config.drills import Day
from failover.drill import NAME
from failover.errors import RequestError, TemporalUnavailable
from failover.incident import Trigger
from failover.units import render_duration
from workflows.payloads import KEY_ID
from workflows.queue import TASK_QUEUE

HEALTH_CHECK = "health-check"
"""Id of the schedule and of the runs that it starts."""

READINESS_AUDIT = "readiness-audit"

DRILL = "drill-"
"""How the ids of the drills' schedules begin; their names in the configuration follow."""

MANAGED = {"managed-by": "failoverctl"}
"""The memo of every schedule of ours."""

NOTE = "Managed by `failoverctl schedules apply`"

INTERVALS_TO_LIVE = 3
"""A health check that lives longer than so many intervals is stuck; the server ends it, and the next one starts."""


SHORTEST_CATCH_UP = timedelta(seconds=10)
"""The server takes no less, and says nothing."""


class Applied(StrEnum):
    CREATED = "created"
    UPDATED = "updated"
    UNCHANGED = "unchanged"
    REMOVED = "removed"
    ABSENT = "absent"


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """One schedule, for people. `drift`: how it differs from what the configuration wants, one sentence a difference.

    `note` is who paused it and why.
    """

    id: str
    every: timedelta | None = None
    calendar: str = ""
    paused: bool = False
    note: str = ""
    next_at: datetime | None = None
    last_at: datetime | None = None
    coming: Sequence[datetime] = ()
    drift: Sequence[str] = ()


def wanted(config: Config) -> dict[str, Schedule]:
    """Id → schedule: all that there should be."""
    return {
        **({HEALTH_CHECK: _health_check(config)} if config.detection.enabled else {}),
        **({READINESS_AUDIT: _readiness_audit(config)} if config.readiness.enabled else {}),
        **{f"{DRILL}{name}": _drill(config, name) for name in sorted(config.drills.schedules)},
    }


def _drill(config: Config, name: str) -> Schedule:
    settings = config.drills.schedules[name]
    request = {"schedule": name, "requested_by": f"the schedule {name}", "trigger": Trigger.AUTOMATIC.value}
    spec = ScheduleSpec(time_zone_name=settings.time_zone)
    if settings.every is not None:
        spec.intervals = [ScheduleIntervalSpec(every=settings.every)]
    elif settings.at is not None:
        hour, minute = map(int, settings.at.split(":"))
        # Temporal's week begins on Sunday.
        days = [ScheduleRange((day.number + 1) % 7) for day in settings.days] or [ScheduleRange(0, 6)]
        spec.calendars = [
            ScheduleCalendarSpec(hour=[ScheduleRange(hour)], minute=[ScheduleRange(minute)], day_of_week=days)
        ]
    return Schedule(
        action=ScheduleActionStartWorkflow(
            NAME,
            request,
            id=f"{policy.DRILL}{name}",
            task_queue=TASK_QUEUE,
            execution_timeout=config.drills.deadline * INTERVALS_TO_LIVE,
            static_summary=f"Practises the failover of {settings.provider}",
        ),
        spec=spec,
        policy=SchedulePolicy(
            # Two drills at once would practise each other.
            overlap=ScheduleOverlapPolicy.SKIP,
            # A drill that was missed is not made up for at a time that nobody chose.
            catchup_window=timedelta(minutes=1),
            pause_on_failure=False,
        ),
        state=ScheduleState(note=NOTE),
    )


def _health_check(config: Config) -> Schedule:
    interval = config.detection.schedule_interval
    return Schedule(
        action=ScheduleActionStartWorkflow(
            kinds.HEALTH_CHECK,
            {},
            id=HEALTH_CHECK,
            task_queue=TASK_QUEUE,
            execution_timeout=interval * INTERVALS_TO_LIVE,
            static_summary="Watches every provider until the next check is due",
        ),
        spec=ScheduleSpec(
            intervals=[ScheduleIntervalSpec(every=interval)], jitter=config.detection.schedule_jitter or None
        ),
        policy=SchedulePolicy(
            # A check lasts as long as the interval: SKIP would leave every other interval unwatched.
            overlap=ScheduleOverlapPolicy.BUFFER_ONE,
            # After an outage of Temporal, one check is news; a backlog of them is noise.
            catchup_window=max(interval, SHORTEST_CATCH_UP),
            # One failed check must not end the watching.
            pause_on_failure=False,
        ),
        state=ScheduleState(note=NOTE),
    )


def _readiness_audit(config: Config) -> Schedule:
    settings = config.readiness
    return Schedule(
        action=ScheduleActionStartWorkflow(
            kinds.READINESS_AUDIT,
            {},
            id=READINESS_AUDIT,
            task_queue=TASK_QUEUE,
            # It ends itself after its own timeout; what is left then is keeping the audit and telling people.
            execution_timeout=2 * settings.timeout,
            static_summary="Would a failover of any route to any of its targets work now?",
        ),
        spec=ScheduleSpec(intervals=[ScheduleIntervalSpec(every=settings.interval)], jitter=settings.jitter or None),
        policy=SchedulePolicy(
            # One that is late says the same as the next one, and costs the providers' patience twice.
            overlap=ScheduleOverlapPolicy.SKIP,
            catchup_window=max(settings.catch_up, SHORTEST_CATCH_UP),
            pause_on_failure=False,
        ),
        state=ScheduleState(note=NOTE),
    )


async def apply(client: Client, config: Config) -> dict[str, Applied]:
    """Make the schedules what the configuration says; those that it no longer wants go. A pause by hand is kept."""
    want = wanted(config)
    try:
        done = {name: await _apply(client, name, schedule) for name, schedule in want.items()}
        for name in sorted({HEALTH_CHECK, READINESS_AUDIT, *await _managed(client)} - set(want)):
            done[name] = await remove(client, name)
    except RPCError as error:
        raise TemporalUnavailable(f"Temporal did not take the schedules: {error.message}.") from error
    return done


async def _apply(client: Client, name: str, schedule: Schedule) -> Applied:
    try:
        # Watching begins now, and so does the first audit; a drill when it is due.
        await client.create_schedule(name, schedule, trigger_immediately=not name.startswith(DRILL), memo=MANAGED)
    except ScheduleAlreadyRunningError:
        return await _update(client, client.get_schedule_handle(name), schedule)
    return Applied.CREATED


async def _managed(client: Client) -> list[str]:
    return [entry.id async for entry in await client.list_schedules() if await _is_ours(entry)]


async def _is_ours(entry: ScheduleListDescription) -> bool:
    """Whether we made it. One whose memo cannot be read, its key gone, is left alone unless it is wanted by its name."""
    try:
        return await entry.memo() == MANAGED
    except ApplicationError:
        return False


async def remove(client: Client, name: str = HEALTH_CHECK) -> Applied:
    """Take a schedule away; it is no error that there is none."""
    try:
        await client.get_schedule_handle(name).delete()
    except RPCError as error:
        if error.status is RPCStatusCode.NOT_FOUND:
            return Applied.ABSENT
        raise
    return Applied.REMOVED


async def _update(client: Client, handle: ScheduleHandle, schedule: Schedule) -> Applied:
    if not await _differs(client, (await handle.describe()).schedule, schedule):
        return Applied.UNCHANGED

    def updater(found: ScheduleUpdateInput) -> ScheduleUpdate:
        state = found.description.schedule.state
        schedule.state.paused, schedule.state.note = state.paused, state.note if state.paused else NOTE
        return ScheduleUpdate(schedule=schedule)

    await handle.update(updater)
    return Applied.UPDATED


def drift(found: Schedule, wanted: Schedule) -> list[str]:
    """What makes the two do something else, one sentence a difference."""
    there, here = _essence(found), _essence(wanted)
    return [f"{name} is {there[name]}, and should be {here[name]}" for name in here if there[name] != here[name]]


async def _differs(client: Client, found: Schedule, wanted: Schedule) -> list[str]:
    """The drift, and an input that another key than ours seals: once that key is gone, every start would be refused."""
    action = found.action
    assert isinstance(action, ScheduleActionStartWorkflow)
    there = {_key(one) for one in action.args if isinstance(one, Payload)}
    here = {_key(one) for one in await client.data_converter.encode([{}])}
    said = [f"its input is encrypted with {_named(there)}, and should be with {_named(here)}"] if there != here else []
    return [*drift(found, wanted), *said]


def _key(payload: Payload) -> str:
    return payload.metadata.get(KEY_ID, b"").decode(errors="replace")


def _named(keys: Collection[str]) -> str:
    return ", ".join(f"the key {key}" if key else "no key" for key in sorted(keys)) or "no key"


def _essence(schedule: Schedule) -> Mapping[str, str]:
    action, policy, spec = schedule.action, schedule.policy, schedule.spec
    assert isinstance(action, ScheduleActionStartWorkflow)
    other = [*([_calendar(spec)] if spec.calendars else []), *spec.cron_expressions, *spec.skip]
    return {
        "workflow": str(action.workflow),
        "run id": action.id,
        "task queue": action.task_queue,
        "execution timeout": _span(action.execution_timeout),
        "interval": ", ".join(
            _span(one.every) + (f" + {_span(one.offset)}" if one.offset else "") for one in spec.intervals
        ),
        "calendar": ", ".join(map(str, other)) or "none",
        "jitter": _span(spec.jitter),
        "overlap": policy.overlap.name,
        "catch-up window": _span(policy.catchup_window),
        "pause on failure": str(policy.pause_on_failure).lower(),
    }


def _calendar(spec: ScheduleSpec) -> str:
    """Days and time of a schedule that is due by the calendar; "" of one that is not."""
    return "; ".join(f"{_days(one)} {_two(one.hour)}:{_two(one.minute)} {_zone(spec)}" for one in spec.calendars)


def _days(calendar: ScheduleCalendarSpec) -> str:
    days = {number for span in calendar.day_of_week for number in range(span.start, max(span.start, span.end) + 1)}
    return "daily" if len(days) == len(Day) else ",".join(day for day in Day if (day.number + 1) % 7 in days)


def _two(ranges: Sequence[ScheduleRange]) -> str:
    return ",".join(f"{span.start:02}" for span in ranges)


def _zone(spec: ScheduleSpec) -> str:
    return spec.time_zone_name or "UTC"


def _span(value: timedelta | None) -> str:
    return render_duration(value) if value else "none"


async def listed(client: Client, config: Config) -> list[Listed]:
    """Every schedule that is wanted, and those of ours that are not, with how they differ."""
    want = wanted(config)
    try:
        names = sorted({*want, *await _managed(client)})
        return [await _listed(client, name, want.get(name)) for name in names]
    except RPCError as error:
        raise TemporalUnavailable(f"Temporal did not list its schedules: {error.message}.") from error


async def _listed(client: Client, name: str, schedule: Schedule | None) -> Listed:
    try:
        found = await client.get_schedule_handle(name).describe()
    except RPCError as error:
        if error.status is RPCStatusCode.NOT_FOUND:
            return Listed(id=name, drift=["it is not there: `failoverctl schedules apply` makes it"])
        raise
    if schedule is None:
        return _shown(found, ["nothing wants it: `failoverctl schedules apply` removes it"])
    return _shown(found, await _differs(client, found.schedule, schedule))


def _shown(found: ScheduleDescription, differs: Sequence[str]) -> Listed:
    intervals, state = found.schedule.spec.intervals, found.schedule.state
    recent, coming = found.info.recent_actions, found.info.next_action_times
    return Listed(
        id=found.id,
        every=intervals[0].every if intervals else None,
        calendar=_calendar(found.schedule.spec),
        paused=state.paused,
        note=(state.note or "") if state.paused else "",
        next_at=coming[0] if coming and not state.paused else None,
        last_at=recent[-1].started_at if recent else None,
        coming=[] if state.paused else list(coming),
        drift=differs,
    )


async def pause(client: Client, name: str, *, by: str, why: str) -> None:
    """Stop a schedule from starting anything, with a note of who, when and why."""
    await _switch(client, name, f"Paused by {by} on {datetime.now(UTC):%Y-%m-%d %H:%M} UTC: {why}", paused=True)


async def resume(client: Client, name: str) -> None:
    await _switch(client, name, NOTE, paused=False)


async def _switch(client: Client, name: str, note: str, *, paused: bool) -> None:
    handle = client.get_schedule_handle(name)
    try:
        await (handle.pause(note=note) if paused else handle.unpause(note=note))
    except RPCError as error:
        if error.status is RPCStatusCode.NOT_FOUND:
            raise RequestError(
                f"There is no schedule {name!r}; `failoverctl schedules list` shows those there are."
            ) from error
        raise TemporalUnavailable(f"Temporal did not take it: {error.message}.") from error
