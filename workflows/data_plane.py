"""The data plane as procedures see it: writes, verification and samples, with what went wrong as values."""

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta

from temporalio import workflow
from temporalio.exceptions import ActivityError

from activities.ramping import BriefOrder, GateSampleOrder, LookOrder, Ramping, RouteLook
from activities.restoration import ImpactOrder, Restoration, SampleOrder
from activities.traffic import Traffic, Verification, VerifyOrder, Written
from failover.gates import GateSample
from failover.immediate import RouteNow
from failover.incident import Impact, Sample
from failover.policy import Change
from failover.ramp import RampBrief
from failover.requests import ImmediateFailoverRequest
from failover.restoration import Expectation
from workflows import failures
from workflows.options import READ, SAMPLE, TO_THE_END, WRITE

BATCH = 500
"""Changes a payload; more would come near Temporal's limit for one."""


class WriteFailed(Exception):
    """The data plane did not answer a change in time; whether it applied it is not known."""


async def write(changes: Sequence[Change], summary: str) -> list[Written]:
    """Every change's fate, in order. Raises WriteFailed; a cancellation passes through, after the write has stopped."""
    batches = [
        workflow.execute_activity_method(Traffic.apply, list(changes[start : start + BATCH]), summary=summary, **WRITE)
        for start in range(0, len(changes), BATCH)
    ]
    # All of them are waited for: nothing of a change that failed goes on behind its back.
    results = await asyncio.gather(*batches, return_exceptions=True)
    for error in results:
        if isinstance(error, ActivityError):
            raise WriteFailed(failures.why(error)) from error
        if isinstance(error, BaseException):
            raise error
    return [written for batch in results if not isinstance(batch, BaseException) for written in batch]


async def reread(request: ImmediateFailoverRequest, routes: Sequence[str]) -> list[RouteNow] | str:
    """The named routes as they stand now, or why nobody can tell."""
    narrowed = request.model_copy(update={"routes": list(routes)})
    try:
        return await workflow.execute_activity_method(Traffic.reread, narrowed, **READ)
    except ActivityError as error:
        return failures.why(error)


async def verify(expected: Sequence[Expectation], timeout: timedelta) -> Verification:
    """Whether the data plane obeys; one that does not answer cannot tell."""
    options = {
        **READ,
        "start_to_close_timeout": timeout + timedelta(seconds=10),
        "schedule_to_close_timeout": timeout + timedelta(seconds=30),
    }
    try:
        return await workflow.execute_activity_method(
            Traffic.verify,
            VerifyOrder(expected=expected, timeout=timeout),
            heartbeat_timeout=timedelta(seconds=3),
            summary="verify",
            **options,
        )
    except ActivityError as error:
        return Verification(verified=None, reason=failures.why(error), in_force=[], at=workflow.now())


async def sample(order: SampleOrder) -> Sample | str:
    """One reading of the users' side, or why there is none."""
    options = {**READ, "start_to_close_timeout": timedelta(seconds=15)}
    try:
        return await workflow.execute_activity_method(Restoration.sample, order, summary="sample", **options)
    except ActivityError as error:
        return f"no sample could be taken: {failures.why(error)}"


async def impact(
    routes: Sequence[str], first_bad: datetime, in_force: datetime, restored: datetime, *, to_the_end: bool = False
) -> Impact | None:
    """What users felt; None where the data plane cannot tell. `to_the_end`: once the requests of that time have ended."""
    order = ImpactOrder(
        routes=list(routes), first_bad=first_bad, in_force=in_force, restored=restored, to_the_end=to_the_end
    )
    options = TO_THE_END if to_the_end else {**READ, "schedule_to_close_timeout": timedelta(seconds=10)}
    try:
        return await workflow.execute_activity_method(Restoration.impact, order, summary="impact on users", **options)
    except ActivityError as error:
        workflow.logger.warning("the impact on users is not known", extra={"why": failures.why(error)})
        return None


async def brief(order: BriefOrder) -> RampBrief:
    """What a ramp is planned from."""
    found: RampBrief = await workflow.execute_activity_method(
        Ramping.brief, order, summary=f"read route {order.route}", **READ
    )
    return found


async def look(route: str, providers: Sequence[str]) -> RouteLook | str:
    """The route as it stands and the health of the providers, or why nobody can tell."""
    order = LookOrder(route=route, providers=list(providers))
    try:
        return await workflow.execute_activity_method(Ramping.look, order, summary=f"look at {route}", **READ)
    except ActivityError as error:
        return failures.why(error)


async def gate_sample(order: GateSampleOrder) -> GateSample | str:
    """One look at what the gates are judged on, or why there is none."""
    try:
        return await workflow.execute_activity_method(Ramping.sample, order, summary="sample", **SAMPLE)
    except ActivityError as error:
        return f"no sample could be taken: {failures.why(error)}"
