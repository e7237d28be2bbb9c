"""How every ramp runs its plan: claim the route, then step by step approve, set, hold behind gates.

A procedure brings the order for its brief, a pure function from brief to plan, and what comes before the first step. Beside
this file: the state (ramp_state), the route as it is claimed and written (claimed_route), its gates (gate_watch), what
people are asked (asking), how it ends (ramp_ends) and what is told of it (ramp_telling).
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta

from temporalio import workflow

from activities.ramping import BriefOrder
from failover.driving import Driving, Stage, Verb
from failover.errors import Refusal, RequestError
from failover.failback import Recovery
from failover.gates import Action, Decision
from failover.incident import Outcome, RunRecord, Trigger
from failover.ramp import RampBrief, RampPlan, Step, as_of, certified, cool_down_left, describe, within_budget
from failover.requests import RampRequest, RunResult
from failover.units import render_duration
from workflows import data_plane, ramp_telling
from workflows.asking import Asking
from workflows.claimed_route import ClaimedRoute, command
from workflows.driven import carried_by, continue_with, grown_long
from workflows.ending import PATIENCE, Ended, close, first_read
from workflows.gate_watch import GateWatch
from workflows.herald import Herald
from workflows.journal import Journal
from workflows.ramp_ends import RampEnds
from workflows.ramp_state import Carried, Place, RampState
from workflows.signing import me

CLAIM_ATTEMPTS = 5

DAY = timedelta(days=1)

Planner = Callable[[RampBrief], RampPlan]


class Ramp(Asking):
    """Base of the ramps. A subclass sets `procedure` and `provider`, and calls `carry_out`."""

    procedure = ""
    verbs: Sequence[Verb] = tuple(verb for verb in Verb if verb is not Verb.SET_PERCENT)
    provider: str

    def __init__(self) -> None:
        self.driving = Driving(verbs=self.verbs)
        self.journal = Journal(
            self.procedure, (), lambda: ramp_telling.checklist(self.state, self.driving, self.journal)
        )
        self.journal.details = lambda: ramp_telling.details(self.state, self.driving)
        self.herald = Herald()
        self.state: RampState | None = None
        self.recovery: Recovery | None = None

    # What a procedure may add

    async def before_planning(self, order: BriefOrder, planner: Planner) -> None:
        """Prepare what must be so before the route is claimed; raise Ended if it does not become so."""

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
            began = workflow.info().start_time
            self.journal.open(provider, decided=began, first_bad=None, unhealthy=None, counted=not request.dry_run)
            self.journal.concerns([request.route])
        else:
            self._take_over(carried)
        ended = await self.abortable(self._forward(order, planner), self._abandon, self.record, dry_run=request.dry_run)
        return await close(self.herald, self.record(ended), dry_run=request.dry_run)

    def _know(self, state: RampState) -> None:
        self.state = state
        self.route = ClaimedRoute(self.request, state, self.journal)
        self.gates = GateWatch(self.request, state, self.journal, self.route)
        self.ends = RampEnds(self.request, state, self.driving, self.journal, self.route)

    async def _forward(self, order: BriefOrder, planner: Planner) -> Ended:
        try:
            if self.state is None:
                await self.before_planning(order, planner)
                await self._begin(order, planner)
            await self._steps()
            return await self.ends.completed()
        except Ended as ended:
            return ended
        except Refusal as refusal:
            return Ended(Outcome.REJECTED, f"{refusal} Nothing was changed.")

    async def _begin(self, order: BriefOrder, planner: Planner) -> None:
        """Read, plan and claim; all over again while somebody changes the route in between."""
        for _ in range(CLAIM_ATTEMPTS):
            brief = await self.read_brief(order)
            plan = certified(planner(brief), brief)
            if self.request.trigger is Trigger.AUTOMATIC:
                plan = replace(plan, approvals=within_budget(plan.approvals, brief))
            self._know(
                RampState(
                    brief=brief,
                    plan=plan,
                    revision=plan.found.revision,
                    now=dict(plan.found.distribution),
                    good=dict(plan.found.distribution),
                    verdicts=list(brief.verdicts),
                    writes=self.state.writes if self.state else 0,
                )
            )
            self.journal.announce("plan", f"{plan.subject}: {'; '.join(plan.describe())}")
            for said in dict.fromkeys(said for step in plan.steps for said in step.said):
                self.journal.note(f"Capacity: {said}")
            if plan.remark:
                self.journal.remark(plan.remark)
            if self.request.dry_run:
                raise Ended(Outcome.COMPLETED, f"Dry run, nothing was changed. Plan: {'; '.join(plan.describe())}")
            if await self._rested(brief) and await self.route.claim():
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
        reading = data_plane.brief(replace(order, automatic=self.request.trigger is Trigger.AUTOMATIC))
        return as_of(await first_read(reading, command(self.request)), workflow.now())

    async def _steps(self) -> None:
        state = self.known()
        if state.stopping is not None:
            raise await self.stop(state.stopping)
        while state.index < len(state.plan.steps) or await self._go_further():
            self.stop_if_ordered()
            step = state.plan.steps[state.index]
            if state.place is Place.APPROVE:
                await self.approve_step(step)
                state.place = Place.SET
            if state.place is Place.SET:
                await self._until_resumed(step)
                await self._set(step)
                state.place = Place.HOLD
            await self._hold(state.plan.steps[state.index])
            state.good = dict(state.now)
            state.place = Place.APPROVE
            state.index = self._next_index()

    async def _until_resumed(self, step: Step) -> None:
        """A paused run takes no step; what was moved already is watched on."""
        if self.driving.paused:
            self.journal.note(f"Paused before {step.name}.")
            self.driving.stage = Stage.HOLDING
        while self.driving.paused:
            await self.wait_for_people(workflow.now() + DAY, "until the run is resumed")
            if self.known().steps_set:
                await self.act_on_failure(await self.look_at_gates(over=False))

    async def _go_further(self) -> bool:
        state = self.known()
        try:
            more = await self.more_steps()
        except (Refusal, RequestError, Ended) as error:
            raise await self.ends.release(Outcome.HELD, f"What comes next could not be planned: {error}") from error
        state.plan = replace(state.plan, steps=[*state.plan.steps, *more])
        return bool(more)

    def _next_index(self) -> int:
        state = self.known()
        last = len(state.plan.steps) - 1
        return last if self.driving.escalated and state.index < last else state.index + 1

    # Set

    async def _set(self, step: Step) -> None:
        """Write the step's distribution and prove that it is obeyed; a step that cannot be proved has failed."""
        state = self.known()
        self.open_thread("; ".join(state.plan.told()), "traffic is being moved")
        asked = self.driving.question  # By the run that this one continues: it has not been answered yet.
        why = asked.text if asked is not None else await self._why_not_set(step)
        while why is not None:
            await self.failed(step, why)
            if self.driving.escalated:
                state.index = len(state.plan.steps) - 1
                step = state.plan.steps[state.index]
            why = await self._why_not_set(step)
        self.driving.question = None
        self._mark_first_step()
        self.herald.moved()
        self.start_hold(step)

    async def _why_not_set(self, step: Step) -> str | None:
        """Write and verify; → why the step is not in force for sure, or None."""
        self.stop_if_ordered()
        self.driving.stage = Stage.WRITING
        self.journal.announce(step.name, f"{describe(step)}")
        distribution, why = await self.route.allowed(step)
        if why is not None:
            return why
        try:
            written = await self.route.write(distribution, step.name, claim=me())
        except data_plane.WriteFailed as error:
            return f"the data plane took no change: {error}"
        if not written.in_force:
            raise self.route.superseded(written.author, written.reason)
        self.known().steps_set += 1
        self.stop_if_ordered()
        return await self.route.verify(distribution)

    def _mark_first_step(self) -> None:
        moments = self.journal.moments
        assert moments is not None
        if moments.in_force is None:
            self.journal.mark(in_force=workflow.now(), verified=workflow.now())

    # Hold

    def start_hold(self, step: Step) -> None:
        """Start the wait of a step from its beginning, also of a step that is tried again."""
        state = self.known()
        skips = self.request.emergency or self.driving.escalated
        state.held = step
        state.settle_left = timedelta(0) if skips else step.settle
        state.left = step.hold
        state.orders_until = None
        # What was ordered for the wait before does not end this one.
        self.driving.advance = self.driving.retry = False
        self.gates.begin(step)

    async def _hold(self, step: Step) -> None:
        """Wait behind the step's gates, sampled all through, until they pass, somebody orders otherwise, or they fail."""
        state = self.known()
        self.driving.stage = Stage.HOLDING
        last = state.index == len(state.plan.steps) - 1
        if not (step.settle or step.hold or step.waits_for_orders):
            return
        while True:
            over = state.settle_left <= timedelta(0) and state.left <= timedelta(0) and not self.driving.paused
            decision = await self.look_at_gates(over=over)
            if await self._has_passed(step, decision, last=last):
                return
            await self.continue_as_new_if_long()
            await self._wait_in_hold()
            if self.driving.advance:
                self.driving.advance = False
                self.journal.note("The wait was ended by order.")
                return

    async def _has_passed(self, step: Step, decision: Decision, *, last: bool) -> bool:
        state = self.known()
        if self.driving.escalated and not last:
            return True
        if decision.action is not Action.FAIL and self.take_ordered_percent():
            return True
        match decision.action:
            case Action.FAIL:
                return await self.failed(step, decision.reason)
            case Action.HASTEN:
                self.journal.note(f"Going on faster: {decision.reason}")
                return not self.driving.paused
            case Action.ASK:
                return await self.ask(step, decision.reason, state.plan.on_doubt)
            case Action.PROCEED:
                if step.waits_for_orders:
                    await self._await_orders(step)
                    return self.driving.advance or self.take_ordered_percent()
                self.journal.note(f"{step.name} passed: {decision.reason}")
                return True
        return False

    async def _wait_in_hold(self) -> None:
        state = self.known()
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
            if not state.settle_left and state.held:
                self.gates.begin(state.held)
        else:
            state.left = max(timedelta(0), state.left - passed)

    async def _await_orders(self, step: Step) -> None:
        """A canary that waits: the gates are watched on, and silence ends in what the plan declares."""
        state = self.known()
        if state.orders_until is None:
            state.orders_until = workflow.now() + state.plan.orders_deadline
            self.journal.note(f"{step.name} holds and waits for orders until {state.orders_until:%H:%M:%S} UTC.")
            self.herald.update(f"{step.name} does well and waits for orders.", urgent=True)
        self.driving.stage = Stage.ORDERS
        if workflow.now() >= state.orders_until:
            raise await self.stop_short(Outcome.ROLLED_BACK, "Nobody ordered anything in time.", state.plan.on_doubt)

    def take_ordered_percent(self) -> bool:
        """Put the step that was ordered next; the plan is another one then, with a digest of its own."""
        state, value = self.known(), self.driving.percent
        if value is None:
            return False
        self.driving.percent = None
        step = self.ordered_step(value, state.index + 2)
        if step is None:
            return False
        state.plan = replace(state.plan, steps=[*state.plan.steps[: state.index + 1], step])
        self.journal.note(f"Next by order: {describe(step)}")
        return True

    # Ends, and new beginnings

    async def _abandon(self) -> Ended:
        """End an aborted or cancelled run, at whatever moment: put back what was found, or hold, as ordered."""
        order = self.driving.abort
        actor = f"Aborted by {order.actor}." if order else "Cancelled."
        self.driving.question = None
        self.settle(f"No longer asked: {actor}")
        self.driving.stage = Stage.PUTTING_BACK
        if self.state is None or not self.state.written:
            return Ended(Outcome.ABORTED, f"{actor} No traffic had been moved.")
        if order is not None and order.mode == "hold":
            return await self.ends.put_back(Outcome.ABORTED, actor, None)
        return await self.ends.put_back(Outcome.ABORTED, actor, self.state.plan.found.distribution)

    def record(self, ended: Ended) -> RunRecord:
        """Closes the run, and says all of it."""
        self.driving.stage = Stage.CLOSED
        return ramp_telling.record(self.request, self.state, self.journal, ended)

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
            timeline=self.journal.timeline,
            notes=self.journal.notes,
            writes=self.journal.writes,
            phase=self.journal.phase,
            subject=self.herald.subject,
            thread=self.herald.thread,
            outward=self.herald.outward,
        )
        continue_with(self.request, carried)

    def _take_over(self, carried: Carried) -> None:
        self.recovery, self.driving = carried.recovery, carried.driving
        self.driving.verbs = self.verbs
        if carried.state is not None:
            self._know(carried.state)
        self.journal.moments, self.journal.timeline = carried.moments, carried.timeline
        self.journal.notes, self.journal.phase = carried.notes, carried.phase
        self.journal.writes = carried.writes
        self.journal.routes = [self.request.route]
        self.journal.provider = self.provider
        self.herald = Herald(carried.subject, carried.thread, carried.outward)
        self.journal.note("Continued as a new run: the history had grown long.")
        self.take_again()
