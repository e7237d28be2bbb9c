"""FailoverDrill: break a provider for one route alone, watch it being noticed and left, put everything back, judge."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

from temporalio import workflow
from temporalio.exceptions import ActivityError, ChildWorkflowError

from activities.drilling import (
    Drilling,
    DrillLook,
    Finding,
    GuardOrder,
    Load,
    LoadOrder,
    PracticeOrder,
)
from activities.restoration import SampleOrder
from activities.runs import TASK_TIMEOUT
from failover import drill
from failover.config.kpis import Kpis
from failover.distribution import Distribution, render
from failover.drill import DrillBrief, DrillPlan, FailoverDrillRequest, Fault
from failover.driving import Driving, Stage, Verb
from failover.health import Verdict
from failover.incident import Impact, Outcome, RouteShift, RunRecord, Sample
from failover.policy import Change, ChangedBy
from failover.ramp import why_not_rise
from failover.requests import ImmediateFailoverRequest, RunResult
from failover.restoration import Expectation
from workflows import data_plane
from workflows.claimed_route import me
from workflows.driven import Driven
from workflows.ending import Ended, close, first_read, within
from workflows.herald import Herald
from workflows.immediate_failover import NAME as IMMEDIATE
from workflows.journal import Journal
from workflows.options import HELPER, READ, standing

WRITE_ATTEMPTS = 5

TAKE_OVER = timedelta(seconds=10)
"""How long what is really wrong may take to bring its own failover, which goes on from the clean weights."""


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
        self._claimed = False
        self._lost = ""
        self._writes = 0
        self._load: asyncio.Task[Load] | None = None
        self._verdict: Verdict | None = None
        self._failover: RunResult | None = None
        self._why = ""
        self._clean: str | None = None
        self._samples: list[Sample] = []
        self._impact: Impact | None = None
        self._after: Distribution = {}

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
            await self._claim()
        except Ended as ended:
            return ended
        return await self._finish(await self._guarded())

    async def _abandon(self) -> Ended:
        """Aborted: everything is put back, whatever mode was asked for; a drill holds nothing."""
        if not self._claimed:
            return Ended(Outcome.ABORTED, "Aborted before anything was broken.")
        timeout = self._known().immediate.abort_timeout
        self.driving.stage = Stage.PUTTING_BACK
        try:
            return await within(timeout, self._finish(Ended(Outcome.ABORTED, "Aborted.")))
        except TimeoutError:
            return Ended(Outcome.NEEDS_HUMAN, "Aborted, but nothing was proved in time.", self._command())

    def _known(self) -> DrillBrief:
        assert self._brief is not None
        return self._brief

    # Plan and claim

    async def _plan(self) -> None:
        reading = workflow.execute_activity_method(Drilling.brief, self.request, summary="read the route", **READ)
        self._brief = brief = await first_read(reading, "failoverctl drill plan")
        self.journal.provider = brief.wanted.provider
        self.journal.concerns([brief.wanted.route])
        plan = drill.plan(brief)
        self.journal.announce("plan", f"Drill of {plan.subject}, plan {plan.digest}.")
        refused = drill.why_not_begin(self.request, brief, me())
        if refused is not None:
            raise Ended(refused.outcome, refused.reason)
        if self.request.dry_run:
            raise Ended(Outcome.COMPLETED, f"Dry run, nothing was changed. {'; '.join(plan.steps)}")

    async def _claim(self) -> None:
        """The route is this drill's, as a ramp's would be; whoever holds it and is open is left alone."""
        brief = self._known()
        route, evict = brief.wanted.route, None
        for _ in range(WRITE_ATTEMPTS):
            look = await self._look()
            if look.revision != brief.revision or look.down:
                why = "; ".join(look.down.values()) or "somebody changed it since the drill was planned"
                raise Ended(Outcome.REJECTED, f"Route {route} is not as it was: {why}. Nothing was broken.")
            if look.claim not in (None, me(), evict):
                if await data_plane.is_open(look.claim or ""):
                    said = f"Route {route} is claimed by {look.claim}, which is running. Nothing was broken."
                    raise Ended(Outcome.REJECTED, said)
                evict = look.claim
            self._claimed = True  # Whatever becomes of the write: from now on there is something to put back.
            if await self._write(look, brief.found, "claim", claim=me(), evict=evict):
                self.journal.announce("claim", f"Route {route} is this drill's, at {render(brief.found)}.")
                return
            self._claimed = False
        raise Ended(Outcome.REJECTED, f"Route {route} changed faster than it could be claimed. Nothing was broken.")

    async def _look(self) -> DrillLook:
        route = self._known().wanted.route
        try:
            return await workflow.execute_activity_method(Drilling.look, route, summary=f"look at {route}", **READ)
        except ActivityError as error:
            why = f"The route could not be read: {data_plane.why(error)}"
            raise Ended(Outcome.NEEDS_HUMAN, why, self._command()) from error

    async def _write(
        self, look: DrillLook, distribution: Distribution, step: str, *, claim: str, evict: str | None = None
    ) -> bool:
        """Whether it is in force; False where somebody else was faster. Ended where the data plane takes nothing."""
        info, wanted = workflow.info(), self._known().wanted
        self._writes += 1
        change = Change(
            route=wanted.route,
            decided_on=look.revision,
            key=f"{info.workflow_id}/{info.run_id}/{self._writes}",
            distribution=dict(distribution),
            claim=claim,
            evict_claim=evict,
            changed_by=ChangedBy(
                actor=self.request.requested_by or "failover",
                workflow_id=info.workflow_id,
                run_id=info.run_id,
                step=step,
            ),
            reason=f"DRILL: {self.request.reason or wanted.subject} ({step})",
        )
        try:
            [written] = await data_plane.write([change], f"{step}: {render(distribution)}")
        except data_plane.WriteFailed as error:
            raise Ended(Outcome.NEEDS_HUMAN, f"The data plane took no change: {error}", self._command()) from error
        return written.in_force

    # What is practised

    async def _guarded(self) -> Ended:
        """The exercise, unless the guard finds a reason to stop it at once."""
        brief = self._known()
        route, now = brief.wanted.route, workflow.now()
        stop = brief.settings.stop if brief.wanted.is_live else None
        guard = self._standing(Drilling.guard, GuardOrder(route=route, drill=me(), since=now, stop=stop), "guard")
        work = asyncio.create_task(self._exercise())
        try:
            await workflow.wait(
                [work, guard], timeout=brief.settings.deadline.total_seconds(), return_when=asyncio.FIRST_COMPLETED
            )
            if work.done():
                return self._practised(work)
            if guard.done():
                return self._stopped_by(guard.result())
            return Ended(Outcome.FAILED, "It was not over by its deadline.")
        except ActivityError as error:
            return Ended(Outcome.FAILED, f"Nobody could guard the drill any more: {data_plane.why(error)}")
        finally:
            await _stop(work, guard)

    def _practised(self, work: asyncio.Task[Ended]) -> Ended:
        try:
            return work.result()
        except Ended as ended:
            return ended

    def _stopped_by(self, finding: Finding) -> Ended:
        if finding.lost:
            self._lost = finding.reason
        self.journal.note(finding.reason)
        return Ended(finding.outcome, finding.reason)

    async def _exercise(self) -> Ended:
        brief, watches = self._known(), dict[str, asyncio.Task[Verdict | None]]()
        wanted = brief.wanted
        keep: asyncio.Task[None] | None = None
        self.herald.opened(f"{wanted.route}: {wanted.provider}", "; ".join(drill.plan(brief).steps), "a drill begins")
        if not wanted.is_live:
            load = LoadOrder(
                route=wanted.route, per_second=brief.settings.load_per_second, limit=brief.settings.load_limit
            )
            self._load = self._standing(Drilling.load, load, "synthetic users")
        until = workflow.now() + brief.settings.baseline + brief.detection_deadline
        try:
            for name in wanted.broken:
                order = PracticeOrder(route=wanted.route, provider=name, until=until)
                watches[name] = self._standing(Drilling.watch, order, f"watch {name}")
            await self._baseline(watches)
            fault = self._fault()
            await self._break(fault)
            keep = self._standing(Drilling.keep, fault, "keep the fault")
            others = await self._detect(watches)
            await self._fail_over(others)
        finally:
            await _stop(keep, *watches.values())
        return Ended(Outcome.COMPLETED, "")

    async def _baseline(self, watches: Mapping[str, asyncio.Task[Verdict | None]]) -> None:
        """Good before anything breaks: else nothing that follows would be the fault's doing."""
        brief = self._known()
        self.journal.announce("baseline", "Users' side before anything is broken.")
        began = workflow.now()
        await workflow.sleep(brief.settings.baseline, summary="baseline")
        sample = await self._sample(max(workflow.now() - began, timedelta(seconds=2)))
        bad = sample if isinstance(sample, str) else None if sample.good else sample.reason
        if bad is None and isinstance(sample, Sample) and not sample.requests:
            bad = "nobody used it, so that nothing would be measured"
        for task in watches.values():
            found = task.result() if task.done() else None
            bad = found.reason if found is not None else bad
        if bad is not None:
            raise Ended(Outcome.FAILED, f"The route was not well before anything was broken: {bad}.")

    def _fault(self) -> Fault:
        brief = self._known()
        return Fault(
            route=brief.wanted.route,
            providers=brief.wanted.broken,
            kind=brief.wanted.fault,
            percent=brief.wanted.percent,
            drill=me(),
            lasts=brief.settings.fault_expiry,
        )

    async def _break(self, fault: Fault) -> None:
        try:
            at = await workflow.execute_activity_method(Drilling.inject, fault, summary="inject the fault", **READ)
        except ActivityError as error:
            raise Ended(Outcome.FAILED, f"Nothing could be broken: {data_plane.why(error)}") from error
        # From when it was in force, which is before anybody could see it: no figure is better than it was.
        self.journal.mark(first_bad=at)
        kind = fault.kind.value.replace("_", " ")
        self.journal.announce("break", f"Broken on route {fault.route} alone: {', '.join(fault.providers)} ({kind}).")

    async def _detect(self, watches: Mapping[str, asyncio.Task[Verdict | None]]) -> list[Verdict]:
        """Until the drill's own watch says that the provider is down; → what is known of whoever else was broken."""
        brief = self._known()
        provider, moments = brief.wanted.provider, self.journal.moments
        try:
            verdict = await watches[provider]
        except ActivityError as error:
            raise Ended(Outcome.FAILED, f"Nobody could watch {provider}: {data_plane.why(error)}") from error
        if verdict is None:
            raise Ended(Outcome.FAILED, f"{provider} failed, and nobody noticed.")
        self._verdict = replace(verdict, first_bad_at=moments.first_bad if moments else None)
        self.journal.mark(unhealthy=verdict.at, decided=verdict.at)
        self.journal.announce("detect", f"Noticed: {verdict.reason}.")
        others = [task for name, task in watches.items() if name != provider]
        if others:
            await workflow.wait(others, timeout=brief.slowest.total_seconds())
        known = [task.result() for task in others if task.done() and task.exception() is None]
        return [one for one in known if one is not None]

    async def _fail_over(self, others: list[Verdict]) -> None:
        """The real procedure, on this route alone."""
        wanted, verdict = self._known().wanted, self._verdict
        assert verdict is not None
        request = ImmediateFailoverRequest(
            failed_provider=wanted.provider,
            routes=[wanted.route],
            reason=f"DRILL: {verdict.reason}"[:1000],
            requested_by=self.request.requested_by,
            emergency=True,
            trigger=self.request.trigger,
            verdicts=[verdict, *others],
            is_drill=True,
            share_percent=wanted.percent,
        )
        self.journal.announce("fail over", f"Starting the failover of {wanted.provider} on {wanted.route}.")
        try:
            result = await workflow.execute_child_workflow(
                IMMEDIATE,
                request,
                id=f"{me()}/{drill.CHILD}",
                result_type=RunResult,
                task_timeout=TASK_TIMEOUT,
                parent_close_policy=workflow.ParentClosePolicy.REQUEST_CANCEL,
                cancellation_type=workflow.ChildWorkflowCancellationType.WAIT_CANCELLATION_COMPLETED,
                static_summary=f"DRILL: {wanted.subject}"[:200],
            )
        except ChildWorkflowError as error:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise  # Stopped by this drill, not by what it practises.
            why = str(error.cause or error)
            self.journal.note(f"The failover failed: {why}")
            raise Ended(Outcome.FAILED, f"The failover failed: {why}") from error
        self._failover, self._why = result, result.reason
        moved = result.moments
        found = {"in_force": moved.in_force, "verified": moved.verified, "restored": moved.restored}
        self.journal.mark(**{name: at for name, at in found.items() if at is not None})
        self.journal.note(f"The failover ended {result.outcome.value}: {result.reason}")

    # Heal, return, judge

    async def _finish(self, ended: Ended) -> Ended:
        """Whatever happened: no fault, clean weights, and what came of it."""
        try:
            await self._heal()
            await self._return(ended)
            if ended.outcome is Outcome.COMPLETED and not self._lost:
                self._clean = await self._why_not_well()
            await self._measure()
        except Ended as stuck:
            return stuck
        finally:
            await self._dismiss()
        return self._judged(ended)

    async def _heal(self) -> None:
        """That it fails is only noted: the fault ends with the claim, or by itself."""
        route = self._known().wanted.route
        try:
            await workflow.execute_activity_method(
                Drilling.heal, args=[route, me()], summary="remove the fault", **HELPER
            )
            self.journal.announce("heal", "The fault is removed.")
        except ActivityError as error:
            self.journal.note(f"The fault could not be removed: {data_plane.why(error)}. It ends by itself.")

    async def _return(self, ended: Ended) -> None:
        """The weights that were found, and the claim released, in one write; or what somebody real made of it."""
        if ended.outcome is Outcome.INTERRUPTED and not self._lost:
            await self._wait_for_the_real_one()
        brief = self._known()
        for _ in range(WRITE_ATTEMPTS):
            look = await self._look()
            if self._is_gone(look):
                return
            shares, step = self._to_put_back(look)
            self.journal.announce("return", f"Putting back {render(shares)}.")
            if await self._write(look, shares, step, claim=""):
                await self._verify(shares)
                return
        raise Ended(Outcome.NEEDS_HUMAN, f"Route {brief.wanted.route} changes all the time.", self._command())

    async def _wait_for_the_real_one(self) -> None:
        """A real failover finds the claim, and goes on from the weights that the drill found."""
        until = workflow.now() + TAKE_OVER
        while workflow.now() < until and not self._is_gone(await self._look()):
            await workflow.sleep(timedelta(seconds=1), summary="until the real failover comes")

    def _is_gone(self, look: DrillLook) -> bool:
        """The route is not the drill's any more: put back already, or somebody else's."""
        if look.claim == me():
            return False
        if look.author != me():
            self._lost = self._lost or f"{look.author} took the route from the drill."
        self._after = look.distribution
        return True

    def _to_put_back(self, look: DrillLook) -> tuple[Distribution, str]:
        found = self._known().found
        why = drill.why_interrupted(me(), look.claim, look.author)
        if why is not None:
            self._lost = f"{why}."
            return look.distribution, "release"
        why = why_not_rise(look.distribution, found, look.down)
        if why is not None:
            self.journal.note(f"Held as it stands, since {why}.")
            self.journal.notes.append(f"What was found was not put back: {why}.")
            return look.distribution, "release"
        return found, "put-back"

    async def _verify(self, shares: Distribution) -> None:
        brief = self._known()
        expected = Expectation(route=brief.wanted.route, share=dict(shares), evacuated=None, strict=True)
        verification = await data_plane.verify([expected], brief.immediate.verify_timeout)
        self.journal.note(f"{'Verified' if verification.verified else 'Not verified'}: {verification.reason}")
        if verification.verified is True:
            self._after = dict(shares)
            return
        self._is_gone(await self._look())
        if not self._lost:
            why = f"What was put back could not be verified: {verification.reason}."
            raise Ended(Outcome.NEEDS_HUMAN, why, self._command())

    async def _why_not_well(self) -> str | None:
        """What is wrong with users' side after all was put back; None once it is good."""
        settings, began = self._known().immediate, workflow.now()
        while True:
            await workflow.sleep(settings.validate_interval, summary="until users' side can be looked at")
            sample = await self._sample(workflow.now() - began)
            if isinstance(sample, Sample) and sample.good:
                return None
            if workflow.now() - began >= settings.validate_timeout:
                return sample if isinstance(sample, str) else sample.reason

    async def _sample(self, window: timedelta) -> Sample | str:
        order = SampleOrder(
            routes=[self._known().wanted.route], since=workflow.now() - window, window=window, evacuated="", moved=[]
        )
        sample = await data_plane.sample(order)
        if isinstance(sample, Sample):
            self._samples.append(sample)
        return sample

    async def _measure(self) -> None:
        """What users felt from the moment of the fault on."""
        moments = self.journal.moments
        if moments is None or moments.first_bad is None:
            return
        now = workflow.now()
        self._impact = await data_plane.impact(
            [self._known().wanted.route], moments.first_bad, moments.in_force or now, moments.restored or now
        )

    async def _dismiss(self) -> None:
        """The synthetic users go home, and tell what they got."""
        load, self._load = self._load, None
        if load is None:
            return
        load.cancel()
        try:
            got = await load
        except (ActivityError, asyncio.CancelledError):
            return
        said = (
            f"Synthetic users sent {got.sent} requests: {got.answered} answered, {got.failed} failed, as they saw it."
        )
        self.journal.note(said)
        self.journal.notes.append(said)

    def _judged(self, ended: Ended) -> Ended:
        self.journal.phase = "judge"
        back = f" {self._lost} This drill touches nothing more." if self._lost else " What was found is put back."
        if self._lost and ended.outcome is not Outcome.ABORTED:
            return Ended(Outcome.INTERRUPTED, f"{self._lost} The fault is gone, and the drill touches nothing more.")
        if ended.outcome is not Outcome.COMPLETED:
            return Ended(ended.outcome, f"{ended.reason}{back}", ended.command)
        outcome = self._failover.outcome if self._failover else None
        judged = drill.judge(self._draft(ended), outcome, self._why, self._clean)
        return Ended(judged.outcome, judged.reason)

    # The record

    def _record(self, ended: Ended) -> RunRecord:
        self.journal.close(ended.outcome, ended.reason)
        return self._draft(ended)

    def _draft(self, ended: Ended) -> RunRecord:
        info, brief, moments = workflow.info(), self._brief, self.journal.moments
        assert moments is not None
        plan = drill.plan(brief) if brief else None
        return RunRecord(
            procedure=drill.NAME,
            workflow_id=info.workflow_id,
            run_id=info.run_id,
            trigger=self.request.trigger,
            requested_by=self.request.requested_by,
            request_reason=self.request.reason,
            provider=brief.wanted.provider if brief else self.request.provider or "",
            verdict=self._verdict,
            outcome=ended.outcome,
            reason=ended.reason,
            command=ended.command,
            moments=moments,
            routes=[self._shift(brief)] if brief and self._claimed else [],
            timeline=self.journal.timeline,
            samples=self._samples,
            impact=self._impact,
            notes=self.journal.notes,
            subject=plan.subject if plan else "",
            plan=plan.steps if plan else [],
            digest=plan.digest if plan else "",
            kpis=drill.targets(brief) if brief else Kpis(),
            is_drill=True,
        )

    def _shift(self, brief: DrillBrief) -> RouteShift:
        moved = self._failover.routes if self._failover else ()
        return RouteShift(
            route=brief.wanted.route,
            before=dict(brief.found),
            after=dict(self._after or brief.found),
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

    def _command(self) -> str:
        return f"failoverctl restore {self._known().wanted.route} --yes"

    def _standing(self, activity: Callable[..., Any], order: Any, summary: str) -> asyncio.Task[Any]:
        """An activity that goes on beside the others."""
        options = standing(2 * self._known().settings.deadline)
        return asyncio.create_task(workflow.execute_activity_method(activity, order, summary=summary, **options))

    request: FailoverDrillRequest


async def _stop(*tasks: "asyncio.Task[Any] | None") -> None:
    """Nothing of them goes on once this returns."""
    running = [task for task in tasks if task is not None]
    for task in running:
        task.cancel()
    if running:
        await workflow.wait(running)
    for task in running:
        if not task.cancelled():
            task.exception()  # Looked at, so that nobody complains that it was not.
