"""The route that a drill practises on: claimed at the weights that were found, and given back at them."""

from datetime import timedelta

from temporalio import workflow
from temporalio.exceptions import ActivityError

from activities.drilling import Drilling, DrillLook
from failover import drill
from failover.distribution import Distribution, render
from failover.drill import DrillBrief, FailoverDrillRequest
from failover.incident import Outcome
from failover.policy import Change
from failover.ramp import why_not_rise
from failover.restoration import Expectation
from workflows import data_plane, failures, other_runs
from workflows.ending import Ended
from workflows.journal import Journal
from workflows.options import READ
from workflows.signing import key, me, signature

WRITE_ATTEMPTS = 5

TAKE_OVER = timedelta(seconds=10)
"""How long what is really wrong may take to bring its own failover, which goes on from the clean weights."""


class DrilledRoute:
    """The one route of a drill.

    `claimed`: there is something to put back. `lost`: how it became somebody else's, in a sentence; "" while it has not.
    `after`: the weights that the drill left.
    """

    def __init__(self, request: FailoverDrillRequest, brief: DrillBrief, journal: Journal) -> None:
        self.claimed = False
        self.lost = ""
        self.after: Distribution = brief.found
        self._request, self._brief, self._journal = request, brief, journal
        self._name = brief.wanted.route
        self._writes = 0

    async def claim(self) -> None:
        """Claim the route for this drill, as a ramp would; whoever holds it and is open is left alone. Raises Ended."""
        brief, route, evict = self._brief, self._name, None
        for _ in range(WRITE_ATTEMPTS):
            look = await self._look()
            if look.revision != brief.revision or look.down:
                why = "; ".join(look.down.values()) or "somebody changed it since the drill was planned"
                raise Ended(Outcome.REJECTED, f"Route {route} is not as it was: {why}. Nothing was broken.")
            if look.claim not in (None, me(), evict):
                if await other_runs.is_open(look.claim or ""):
                    said = f"Route {route} is claimed by {look.claim}, which is running. Nothing was broken."
                    raise Ended(Outcome.REJECTED, said)
                evict = look.claim
            self.claimed = True  # Whatever becomes of the write: from now on there is something to put back.
            if await self._write(look, brief.found, "claim", claim=me(), evict=evict):
                self._journal.announce("claim", f"Route {route} is this drill's, at {render(brief.found)}.")
                return
            self.claimed = False
        raise Ended(Outcome.REJECTED, f"Route {route} changed faster than it could be claimed. Nothing was broken.")

    async def _look(self) -> DrillLook:
        route = self._name
        try:
            return await workflow.execute_activity_method(Drilling.look, route, summary=f"look at {route}", **READ)
        except ActivityError as error:
            raise self._stuck(f"The route could not be read: {failures.why(error)}") from error

    async def _write(
        self, look: DrillLook, distribution: Distribution, step: str, *, claim: str, evict: str | None = None
    ) -> bool:
        """Whether it is in force; False where somebody else was faster. Ended where the data plane takes nothing."""
        self._writes += 1
        change = Change(
            route=self._name,
            decided_on=look.revision,
            key=key(self._writes),
            distribution=dict(distribution),
            claim=claim,
            evict_claim=evict,
            changed_by=signature(self._request.requested_by, step),
            reason=f"DRILL: {self._request.reason or self._brief.wanted.subject} ({step})",
        )
        try:
            [written] = await data_plane.write([change], f"{step}: {render(distribution)}")
        except data_plane.WriteFailed as error:
            raise self._stuck(f"The data plane took no change: {error}") from error
        return written.in_force

    async def wait_for_the_real_one(self) -> None:
        """A real failover finds the claim, and goes on from the weights that the drill found."""
        until = workflow.now() + TAKE_OVER
        while workflow.now() < until and not self._is_gone(await self._look()):
            await workflow.sleep(timedelta(seconds=1), summary="until the real failover comes")

    async def give_back(self) -> None:
        """The weights that were found, and the claim released, in one write; or what somebody real made of it."""
        for _ in range(WRITE_ATTEMPTS):
            look = await self._look()
            if self._is_gone(look):
                return
            shares, step = self._to_put_back(look)
            self._journal.announce("return", f"Putting back {render(shares)}.")
            if await self._write(look, shares, step, claim=""):
                await self._verify(shares)
                return
        raise self._stuck(f"Route {self._name} changes all the time.")

    def _is_gone(self, look: DrillLook) -> bool:
        """The route is not the drill's any more: put back already, or somebody else's."""
        if look.claim == me():
            return False
        if look.author != me():
            self.lost = self.lost or f"{look.author} took the route from the drill."
        self.after = look.distribution
        return True

    def _to_put_back(self, look: DrillLook) -> tuple[Distribution, str]:
        found = self._brief.found
        why = drill.why_interrupted(me(), look.claim, look.author)
        if why is not None:
            self.lost = f"{why}."
            return look.distribution, "release"
        why = why_not_rise(look.distribution, found, look.down)
        if why is not None:
            self._journal.note(f"Held as it stands, since {why}.")
            self._journal.notes.append(f"What was found was not put back: {why}.")
            return look.distribution, "release"
        return found, "put-back"

    async def _verify(self, shares: Distribution) -> None:
        expected = Expectation(route=self._name, share=dict(shares), evacuated=None, strict=True)
        verification = await data_plane.verify([expected], self._brief.immediate.verify_timeout)
        self._journal.note(f"{'Verified' if verification.verified else 'Not verified'}: {verification.reason}")
        if verification.verified is True:
            self.after = dict(shares)
            return
        self._is_gone(await self._look())
        if not self.lost:
            raise self._stuck(f"What was put back could not be verified: {verification.reason}.")

    def _stuck(self, why: str) -> Ended:
        return Ended(Outcome.NEEDS_HUMAN, why, command(self._name))


def command(route: str) -> str:
    """What a person runs where the drill can do no more."""
    return f"failoverctl restore {route} --yes"
