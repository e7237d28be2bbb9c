"""The routes that an immediate failover moves: each written on the revision that it knows, read back, or put back as found."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from temporalio import workflow

from activities.restoration import SampleOrder
from activities.traffic import Verification, Written
from failover import immediate
from failover.immediate import Brief, RouteNow, Shift
from failover.incident import Impact, Moments, Outcome, RouteShift, Sample
from failover.policy import Change
from failover.requests import ImmediateFailoverRequest
from failover.restoration import Expectation
from failover.units import count
from workflows import data_plane
from workflows.ending import Ended
from workflows.journal import Journal
from workflows.signing import key, me, signature


class EvacuatedRoutes:
    """The routes of one run: `found`, as they were; `tried`, what may have been applied; `shifted`, what is in force."""

    def __init__(self, request: ImmediateFailoverRequest, brief: Brief, journal: Journal) -> None:
        self.found: dict[str, RouteNow] = {route.route: route for route in brief.routes}
        self.tried: dict[str, Shift] = {}
        self.shifted: dict[str, Shift] = {}
        self._request, self._brief, self._journal = request, brief, journal
        self._read_back: dict[str, Written] = {}
        self._writes = 0

    @property
    def targets(self) -> list[str]:
        """The providers that have the traffic now."""
        return sorted({shift.target for shift in self.shifted.values()})

    async def write(self, shifts: Sequence[Shift]) -> list[Written]:
        """Write one batch; → the routes that were refused."""
        self._writes += 1
        self.tried |= {shift.route: shift for shift in shifts}
        changes = [self._change(shift) for shift in shifts]
        try:
            results = await data_plane.write(changes, f"shift {count(len(shifts), 'route')}")
        except data_plane.WriteFailed as error:
            why = f"The data plane took no change: {error}"
            raise Ended(Outcome.NEEDS_HUMAN, why, immediate.command(self._request)) from error
        for shift, change, written in zip(shifts, changes, results, strict=True):
            if written.in_force:
                self._journal.wrote(change, "shift", written.revision)
                self.shifted[shift.route] = shift
                self._read_back[shift.route] = written
        return [written for written in results if not written.in_force]

    def _change(self, shift: Shift) -> Change:
        request = self._request
        return Change(
            route=shift.route,
            decided_on=shift.decided_on,
            key=key(self._writes),
            distribution=shift.after,
            claim=None if request.is_drill else "",
            changed_by=signature(request.requested_by, f"{self._journal.phase}-{self._writes}"),
            reason=request.reason or shift.reason,
        )

    async def verify(self) -> Verification:
        """Whether all that was shifted is in force and obeyed."""
        part = self._request.share_percent is not None
        expected = [
            Expectation(
                route=shift.route,
                share=shift.after,
                evacuated=None if part else self._request.failed_provider,
                strict=part,
            )
            for shift in self.shifted.values()
        ]
        verification = await data_plane.verify(expected, self._brief.settings.verify_timeout)
        self._read_back |= {written.route: written for written in verification.in_force}
        return verification

    async def sample(self, since: datetime) -> Sample | str:
        """One reading of the users' side, or why there is none."""
        shifted, failed = list(self.shifted), self._request.failed_provider
        window = 3 * self._brief.settings.validate_interval
        moved = [] if self._request.share_percent else shifted
        return await data_plane.sample(
            SampleOrder(routes=shifted, since=since, window=window, evacuated=failed, moved=moved)
        )

    async def impact(self, moments: Moments) -> Impact | None:
        """What users felt; None where nothing was moved, or the data plane cannot tell."""
        if not self.shifted:
            return None
        first_bad, in_force = moments.first_bad or moments.decided, moments.in_force or moments.decided
        return await data_plane.impact(list(self.shifted), first_bad, in_force, moments.restored or workflow.now())

    async def reread(self, routes: Sequence[str]) -> list[RouteNow]:
        """The named routes as they stand now, once a write has been tried: where nobody can tell, a person must look."""
        found = await data_plane.reread(self._request, routes)
        if isinstance(found, str):
            reason = f"{count(len(routes), 'route')} could not be read again: {found}"
            raise Ended(Outcome.NEEDS_HUMAN, reason, immediate.command(self._request))
        return found

    def as_found(self) -> list[RouteNow]:
        """The routes as they were, at their present revisions: the next candidate gets the same share."""
        return [
            replace(
                self.found[route],
                distribution=shift.before,
                revision=self._read_back[route].revision or shift.decided_on,
            )
            for route, shift in self.shifted.items()
        ]

    async def restore(self) -> Ended:
        """Put back what was found wherever something was tried; raises Ended where that is not proved."""
        routes = await self.reread(list(self.tried))
        restored = [self._back(route) for route in routes if self._may_restore(route)]
        refused = await self.write(restored) if restored else []
        expected = [Expectation(route=shift.route, share=shift.after, evacuated=None) for shift in restored]
        verification = await data_plane.verify(expected, self._brief.settings.verify_timeout)
        if refused or verification.verified is not True:
            said = refused[0].reason if refused else verification.reason
            raise Ended(Outcome.NEEDS_HUMAN, said, immediate.command(self._request))
        where = count(len(restored), "route")
        return Ended(Outcome.ABORTED, f"Cancelled; {where} put back as found, verified.")

    def _may_restore(self, route: RouteNow) -> bool:
        """Whether the route is ours or untouched; the latter is written too, so that a late write of ours is refused."""
        return route.changed_by == me() or route.revision == self.found[route.route].revision

    def _back(self, route: RouteNow) -> Shift:
        return replace(
            self.tried[route.route],
            decided_on=route.revision,
            before=route.distribution,
            after=self.found[route.route].distribution,
        )

    def moved(self) -> list[RouteNow]:
        """The routes that were shifted, as they were found."""
        return [self.found[route] for route in self.shifted]

    def record(self) -> list[RouteShift]:
        """What became of every route that was shifted."""
        return [
            RouteShift(
                route=route,
                before=self.found[route].distribution,
                after=self._read_back[route].distribution,
                target=shift.target,
                revision=str(self._read_back[route].revision),
            )
            for route, shift in self.shifted.items()
        ]
