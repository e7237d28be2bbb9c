"""HealthCheck: watch every provider until the next check is due."""

import asyncio
from dataclasses import dataclass
from datetime import datetime, timedelta

from temporalio import workflow
from temporalio.common import RetryPolicy, SearchAttributeKey
from temporalio.exceptions import ApplicationError

from activities.watching import Watching, WatchOrder, WatchPlan
from failover import kinds
from failover.requests import HealthCheckRequest
from failover.triggers import WatchState
from workflows.options import BRISK

SCHEDULED_AT = SearchAttributeKey.for_datetime("TemporalScheduledStartTime")

HANDOVER = timedelta(milliseconds=300)
"""How long before the next check is due a watch ends: enough to close this run, and less than a probe's cadence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthCheckResult:
    """What the next check must know of every provider."""

    states: list[WatchState]


@workflow.defn(name=kinds.HEALTH_CHECK)
class HealthCheck:
    """One run watches all providers; a verdict that changes starts its procedure from within, and the watch goes on."""

    @workflow.run
    async def run(self, request: HealthCheckRequest) -> HealthCheckResult:
        plan = await workflow.execute_local_activity_method(
            Watching.plan, request.providers, start_to_close_timeout=timedelta(seconds=5), retry_policy=BRISK
        )
        until = deadline(workflow.now(), workflow.info().typed_search_attributes.get(SCHEDULED_AT), plan.interval)
        known = self._known()
        workflow.set_current_details(f"Watching {', '.join(plan.providers)} until {until:%H:%M:%S} UTC.")
        watches = [self._watch(known.get(name, WatchState(provider=name)), until, plan) for name in plan.providers]
        return HealthCheckResult(states=list(await asyncio.gather(*watches)))

    def _known(self) -> dict[str, WatchState]:
        try:
            last = workflow.get_last_completion_result(HealthCheckResult)
        except ApplicationError as error:
            # Of another version, or under a key that is gone: watching anew is better than never again.
            workflow.logger.warning("what the last check knew cannot be read", extra={"why": str(error)})
            last = None
        return {state.provider: state for state in last.states} if last else {}

    async def _watch(self, state: WatchState, until: datetime, plan: WatchPlan) -> WatchState:
        return await workflow.execute_activity_method(
            Watching.watch,
            WatchOrder(state=state, until=until),
            schedule_to_close_timeout=max(until - workflow.now(), timedelta(0)) + plan.interval,
            heartbeat_timeout=max(timedelta(seconds=3), plan.cadence + timedelta(seconds=2)),
            retry_policy=RetryPolicy(initial_interval=timedelta(milliseconds=200), backoff_coefficient=1),
            summary=f"watch {state.provider}",
        )


def deadline(now: datetime, scheduled_at: datetime | None, interval: timedelta) -> datetime:
    """The moment just before the next check is due; for a run that is late by whole intervals, the next one from now."""
    started = scheduled_at or now
    missed = max(0, (now - started) // interval)
    due = started + (missed + 1) * interval
    return due - HANDOVER if due - now > 2 * HANDOVER else due + interval - HANDOVER
