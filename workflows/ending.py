"""How every run ends: helpers waited for a little, evidence kept, the outcome told."""

import asyncio
from collections.abc import Awaitable, Coroutine, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any, TypeVar

from pydantic import ValidationError
from temporalio import workflow
from temporalio.exceptions import ActivityError, ApplicationError, FailureError, is_cancelled_exception

from activities.aftercare import Aftercare
from activities.course import CourseOfUse, CourseOrder
from activities.evidence import Evidence, EvidenceRef
from failover.aftercare import FOLLOWED, request_about
from failover.incident import Outcome, RunRecord, Slice
from failover.requests import RunResult
from workflows import failures
from workflows.herald import Herald
from workflows.journal import LISTED_ROUTES
from workflows.options import BEGIN, COUNTED, HELPER

T = TypeVar("T")


class Ended(Exception):
    """The procedure is over: the outcome, its sentence, and the command for a person where one is needed."""

    def __init__(self, outcome: Outcome, reason: str, command: str | None = None) -> None:
        super().__init__(reason)
        self.outcome, self.reason, self.command = outcome, reason, command


async def within(timeout: timedelta, work: Coroutine[Any, Any, T]) -> T:
    """The result of `work`; TimeoutError where it takes longer. Either way nothing of it goes on once this returns.

    Not asyncio.wait_for: an activity that is cancelled ends in an ActivityError, which nobody could tell from a failure.
    """
    task = asyncio.create_task(work)
    try:
        await workflow.wait([task], timeout=timeout.total_seconds())
    except asyncio.CancelledError:
        await stop(task)
        raise
    if not task.done():
        await stop(task)
        raise TimeoutError
    return task.result()


async def undisturbed(work: Coroutine[Any, Any, T]) -> T:
    """The result of `work`, to its end: a cancellation that arrives meanwhile comes too late to change anything."""
    task = asyncio.create_task(work)
    while True:
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            if task.done():
                return task.result()


async def stop(*tasks: asyncio.Task[Any] | None) -> None:
    """Cancel the tasks; nothing of them goes on once this returns."""
    running = [task for task in tasks if task is not None]
    for task in running:
        task.cancel()
    if running:
        await workflow.wait(running)
    for task in running:
        if not task.cancelled():
            task.exception()  # Looked at, so that nobody complains that it was not.


async def first_read(reading: Awaitable[T], command: str) -> T:
    """What a run begins by reading; where that cannot be read, what ends the run is raised."""
    try:
        return await reading
    except FailureError as error:
        if is_cancelled_exception(error):
            raise
        raise why_it_cannot_begin(error, command) from error


def why_it_cannot_begin(error: FailureError, command: str) -> ApplicationError | Ended:
    """The failure of a run that asked for what is not there; or, if the data plane cannot be read, the end for a person."""
    told = failures.told(error)
    if isinstance(told, ApplicationError) and failures.is_bad_input(error):
        return ApplicationError(f"{told.message} Nothing was changed.", type=told.type, non_retryable=True)
    reason = f"The traffic policies could not be read, so nothing was changed: {told or error}"
    return Ended(Outcome.NEEDS_HUMAN, reason, command)


PATIENCE = timedelta(seconds=10)
"""How long a run that is over waits for its messages to go out."""

LEAD = timedelta(minutes=1)
"""How much of the time before the trouble belongs to its record: what is normal is seen by it."""


async def close(herald: Herald, record: RunRecord, *, dry_run: bool = False) -> RunResult:
    """Tell, keep the evidence, and return; a run that needs a person fails with the command in its message.

    A dry run is no incident: nobody is told, and nothing is kept.
    """
    evidence = "" if dry_run else await undisturbed(_tell_and_keep(herald, record))
    if record.outcome is Outcome.NEEDS_HUMAN:
        raise ApplicationError(f"{record.reason} Run: {record.command}", type="NeedsHuman", non_retryable=True)
    return RunResult(
        outcome=record.outcome,
        reason=record.reason,
        command=record.command,
        moments=record.moments,
        routes=record.routes[:LISTED_ROUTES],
        route_count=len(record.routes),
        evidence=evidence,
    )


async def _tell_and_keep(herald: Herald, record: RunRecord) -> str:
    herald.closed(record)
    unfinished = await herald.finish(PATIENCE)
    course, why = await _course(record)
    kept = await _keep(
        replace(record, unfinished_helpers=unfinished, course=course, notes=[*record.notes, *([why] if why else [])])
    )
    await _begin_after_care(record)
    return kept


async def _course(record: RunRecord) -> tuple[Sequence[Slice], str | None]:
    """What the data plane counted while it lasted, and why that is not known where it is not."""
    moments = record.moments
    if not record.concerns or moments.closed is None:
        return (), None
    order = CourseOrder(
        routes=record.concerns, since=(moments.first_bad or moments.decided) - LEAD, until=moments.closed
    )
    try:
        course: Sequence[Slice] = await workflow.execute_activity_method(
            CourseOfUse.taken, order, summary="what was counted", **COUNTED
        )
    except ActivityError as error:
        return (), f"What was counted over the run could not be read: {failures.why(error)}"
    return course, None


async def _keep(record: RunRecord) -> str:
    try:
        kept: EvidenceRef = await workflow.execute_activity_method(
            Evidence.keep, record, summary="keep the evidence", **HELPER
        )
    except ActivityError as error:
        workflow.logger.error("the evidence could not be kept", extra={"why": failures.why(error)})
        return ""
    return kept.path


async def _begin_after_care(record: RunRecord) -> None:
    """The follow-up of an incident, a run of its own: nothing here waits for what it does."""
    if record.procedure not in FOLLOWED or record.is_drill:
        return
    try:
        await workflow.execute_activity_method(
            Aftercare.begin, request_about(record), summary="begin the after-care", **BEGIN
        )
    except ActivityError as error:
        workflow.logger.error("the after-care could not be begun", extra={"why": failures.why(error)})
    except ValidationError:
        # Ids and names by hand may be what no request takes; nothing about them may hold a run up.
        workflow.logger.error("the after-care could not be begun: what the run is called cannot be asked about")
