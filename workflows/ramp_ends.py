"""How a ramp ends: with what is in force, or with what was before; given free, proved, within a deadline."""

from datetime import timedelta

from temporalio import workflow

from activities.ramping import RouteLook
from failover.distribution import Distribution, render
from failover.driving import Driving, Stage
from failover.incident import Outcome
from failover.ramp import Fallback, may_write, rising
from failover.requests import RampRequest
from failover.units import render_duration
from workflows import data_plane
from workflows.claimed_route import ClaimedRoute, command
from workflows.ending import Ended, within
from workflows.journal import Journal
from workflows.ramp_state import RampState, Stopping


class RampEnds:
    """The ends of one run."""

    def __init__(
        self, request: RampRequest, state: RampState, driving: Driving, journal: Journal, route: ClaimedRoute
    ) -> None:
        self._request, self._state, self._driving, self._journal, self._route = request, state, driving, journal, route
        self._doubt = ""

    async def completed(self) -> Ended:
        """Every step was taken."""
        state = self._state
        self._journal.mark(restored=workflow.now())
        return await self.release(
            Outcome.COMPLETED, f"{state.plan.subject}: done, {render(state.now)} is in force and verified."
        )

    async def stop_short(self, stopping: Stopping) -> Ended:
        """The end of a ramp that stops short, as its procedure declares."""
        outcome, reason = stopping.outcome, stopping.reason
        if (wanted := self.goes_back_to(stopping.fallback)) is not None:
            return await self.put_back(outcome, reason, wanted)
        return await self.release(Outcome.HELD if outcome is not Outcome.REJECTED else outcome, reason)

    def goes_back_to(self, fallback: Fallback) -> Distribution | None:
        """What is put back then; None where what is in force stays."""
        state = self._state
        return {Fallback.ROLL_BACK: state.plan.found.distribution, Fallback.STEP_BACK: state.good}.get(fallback)

    async def release(self, outcome: Outcome, reason: str) -> Ended:
        """End with what is in force, and give the route free."""
        state = self._state
        if not state.written:
            return Ended(outcome, reason)
        self._driving.stage = Stage.PUTTING_BACK if outcome is not Outcome.COMPLETED else Stage.WRITING
        try:
            written = await self._route.write(state.now, "release", claim="")
        except data_plane.WriteFailed as error:
            state.notes.append(f"The claim was not given back: {error}. It is stale once this run is over.")
            return Ended(outcome, reason)
        if not written.in_force:
            return self._route.superseded(written.author, written.reason)
        state.read_back = written
        keeps = state.steps_set and outcome is not Outcome.COMPLETED
        held = f" Held as it stands: {render(state.now)}." if keeps else ""
        return Ended(outcome, f"{reason}{held}")

    async def put_back(self, outcome: Outcome, reason: str, distribution: Distribution | None) -> Ended:
        """Write a distribution of before and prove it, within the deadline; or say which command a person must run.

        None: what is in force is held, as a revision of ours, so that no late write of a step can change it.
        """
        state = self._state
        self._driving.stage = Stage.PUTTING_BACK
        doing = f"Putting back {render(distribution)}." if distribution is not None else "Holding what is in force."
        self._journal.announce("put back", f"{reason} {doing}")
        try:
            return await within(state.plan.abort_timeout, self._write_back(outcome, reason, distribution))
        except Ended as error:
            if error.outcome is Outcome.SUPERSEDED:
                return error
            why = error.reason
        except TimeoutError:
            why = f"nothing was proved within {render_duration(state.plan.abort_timeout)}; {self._doubt}".rstrip("; ")
        found = f"what was found ({render(distribution)})" if distribution is not None else "what is in force"
        done = "put back" if distribution is not None else "held for sure"
        return Ended(Outcome.NEEDS_HUMAN, f"{reason} But {found} could not be {done}: {why}.", command(self._request))

    async def _write_back(self, outcome: Outcome, reason: str, wanted: Distribution | None) -> Ended:
        """Write until it is accepted, or somebody else's change is seen; `wanted` None: whatever is in force is held.

        Written as a new revision even where nothing seems to differ: a write of ours that comes late is refused then.
        """
        state = self._state
        while True:
            look = await self._look_until_known(wanted)
            if not self._route.is_ours(look):
                return self._route.superseded(look.author, "it was changed meanwhile")
            held, distribution = self._safe(look, wanted)
            state.revision, state.now = look.found.revision, dict(look.found.distribution)
            try:
                written = await self._route.write(distribution, "put-back", claim="")
            except data_plane.WriteFailed as error:
                self._doubt = f"the data plane took no change: {error}"
                continue
            if not written.in_force:
                continue
            await self._until_verified(distribution)
            if held:
                return Ended(Outcome.HELD if outcome is not Outcome.ABORTED else outcome, f"{reason} {held}")
            return Ended(outcome, f"{reason} {render(distribution)} is in force, verified.")

    async def _until_verified(self, distribution: Distribution) -> None:
        """What is in force at last may need a moment to be obeyed everywhere; how long, the deadline says."""
        while (why := await self._route.verify(distribution)) is not None:
            self._doubt = why
            await workflow.sleep(timedelta(seconds=1), summary="until it is obeyed everywhere")

    async def _look_until_known(self, wanted: Distribution | None) -> RouteLook:
        state = self._state
        gaining = rising(state.now, wanted) if wanted is not None else []
        look = await data_plane.look(state.plan.route, gaining)
        while isinstance(look, str) or self._route.is_older(look.found.revision):
            self._doubt = look if isinstance(look, str) else f"it reads back an old revision, {look.found.revision}"
            self._journal.note(f"The route could not be looked at: {self._doubt}")
            await workflow.sleep(timedelta(seconds=1), summary="until the data plane answers")
            look = await data_plane.look(state.plan.route, gaining)
        self._route.learn(look.verdicts)
        return look

    def _safe(self, look: RouteLook, wanted: Distribution | None) -> tuple[str, Distribution]:
        """What may be written: never more traffic for a provider known to be down, nor more than one can take."""
        now = look.found.distribution
        if wanted is None:
            return f"Held as it stands: {render(now)}.", now
        down = {verdict.provider: verdict.reason for verdict in look.verdicts if verdict.down}
        allowed = may_write(now, wanted, down, look.headroom)
        if not allowed.said:
            return "", wanted
        return f"Held at {render(allowed.distribution)}, not put back: {'; '.join(allowed.said)}.", allowed.distribution
