"""FollowUp: the runbook's after-care of one incident. It moves no traffic, and nothing ever waits for it."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from temporalio import workflow
from temporalio.common import RawValue
from temporalio.exceptions import ActivityError

from activities.aftercare import Aftercare, CareRecord, ReportOrder
from activities.probing import CandidateProbe, Probing
from activities.restoration import SampleOrder
from failover import aftercare
from failover.aftercare import Assign, Care, CareItem, FollowUpRequest, ItemOrder, ItemResult, ItemVerb
from failover.driving import Answer
from failover.health import Condition
from failover.incident import Outcome, Sample
from workflows import data_plane, failures
from workflows.doors import by_signal, by_update, order_in
from workflows.herald import Herald
from workflows.journal import Journal, Visible
from workflows.options import HELPER, PATIENT, candidates

WINDOW = timedelta(seconds=60)
"""What the validation looks back on."""

PROBE_TIMEOUT = timedelta(seconds=5)

ANALYSIS: dict[str, Any] = {
    "start_to_close_timeout": timedelta(minutes=2),
    "schedule_to_close_timeout": timedelta(minutes=10),
    "retry_policy": PATIENT,
}
"""Reads everything that is kept of a run; nobody waits for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FollowUpResult:
    """How the after-care ended. `open`: what nobody did."""

    done: list[str]
    skipped: list[str]
    open: list[str]


def _shape(verb: ItemVerb) -> type[ItemOrder]:
    return Assign if verb is ItemVerb.ASSIGN else ItemOrder


def _update(verb: ItemVerb, description: str) -> Any:
    return by_update(verb, _shape(verb), description)


@workflow.defn(name=aftercare.NAME)
class FollowUp(Visible):
    """Does what the product can do by itself, reminds people of the rest, and keeps what became of each item."""

    done = _update(ItemVerb.DONE, "An item is done (actor, item)")
    done_by_signal = by_signal(ItemVerb.DONE, "An item is done (actor, item)")
    skip = _update(ItemVerb.SKIP, "An item is not to be done (actor, item, comment)")
    skip_by_signal = by_signal(ItemVerb.SKIP, "An item is not to be done (actor, item, comment)")
    assign = _update(ItemVerb.ASSIGN, "Another owner or date of an item (actor, item, owner, due)")
    assign_by_signal = by_signal(ItemVerb.ASSIGN, "Another owner or date of an item (actor, item, owner, due)")
    reopen = _update(ItemVerb.REOPEN, "An item is to be done after all (actor, item)")
    reopen_by_signal = by_signal(ItemVerb.REOPEN, "An item is to be done after all (actor, item)")

    def __init__(self) -> None:
        self.care = Care()
        self.journal = Journal(aftercare.NAME, (), lambda: [aftercare.line(item) for item in self.care.items])
        self.journal.details = self._details
        # Reminders are for the team: nobody outside hears of them.
        self.herald = Herald(outward="")
        self._changes = self._kept = 0

    @workflow.run
    async def run(self, request: FollowUpRequest) -> FollowUpResult:
        self.request = request
        began = workflow.info().start_time
        self.journal.open(request.provider, decided=began, first_bad=None, unhealthy=None, counted=False)
        self.care = Care(items=aftercare.items(request), settings=request.settings)
        ends = request.closed + request.settings.give_up_after
        self.journal.announce("follow up", f"After-care of {request.workflow_id}: {len(self.care.items)} items")
        while self.care.open and workflow.now() < ends:
            await self._turn(ends)
        return await self._end()

    def _details(self) -> dict[str, Any]:
        return {"subject": self.request.subject, "run": self.request.workflow_id, "items": self.care.items}

    async def _turn(self, ends: datetime) -> None:
        """Do one thing: keep what is new, do work, remind people, or wait for what comes next."""
        now, reminder = workflow.now(), self.care.reminder_at()
        item = self.care.next_work(now)
        if self._changes != self._kept:
            await self._keep()
        elif item is not None:
            self.care.found(item.key, await self._work(item), workflow.now())
            self._changes += 1
        elif reminder is not None and reminder <= now:
            self._remind()
        else:
            await self._wait(min(self.care.next_moment(now), ends) - now)
        self.journal.refresh()

    async def _wait(self, timeout: timedelta) -> None:
        try:
            await workflow.wait_condition(
                lambda: self._changes != self._kept, timeout=timeout, timeout_summary="until there is something to do"
            )
        except TimeoutError:
            return

    @workflow.query(name="items")
    def items(self) -> list[CareItem]:
        """Everything that is to be done, and what became of it."""
        return self.care.items

    # What the product does by itself

    async def _work(self, item: CareItem) -> ItemResult:
        try:
            result = await self._works()[item.key]()
        except ActivityError as error:
            result = ItemResult(done=False, said=f"It could not be done by itself: {failures.why(error)}")
        self.journal.note(f"{item.title}: {result.said}")
        return result

    def _works(self) -> dict[str, Callable[[], Awaitable[ItemResult]]]:
        return {
            aftercare.VALIDATION: self._validate,
            aftercare.INCIDENT_REPORT: lambda: self._report("incident"),
            aftercare.PERFORMANCE: lambda: self._report("performance-impact"),
            aftercare.STATUS_PAGE: lambda: self._analysis(Aftercare.status_page),
            aftercare.ROOT_CAUSE: lambda: self._analysis(Aftercare.root_cause),
            aftercare.NEXT_DRILL: lambda: self._analysis(Aftercare.next_drill),
            aftercare.EFFECTIVENESS: lambda: self._report("failover-effectiveness"),
            aftercare.THRESHOLDS: lambda: self._analysis(Aftercare.thresholds),
        }

    async def _report(self, kind: str) -> ItemResult:
        order = ReportOrder(request=self.request, kind=kind)
        result: ItemResult = await workflow.execute_activity_method(
            Aftercare.report, order, summary=f"{kind} report", **ANALYSIS
        )
        return result

    async def _analysis(self, method: Any) -> ItemResult:
        result: ItemResult = await workflow.execute_activity_method(
            method, self.request, summary="after-care", **ANALYSIS
        )
        return result

    async def _validate(self) -> ItemResult:
        """The users' side of the routes, and one deep probe of the provider that failed."""
        routes = self.request.routes
        order = SampleOrder(routes=routes, since=workflow.now() - WINDOW, window=WINDOW, evacuated="", moved=[])
        sample = await data_plane.sample(order) if routes else "the run changed no route"
        said = sample if isinstance(sample, str) else aftercare.users_side(sample)
        good = isinstance(sample, Sample) and sample.good
        return ItemResult(done=good, said=f"{said}.{await self._well()}")

    async def _well(self) -> str:
        if not self.request.provider:
            return ""
        probe = CandidateProbe(providers=[self.request.provider], timeout=PROBE_TIMEOUT)
        verdicts = await workflow.execute_activity_method(
            Probing.candidates, probe, summary=f"probe {self.request.provider}", **candidates(PROBE_TIMEOUT)
        )
        state = ", ".join(
            f"{one.provider} is {'well' if one.condition is Condition.HEALTHY else 'not well'} ({one.reason})"
            for one in verdicts
        )
        return f" {state}."

    # People

    def take(self, verb: ItemVerb, message: RawValue) -> Answer:
        """Take one order: understood, obeyed or refused, and told in the timeline."""
        order = order_in(message, _shape(verb))
        if isinstance(order, str):
            self.note_dropped(verb.value, order)
            return Answer(accepted=False, said=f"Malformed input: {order}.")
        answer = self.care.take(verb, order, workflow.now())
        self._changes += 1
        comment = f" ({order.comment})" if order.comment else ""
        self.journal.note(f"{order.actor}, {verb.value} {order.item}{comment}: {answer.said}")
        return answer

    def _remind(self) -> None:
        self.care.reminded_at = workflow.now()
        overdue = self.care.overdue(workflow.now())
        told = "; ".join(f"{item.title} ({item.owner})" for item in overdue)
        self.journal.note(f"Overdue: {told}")
        self._say(f"Overdue after {self.request.workflow_id}: {told}. `failoverctl follow-up show` has the list.")

    def _say(self, text: str) -> None:
        if self.herald.subject:
            self.herald.update(text)
        else:
            self.herald.opened(self.request.subject or self.request.workflow_id, text, "follow-up")

    # Evidence, and the end

    async def _keep(self) -> None:
        record, self._kept = CareRecord(request=self.request, items=self.care.items), self._changes
        try:
            await workflow.execute_activity_method(Aftercare.keep, record, summary="keep the after-care", **HELPER)
        except ActivityError as error:
            self.journal.note(f"The after-care could not be kept beside the evidence: {failures.why(error)}")

    async def _end(self) -> FollowUpResult:
        items = self.care.items
        self.journal.close(Outcome.HELD if self.care.open else Outcome.COMPLETED, aftercare.summary(items))
        await self._keep()
        await self.herald.finish(timedelta(seconds=10))
        await workflow.wait_condition(workflow.all_handlers_finished)
        states = {state: [item.key for item in items if item.state is state] for state in aftercare.State}
        return FollowUpResult(
            done=states[aftercare.State.DONE],
            skipped=states[aftercare.State.SKIPPED],
            open=states[aftercare.State.OPEN],
        )
