"""What a ramp asks people: to approve a step, and what to do in doubt. What was moved already is watched meanwhile."""

from abc import abstractmethod
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import datetime, timedelta

from temporalio import workflow

from failover.config.routes import ApprovalPoint
from failover.distribution import Distribution, render
from failover.driving import (
    ApprovalRequest,
    Question,
    Stage,
    as_of_now,
    ask_approval,
    next_reminder,
    wants,
    wants_before_return,
)
from failover.gates import Action, Decision
from failover.incident import Outcome
from failover.ramp import Fallback, Step, describe, in_doubt, rising
from failover.requests import RampRequest
from failover.units import render_duration
from workflows import data_plane
from workflows.claimed_route import ClaimedRoute
from workflows.driven import Driven, reference
from workflows.ending import Ended
from workflows.gate_watch import GateWatch
from workflows.ramp_ends import RampEnds
from workflows.ramp_state import Place, RampState, Stopping
from workflows.ramp_telling import approve_command
from workflows.signing import me

PUT_BACK = "put-back"
"""What people approve by, where no step is meant but the way back."""


class Asking(Driven):
    """The part of a ramp that waits for people."""

    request: RampRequest
    provider: str
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
        """Take one sample; → what it amounts to. Somebody else's change, or an order to stop, ends the run."""
        self.stop_if_ordered()
        return await self.gates.look(over=over)

    # Approvals

    async def approve_step(self, step: Step) -> None:
        """Wait for the approval that stands before the step, if any; silence is never one."""
        state = self.known()
        last = state.index == len(state.plan.steps) - 1
        skips = self.request.emergency or self.driving.escalated
        point = wants(state.plan.approvals, first=not state.steps_set, last=last, emergency=skips)
        if point is None:
            return
        if self.driving.approval is None:
            self._ask_people(point, step)
        why = await self._answered(self._watch_on)
        if why is not None:
            if not state.steps_set:
                raise await self.ends.release(Outcome.REJECTED, f"{why} No traffic was moved.")
            raise await self.stop_short(Outcome.REJECTED, why, state.plan.on_failure)

    def _ask_people(self, point: ApprovalPoint, step: Step) -> None:
        text = f"{self.known().plan.subject}: approve {step.name}, {describe(step)}?"
        self._ask(point, step.name, text)

    def _ask(self, point: ApprovalPoint, what: str, text: str) -> None:
        plan = self.known().plan
        self.driving.approval = ask_approval(
            point, what, plan.digest, text, self.request.requested_by, plan.approvals, workflow.now()
        )
        self.journal.announce("approval", f"Waiting for {plan.approvals.quorum} to approve {what}")
        self._say_approval()

    def _say_approval(self) -> None:
        asked = self.driving.approval
        assert asked is not None
        self.open_thread(asked.text, "approval needed")
        self.herald.update(f"{asked.text} Run: `{approve_command(asked)}`", urgent=True, asks=reference(asked))

    async def _answered(self, meanwhile: Callable[[], Awaitable[None]]) -> str | None:
        """Wait for the answer; → why it may not be done, or None: it is approved, or needs no approval any more."""
        state = self.known()
        while (asked := self.driving.approval) is not None:
            now = workflow.now()
            if self.driving.escalated or asked.agreed:
                said = f"{asked.step} is approved by {', '.join(asked.granted) or 'the escalation'}."
                self.journal.note(said)
                self.settle(said)
                return None
            if (why := why_refused(asked, now)) is not None:
                self.settle(why)
                return why
            remind = next_reminder(asked, state.plan.approvals)
            if remind is not None and now >= remind:
                self.driving.approval = replace(asked, reminders=asked.reminders + 1)
                self.journal.note(f"{asked.step} still waits for an approval; people are told again.")
                self._say_approval()
            await self.wait_for_people(min(asked.deadline, remind or asked.deadline), "until somebody approves")
            await meanwhile()
        return None

    async def _watch_on(self) -> None:
        """What was moved already is watched while people are asked."""
        if self.known().steps_set:
            await self.act_on_failure(await self.look_at_gates(over=False))

    # Going back

    async def stop_short(self, outcome: Outcome, reason: str, fallback: Fallback) -> Ended:
        """The end of a ramp that may not go on; nobody has ordered it."""
        return await self.stop(Stopping(outcome=outcome, reason=reason, fallback=fallback))

    async def stop(self, stopping: Stopping) -> Ended:
        """Stop as the procedure declares, or as people say if that sends traffic to a provider in doubt."""
        skips = self.request.emergency or self.driving.escalated
        wanted = self.ends.goes_back_to(stopping.fallback)
        if wanted is None or not wants_before_return(self.known().plan.approvals, emergency=skips):
            return await self.ends.stop_short(stopping)
        why = await self._why_not_return(stopping, wanted)
        if why is None:
            return await self.ends.stop_short(stopping)
        return await self.ends.put_back(Outcome.HELD, f"{stopping.reason} {why}", None)

    async def _why_not_return(self, stopping: Stopping, wanted: Distribution) -> str | None:
        """Ask people while a provider that would rise is in doubt; → why traffic does not return, None if it does."""
        state = self.known()
        if self.driving.approval is None:
            doubts = await self._doubts(wanted)
            if not doubts:
                return None
            text = f"{state.plan.subject}: {stopping.reason} Approve putting back {render(wanted)}, though {doubts}?"
            state.stopping, self.driving.stage = stopping, Stage.HOLDING
            self._ask(ApprovalPoint.DOUBTFUL_ROLLBACK, PUT_BACK, text)

        async def look_again() -> None:
            self.stop_if_ordered()
            doubts = await self._doubts(wanted)
            asked = self.driving.approval
            if asked is not None and not asked.rejected_by and not doubts:
                self.settle("No longer asked: whoever would get more traffic is known to be well, or to be down.")

        return await self._answered(look_again)

    async def _doubts(self, wanted: Distribution) -> str:
        """Name the providers that would get more traffic and are not known to be well; "" if there are none."""
        state = self.known()
        gaining = rising(state.now, wanted)
        look = await data_plane.look(state.plan.route, gaining) if gaining else None
        if isinstance(look, str):
            return f"nobody can tell how {', '.join(gaining)} does: {look}"
        if look is None:
            return ""
        if not self.route.is_ours(look):
            raise self.route.superseded(look.author, "it was changed meanwhile")
        self.route.learn(look.verdicts)
        doubts = in_doubt(look.found.distribution, wanted, look.verdicts)
        return "; ".join(f"{name} is in doubt: {why}" for name, why in doubts.items())

    # Questions

    async def failed(self, step: Step, reason: str) -> bool:
        """What the procedure does about a failed step; where a person is asked, whether to go on (or to try again)."""
        state = self.known()
        self.journal.note(f"{step.name} failed: {reason}")
        if state.plan.on_failure is Fallback.ASK:
            return await self.ask(step, reason, state.plan.on_doubt, failed=True)
        outcome = Outcome.ROLLED_BACK if state.plan.on_failure is Fallback.ROLL_BACK else Outcome.STOPPED
        raise await self.stop_short(outcome, f"{step.name} failed: {reason}.", state.plan.on_failure)

    async def ask(self, step: Step, reason: str, on_doubt: Fallback, *, failed: bool = False) -> bool:
        """Wait for a person: retry (False), go on (True), or an abort. Data that decides is an answer too."""
        if self.driving.question is None:
            self._ask_what_now(step, reason, on_doubt, failed=failed)
        while (asked := self.driving.question) is not None:
            if workflow.now() >= asked.deadline:
                self.driving.question = None
                outcome = Outcome.ROLLED_BACK if on_doubt is Fallback.ROLL_BACK else Outcome.STOPPED
                raise await self.stop_short(outcome, f"{asked.text}. Nobody answered in time.", on_doubt)
            remind = self._remind_of(asked)
            await self.wait_for_people(min(asked.deadline, remind or asked.deadline), "until somebody decides")
            if (answer := self._answer_to_question()) is not None:
                return answer
            decision = await self.look_at_gates(over=True)
            if not asked.failed:
                await self.act_on_failure(decision)
            self._ask_as_of_now(step, decision)
            if not asked.failed and decision.action is Action.PROCEED and not self.driving.paused:
                self.driving.question = None
                self.journal.note(f"No longer in doubt: {decision.reason}")
        # What the data settle is the gate; a step that waits for orders waits for them all the same.
        return not step.waits_for_orders

    def _ask_what_now(self, step: Step, reason: str, on_doubt: Fallback, *, failed: bool) -> None:
        now, default = workflow.now(), on_doubt.value.replace("_", " ")
        self.driving.question = Question(
            step=step.name,
            text=reason,
            asked_at=now,
            deadline=now + self.known().plan.gating.ask_deadline,
            default=default,
            failed=failed,
        )
        self.journal.announce("question", f"{reason}. What now: advance, retry or abort? Otherwise: {default}.")
        self._say_question()

    def _say_question(self) -> None:
        asked = self.driving.question
        assert asked is not None
        self.herald.update(f"{asked.step}: {asked.text}. Drive it: `failoverctl watch {me()}`", urgent=True)

    def _remind_of(self, asked: Question) -> datetime | None:
        """Tell people again, if it is time; → when the next time is."""
        approvals = self.known().plan.approvals
        due = next_reminder(asked, approvals)
        if due is None or workflow.now() < due:
            return due
        self.driving.question = asked = replace(asked, reminders=asked.reminders + 1)
        self.journal.note(f"{asked.step} still waits for a decision; people are told again.")
        self._say_question()
        return next_reminder(asked, approvals)

    def _ask_as_of_now(self, step: Step, decision: Decision) -> None:
        """What is asked about is what is so now; that it has failed meanwhile is told at once."""
        before, held = self.driving.question, self.known().held
        if before is None or held is None or held.name != step.name:
            return  # A step that could not be set: the gates of the one before say nothing about that.
        now = as_of_now(before, decision)
        self.driving.question = now
        if now.failed and not before.failed:
            self.journal.note(f"{step.name} has failed while people were asked: {now.text}")
            self._say_question()
        self.journal.refresh()

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

    def open_thread(self, text: str, doing: str) -> None:
        """Tell people of the run, once."""
        subject, provider = self.known().plan.subject, self.provider
        self.herald.opened(subject, text, doing, providers=[provider])

    async def wait_for_people(self, until: datetime, summary: str) -> None:
        """Wait until an order comes, the next sample is due, or `until`; all of it counts as waiting for people."""
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
