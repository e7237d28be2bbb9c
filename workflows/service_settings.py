"""ServiceSettings: a route's cache and queue, set by people under the same fence as everything else."""

from dataclasses import replace
from datetime import timedelta

from temporalio import workflow
from temporalio.exceptions import is_cancelled_exception

from activities.emergency import Ecosystem
from activities.ramping import RouteLook
from failover import service
from failover.degraded import DegradedService
from failover.emergency import EmergencyBrief
from failover.errors import RequestError
from failover.incident import Outcome, RouteShift, RunRecord
from failover.policy import Change, Mode
from failover.requests import EmergencyRequest, RunResult
from failover.restoration import Expectation
from failover.service import ServiceSettingsRequest
from workflows import data_plane, other_runs
from workflows.ending import Ended, close, first_read, within
from workflows.herald import Herald
from workflows.journal import Journal, Visible
from workflows.options import READ
from workflows.signing import key, me, signature

STEPS = ("observe", "set", "verify", "report")

WRITE_ATTEMPTS = 5


@workflow.defn(name=service.NAME)
class ServiceSettings(Visible):
    """Look, set, verify. A ramp that holds the route is never written under: whoever asks is told its name."""

    def __init__(self) -> None:
        self.journal = Journal(service.NAME, STEPS)
        self._herald = Herald()
        self._brief: EmergencyBrief | None = None
        self._looked: RouteLook | None = None
        self._written = 0

    @workflow.run
    async def run(self, request: ServiceSettingsRequest) -> RunResult:
        self.request = request
        began = workflow.info().start_time
        self.journal.open("", decided=began, first_bad=None, unhealthy=None, counted=not request.dry_run)
        self.journal.concerns([request.route])
        try:
            self._brief = await self._read()
            ended = await self._procedure(self._brief)
        except Ended as error:
            ended = error
        except BaseException as error:
            if not is_cancelled_exception(error):
                raise
            await close(self._herald, self._record(await self._put_back()), dry_run=request.dry_run)
            raise
        return await close(self._herald, self._record(ended), dry_run=request.dry_run)

    async def _read(self) -> EmergencyBrief:
        """What the configuration's emergency section means for the route; refuses what is not there."""
        order = EmergencyRequest(routes=[self.request.route])
        reading = workflow.execute_activity_method(
            Ecosystem.brief, order, summary=f"read route {self.request.route}", **READ
        )
        brief: EmergencyBrief = await first_read(reading, self._command())
        if (why := service.why_not_start(self.request, [route.route for route in brief.routes])) is not None:
            raise RequestError(f"{why} Nothing was changed.")
        return brief

    async def _procedure(self, brief: EmergencyBrief) -> Ended:
        for _ in range(WRITE_ATTEMPTS):
            look = await self._look()
            await self._refuse_under_a_ramp(look)
            wanted = service.wanted(self.request, look.found.degraded, brief.routes[0].degraded)
            said = f"{self.request.route}: {service.describe(wanted)}"
            if self.request.dry_run:
                raise Ended(Outcome.COMPLETED, f"Dry run, nothing was changed. It would be {said}.")
            if wanted.as_settings() == look.found.degraded:
                raise Ended(Outcome.COMPLETED, f"{said} already: there is nothing to set.")
            if await self._write(look, wanted, "set"):
                await self._verify(look, wanted, brief.verify_timeout)
                return Ended(Outcome.COMPLETED, f"{said}, verified.{self._until(look)}")
        raise Ended(Outcome.REJECTED, "The route changed faster than it could be written. Nothing was changed.")

    async def _look(self) -> RouteLook:
        look = await data_plane.look(self.request.route, [])
        if isinstance(look, str):
            raise Ended(Outcome.NEEDS_HUMAN, f"The route could not be read: {look}.", self._command())
        self._looked = self._looked or look
        return look

    async def _refuse_under_a_ramp(self, look: RouteLook) -> None:
        """Refuse while a ramp is open: its next write would be refused, and the ramp end for the sake of a cache."""
        if look.claim and await other_runs.is_open(look.claim):
            raise Ended(
                Outcome.REJECTED,
                f"Route {self.request.route} is claimed by {look.claim}, which is running. Nothing was changed; "
                "wait for its end, or abort it.",
            )

    async def _write(self, look: RouteLook, wanted: DegradedService, step: str) -> bool:
        """Whether it is in force now; False where somebody else was faster."""
        self._written += 1
        self.journal.announce(step, f"{self.request.route}: {service.describe(wanted)}")
        change = Change(
            route=self.request.route,
            decided_on=look.found.revision,
            key=key(self._written),
            distribution=dict(look.found.distribution),
            degraded=wanted.as_settings(),
            changed_by=signature(self.request.requested_by, step),
            reason=self.request.reason or f"{service.NAME} {step}",
        )
        try:
            [written] = await data_plane.write([change], f"{step}: {service.describe(wanted)}"[:200])
        except data_plane.WriteFailed as error:
            raise Ended(Outcome.NEEDS_HUMAN, f"The data plane took no change: {error}", self._command()) from error
        if written.in_force:
            self.journal.wrote(change, step, written.revision)
        return written.in_force

    async def _verify(self, look: RouteLook, wanted: DegradedService, timeout: timedelta) -> None:
        """Every instance obeys, and what was written is what is read back."""
        expected = Expectation(route=self.request.route, share=dict(look.found.distribution), evacuated=None)
        verification = await data_plane.verify([expected], timeout)
        if verification.verified is not True:
            raise Ended(Outcome.NEEDS_HUMAN, f"It is not in force: {verification.reason}.", self._command())
        back = await self._look()
        if back.found.degraded != wanted.as_settings():
            if back.found.revision == look.found.revision or back.author == me():
                why = "The data plane took the change, and reads back without it."
                raise Ended(Outcome.NEEDS_HUMAN, why, self._command())
            raise Ended(Outcome.SUPERSEDED, f"{back.author} changed the route since; it is theirs now.")
        self.journal.announce("verify", verification.reason)
        self.journal.mark(in_force=workflow.now(), verified=workflow.now())

    def _until(self, look: RouteLook) -> str:
        return " The emergency that is under way puts back what it found." if look.found.mode is Mode.DEGRADED else ""

    async def _put_back(self) -> Ended:
        """Cancel: put back what was found, unless somebody else has changed the route since."""
        brief = self._brief
        if brief is None or not self._written:
            return Ended(Outcome.ABORTED, "Cancelled. Nothing had been changed.")
        try:
            return await within(brief.abort_timeout, self._restore(brief.verify_timeout))
        except Ended as error:
            return error
        except TimeoutError:
            return Ended(Outcome.NEEDS_HUMAN, "Cancelled, but nothing was proved in time.", self._command())

    async def _restore(self, timeout: timedelta) -> Ended:
        assert self._looked is not None
        found = DegradedService.model_validate(dict(self._looked.found.degraded))
        for _ in range(WRITE_ATTEMPTS):
            look = await self._look()
            if look.author != me() and look.found.revision != self._looked.found.revision:
                return Ended(Outcome.SUPERSEDED, f"Cancelled; {look.author} changed the route since. It is theirs now.")
            if await self._write(look, found, "put back"):
                await self._verify(look, found, timeout)
                return Ended(Outcome.ABORTED, f"Cancelled; {service.describe(found)} again, verified.")
        return Ended(Outcome.NEEDS_HUMAN, "Cancelled, but the route changes all the time.", self._command())

    def _record(self, ended: Ended) -> RunRecord:
        self.journal.close(ended.outcome, ended.reason)
        record = self.journal.record(self.request, ended.outcome, ended.reason, ended.command)
        look = self._looked
        shares = dict(look.found.distribution) if look else {}
        shift = RouteShift(route=self.request.route, before=shares, after=shares, target=None, revision="")
        return replace(record, subject=f"{self.request.route}: cache and queue", routes=[shift] if look else [])

    def _command(self) -> str:
        return f"failoverctl restore {self.request.route} --yes"

    request: ServiceSettingsRequest
