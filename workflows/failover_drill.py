"""FailoverDrill: break a provider for one route alone, watch it being noticed and left, put everything back, judge."""

from dataclasses import replace
from typing import Any

from temporalio import workflow

from activities.drilling import Drilling
from failover import drill
from failover.drill import DrillBrief, DrillPlan, FailoverDrillRequest
from failover.driving import Driving, Stage, Verb
from failover.incident import Impact, Outcome, RouteShift, RunRecord, Sample
from failover.requests import RunResult
from workflows import data_plane
from workflows.drill_exercise import DrillExercise
from workflows.drilled_route import DrilledRoute, command
from workflows.driven import Driven
from workflows.ending import Ended, close, first_read, within
from workflows.herald import Herald
from workflows.journal import Journal
from workflows.options import READ
from workflows.signing import me


@workflow.defn(name=drill.NAME)
class FailoverDrill(Driven):
    """Plan, claim, baseline, break, detect, fail over, heal, return, judge. What is real goes first, at any moment."""

    def __init__(self) -> None:
        self.driving = Driving(verbs=(Verb.ABORT,))
        self.journal = Journal(drill.NAME, drill.STEPS)
        self.journal.details = self._details
        self.herald = Herald()
        self.herald.drill = True
        self._brief: DrillBrief | None = None
        self._unwell: str | None = None
        self._impact: Impact | None = None

    @workflow.query
    def plan(self) -> DrillPlan | None:
        """What it does, once that is known."""
        return drill.plan(self._brief) if self._brief else None

    @workflow.run
    async def run(self, request: FailoverDrillRequest) -> RunResult:
        self.request = request
        began = workflow.info().start_time
        self.journal.open(request.provider or "", began, None, None, counted=not request.dry_run)
        ended = await self.abortable(self._forward(), self._abandon, self._record, dry_run=self.request.dry_run)
        return await close(self.herald, self._record(ended), dry_run=request.dry_run)

    async def _forward(self) -> Ended:
        try:
            await self._plan()
            await self.route.claim()
        except Ended as ended:
            return ended
        return await self._finish(await self.exercise.guarded())

    async def _abandon(self) -> Ended:
        """Abort: put everything back, whatever mode was asked for; a drill holds nothing."""
        brief = self._brief
        if brief is None or not self.route.claimed:
            return Ended(Outcome.ABORTED, "Aborted before anything was broken.")
        self.driving.stage = Stage.PUTTING_BACK
        try:
            return await within(brief.immediate.abort_timeout, self._finish(Ended(Outcome.ABORTED, "Aborted.")))
        except TimeoutError:
            why = "Aborted, but nothing was proved in time."
            return Ended(Outcome.NEEDS_HUMAN, why, command(brief.wanted.route))

    def _known(self) -> DrillBrief:
        assert self._brief is not None
        return self._brief

    # Plan

    async def _plan(self) -> None:
        reading = workflow.execute_activity_method(Drilling.brief, self.request, summary="read the route", **READ)
        self._brief = brief = await first_read(reading, "failoverctl drill plan")
        self.route = DrilledRoute(self.request, brief, self.journal)
        self.exercise = DrillExercise(self.request, brief, self.route, self.journal, self.herald)
        self.journal.provider = brief.wanted.provider
        self.journal.concerns([brief.wanted.route])
        plan = drill.plan(brief)
        self.journal.announce("plan", f"Drill of {plan.subject}, plan {plan.digest}.")
        refused = drill.why_not_begin(self.request, brief, me())
        if refused is not None:
            raise Ended(refused.outcome, refused.reason)
        if self.request.dry_run:
            raise Ended(Outcome.COMPLETED, f"Dry run, nothing was changed. {'; '.join(plan.steps)}")

    # Heal, return, judge

    async def _finish(self, ended: Ended) -> Ended:
        """End without fault and with clean weights, whatever happened, and judge what came of it."""
        route, exercise = self.route, self.exercise
        try:
            await exercise.heal()
            if ended.outcome is Outcome.INTERRUPTED and not route.lost:
                await route.wait_for_the_real_one()
            await route.give_back()
            if ended.outcome is Outcome.COMPLETED and not route.lost:
                self._unwell = await self._why_not_well()
            await self._measure(judged=ended.outcome is Outcome.COMPLETED and not route.lost)
        except Ended as stuck:
            return stuck
        finally:
            await exercise.dismiss()
        return self._judged(ended)

    async def _why_not_well(self) -> str | None:
        """What is wrong with users' side after all was put back; None once it is good."""
        settings, began = self._known().immediate, workflow.now()
        while True:
            await workflow.sleep(settings.validate_interval, summary="until users' side can be looked at")
            sample = await self.exercise.sample(workflow.now() - began)
            if isinstance(sample, Sample) and sample.good:
                return None
            if workflow.now() - began >= settings.validate_timeout:
                return sample if isinstance(sample, str) else sample.reason

    async def _measure(self, *, judged: bool) -> None:
        """What users felt from the moment of the fault on; where it is judged, once the requests of that time have ended."""
        moments = self.journal.moments
        if moments is None or moments.first_bad is None:
            return
        now = workflow.now()
        self._impact = await data_plane.impact(
            *([self._known().wanted.route], moments.first_bad, moments.in_force or now, moments.restored or now),
            to_the_end=judged,
        )

    def _judged(self, ended: Ended) -> Ended:
        self.journal.phase = "judge"
        lost, failover = self.route.lost, self.exercise.failover
        back = f" {lost} This drill touches nothing more." if lost else " What was found is put back."
        if lost and ended.outcome is not Outcome.ABORTED:
            return Ended(Outcome.INTERRUPTED, f"{lost} The fault is gone, and the drill touches nothing more.")
        if ended.outcome is not Outcome.COMPLETED:
            return Ended(ended.outcome, f"{ended.reason}{back}", ended.command)
        outcome, why = (failover.outcome, failover.reason) if failover else (None, "")
        judged = drill.judge(self._draft(ended), outcome, why, self._unwell)
        return Ended(judged.outcome, judged.reason)

    # The record

    def _record(self, ended: Ended) -> RunRecord:
        self.journal.close(ended.outcome, ended.reason)
        return self._draft(ended)

    def _draft(self, ended: Ended) -> RunRecord:
        brief, plan = self._brief, self.plan()
        record = replace(
            self.journal.record(self.request, ended.outcome, ended.reason, ended.command),
            # Of no route, and so without a course of counters: that, and the policy over time, are in the record of the
            # failover that was practised. By this run's own writes, of what was found, no share would ever have moved.
            concerns=(),
            is_drill=True,
        )
        if brief is None or plan is None:
            return record
        return replace(
            record,
            verdict=self.exercise.verdict,
            routes=[self._shift(brief)] if self.route.claimed else [],
            samples=self.exercise.samples,
            impact=self._impact,
            subject=plan.subject,
            plan=plan.steps,
            digest=plan.digest,
            kpis=drill.targets(brief),
        )

    def _shift(self, brief: DrillBrief) -> RouteShift:
        failover = self.exercise.failover
        moved = failover.routes if failover else ()
        return RouteShift(
            route=brief.wanted.route,
            before=dict(brief.found),
            after=dict(self.route.after),
            target=moved[0].target if moved else None,
            revision="",
        )

    def _details(self) -> dict[str, Any]:
        plan = self.plan()
        steps = list(drill.STEPS)
        return {
            "subject": f"DRILL: {plan.subject}" if plan else "",
            "digest": plan.digest if plan else "",
            "steps": steps,
            "step": steps.index(self.journal.phase) if self.journal.phase in steps else 0,
            "stage": self.driving.stage.value,
            "accepted_now": self.driving.accepted_now(),
        }

    request: FailoverDrillRequest
    route: DrilledRoute
    exercise: DrillExercise
    """The exercise; set once what is to be drilled is known."""
