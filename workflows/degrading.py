"""The writes of an emergency: every route on its revision of now, proved; what somebody else took over is left alone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from temporalio import workflow
from temporalio.exceptions import ActivityError

from activities.emergency import Ecosystem
from failover import emergency
from failover.distribution import Distribution
from failover.emergency import EmergencyBrief, EmergencyRoute, ProviderWatch
from failover.incident import Outcome, Sample
from failover.policy import Change, Mode
from failover.requests import EmergencyRequest
from failover.restoration import Expectation
from failover.units import count
from workflows import data_plane, failures
from workflows.ending import Ended
from workflows.journal import Journal
from workflows.options import READ
from workflows.signing import key, me, signature

WRITE_ATTEMPTS = 5


@dataclass(slots=True, kw_only=True)
class EmergencyState:
    """All that the run knows.

    `given` is the distribution that it gave each route since a provider came back; `expected` is what it wrote last, and
    `proved` whether that is known to be in force. `written`: a write was tried at all. `troubled`: people were told that
    the data plane makes difficulties.
    """

    brief: EmergencyBrief
    began: datetime
    told_at: datetime
    standings: list[ProviderWatch]
    given: dict[str, dict[str, int]] = field(default_factory=dict)
    expected: list[Expectation] = field(default_factory=list)
    written: bool = False
    proved: bool = False
    troubled: bool = False
    good_samples: int = 0
    samples: list[Sample] = field(default_factory=list)
    waited: timedelta = timedelta(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """What a route is to be: `distribution` None keeps the one that is in force, `settings` None those."""

    mode: Mode
    distribution: Distribution | None = None
    settings: Mapping[str, Any] | None = None


class Unproved(Exception):
    """What was to be in force is not known to be; why, in words. The next turn tries again."""


class Degrading:
    """Changes the routes of one emergency."""

    def __init__(self, request: EmergencyRequest, state: EmergencyState, journal: Journal) -> None:
        self.doubt = ""
        self._request, self._state, self._journal = request, state, journal
        self._writes = 0

    async def write(self, step: str, wanted: Mapping[str, Service]) -> None:
        """Every route that is still this run's; read and written again where somebody else was faster. Raises Unproved."""
        pending, expected = list(wanted), list[Expectation]()
        for _ in range(WRITE_ATTEMPTS):
            routes = [route for route in await self._read(pending) if step == "degrade" or self._is_ours(route)]
            changes = [self._change(route, step, wanted[route.route]) for route in routes]
            refused = await self._refused(step, changes)
            expected += [
                Expectation(route=change.route, share=change.distribution, evacuated=None, mode=change.mode)
                for change in changes
                if change.route not in refused
            ]
            pending = refused
            if not pending:
                return self._expect(expected)
        raise Unproved(f"{', '.join(pending)} changed faster than it could be written")

    async def _read(self, routes: Sequence[str]) -> list[EmergencyRoute]:
        try:
            return await workflow.execute_activity_method(
                Ecosystem.look, list(routes), summary="read the routes", **READ
            )
        except ActivityError as error:
            raise Unproved(f"the routes could not be read: {failures.why(error)}") from error

    def _is_ours(self, route: EmergencyRoute) -> bool:
        """Whether it is degraded, ours, or not touched yet: a write of ours that comes late is refused then."""
        found = {one.route: one.found.revision for one in self._state.brief.routes}
        mine = route.author == me()
        return route.found.mode is Mode.DEGRADED or mine or route.found.revision == found[route.route]

    async def _refused(self, step: str, changes: Sequence[Change]) -> list[str]:
        if not changes:
            return []
        self._state.written = True
        try:
            results = await data_plane.write(changes, f"{step}: {count(len(changes), 'route')}")
        except data_plane.WriteFailed as error:
            raise Unproved(f"the data plane took no change: {error}") from error
        for change, written in zip(changes, results, strict=True):
            if written.in_force:
                self._journal.wrote(change, step, written.revision)
        return [written.route for written in results if not written.in_force]

    def _expect(self, expected: list[Expectation]) -> None:
        if not expected:
            raise Ended(Outcome.SUPERSEDED, "Somebody else ended the degraded service; this run touches nothing more.")
        kept = {one.route: one for one in self._state.expected} | {one.route: one for one in expected}
        self._state.expected, self._state.proved = list(kept.values()), False

    def _change(self, route: EmergencyRoute, step: str, service: Service) -> Change:
        self._writes += 1
        distribution = route.found.distribution if service.distribution is None else service.distribution
        return Change(
            route=route.route,
            decided_on=route.found.revision,
            key=key(self._writes),
            distribution=dict(distribution),
            mode=service.mode,
            degraded=service.settings,
            claim="",
            changed_by=signature(self._request.requested_by, step),
            reason=self._request.reason or f"{emergency.NAME} {step}",
        )

    async def prove(self) -> None:
        """Prove that what was written last is in force; raise Unproved if it is not, or if nobody can tell."""
        state = self._state
        if state.proved:
            return
        verification = await data_plane.verify(state.expected, state.brief.verify_timeout)
        self._journal.note(f"{'Verified' if verification.verified else 'Not verified'}: {verification.reason}")
        state.proved = verification.verified is True
        if verification.verified is False:
            state.expected, state.given = [], {}  # Written anew, from the beginning.
        if not state.proved:
            raise Unproved(f"it could not be verified: {verification.reason}")

    async def until(self, step: str, wanted: Mapping[str, Service]) -> None:
        """Write and prove, again and again; whoever asks sets the deadline, and finds in `doubt` what was in the way."""
        while True:
            try:
                await self.write(step, wanted)
                await self.until_proved()
            except Unproved as error:
                self.doubt = str(error)
            else:
                return
            await workflow.sleep(timedelta(seconds=1), summary="until the data plane takes it")

    async def until_proved(self) -> None:
        """Repeat the proof, not the writing, while nobody can tell; raise Unproved if it is known not to be in force."""
        while not self._state.proved:
            try:
                await self.prove()
            except Unproved as error:
                self.doubt = str(error)
                if not self._state.expected:
                    raise
                await workflow.sleep(timedelta(seconds=1), summary="until it can be told")
