"""Proposal: ask people whether a procedure may be started; start it on their word, or as configured when nobody answers."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

from temporalio import workflow

from activities.runs import StartOrder
from failover import kinds
from failover.automation import ProposalRequest
from failover.config.routes import ApprovalPoint, Approvals
from failover.driving import Driving, Stage, Verb, ask_approval, next_reminder
from failover.health import Condition, Verdict
from failover.incident import Outcome, RunRecord, Trigger
from failover.requests import RunResult
from failover.units import render_duration
from workflows import data_plane, other_runs
from workflows.driven import Driven, plain_approval, reference
from workflows.ending import Ended, close
from workflows.herald import Herald
from workflows.journal import Journal

NAME = kinds.PROPOSAL
STEP = "start"
STEPS = ("ask", "decide", "start")


@workflow.defn(name=NAME)
class Proposal(Driven):
    """Moves nothing itself. Further verdicts about the same trouble are notes on it."""

    def __init__(self) -> None:
        self.driving = Driving(verbs=(Verb.APPROVE, Verb.REJECT, Verb.ABORT))
        self.journal = Journal(NAME, STEPS)
        self.journal.details = self._details
        self.herald = Herald()

    @workflow.run
    async def run(self, request: ProposalRequest) -> RunResult:
        self.request = request
        now = workflow.info().start_time
        self.journal.open(request.provider, decided=now, first_bad=None, unhealthy=None)
        self.journal.concerns(request.routes)
        ended = await self.abortable(self._forward(), self._abandon, self._record)
        return await close(self.herald, self._record(ended))

    async def _forward(self) -> Ended:
        try:
            return await self._start(*await self._answered())
        except Ended as ended:
            return ended

    async def _answered(self) -> tuple[str, dict[str, Any]]:
        """Why it may be started, and what that changes in the request; raises Ended where it may not be."""
        request, settings = self.request, self._settings()
        text = f"{request.summary or request.workflow_id}: start {request.procedure}? {request.reason}"
        asked = ask_approval(
            ApprovalPoint.FIRST_SHIFT, STEP, request.digest, text, request.requested_by, settings, workflow.now()
        )
        self.driving.approval, self.driving.stage = asked, Stage.WATCHING
        self.journal.announce("ask", f"Waiting for somebody to approve {request.workflow_id}")
        self._say(text)
        while True:
            asked = self.driving.approval or asked
            if asked.agreed:
                names = ", ".join(asked.granted)
                self.settle(f"{names} approved it: {request.workflow_id} is being started.")
                # From now on a person wants it: no hold, cool-down or budget stands in the way.
                return f"{names} approved it", {"trigger": Trigger.MANUAL.value, "requested_by": names}
            if asked.rejected_by:
                self.settle(f"{asked.rejected_by} rejected it. Nothing was started.")
                raise Ended(Outcome.REJECTED, f"{asked.rejected_by} rejected it. Nothing was started.")
            if workflow.now() >= asked.deadline:
                return await self._unanswered(), {}
            remind = next_reminder(asked, settings)
            if remind is not None and workflow.now() >= remind:
                self.driving.approval = replace(asked, reminders=asked.reminders + 1)
                self._say(text)
                continue
            await self.wait(min(asked.deadline, remind or asked.deadline) - workflow.now(), "until somebody answers")

    def _settings(self) -> Approvals:
        return Approvals(
            points=[ApprovalPoint.FIRST_SHIFT], deadline=timedelta(seconds=self.request.deadline_seconds), quorum=1
        )

    def _say(self, text: str) -> None:
        request = self.request
        command = f"failoverctl approve {workflow.info().workflow_id} --step {STEP} --digest {request.digest}"
        self.herald.opened(request.provider, text, "approval needed", providers=[request.provider])
        asked = self.driving.approval
        assert asked is not None
        self.herald.update(f"{text} Run: `{command}`", urgent=True, asks=reference(asked))

    async def _unanswered(self) -> str:
        """Go on as configured though nobody answered; → why. Raises Ended if nothing starts, or the trouble is over."""
        waited = render_duration(timedelta(seconds=self.request.deadline_seconds))
        self.settle(f"Nobody answered within {waited}.")
        if self.request.at_deadline == "nothing":
            raise Ended(Outcome.REJECTED, f"Nobody answered within {waited}. Nothing was started.")
        look = await data_plane.look(self.request.routes[0], [self.request.provider])
        if not isinstance(look, str) and _is_well(self.request.provider, look.verdicts):
            raise Ended(
                Outcome.REJECTED,
                f"Nobody answered within {waited}, and {self.request.provider} has recovered. Nothing was started.",
            )
        return f"nobody answered within {waited}, and detection.automation.at_deadline is act"

    async def _start(self, why: str, changes: dict[str, Any]) -> Ended:
        request = self.request
        self.journal.announce("start", f"Starting {request.workflow_id}: {why}.")
        order = StartOrder(
            procedure=request.procedure,
            workflow_id=request.workflow_id,
            request={**request.request, **changes},
            summary=request.summary,
        )
        failed = await other_runs.start(order)
        if failed is not None:
            command = f"failoverctl failover --failed-provider {request.provider}"
            return Ended(Outcome.NEEDS_HUMAN, f"{request.workflow_id} could not be started: {failed}.", command)
        return Ended(Outcome.COMPLETED, f"{request.workflow_id} was started: {why}.")

    async def _abandon(self) -> Ended:
        self.settle("No longer asked: the proposal was withdrawn.")
        return Ended(Outcome.ABORTED, "The proposal was withdrawn. Nothing was started.")

    def _record(self, ended: Ended) -> RunRecord:
        request = self.request
        self.journal.close(ended.outcome, ended.reason)
        return replace(
            self.journal.record(request, ended.outcome, ended.reason, ended.command),
            waited_for_people=workflow.now() - workflow.info().start_time,
            subject=f"Proposal: {request.summary or request.workflow_id}",
            plan=[f"start {request.procedure} as {request.workflow_id}"],
            digest=request.digest,
        )

    def _details(self) -> dict[str, Any]:
        asked = self.driving.approval
        return {
            "subject": self.request.summary or self.request.workflow_id,
            "stage": self.driving.stage.value,
            "accepted_now": self.driving.accepted_now(),
            "approval": plain_approval(asked),
        }


def _is_well(provider: str, verdicts: Sequence[Verdict]) -> bool:
    return any(one.provider == provider and one.condition is Condition.HEALTHY for one in verdicts)
