"""What a drill practises: users at peace, a provider that fails, its being noticed, and the failover. Guarded throughout."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

from temporalio import workflow
from temporalio.exceptions import ActivityError, ChildWorkflowError

from activities.drilling import Drilling, GuardOrder, Load, LoadOrder, PracticeOrder, StopReason
from activities.restoration import SampleOrder
from activities.runs import TASK_TIMEOUT
from failover import drill
from failover.drill import DrillBrief, FailoverDrillRequest, Fault
from failover.health import Verdict
from failover.incident import Outcome, Sample
from failover.kinds import IMMEDIATE
from failover.requests import ImmediateFailoverRequest, RunResult
from workflows import data_plane, failures
from workflows.drilled_route import DrilledRoute
from workflows.ending import Ended, stop
from workflows.herald import Herald
from workflows.journal import Journal
from workflows.options import HELPER, READ, standing
from workflows.signing import me

Watches = Mapping[str, asyncio.Task[Verdict | None]]
"""The drill's own watch of each provider that it breaks."""


class DrillExercise:
    """The exercise of one drill. `verdict`: that the failure was noticed; `failover`: how the practised one ended."""

    def __init__(
        self, request: FailoverDrillRequest, brief: DrillBrief, route: DrilledRoute, journal: Journal, herald: Herald
    ) -> None:
        self.verdict: Verdict | None = None
        self.failover: RunResult | None = None
        self.samples: list[Sample] = []
        self._request, self._brief, self._route, self._journal, self._herald = request, brief, route, journal, herald
        self._load: asyncio.Task[Load] | None = None

    async def guarded(self) -> Ended:
        """The exercise, unless the guard finds a reason to stop it at once."""
        brief = self._brief
        limits = brief.settings.stop if brief.wanted.is_live else None
        order = GuardOrder(route=brief.wanted.route, drill=me(), since=workflow.now(), stop=limits)
        guard = self._standing(Drilling.guard, order, "guard")
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
            return Ended(Outcome.FAILED, f"Nobody could guard the drill any more: {failures.why(error)}")
        finally:
            await stop(work, guard)

    def _practised(self, work: asyncio.Task[Ended]) -> Ended:
        try:
            return work.result()
        except Ended as ended:
            return ended

    def _stopped_by(self, finding: StopReason) -> Ended:
        if finding.lost:
            self._route.lost = finding.reason
        self._journal.note(finding.reason)
        return Ended(finding.outcome, finding.reason)

    async def _exercise(self) -> Ended:
        brief, watches = self._brief, dict[str, asyncio.Task[Verdict | None]]()
        wanted = brief.wanted
        keep: asyncio.Task[None] | None = None
        self._herald.opened(f"{wanted.route}: {wanted.provider}", "; ".join(drill.plan(brief).steps), "a drill begins")
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
            await stop(keep, *watches.values())
        return Ended(Outcome.COMPLETED, "")

    async def _baseline(self, watches: Watches) -> None:
        """Check that the route is good before anything breaks: else nothing that follows would be the fault's doing."""
        brief = self._brief
        self._journal.announce("baseline", "Users' side before anything is broken.")
        began = workflow.now()
        await workflow.sleep(brief.settings.baseline, summary="baseline")
        sample = await self.sample(max(workflow.now() - began, timedelta(seconds=2)))
        bad = sample if isinstance(sample, str) else None if sample.good else sample.reason
        if bad is None and isinstance(sample, Sample) and not sample.requests:
            bad = "nobody used it, so that nothing would be measured"
        for task in watches.values():
            found = task.result() if task.done() else None
            bad = found.reason if found is not None else bad
        if bad is not None:
            raise Ended(Outcome.FAILED, f"The route was not well before anything was broken: {bad}.")

    def _fault(self) -> Fault:
        brief = self._brief
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
            raise Ended(Outcome.FAILED, f"Nothing could be broken: {failures.why(error)}") from error
        # From when it was in force, which is before anybody could see it: no figure is better than it was.
        self._journal.mark(first_bad=at)
        kind = fault.kind.value.replace("_", " ")
        self._journal.announce("break", f"Broken on route {fault.route} alone: {', '.join(fault.providers)} ({kind}).")

    async def _detect(self, watches: Watches) -> list[Verdict]:
        """Wait until the drill's own watch says that the provider is down; → what is known of others that were broken."""
        brief = self._brief
        provider, moments = brief.wanted.provider, self._journal.moments
        try:
            verdict = await watches[provider]
        except ActivityError as error:
            raise Ended(Outcome.FAILED, f"Nobody could watch {provider}: {failures.why(error)}") from error
        if verdict is None:
            raise Ended(Outcome.FAILED, f"{provider} failed, and nobody noticed.")
        self.verdict = replace(verdict, first_bad_at=moments.first_bad if moments else None)
        self._journal.mark(unhealthy=verdict.at, decided=verdict.at)
        self._journal.announce("detect", f"Noticed: {verdict.reason}.")
        others = [task for name, task in watches.items() if name != provider]
        if others:
            await workflow.wait(others, timeout=brief.slowest.total_seconds())
        known = [task.result() for task in others if task.done() and task.exception() is None]
        return [one for one in known if one is not None]

    async def _fail_over(self, others: list[Verdict]) -> None:
        """The real procedure, on this route alone."""
        wanted, verdict = self._brief.wanted, self.verdict
        assert verdict is not None
        request = ImmediateFailoverRequest(
            failed_provider=wanted.provider,
            routes=[wanted.route],
            reason=f"DRILL: {verdict.reason}"[:1000],
            requested_by=self._request.requested_by,
            emergency=True,
            trigger=self._request.trigger,
            verdicts=[verdict, *others],
            is_drill=True,
            share_percent=wanted.percent,
        )
        self._journal.announce("fail over", f"Starting the failover of {wanted.provider} on {wanted.route}.")
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
            self._journal.note(f"The failover failed: {why}")
            raise Ended(Outcome.FAILED, f"The failover failed: {why}") from error
        self.failover = result
        moved = result.moments
        found = {"in_force": moved.in_force, "verified": moved.verified, "restored": moved.restored}
        self._journal.mark(**{name: at for name, at in found.items() if at is not None})
        self._journal.note(f"The failover ended {result.outcome.value}: {result.reason}")

    async def sample(self, window: timedelta) -> Sample | str:
        """One reading of the users' side, or why there is none."""
        order = SampleOrder(
            routes=[self._brief.wanted.route], since=workflow.now() - window, window=window, evacuated="", moved=[]
        )
        sample = await data_plane.sample(order)
        if isinstance(sample, Sample):
            self.samples.append(sample)
        return sample

    async def heal(self) -> None:
        """Remove the fault. A failure is only noted: the fault ends with the claim, or by itself."""
        route = self._brief.wanted.route
        try:
            await workflow.execute_activity_method(
                Drilling.heal, args=[route, me()], summary="remove the fault", **HELPER
            )
            self._journal.announce("heal", "The fault is removed.")
        except ActivityError as error:
            self._journal.note(f"The fault could not be removed: {failures.why(error)}. It ends by itself.")

    async def dismiss(self) -> None:
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
        self._journal.note(said)
        self._journal.notes.append(said)

    def _standing(self, activity: Callable[..., Any], order: Any, summary: str) -> asyncio.Task[Any]:
        """An activity that goes on beside the others."""
        options = standing(2 * self._brief.settings.deadline)
        return asyncio.create_task(workflow.execute_activity_method(activity, order, summary=summary, **options))
