"""How every ramp runs its plan: claim the route, then step by step set, verify, hold behind gates; and how each ends.

A procedure brings the order for its brief, a pure function from brief to plan, and what comes before the first step. All
else is here once: approvals, questions, pauses, aborts, rolling back, superseding, continuing as new.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from temporalio import workflow
from temporalio.exceptions import FailureError, is_cancelled_exception

from activities.ramping import BriefOrder, GateSampleOrder, RouteLook
from activities.traffic import Written
from failover.config import ApprovalPoint, Kpis
from failover.distribution import Distribution, render
from failover.driving import ApprovalRequest, Driving, Question, Stage, Verb, ask_approval, next_reminder, wants
from failover.failback import Recovery
from failover.gates import Action, Decision, GateSample, GateState, after, after_error, decide, fresh, would_have_failed
from failover.health import Verdict
from failover.incident import Moments, Outcome, RouteShift, RunRecord, Sample, TimelineEntry, Trigger
from failover.messages import Asked, MessageRef
from failover.observing import OwnRequests, counting_ours
from failover.policy import Change, ChangedBy, Revision
from failover.ramp import (
    Fallback,
    RampBrief,
    RampPlan,
    Step,
    cool_down_left,
    describe,
    rising,
    why_not_rise,
    within_budget,
)
from failover.requests import RampRequest, RunResult
from failover.restoration import Expectation
from failover.units import render_duration
from workflows import data_plane
from workflows.driven import Driven, carried_by, continue_with, grown_long
from workflows.ending import PATIENCE, Ended, close, unreadable, within
from workflows.herald import Herald
from workflows.journal import Journal

KEPT_SAMPLES = 100
"""Samples kept for the report; a longer run keeps every other one, and so on."""

CLAIM_ATTEMPTS = 5

Planner = Callable[[RampBrief], RampPlan]


class Place(StrEnum):
    """Where in the plan a run is."""

    APPROVE = "approve"
    SET = "set"
    HOLD = "hold"


@dataclass(slots=True, kw_only=True)
class RampState:
    """All that a run knows of itself; what a run that continues as new is handed.

    `index` is the step that `place` speaks of, `held` the one whose gates are sampled; `revision` and `now` are what this
    run wrote last, `good` the last distribution that passed. `settle_left` and `left` are what remains of the hold.
    """

    brief: RampBrief
    plan: RampPlan
    place: Place = Place.APPROVE
    index: int = 0
    revision: Revision
    now: dict[str, int] = field(default_factory=dict)
    good: dict[str, int] = field(default_factory=dict)
    settle_left: timedelta = timedelta(0)
    left: timedelta = timedelta(0)
    since: datetime | None = None
    seen_at: datetime | None = None
    held: Step | None = None
    gates: list[GateState] = field(default_factory=list)
    orders_until: datetime | None = None
    synthetic: int = 0
    ours: OwnRequests = field(default_factory=OwnRequests)
    waited: timedelta = timedelta(0)
    samples: list[Sample] = field(default_factory=list)
    verdicts: list[Verdict] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    read_back: Written | None = None
    written: bool = False
    steps_set: int = 0


@dataclass(slots=True, kw_only=True)
class Carried:
    """What a run leaves to the one that continues it."""

    state: RampState | None
    recovery: Recovery | None
    driving: Driving
    moments: Moments
    timeline: list[TimelineEntry]
    phase: str
    subject: str
    thread: MessageRef | None


class Ramp(Driven):
    """Base of the ramps. A subclass sets `procedure` and `provider`, and calls `carry_out`."""

    procedure = ""
    verbs: Sequence[Verb] = tuple(verb for verb in Verb if verb is not Verb.SET_PERCENT)

    def __init__(self) -> None:
        self.driving = Driving(verbs=self.verbs)
        self.journal = Journal(self.procedure, (), self._checklist)
        self.journal.details = self._details
        self.herald = Herald()
        self.state: RampState | None = None
        self.recovery: Recovery | None = None
        self._writes = 0

    # What a procedure may add

    async def before_planning(self, order: BriefOrder, planner: Planner) -> None:
        """Whatever must be so before the route is claimed; raises Ended where it does not become so."""

    def ordered_step(self, value: float, number: int) -> Step | None:
        """The step for a percent that an operator orders, where the procedure knows such orders."""
        return None

    async def more_steps(self) -> list[Step]:
        """Steps that only what was measured after the last one can tell."""
        return []

    @workflow.query
    def plan(self) -> RampPlan | None:
        """The plan as rendered for this run, once it is."""
        return self.state.plan if self.state else None

    # The run

    async def carry_out(self, request: RampRequest, provider: str, order: BriefOrder, planner: Planner) -> RunResult:
        """Plan, claim, step by step, and the end; or go on where a run before this one was."""
        self.request, self.provider = request.model_copy(update={"carried": None}), provider
        carried = carried_by(request, Carried)
        if carried is None:
            self.journal.open(provider, decided=workflow.info().start_time, first_bad=None, unhealthy=None)
            self.journal.concerns([request.route])
        else:
            self._take_over(carried)
        ended = await self.abortable(self._forward(order, planner), self._abandon, self._record)
        return await close(self.herald, self._record(ended), dry_run=request.dry_run)

    async def _forward(self, order: BriefOrder, planner: Planner) -> Ended:
        try:
            if self.state is None:
                await self.before_planning(order, planner)
                await self._begin(order, planner)
            await self._steps()
            return await self._completed()
        except Ended as ended:
            return ended

    async def _begin(self, order: BriefOrder, planner: Planner) -> None:
        """Read, plan and claim; all over again while somebody changes the route in between."""
        for _ in range(CLAIM_ATTEMPTS):
            brief = await self.read_brief(order)
            plan = planner(brief)
            if self.request.trigger is Trigger.AUTOMATIC:
                plan = replace(plan, approvals=within_budget(plan.approvals, brief))
            self.state = RampState(
                brief=brief,
                plan=plan,
                revision=plan.found.revision,
                now=dict(plan.found.distribution),
                good=dict(plan.found.distribution),
                verdicts=list(brief.verdicts),
            )
            self.journal.announce("plan", f"{plan.subject}: {'; '.join(plan.describe())}")
            for said in dict.fromkeys(said for step in plan.steps for said in step.said):
                self.journal.note(f"Capacity: {said}")
            if self.request.dry_run:
                raise Ended(Outcome.COMPLETED, f"Dry run, nothing was changed. Plan: {'; '.join(plan.describe())}")
            if await self._rested(brief) and await self._claim():
                return
        raise Ended(Outcome.REJECTED, "The route changed faster than it could be claimed. Nothing was changed.")

    async def _rested(self, brief: RampBrief) -> bool:
        """An automatic ramp rests after the last automatic change; False where it did, and must plan anew."""
        left = cool_down_left(brief, workflow.now())
        if self.request.trigger is not Trigger.AUTOMATIC or not left:
            return True
        self.journal.announce("cool-down", f"Resting for {render_duration(left)} since the last automatic change.")
        self.driving.stage, until = Stage.WATCHING, workflow.now() + left
        while workflow.now() < until and not (self.driving.advance or self.driving.escalated):
            await self.wait(until - workflow.now(), "cool-down")
        if self.driving.advance:
            self.driving.advance = False
            return True
        return self.driving.escalated

    async def read_brief(self, order: BriefOrder) -> RampBrief:
        """What to plan from; a run that cannot even read that fails, with nothing changed."""
        try:
            return await data_plane.brief(order)
        except FailureError as error:
            if is_cancelled_exception(error):
                raise
            raise unreadable(error, self._command()) from error

    async def _claim(self) -> bool:
        """Take the route, if need be from a holder that is no more; False where the plan is outdated already."""
        state = self._known()
        evict: str | None = None
        while True:
            written = await self._write(state.plan.found.distribution, "claim", claim=self._me(), evict=evict)
            if written.in_force:
                self.journal.note(f"Route {state.plan.route} is claimed by this run.")
                return True
            holder = written.claim
            if holder is None or holder == self._me() or written.revision != state.plan.found.revision:
                return False
            if evict == holder or await data_plane.is_open(holder):
                raise Ended(
                    Outcome.REJECTED,
                    f"Route {state.plan.route} is claimed by {holder}, which is running. Nothing was changed; "
                    "wait for its end, or abort it.",
                )
            self.journal.note(f"The claim of {holder} is stale: no such run is open. Taking it over.")
            evict = holder

    async def _steps(self) -> None:
        state = self._known()
        while state.index < len(state.plan.steps) or await self._go_further():
            self.stop_if_ordered()
            step = state.plan.steps[state.index]
            if state.place is Place.APPROVE:
                await self._approve(step)
                state.place = Place.SET
            if state.place is Place.SET:
                await self._set(step)
                state.place = Place.HOLD
            await self._hold(state.plan.steps[state.index])
            state.good = dict(state.now)
            state.place = Place.APPROVE
            state.index = self._next_index()

    async def _go_further(self) -> bool:
        state = self._known()
        more = await self.more_steps()
        state.plan = replace(state.plan, steps=[*state.plan.steps, *more])
        return bool(more)

    def _next_index(self) -> int:
        state = self._known()
        last = len(state.plan.steps) - 1
        return last if self.driving.escalated and state.index < last else state.index + 1

    # Approve

    async def _approve(self, step: Step) -> None:
        """Where an approval stands before the step, wait for it; silence is never one."""
        state = self._known()
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
                raise await self._release(Outcome.REJECTED, f"{why} No traffic was moved.")
            raise await self._may_not_go_on(Outcome.REJECTED, why, state.plan.on_failure)

    def _ask_people(self, point: ApprovalPoint, step: Step) -> None:
        state = self._known()
        text = f"{state.plan.subject}: approve {step.name}, {describe(step)}?"
        self.driving.approval = ask_approval(
            point, step.name, state.plan.digest, text, self.request.requested_by, state.plan.approvals, workflow.now()
        )
        self.journal.announce("approval", f"Waiting for {state.plan.approvals.quorum} to approve {step.name}")
        self._say_approval()

    def _say_approval(self) -> None:
        asked = self.driving.approval
        assert asked is not None
        self.herald.opened(self._known().plan.subject, asked.text, "approval needed")
        self.herald.update(f"{asked.text} Run: `{self._approve_command(asked)}`", urgent=True, asks=self._asked(asked))

    def _asked(self, asked: ApprovalRequest) -> Asked:
        return Asked(run=self._me(), step=asked.step, digest=asked.digest)

    def _settle(self, text: str) -> None:
        """The approval is decided, or no longer wanted: people are told, also where they were asked."""
        asked, self.driving.approval = self.driving.approval, None
        if asked is not None:
            self.herald.update(text, settles=self._asked(asked))

    def _approve_command(self, asked: ApprovalRequest) -> str:
        return f"failoverctl approve {self._me()} --step {asked.step} --digest {asked.digest}"

    async def _answered(self, step: Step) -> str | None:
        """Wait for the answer; → why the step may not be taken, or None. What was moved already is still watched."""
        state = self._known()
        while (asked := self.driving.approval) is not None:
            now = workflow.now()
            if self.driving.escalated or asked.agreed:
                names = ", ".join(asked.granted) or "the escalation"
                self.journal.note(f"{step.name} is approved by {names}.")
                self._settle(f"{step.name} is approved by {names}.")
                return None
            why = self._why_refused(asked, now)
            if why is not None:
                self._settle(why)
                return why
            remind = next_reminder(asked, state.plan.approvals)
            if remind is not None and now >= remind:
                self.driving.approval = replace(asked, reminders=asked.reminders + 1)
                self.journal.note(f"{step.name} still waits for an approval; people are told again.")
                self._say_approval()
            await self._wait_for_people(min(asked.deadline, remind or asked.deadline), "until somebody approves")
            if state.steps_set:
                await self._act_on_failure(await self._look_at_gates(over=False))
        return None

    def _why_refused(self, asked: ApprovalRequest, now: datetime) -> str | None:
        if asked.rejected_by:
            return f"{asked.rejected_by} rejected {asked.step}."
        if now >= asked.deadline:
            return f"Nobody approved {asked.step} within {render_duration(asked.deadline - asked.asked_at)}."
        return None

    # Set

    async def _set(self, step: Step) -> None:
        """Write the step's distribution and prove that it is obeyed; a step that cannot be proved has failed."""
        state = self._known()
        self.driving.stage = Stage.WRITING
        self.journal.announce(step.name, f"{describe(step)}")
        self.herald.opened(state.plan.subject, "; ".join(state.plan.describe()), "traffic is being moved")
        why = await self._why_not_step(step)
        if why is None:
            written = await self._write(step.distribution, step.name, claim=self._me())
            if not written.in_force:
                raise self._superseded(written.author, written.reason)
            state.steps_set += 1
            why = await self._verify(step.distribution)
        if why is not None:
            await self._failed(step, why)
            return await self._set(step)
        self._mark_first_step()
        self._start_hold(step)
        return None

    def _mark_first_step(self) -> None:
        moments = self.journal.moments
        assert moments is not None
        if moments.in_force is None:
            self.journal.mark(in_force=workflow.now(), verified=workflow.now())

    async def _why_not_step(self, step: Step) -> str | None:
        state = self._known()
        gaining = rising(state.now, step.distribution)
        if not gaining:
            return None
        look = await data_plane.look(state.plan.route, gaining)
        if isinstance(look, str):
            return f"The route could not be looked at before the step: {look}"
        self._learn(look.verdicts)
        return why_not_rise(state.now, step.distribution, {v.provider: v.reason for v in look.verdicts if v.down})

    def _learn(self, verdicts: Sequence[Verdict]) -> None:
        state = self._known()
        known = {verdict.provider: verdict for verdict in [*state.verdicts, *verdicts]}
        state.verdicts = list(known.values())

    async def _verify(self, distribution: Distribution) -> str | None:
        """Why the distribution is not known to be in force, or None."""
        state = self._known()
        expected = Expectation(route=state.plan.route, share=dict(distribution), evacuated=None, strict=True)
        verification = await data_plane.verify([expected], state.plan.verify_timeout)
        for written in verification.in_force:
            if written.author != self._me():
                raise self._superseded(written.author, verification.reason)
            state.read_back = written
        self.journal.note(f"{'Verified' if verification.verified else 'Not verified'}: {verification.reason}")
        return None if verification.verified is True else f"The step could not be verified: {verification.reason}"

    # Hold

    def _start_hold(self, step: Step) -> None:
        state = self._known()
        skips = self.request.emergency or self.driving.escalated
        state.held = step
        state.settle_left = timedelta(0) if skips else step.settle
        state.left = step.hold
        state.since = state.seen_at = state.orders_until = None
        state.gates = fresh(step.gates)
        state.ours = OwnRequests()

    async def _hold(self, step: Step) -> None:
        """Wait behind the step's gates, sampled all through, until they pass, somebody orders otherwise, or they fail."""
        state = self._known()
        self.driving.stage = Stage.HOLDING
        last = state.index == len(state.plan.steps) - 1
        if not (step.settle or step.hold or step.waits_for_orders):
            return
        while True:
            over = state.settle_left <= timedelta(0) and state.left <= timedelta(0) and not self.driving.paused
            decision = await self._look_at_gates(over=over)
            if await self._has_passed(step, decision, last=last):
                return
            await self.continue_as_new_if_long()
            await self._wait_in_hold()
            if self.driving.advance:
                self.driving.advance = False
                self.journal.note("The wait was ended by order.")
                return

    async def _has_passed(self, step: Step, decision: Decision, *, last: bool) -> bool:
        state = self._known()
        if self.driving.escalated and not last:
            return True
        if self._take_ordered_percent():
            return True
        match decision.action:
            case Action.FAIL:
                return await self._failed(step, decision.reason)
            case Action.HASTEN:
                self.journal.note(f"Going on faster: {decision.reason}")
                return not self.driving.paused
            case Action.ASK:
                return await self._ask(step, decision.reason, state.plan.on_doubt)
            case Action.PROCEED:
                if step.waits_for_orders:
                    await self._await_orders(step)
                    return self.driving.advance or self._take_ordered_percent()
                self.journal.note(f"{step.name} passed: {decision.reason}")
                return True
        return False

    async def _wait_in_hold(self) -> None:
        state = self._known()
        interval = state.plan.gating.sample_interval
        remaining = state.settle_left or state.left
        frozen = self.driving.paused or remaining <= timedelta(0)
        began = workflow.now()
        what = "paused" if self.driving.paused else "hold"
        await self.wait(interval if frozen else min(interval, remaining), f"{what}: until the next sample")
        passed = workflow.now() - began
        if frozen:
            state.waited += passed
        elif state.settle_left > timedelta(0):
            state.settle_left = max(timedelta(0), state.settle_left - passed)
        else:
            state.left = max(timedelta(0), state.left - passed)

    async def _await_orders(self, step: Step) -> None:
        """A canary that waits: the gates are watched on, and silence ends in what the plan declares."""
        state = self._known()
        if state.orders_until is None:
            state.orders_until = workflow.now() + state.plan.orders_deadline
            self.journal.note(f"{step.name} holds and waits for orders until {state.orders_until:%H:%M:%S} UTC.")
            self.herald.update(f"{step.name} does well and waits for orders.", urgent=True)
        self.driving.stage = Stage.ORDERS
        if workflow.now() >= state.orders_until:
            raise await self._may_not_go_on(
                Outcome.ROLLED_BACK, "Nobody ordered anything in time.", state.plan.on_doubt
            )

    def _take_ordered_percent(self) -> bool:
        """Put the step that was ordered next; the plan is another one then, with a digest of its own."""
        state, value = self._known(), self.driving.percent
        if value is None:
            return False
        self.driving.percent = None
        step = self.ordered_step(value, len(state.plan.steps) + 1)
        if step is None:
            return False
        state.plan = replace(state.plan, steps=[*state.plan.steps[: state.index + 1], step])
        self.journal.note(f"Next by order: {describe(step)}")
        return True

    async def _look_at_gates(self, *, over: bool) -> Decision:
        """One sample and what it amounts to; somebody else's change ends the run."""
        self.stop_if_ordered()
        state = self._known()
        gates = state.held.gates if state.held else ()
        sample = await data_plane.gate_sample(self._sample_order())
        if isinstance(sample, GateSample) and sample.revision != str(state.revision):
            await self._reassert(sample)
        if state.settle_left <= timedelta(0):
            self._judge(gates, sample)
        elif isinstance(sample, GateSample):
            state.seen_at = sample.at
        self.journal.refresh()
        return decide(gates, {one.name: one for one in state.gates}, over=over)

    async def _reassert(self, sample: GateSample) -> None:
        """Another policy is in force: somebody else's ends the run; one of ours, from before a reset, is written over."""
        if sample.author != self._me():
            raise self._superseded(sample.author, "the policy in force is another")
        written = await self._write(self._known().now, "again", claim=self._me())
        if not written.in_force:
            raise self._superseded(written.author, written.reason)

    def _judge(self, gates: Sequence[Any], sample: GateSample | str) -> None:
        state = self._known()
        if isinstance(sample, GateSample) and state.seen_at is not None and sample.at <= state.seen_at:
            sample = "the counters stand still"
        if isinstance(sample, str):
            state.gates = [after_error(one, sample) for one in state.gates]
            return
        state.seen_at = sample.at
        if state.since is None:
            state.since = sample.at  # On the data plane's own clock: ours may differ.
            return
        state.synthetic += sample.synthetic
        state.ours = state.ours.and_those_of(sample)
        counted = counting_ours(sample, state.plan.synthetic, state.ours)
        before = {one.name: one.last for one in state.gates}
        states = {one.name: one for one in state.gates}
        state.gates = [after(gate, states[gate.name], counted) for gate in gates]
        for one in state.gates:
            if one.last is not before[one.name]:
                self.journal.note(f"{one.last.value}: {one.reason}")
        self._keep(sample.users)

    def _keep(self, sample: Sample) -> None:
        state = self._known()
        state.samples.append(sample)
        if len(state.samples) > KEPT_SAMPLES:
            state.samples = state.samples[::2]

    def _sample_order(self) -> GateSampleOrder:
        state = self._known()
        wanted = self.request.synthetic_per_sample
        wanted = state.plan.gating.synthetic_per_sample if wanted is None else wanted
        left = max(0, state.plan.gating.synthetic_limit - state.synthetic)
        return GateSampleOrder(
            route=state.plan.route,
            window=state.plan.gating.window,
            since=state.since,
            provider=state.plan.synthetic,
            synthetic=min(wanted, left) if state.since else 0,
        )

    # Failures and questions

    async def _failed(self, step: Step, reason: str) -> bool:
        """What the procedure does about a failed step; where a person is asked, whether to go on (or to try again)."""
        state = self._known()
        self.journal.note(f"{step.name} failed: {reason}")
        if state.plan.on_failure is Fallback.ASK:
            return await self._ask(step, reason, state.plan.on_doubt, failed=True)
        outcome = Outcome.ROLLED_BACK if state.plan.on_failure is Fallback.ROLL_BACK else Outcome.STOPPED
        raise await self._may_not_go_on(outcome, f"{step.name} failed: {reason}.", state.plan.on_failure)

    async def _ask(self, step: Step, reason: str, on_doubt: Fallback, *, failed: bool = False) -> bool:
        """Wait for a person: retry (False), go on (True), or an abort. Data that decides is an answer too."""
        state = self._known()
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
            self.herald.update(f"{step.name}: {reason}. Drive it: `failoverctl watch {self._me()}`", urgent=True)
        asked = self.driving.question
        while True:
            if workflow.now() >= asked.deadline:
                self.driving.question = None
                outcome = Outcome.ROLLED_BACK if on_doubt is Fallback.ROLL_BACK else Outcome.STOPPED
                raise await self._may_not_go_on(outcome, f"{reason}. Nobody answered in time.", on_doubt)
            await self._wait_for_people(asked.deadline, "until somebody decides")
            if (answer := self._answer_to_question()) is not None:
                return answer
            decision = await self._look_at_gates(over=True)
            if not failed and decision.action is Action.PROCEED and not self.driving.paused:
                self.driving.question = None
                self.journal.note(f"No longer in doubt: {decision.reason}")
                return True
            if not failed:
                await self._act_on_failure(decision)

    def _answer_to_question(self) -> bool | None:
        state, driving = self._known(), self.driving
        if driving.retry:
            driving.retry, driving.question = False, None
            if state.place is Place.HOLD:
                self._start_hold(state.plan.steps[state.index])
            return False
        if driving.advance or driving.escalated or self._take_ordered_percent():
            driving.advance, driving.question = False, None
            return True
        return None

    async def _act_on_failure(self, decision: Decision) -> None:
        """A gate broke while people were being asked: act, unless they are what the procedure would turn to anyway."""
        state = self._known()
        if decision.action is Action.FAIL and state.held and state.plan.on_failure is not Fallback.ASK:
            self.driving.question = None
            self._settle(f"No longer asked: {decision.reason}.")
            await self._failed(state.held, decision.reason)

    async def _may_not_go_on(self, outcome: Outcome, reason: str, fallback: Fallback) -> Ended:
        """The end of a ramp that stops short, as its procedure declares."""
        state = self._known()
        if fallback is Fallback.ROLL_BACK:
            return await self._put_back(outcome, reason, state.plan.found.distribution)
        if fallback is Fallback.STEP_BACK:
            return await self._put_back(outcome, reason, state.good)
        return await self._release(Outcome.HELD if outcome is not Outcome.REJECTED else outcome, reason)

    # Ends

    async def _completed(self) -> Ended:
        state = self._known()
        self.journal.mark(restored=workflow.now())
        return await self._release(
            Outcome.COMPLETED, f"{state.plan.subject}: done, {render(state.now)} is in force and verified."
        )

    async def _release(self, outcome: Outcome, reason: str) -> Ended:
        """End with what is in force, and give the route free."""
        state = self._known()
        if not state.written:
            return Ended(outcome, reason)
        self.driving.stage = Stage.PUTTING_BACK if outcome is not Outcome.COMPLETED else Stage.WRITING
        try:
            written = await self._write(state.now, "release", claim="")
        except Ended as ended:
            state.notes.append(f"The claim was not given back: {ended.reason} It is stale once this run is over.")
            return Ended(outcome, reason)
        if not written.in_force:
            return self._superseded(written.author, written.reason)
        state.read_back = written
        keeps = state.steps_set and outcome is not Outcome.COMPLETED
        held = f" Held as it stands: {render(state.now)}." if keeps else ""
        return Ended(outcome, f"{reason}{held}")

    async def _put_back(self, outcome: Outcome, reason: str, distribution: Distribution | None) -> Ended:
        """Write a distribution of before and prove it, within the deadline; or say which command a person must run.

        None: what is in force is held, as a revision of ours, so that no late write of a step can change it.
        """
        state = self._known()
        self.driving.stage = Stage.PUTTING_BACK
        doing = f"Putting back {render(distribution)}." if distribution is not None else "Holding what is in force."
        self.journal.announce("put back", f"{reason} {doing}")
        try:
            return await within(state.plan.abort_timeout, self._write_back(outcome, reason, distribution))
        except Ended as error:
            if error.outcome is Outcome.SUPERSEDED:
                return error
            why = error.reason
        except TimeoutError:
            why = f"nothing was proved within {render_duration(state.plan.abort_timeout)}"
        found = f"what was found ({render(distribution)})" if distribution is not None else "what is in force"
        done = "put back" if distribution is not None else "held for sure"
        return Ended(Outcome.NEEDS_HUMAN, f"{reason} But {found} could not be {done}: {why}.", self._command())

    async def _write_back(self, outcome: Outcome, reason: str, wanted: Distribution | None) -> Ended:
        """Until it is accepted, or somebody else's change is seen; `wanted` None: whatever is in force is held.

        Written as a new revision even where nothing seems to differ: a write of ours that comes late is refused then.
        """
        state = self._known()
        while True:
            look = await self._look_until_known(wanted)
            if not self._is_ours(look):
                return self._superseded(look.author, "it was changed meanwhile")
            held, distribution = self._safe(look, wanted)
            state.revision, state.now = look.found.revision, dict(look.found.distribution)
            written = await self._write(distribution, "put-back", claim="")
            if not written.in_force:
                continue
            why = await self._verify(distribution)
            if why is not None:
                raise Ended(Outcome.NEEDS_HUMAN, why)
            if held:
                return Ended(Outcome.HELD if outcome is not Outcome.ABORTED else outcome, f"{reason} {held}")
            return Ended(outcome, f"{reason} {render(distribution)} is in force, verified.")

    async def _look_until_known(self, wanted: Distribution | None) -> RouteLook:
        state = self._known()
        gaining = rising(state.now, wanted) if wanted is not None else []
        look = await data_plane.look(state.plan.route, gaining)
        while isinstance(look, str):
            self.journal.note(f"The route could not be looked at: {look}")
            await workflow.sleep(timedelta(seconds=1), summary="until the data plane answers")
            look = await data_plane.look(state.plan.route, gaining)
        self._learn(look.verdicts)
        return look

    def _safe(self, look: RouteLook, wanted: Distribution | None) -> tuple[str, Distribution]:
        """What may be written: never more traffic for a provider known to be down."""
        if wanted is None:
            return f"Held as it stands: {render(look.found.distribution)}.", look.found.distribution
        down = {verdict.provider: verdict.reason for verdict in look.verdicts if verdict.down}
        why = why_not_rise(look.found.distribution, wanted, down)
        if why is None:
            return "", wanted
        return f"Held at {render(look.found.distribution)}, not put back: {why}.", look.found.distribution

    def _is_ours(self, look: RouteLook) -> bool:
        return look.author == self._me() or look.found.revision == self._known().plan.found.revision

    async def _abandon(self) -> Ended:
        """Aborted or cancelled, at whatever moment: put back what was found, or hold, as ordered."""
        order = self.driving.abort
        actor = f"Aborted by {order.actor}." if order else "Cancelled."
        self.driving.question = None
        self._settle(f"No longer asked: {actor}")
        self.driving.stage = Stage.PUTTING_BACK
        if self.state is None or not self.state.written:
            return Ended(Outcome.ABORTED, f"{actor} No traffic had been moved.")
        if order is not None and order.mode == "hold":
            return await self._put_back(Outcome.ABORTED, actor, None)
        return await self._put_back(Outcome.ABORTED, actor, self.state.plan.found.distribution)

    def _superseded(self, author: str, why: str) -> Ended:
        state = self._known()
        return Ended(
            Outcome.SUPERSEDED,
            f"{author or 'Somebody'} changed route {state.plan.route} under this run ({why}). It is theirs now; "
            "this run touches nothing more.",
        )

    # Writing

    async def _write(
        self,
        distribution: Distribution,
        step: str,
        *,
        claim: str | None = None,
        evict: str | None = None,
    ) -> Written:
        """One change of the route, on the revision that this run knows; a write of our own before it is no rival's."""
        state, info = self._known(), workflow.info()
        for _ in range(CLAIM_ATTEMPTS):
            self._writes += 1
            change = Change(
                route=state.plan.route,
                decided_on=state.revision,
                key=f"{info.workflow_id}/{info.run_id}/{self._writes}",
                distribution=dict(distribution),
                mode=state.plan.found.mode if step == "put-back" else None,
                degraded=state.plan.found.degraded if step == "put-back" else None,
                claim=claim,
                evict_claim=evict,
                changed_by=ChangedBy(
                    actor=self.request.requested_by or "failover",
                    workflow_id=info.workflow_id,
                    run_id=info.run_id,
                    step=step,
                ),
                reason=self.request.reason or f"{state.plan.procedure} {step}",
            )
            state.written = True
            try:
                [written] = await data_plane.write([change], f"{step}: {render(distribution)}")
            except data_plane.WriteFailed as error:
                raise await self._unwritten(step, str(error)) from error
            if written.in_force:
                assert written.revision is not None
                state.revision, state.now, state.read_back = written.revision, dict(distribution), written
                return written
            if written.author != self._me() or written.revision is None or step in ("claim", "put-back"):
                return written
            state.revision = written.revision  # Ours: from before a reset, or one that came late.
        return written

    async def _unwritten(self, step: str, why: str) -> Ended:
        reason = f"The data plane took no change ({step}): {why}."
        if step in ("put-back", "release", "claim"):
            return Ended(Outcome.NEEDS_HUMAN, reason, self._command())
        return await self._put_back(Outcome.ROLLED_BACK, reason, self._known().plan.found.distribution)

    # Waiting

    async def _wait_for_people(self, until: datetime, summary: str) -> None:
        state = self._known()
        await self.continue_as_new_if_long()
        began = workflow.now()
        interval = state.plan.gating.sample_interval if state.steps_set else until - began
        await self.wait(max(timedelta(milliseconds=1), min(interval, until - began)), summary)
        state.waited += workflow.now() - began

    async def continue_as_new_if_long(self) -> None:
        if not grown_long():
            return
        self.journal.notes += await self.herald.finish(PATIENCE)
        assert self.journal.moments is not None
        carried = Carried(
            state=self.state,
            recovery=self.recovery,
            driving=self.driving,
            moments=self.journal.moments,
            timeline=self.journal.timeline[-200:],
            phase=self.journal.phase,
            subject=self.herald.subject,
            thread=self.herald.thread,
        )
        continue_with(self.request, carried)

    def _take_over(self, carried: Carried) -> None:
        self.state, self.recovery, self.driving = carried.state, carried.recovery, carried.driving
        self.driving.verbs = self.verbs
        self.journal.moments, self.journal.timeline = carried.moments, carried.timeline
        self.journal.phase = carried.phase
        self.journal.routes = [self.request.route]
        self.journal.provider = self.provider
        self.herald = Herald(carried.subject, carried.thread)
        self.journal.note("Continued as a new run: the history had grown long.")

    # Telling

    def _record(self, ended: Ended) -> RunRecord:
        self.driving.stage = Stage.CLOSED
        moments = self.journal.close(ended.outcome, ended.reason)
        state, info = self.state, workflow.info()
        notes = [*self.journal.notes, *(state.notes if state else [])]
        if state:
            gates = state.plan.steps[min(state.index, len(state.plan.steps) - 1)].gates
            notes += would_have_failed(gates, {one.name: one for one in state.gates}) if state.gates else []
        return RunRecord(
            procedure=self.procedure,
            workflow_id=info.workflow_id,
            run_id=info.run_id,
            trigger=self.request.trigger,
            requested_by=self.request.requested_by,
            request_reason=self.request.reason,
            provider=self.provider,
            subject=state.plan.subject if state else self.request.route,
            verdict=next((v for v in state.verdicts if v.provider == self.provider), None) if state else None,
            outcome=ended.outcome,
            reason=ended.reason,
            command=ended.command,
            moments=moments,
            waited_for_people=state.waited if state else timedelta(0),
            routes=self._route_shifts(),
            timeline=self.journal.timeline,
            samples=state.samples if state else [],
            impact=None,
            notes=notes,
            kpis=state.brief.kpis if state else Kpis(),
            plan=state.plan.describe() if state else [],
            digest=state.plan.digest if state else "",
            undoes=state.brief.origin.workflow_id if state and state.brief.origin else "",
        )

    def _route_shifts(self) -> list[RouteShift]:
        state = self.state
        if state is None or state.read_back is None:
            return []
        return [
            RouteShift(
                route=state.plan.route,
                before=dict(state.plan.found.distribution),
                after=dict(state.read_back.distribution),
                target=None,
                revision=str(state.read_back.revision),
            )
        ]

    def _checklist(self) -> list[str]:
        """What the Web UI shows first: the steps, the present one and what it waits for, and how to drive it."""
        state = self.state
        if state is None:
            return [f"- [ ] {self.procedure}: {self.journal.phase}"]
        lines = [f"**{state.plan.subject}**, plan `{state.plan.digest}`", ""]
        for number, step in enumerate(state.plan.steps):
            done = "x" if number < state.index else " "
            here = " ← now" if number == state.index and self.journal.outcome is None else ""
            lines.append(f"- [{done}] {step.name}: {describe(step)}{here}")
        return [*lines, "", *self._situation(), *(f"- gate {one.last.value}: {one.reason}" for one in state.gates)]

    def _situation(self) -> list[str]:
        state, driving = self._known(), self.driving
        lines = []
        if driving.approval is not None:
            lines.append(
                f"**Waiting for approval** of {driving.approval.step}: `{self._approve_command(driving.approval)}`"
            )
        if driving.question is not None:
            asked = driving.question
            lines.append(f"**In doubt**: {asked.text}. At {asked.deadline:%H:%M:%S} UTC: {asked.default}.")
        if driving.paused:
            lines.append("**Paused.**")
        left = state.settle_left + state.left
        if driving.stage is Stage.HOLDING and left:
            lines.append(
                f"Next step in {render_duration(timedelta(seconds=round(left.total_seconds())))} if the gates pass."
            )
        waited = timedelta(seconds=round(state.waited.total_seconds()))
        lines.append(
            f"Waited for people {render_duration(waited)}. Orders taken now: {', '.join(driving.accepted_now())}."
        )
        return lines

    def _details(self) -> dict[str, Any]:
        """What `failoverctl watch` and the tools of others read."""
        state, driving = self.state, self.driving
        if state is None:
            return {"accepted_now": driving.accepted_now()}
        return {
            "subject": state.plan.subject,
            "digest": state.plan.digest,
            "steps": state.plan.describe(),
            "step": state.index,
            "distribution": {name: points / 100 for name, points in state.now.items()},
            "left_seconds": (state.settle_left + state.left).total_seconds(),
            "paused": driving.paused,
            "stage": driving.stage.value,
            "gates": [{"name": g.name, "verdict": g.last.value, "reason": g.reason} for g in state.gates],
            "approval": _plain_approval(driving.approval),
            "question": driving.question.text if driving.question else None,
            "waited_seconds": state.waited.total_seconds(),
            "accepted_now": driving.accepted_now(),
            "samples": [
                {"requests": s.requests, "failed": s.failed, "first_tries": dict(s.first_tries)}
                for s in state.samples[-60:]
            ],
        }

    def _known(self) -> RampState:
        assert self.state is not None
        return self.state

    def _me(self) -> str:
        return workflow.info().workflow_id

    def _command(self) -> str:
        return f"failoverctl restore {self.request.route} --yes"

    request: RampRequest
    provider: str


def _plain_approval(asked: ApprovalRequest | None) -> dict[str, Any] | None:
    if asked is None:
        return None
    return {
        "step": asked.step,
        "digest": asked.digest,
        "text": asked.text,
        "granted": list(asked.granted),
        "quorum": asked.quorum,
        "deadline": asked.deadline.isoformat(),
    }
