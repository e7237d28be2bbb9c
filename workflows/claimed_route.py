"""A route as a ramp changes it: claimed, written on the revision that the run knows, read back; whose it is in between."""

from collections.abc import Sequence

from activities.ramping import RouteLook
from activities.traffic import Written
from failover.distribution import Distribution, render
from failover.health import Verdict
from failover.incident import Outcome
from failover.policy import Change, ChangeStatus, Revision, is_drill
from failover.ramp import Step, may_write, rising, why_not_rise
from failover.requests import RampRequest
from failover.restoration import Expectation
from workflows import data_plane, other_runs
from workflows.ending import Ended
from workflows.journal import Journal
from workflows.ramp_state import RampState
from workflows.signing import key, me, signature

WRITE_ATTEMPTS = 5


def command(request: RampRequest) -> str:
    """What a person runs where the run can do no more."""
    return f"failoverctl restore {request.route} --yes"


class ClaimedRoute:
    """The one route of a run."""

    def __init__(self, request: RampRequest, state: RampState, journal: Journal) -> None:
        self._request, self._state, self._journal = request, state, journal

    async def claim(self) -> bool:
        """Take the route, if need be from a holder that is no more; False where the plan is outdated already."""
        state = self._state
        evict: str | None = None
        while True:
            try:
                written = await self.write(state.plan.found.distribution, "claim", claim=me(), evict=evict)
            except data_plane.WriteFailed as error:
                why = f"Route {state.plan.route} could not be claimed; no traffic was moved: {error}"
                raise Ended(Outcome.NEEDS_HUMAN, why, command(self._request)) from error
            if written.in_force:
                self._journal.note(f"Route {state.plan.route} is claimed by this run.")
                return True
            holder = written.claim
            if holder is None or holder == me() or written.revision != state.plan.found.revision:
                return False
            if evict == holder or (not is_drill(holder) and await other_runs.is_open(holder)):
                raise Ended(
                    Outcome.REJECTED,
                    f"Route {state.plan.route} is claimed by {holder}, which is running. Nothing was changed; "
                    "wait for its end, or abort it.",
                )
            stale = "is a drill's, and what is real goes first" if is_drill(holder) else "is stale: no such run is open"
            self._journal.note(f"The claim of {holder} {stale}. Taking it over.")
            evict = holder

    async def write(
        self,
        distribution: Distribution,
        step: str,
        *,
        claim: str | None = None,
        evict: str | None = None,
    ) -> Written:
        """Change the route once, on the revision that this run knows; a write of our own before it is no rival's.

        Raises data_plane.WriteFailed; whether it was applied is not known then.
        """
        state = self._state
        for _ in range(WRITE_ATTEMPTS):
            state.writes += 1
            change = Change(
                route=state.plan.route,
                decided_on=state.revision,
                key=key(state.writes),
                distribution=dict(distribution),
                mode=state.plan.found.mode if step == "put-back" else None,
                degraded=state.plan.found.degraded if step == "put-back" else None,
                claim=claim,
                evict_claim=evict,
                changed_by=signature(self._request.requested_by, step),
                reason=self._request.reason or f"{state.plan.procedure} {step}",
            )
            before, state.written = state.written, True
            [written] = await data_plane.write([change], f"{step}: {render(distribution)}")
            if written.in_force:
                assert written.revision is not None
                state.revision, state.now, state.read_back = written.revision, dict(distribution), written
                self._journal.wrote(change, step, written.revision)
                return written
            if written.status is ChangeStatus.REFUSED:
                state.written = before  # Known not to be ours: there may be nothing to put back.
            if written.author != me() or written.revision is None or step in ("claim", "put-back"):
                return written
            state.revision = written.revision  # Ours: from before a reset, or one that came late.
        return written

    async def verify(self, distribution: Distribution) -> str | None:
        """Why the distribution is not known to be in force, or None."""
        state = self._state
        expected = Expectation(route=state.plan.route, share=dict(distribution), evacuated=None, strict=True)
        verification = await data_plane.verify([expected], state.plan.verify_timeout)
        for written in verification.in_force:
            if self.is_older(written.revision):
                return f"The data plane reads back revision {written.revision}, older than the one that was written"
            if written.author != me():
                raise self.superseded(written.author, verification.reason)
            state.read_back = written
        self._journal.note(f"{'Verified' if verification.verified else 'Not verified'}: {verification.reason}")
        return None if verification.verified is True else f"The step could not be verified: {verification.reason}"

    async def allowed(self, step: Step) -> tuple[Distribution, str | None]:
        """The part of a step that providers can take by the demand of now; and why none of it may be taken, or None."""
        state, wanted = self._state, step.distribution
        gaining = rising(state.now, wanted)
        if not gaining:
            return wanted, None
        look = await data_plane.look(state.plan.route, gaining)
        if isinstance(look, str):
            return wanted, f"The route could not be looked at before the step: {look}"
        self.learn(look.verdicts)
        down = {verdict.provider: verdict.reason for verdict in look.verdicts if verdict.down}
        if (why := why_not_rise(state.now, wanted, down)) is not None:
            return wanted, why
        within = may_write(state.now, wanted, down, look.headroom)
        for said in within.said:
            self._journal.note(f"Capacity: {said}")
        return within.distribution, None

    def learn(self, verdicts: Sequence[Verdict]) -> None:
        """What was seen of the providers, newest last."""
        state = self._state
        known = {verdict.provider: verdict for verdict in [*state.verdicts, *verdicts]}
        state.verdicts = list(known.values())

    def is_older(self, revision: Revision | None) -> bool:
        """A read that is behind what this run wrote: stale, and nobody's change."""
        known = self._state.revision
        return revision is not None and revision.epoch == known.epoch and revision < known

    def is_ours(self, look: RouteLook) -> bool:
        """Whether the route was last written by this run, or is as it was found."""
        return look.author == me() or look.found.revision == self._state.plan.found.revision

    def superseded(self, author: str, why: str) -> Ended:
        """The end of a run whose route somebody else has changed."""
        state = self._state
        return Ended(
            Outcome.SUPERSEDED,
            f"{author or 'Somebody'} changed route {state.plan.route} under this run ({why}). It is theirs now; "
            "this run touches nothing more.",
        )
