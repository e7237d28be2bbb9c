"""Failback: a provider that was failed over from gets its traffic back, once it is proved to be well."""

from dataclasses import replace
from datetime import timedelta

from temporalio import workflow
from temporalio.exceptions import ActivityError

from activities.ramping import BriefOrder, Ramping
from failover import failback
from failover.config.procedures import Failback as FailbackSettings
from failover.driving import Stage
from failover.errors import RequestError
from failover.failback import Recovery, RecoveryProbe
from failover.incident import Outcome
from failover.ramp import RampBrief, RampPlan
from failover.requests import FailbackRequest, RunResult
from failover.units import render_duration
from workflows import failures
from workflows.ending import Ended
from workflows.options import PROBE
from workflows.ramp import Planner, Ramp

ANNOUNCED = 20
"""Every so many looks the watch says how it stands; the rest would only say the same."""


@workflow.defn(name=failback.NAME)
class Failback(Ramp):
    """Watch the original until it is well, validate it, then return 10, 25, 50, 75, 100 %; one step back where it is not."""

    procedure = failback.NAME

    @workflow.run
    async def run(self, request: FailbackRequest) -> RunResult:
        def planner(brief: RampBrief) -> RampPlan:
            if (why := failback.why_not_start(request, brief.providers)) is not None:
                raise RequestError(f"{why} Nothing was changed.")
            return failback.plan(request, brief)

        order = BriefOrder(
            route=request.route,
            source=request.current_provider,
            returns_to=request.original_provider,
            undoes_workflow_id=request.undoes_workflow_id,
            undoes_run_id=request.undoes_run_id,
        )
        return await self.carry_out(request, request.original_provider, order, planner)

    async def before_planning(self, order: BriefOrder, planner: Planner) -> None:
        """The recovery watch and the validation; the route is free for others all that time."""
        brief = await self.read_brief(order)
        planner(brief)
        request = self.request
        assert isinstance(request, FailbackRequest)
        if request.dry_run:
            return
        settings = brief.procedures.failback
        window = settings.recovery_watch
        if request.recovery_seconds is not None:
            window = timedelta(seconds=request.recovery_seconds)
        threshold = request.health_threshold_percent
        if threshold is None:
            threshold = settings.health_threshold_percent
        while True:
            await self._watch(request.original_provider, window, threshold, settings)
            why = await self._why_not_fit(request.original_provider)
            if why is None:
                return
            self.journal.note(f"{request.original_provider} is not fit yet: {why}. Watching on.")
            self.recovery = None

    async def _watch(self, provider: str, window: timedelta, threshold: float, settings: FailbackSettings) -> None:
        self.driving.stage = Stage.WATCHING
        if self.recovery is None:
            self.recovery = Recovery(since=workflow.now())
            self.journal.announce(
                "recovery watch", f"Watching {provider} until {threshold:g} % of {render_duration(window)} are good."
            )
        deadline, looks = self.recovery.since + settings.watch_deadline, 0
        while True:
            gap = failback.longest_gap(settings)
            self.recovery = self.recovery.seen(await self._probe(provider), window, gap)
            why = failback.why_not_recovered(self.recovery, window, threshold, workflow.now())
            if (why is None or self._ordered_on()) and not self.driving.paused:
                self.journal.note(f"{provider} is well again: {self.recovery.probes[-1].reason}.")
                return
            if workflow.now() >= deadline:
                raise Ended(
                    Outcome.STOPPED, f"{provider} did not recover in {render_duration(settings.watch_deadline)}."
                )
            if looks % ANNOUNCED == 0 and why is not None:
                self.journal.note(f"{provider}: {why}.")
            looks += 1
            await self.continue_as_new_if_long()
            await self.wait(failback.next_look(self.recovery, settings), "until the next look")

    def _ordered_on(self) -> bool:
        """The watch is ended by order; the validation that follows is not skipped by anybody."""
        ordered, self.driving.advance = self.driving.advance or self.driving.escalated, False
        return ordered

    async def _probe(self, provider: str) -> RecoveryProbe:
        try:
            probe: RecoveryProbe = await workflow.execute_activity_method(
                Ramping.recovery, provider, summary=f"probe {provider}", **PROBE
            )
        except ActivityError as error:
            return RecoveryProbe(at=workflow.now(), healthy=False, reason=failures.why(error))
        # Windows are counted on the clock that waits, which leaps in rehearsals.
        return replace(probe, at=workflow.now())

    async def _why_not_fit(self, provider: str) -> str | None:
        self.journal.announce("validation", f"Validating {provider}.")
        try:
            why: str | None = await workflow.execute_activity_method(
                Ramping.comprehensive, provider, summary=f"validate {provider}", **PROBE
            )
        except ActivityError as error:
            return failures.why(error)
        return why
