"""What a ramp asks people: to approve a step, and what to do in doubt. What was moved already is watched meanwhile."""

from abc import abstractmethod
from dataclasses import replace
from datetime import datetime, timedelta

from temporalio import workflow

from failover.config import ApprovalPoint
from failover.driving import ApprovalRequest, Question, ask_approval, next_reminder, wants
from failover.gates import Action, Decision
from failover.incident import Outcome
from failover.messages import Asked
from failover.ramp import Fallback, Step, describe
from failover.requests import RampRequest
from failover.units import render_duration
from workflows.claimed_route import ClaimedRoute, me
from workflows.driven import Driven
from workflows.gate_watch import GateWatch
from workflows.ramp_ends import RampEnds
from workflows.ramp_state import Place, RampState
from workflows.ramp_telling import approve_command


class Asking(Driven):
    """The part of a ramp that waits for people."""

    request: RampRequest
    state: RampState | None
    route: ClaimedRoute
    gates: GateWatch
    ends: RampEnds

    @abstractmethod
    async def continue_as_new_if_long(self) -> None:
        """A good moment for it."""

    @abstractmethod
    def start_hold(self, step: Step) -> None:
        """The step's hold begins anew."""

    @abstractmethod
    def take_ordered_percent(self) -> bool:
        """Whether a percent was ordered, and is the next step now."""

    def known(self) -> RampState:
        assert self.state is not None
        return self.state

    async def look_at_gates(self, *, over: bool) -> Decision:
        """One sample and what it amounts to; somebody else's change, or an order to stop, ends the run."""
        self.stop_if_ordered()
        return await self.gates.look(over=over)

    # Approvals

    async def approve_step(self, step: Step) -> None:
        """Where an approval stands before the step, wait for it; silence is never one."""
        state = self.known()
        last = state.index == len(state.plan.steps) - 1
        skips = self.request.emergency or self.driving.escalated
        point = wants(state.plan.approvals, first=not state.steps_set, last=last, emergency=skips)
        if point is None:
            return
        if self.driving.approval is None:
            self._ask_people(point, step)
        why = await self._answered(step)
        if why is not None:
            if not state.steps_set:
                raise await self.ends.release(Outcome.REJECTED, f"{why} No traffic was moved.")
            raise await self.ends.stop_short(Outcome.REJECTED, why, state.plan.on_failure)

    def _ask_people(self, point: ApprovalPoint, step: Step) -> None:
        state = self.known()
        text = f"{state.plan.subject}: approve {step.name}, {describe(step)}?"
        self.driving.approval = ask_approval(
            point, step.name, state.plan.digest, text, self.request.requested_by, state.plan.approvals, workflow.now()
        )
        self.journal.announce("approval", f"Waiting for {state.plan.approvals.quorum} to approve {step.name}")
        self._say_approval()

    def _say_approval(self) -> None:
        asked = self.driving.approval
        assert asked is not None
        self.herald.opened(self.known().plan.subject, asked.text, "approval needed")
        self.herald.update(f"{asked.text} Run: `{approve_command(asked)}`", urgent=True, asks=_reference(asked))

    def settle(self, text: str) -> None:
        """The approval is decided, or no longer wanted: people are told, also where they were asked."""
        asked, self.driving.approval = self.driving.approval, None
        if asked is not None:
            self.herald.update(text, settles=_reference(asked))

    async def _answered(self, step: Step) -> str | None:
        """Wait for the answer; → why the step may not be taken, or None. What was moved already is still watched."""
        state = self.known()
        while (asked := self.driving.approval) is not None:
            now = workflow.now()
            if self.driving.escalated or asked.agreed:
                said = f"{step.name} is approved by {', '.join(asked.granted) or 'the escalation'}."
                self.journal.note(said)
                self.settle(said)
                return None
            if (why := why_refused(asked, now)) is not None:
                self.settle(why)
                return why
            remind = next_reminder(asked, state.plan.approvals)
            if remind is not None and now >= remind:
                self.driving.approval = replace(asked, reminders=asked.reminders + 1)
                self.journal.note(f"{step.name} still waits for an approval; people are told again.")
                self._say_approval()
            await self.wait_for_people(min(asked.deadline, remind or asked.deadline), "until somebody approves")
            if state.steps_set:
                await self.act_on_failure(await self.look_at_gates(over=False))
        return None

    # Questions

    async def failed(self, step: Step, reason: str) -> bool:
        """What the procedure does about a failed step; where a person is asked, whether to go on (or to try again)."""
        state = self.known()
        self.journal.note(f"{step.name} failed: {reason}")
        if state.plan.on_failure is Fallback.ASK:
            return await self.ask(step, reason, state.plan.on_doubt, failed=True)
        outcome = Outcome.ROLLED_BACK if state.plan.on_failure is Fallback.ROLL_BACK else Outcome.STOPPED
        raise await self.ends.stop_short(outcome, f"{step.name} failed: {reason}.", state.plan.on_failure)

    async def ask(self, step: Step, reason: str, on_doubt: Fallback, *, failed: bool = False) -> bool:
        """Wait for a person: retry (False), go on (True), or an abort. Data that decides is an answer too."""
        state = self.known()
        if self.driving.question is None:
            now = workflow.now()
            default = on_doubt.value.replace("_", " ")
            self.driving.question = Question(
                step=step.name,
                text=reason,
                asked_at=now,
                deadline=now + state.plan.gating.ask_deadline,
                default=default,
            )
            self.journal.announce("question", f"{reason}. What now: advance, retry or abort? Otherwise: {default}.")
            self.herald.update(f"{step.name}: {reason}. Drive it: `failoverctl watch {me()}`", urgent=True)
        asked = self.driving.question
        while True:
            if workflow.now() >= asked.deadline:
                self.driving.question = None
                outcome = Outcome.ROLLED_BACK if on_doubt is Fallback.ROLL_BACK else Outcome.STOPPED
                raise await self.ends.stop_short(outcome, f"{reason}. Nobody answered in time.", on_doubt)
            await self.wait_for_people(asked.deadline, "until somebody decides")
            if (answer := self._answer_to_question()) is not None:
                return answer
            decision = await self.look_at_gates(over=True)
            if not failed and decision.action is Action.PROCEED and not self.driving.paused:
                self.driving.question = None
                self.journal.note(f"No longer in doubt: {decision.reason}")
                # Where a person's order is waited for, good data alone is none: it holds on.
                return not step.waits_for_orders
            if not failed:
                await self.act_on_failure(decision)

    def _answer_to_question(self) -> bool | None:
        state, driving = self.known(), self.driving
        if driving.retry:
            driving.advance = driving.retry = False
            driving.question = None
            if state.place is Place.HOLD:
                self.start_hold(state.plan.steps[state.index])
            return False
        if driving.advance or driving.escalated or self.take_ordered_percent():
            driving.advance = driving.retry = False
            driving.question = None
            return True
        return None

    async def act_on_failure(self, decision: Decision) -> None:
        """A gate broke while people were being asked: act, unless they are what the procedure would turn to anyway."""
        state = self.known()
        if decision.action is Action.FAIL and state.held and state.plan.on_failure is not Fallback.ASK:
            self.driving.question = None
            self.settle(f"No longer asked: {decision.reason}.")
            await self.failed(state.held, decision.reason)

    async def wait_for_people(self, until: datetime, summary: str) -> None:
        """Until an order comes, the next sample is due, or `until`; all of it counts as waiting for people."""
        state = self.known()
        await self.continue_as_new_if_long()
        began = workflow.now()
        interval = state.plan.gating.sample_interval if state.steps_set else until - began
        await self.wait(max(timedelta(milliseconds=1), min(interval, until - began)), summary)
        state.waited += workflow.now() - began


def why_refused(asked: ApprovalRequest, now: datetime) -> str | None:
    """Why what was asked for is not approved and will not be; None while it may still be."""
    if asked.rejected_by:
        return f"{asked.rejected_by} rejected {asked.step}."
    if now >= asked.deadline:
        return f"Nobody approved {asked.step} within {render_duration(asked.deadline - asked.asked_at)}."
    return None


def _reference(asked: ApprovalRequest) -> Asked:
    return Asked(run=me(), step=asked.step, digest=asked.digest)
