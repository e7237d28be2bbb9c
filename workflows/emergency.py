"""MultiProviderEmergency: degraded service while nobody serves; the first provider back gets traffic, then all is normal."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from temporalio import workflow
from temporalio.exceptions import ActivityError, FailureError, is_cancelled_exception

from activities.emergency import Ecosystem
from activities.probing import CandidateProbe, Probing
from activities.restoration import SampleOrder
from failover import emergency
from failover.capacity import Headroom
from failover.distribution import Distribution, render, same
from failover.driving import Driving, Stage, Verb
from failover.emergency import EmergencyBrief, EmergencyRoute, Standing
from failover.immediate import count
from failover.incident import Moments, Outcome, RouteShift, RunRecord, Sample, TimelineEntry
from failover.messages import MessageRef
from failover.policy import Change, ChangedBy, Mode
from failover.requests import EmergencyRequest, RunResult
from failover.restoration import Expectation
from failover.units import render_duration
from workflows import data_plane
from workflows.driven import Driven, carried_by, continue_with, grown_long
from workflows.ending import PATIENCE, Ended, close, unreadable, within
from workflows.herald import Herald
from workflows.journal import Journal
from workflows.options import PROBE, READ

STEPS = ("observe", "degrade", "watch", "return", "report")

KEPT_SAMPLES = 100

WRITE_ATTEMPTS = 5


@dataclass(slots=True, kw_only=True)
class EmergencyState:
    """All that the run knows. `given` is the distribution that it gave each route since a provider came back."""

    brief: EmergencyBrief
    began: datetime
    told_at: datetime
    standings: list[Standing]
    given: dict[str, dict[str, int]] = field(default_factory=dict)
    good_samples: int = 0
    samples: list[Sample] = field(default_factory=list)
    degraded: bool = False
    waited: timedelta = timedelta(0)


@dataclass(slots=True, kw_only=True)
class Carried:
    """What a run leaves to the one that continues it."""

    state: EmergencyState
    driving: Driving
    moments: Moments
    timeline: list[TimelineEntry]
    subject: str
    thread: MessageRef | None


@workflow.defn(name=emergency.NAME)
class MultiProviderEmergency(Driven):
    """Degrade, tell people, watch every provider; traffic by capacity to whoever comes back; normal service."""

    def __init__(self) -> None:
        self.driving = Driving(verbs=(Verb.ABORT, Verb.PAUSE, Verb.RESUME, Verb.ADVANCE))
        self.journal = Journal(emergency.NAME, STEPS)
        self.journal.details = self._details
        self.herald = Herald()
        self.state: EmergencyState | None = None
        self._writes = 0

    @workflow.run
    async def run(self, request: EmergencyRequest) -> RunResult:
        self.request = request.model_copy(update={"carried": None})
        self._open(request)
        ended = await self.abortable(self._procedure(), self._abandon, self._record)
        return await close(self.herald, self._record(ended), dry_run=request.dry_run)

    async def _procedure(self) -> Ended:
        try:
            if self.state is None:
                await self._observe()
            if not self._known().degraded:
                await self._degrade()
            return await self._until_normal()
        except Ended as ended:
            return ended

    # Observe and degrade

    def _open(self, request: EmergencyRequest) -> None:
        carried = carried_by(request, Carried)
        if carried is None:
            self.journal.open("", decided=workflow.info().start_time, first_bad=None, unhealthy=None)
            self.journal.enter("observe", f"Emergency: {self.request.reason or 'no provider serves'}")
            return
        self.state, self.driving = carried.state, carried.driving
        self.journal.moments, self.journal.timeline = carried.moments, carried.timeline
        self.journal.phase = "watch"
        self.herald = Herald(carried.subject, carried.thread)
        self.journal.routes = [route.route for route in carried.state.brief.routes]

    async def _observe(self) -> None:
        try:
            brief = await workflow.execute_activity_method(
                Ecosystem.brief, self.request, summary="read the routes", **READ
            )
        except FailureError as error:
            if is_cancelled_exception(error):
                raise
            raise unreadable(error, self._command()) from error
        now = workflow.now()
        standings = [Standing(provider=name, since=now) for name in sorted(brief.providers)]
        self.state = EmergencyState(brief=brief, began=now, told_at=now, standings=standings)
        self.journal.concerns([route.route for route in brief.routes])
        if self.request.dry_run:
            raise Ended(Outcome.COMPLETED, f"Dry run, nothing was changed. It would be {emergency.describe(brief)}.")

    async def _degrade(self) -> None:
        state = self._known()
        self.journal.announce("degrade", f"Switching on {emergency.describe(state.brief)}.")
        contacts = "".join(f" {name}: {contact}." for name, contact in sorted(state.brief.contacts.items()))
        said = f"CRITICAL: Multi-provider AI outage. Switching on {emergency.describe(state.brief)}.{contacts}"
        self.herald.opened("emergency", said, "multi-provider AI outage")
        settings = {route.route: route.degraded for route in state.brief.routes}
        await self._write("degrade", {}, Mode.DEGRADED, settings)
        state.degraded = True
        self.journal.mark(in_force=workflow.now(), verified=workflow.now())
        self.herald.update("Degraded service is in force, verified. Every provider is watched.")

    # Watch and return

    async def _until_normal(self) -> Ended:
        """Look, shift to whoever is back, sample the users' side; until all is normal or somebody orders otherwise."""
        self.driving.stage = Stage.WATCHING
        while True:
            await self._look()
            able = emergency.back(self._known().standings, self._known().brief.settings)
            if not self.driving.paused:
                await self._shift_to(able)
                why = await self._why_not_normal(able)
                if why is None or self._ordered_on(able):
                    return await self._normal(able)
                self._tell(why)
            self.journal.refresh()
            await self._continue_as_new_if_long()
            await self._wait()

    async def _look(self) -> None:
        """One probe of every provider, all at once."""
        state = self._known()
        names = [standing.provider for standing in state.standings]
        order = CandidateProbe(providers=names, timeout=state.brief.probe_timeout)
        try:
            verdicts = await workflow.execute_activity_method(
                Probing.candidates, order, summary="probe every provider", **PROBE
            )
        except ActivityError as error:
            self.journal.note(f"The providers could not be probed: {data_plane.why(error)}")
            return
        known, now = {verdict.provider: verdict for verdict in verdicts}, workflow.now()
        for index, standing in enumerate(state.standings):
            seen = standing.seen(known[standing.provider], now)
            if (seen.good > 0) != (standing.good > 0):
                self.journal.note(f"{seen.provider} {'answers again' if seen.good else 'is down'}: {seen.reason}")
            state.standings[index] = seen

    async def _shift_to(self, able: Sequence[str]) -> None:
        """Traffic by capacity to whoever is back; nothing changes while it is the same."""
        state = self._known()
        wanted = {
            route.route: shares
            for route in state.brief.routes
            if (shares := emergency.distribution_over(route.found.distribution, able, state.brief.providers))
            is not None
        }
        new = {name: dict(shares) for name, shares in wanted.items() if not same(shares, state.given.get(name, {}))}
        if not new:
            return
        self.journal.announce("return", f"Back: {', '.join(able)}. {self._described(new)}")
        await self._write("return", new, Mode.DEGRADED, None)
        state.given |= new
        state.good_samples = 0
        self.herald.update(f"{', '.join(able)} answer again and get traffic: {self._described(new)}")

    def _described(self, shares: dict[str, dict[str, int]]) -> str:
        first = next(iter(shares))
        more = f" and {count(len(shares) - 1, 'route')} more" if len(shares) > 1 else ""
        return f"{first}: {render(shares[first])}{more}."

    async def _why_not_normal(self, able: Sequence[str]) -> str | None:
        state = self._known()
        if not able or not state.given:
            return "no provider is back"
        state.good_samples = state.good_samples + 1 if await self._is_good() else 0
        for route, headroom in zip(state.brief.routes, await self._demand(), strict=True):
            shares: Distribution = state.given.get(route.route, {})
            why = emergency.why_not_normal(able, shares, headroom, state.good_samples, state.brief.settings)
            if why is not None:
                return f"route {route.route}: {why}"
        return None

    async def _is_good(self) -> bool:
        state = self._known()
        order = SampleOrder(
            routes=self.journal.routes,
            since=state.began,
            window=timedelta(seconds=30),
            evacuated="",
            moved=[],
        )
        sample = await data_plane.sample(order)
        if isinstance(sample, str):
            self.journal.note(sample)
            return False
        state.samples.append(sample)
        if len(state.samples) > KEPT_SAMPLES:
            state.samples = state.samples[::2]
        return sample.good

    async def _demand(self) -> list[Headroom]:
        try:
            return await workflow.execute_activity_method(
                Ecosystem.demand, self.journal.routes, summary="demand", **READ
            )
        except ActivityError as error:
            self.journal.note(f"The demand is not known: {data_plane.why(error)}")
            return [Headroom() for _ in self.journal.routes]

    def _ordered_on(self, able: Sequence[str]) -> bool:
        """People may call it over; without any provider there is nothing to return to."""
        ordered, self.driving.advance = self.driving.advance, False
        if ordered and not able:
            self.journal.note("Nobody serves: service stays degraded. Abort to switch it off all the same.")
        return ordered and bool(able)

    def _tell(self, why: str) -> None:
        state = self._known()
        if workflow.now() - state.told_at < state.brief.settings.update_interval:
            return
        state.told_at = workflow.now()
        since = render_duration(timedelta(seconds=round((workflow.now() - state.began).total_seconds())))
        down = ", ".join(standing.provider for standing in state.standings if not standing.good) or "nobody"
        text = f"Still degraded after {since}: {why}. Down: {down}."
        self.journal.note(text)
        self.herald.update(text)

    async def _normal(self, able: Sequence[str]) -> Ended:
        """The cache and queue settings that were found, on every route."""
        state = self._known()
        self.driving.stage = Stage.WRITING
        settings = {route.route: route.found.degraded for route in state.brief.routes}
        modes = {route.found.mode for route in state.brief.routes}
        await self._write("normal", {}, modes.pop() if len(modes) == 1 else Mode.NORMAL, settings)
        self.journal.mark(restored=workflow.now())
        return Ended(
            Outcome.COMPLETED,
            f"Normal service on {count(len(state.brief.routes), 'route')}, by {', '.join(able)}; "
            "cache and queue are as they were found.",
        )

    async def _wait(self) -> None:
        state = self._known()
        interval = emergency.next_look(workflow.now() - state.began, state.brief.settings)
        began = workflow.now()
        await self.wait(interval, "until the next look")
        if self.driving.paused:
            state.waited += workflow.now() - began

    # Writing

    async def _write(
        self, step: str, shares: dict[str, dict[str, int]], mode: Mode, settings: dict[str, Any] | None
    ) -> None:
        """Every route, on its revision of now; read, decided and written again where somebody else was faster."""
        pending = list(shares) if step == "return" else list(self.journal.routes)
        expected: list[Expectation] = []
        for _ in range(WRITE_ATTEMPTS):
            routes = await self._read(pending)
            if step != "degrade":
                routes = [route for route in routes if route.found.mode is Mode.DEGRADED]
            changes = [self._change(route, step, shares, mode, settings) for route in routes]
            try:
                results = await data_plane.write(changes, f"{step}: {count(len(changes), 'route')}") if changes else []
            except data_plane.WriteFailed as error:
                raise Ended(Outcome.NEEDS_HUMAN, f"The data plane took no change: {error}", self._command()) from error
            done = {written.route for written in results if written.in_force}
            expected += [
                Expectation(route=change.route, share=change.distribution, evacuated=None, mode=mode)
                for change in changes
                if change.route in done
            ]
            pending = [written.route for written in results if not written.in_force]
            if not pending:
                return await self._verify(step, expected)
        raise Ended(
            Outcome.NEEDS_HUMAN, f"{', '.join(pending)} changed faster than it could be written.", self._command()
        )

    async def _read(self, routes: Sequence[str]) -> list[EmergencyRoute]:
        try:
            return await workflow.execute_activity_method(
                Ecosystem.look, list(routes), summary="read the routes", **READ
            )
        except ActivityError as error:
            why = f"The routes could not be read: {data_plane.why(error)}"
            raise Ended(Outcome.NEEDS_HUMAN, why, self._command()) from error

    def _change(
        self,
        route: EmergencyRoute,
        step: str,
        shares: dict[str, dict[str, int]],
        mode: Mode,
        settings: dict[str, Any] | None,
    ) -> Change:
        self._writes += 1
        info = workflow.info()
        return Change(
            route=route.route,
            decided_on=route.found.revision,
            key=f"{info.workflow_id}/{info.run_id}/{self._writes}",
            distribution=shares.get(route.route, dict(route.found.distribution)),
            mode=mode,
            degraded=None if settings is None else settings[route.route],
            claim="",
            changed_by=ChangedBy(
                actor=self.request.requested_by or "failover",
                workflow_id=info.workflow_id,
                run_id=info.run_id,
                step=step,
            ),
            reason=self.request.reason or f"{emergency.NAME} {step}",
        )

    async def _verify(self, step: str, expected: Sequence[Expectation]) -> None:
        if not expected:
            raise Ended(Outcome.SUPERSEDED, "Somebody else ended the degraded service; this run touches nothing more.")
        verification = await data_plane.verify(expected, self._known().brief.verify_timeout)
        self.journal.note(f"{step}: {verification.reason}")
        if verification.verified is False:
            raise Ended(Outcome.NEEDS_HUMAN, f"{step} is not in force: {verification.reason}.", self._command())

    # Ends

    async def _abandon(self) -> Ended:
        """Aborted: degraded service switched off (or left on, as ordered); no traffic for anybody who is down."""
        order, state = self.driving.abort, self.state
        actor = f"Aborted by {order.actor}." if order else "Cancelled."
        self.driving.stage = Stage.PUTTING_BACK
        if state is None or not self._writes:
            return Ended(Outcome.ABORTED, f"{actor} Nothing had been changed.")
        if order is not None and order.mode == "hold":
            return Ended(Outcome.ABORTED, f"{actor} Degraded service stays in force; end it with {self._command()}.")
        self.journal.announce("return", f"{actor} Switching degraded service off.")
        try:
            return await within(state.brief.abort_timeout, self._switch_off(actor))
        except (Ended, TimeoutError) as error:
            if isinstance(error, Ended) and error.outcome is Outcome.SUPERSEDED:
                return error
            why = str(error) or f"nothing was proved within {render_duration(state.brief.abort_timeout)}"
            return Ended(Outcome.NEEDS_HUMAN, f"{actor} But it could not be switched off: {why}", self._command())

    async def _switch_off(self, actor: str) -> Ended:
        state = self._known()
        settings = {route.route: route.found.degraded for route in state.brief.routes}
        await self._write("switch off", {}, Mode.NORMAL, settings)
        return Ended(Outcome.ABORTED, f"{actor} Degraded service is switched off; the distributions stay as they are.")

    async def _continue_as_new_if_long(self) -> None:
        if not grown_long():
            return
        self.journal.notes += await self.herald.finish(PATIENCE)
        assert self.journal.moments is not None
        carried = Carried(
            state=self._known(),
            driving=self.driving,
            moments=self.journal.moments,
            timeline=self.journal.timeline[-200:],
            subject=self.herald.subject,
            thread=self.herald.thread,
        )
        continue_with(self.request, carried)

    def _record(self, ended: Ended) -> RunRecord:
        self.driving.stage = Stage.CLOSED
        moments = self.journal.close(ended.outcome, ended.reason)
        state, info = self.state, workflow.info()
        return RunRecord(
            procedure=emergency.NAME,
            workflow_id=info.workflow_id,
            run_id=info.run_id,
            trigger=self.request.trigger,
            requested_by=self.request.requested_by,
            request_reason=self.request.reason,
            provider="",
            subject="emergency",
            verdict=None,
            outcome=ended.outcome,
            reason=ended.reason,
            command=ended.command,
            moments=moments,
            waited_for_people=state.waited if state else timedelta(0),
            routes=[self._route_shift(route) for route in state.brief.routes] if state else [],
            timeline=self.journal.timeline,
            samples=state.samples if state else [],
            notes=self.journal.notes,
        )

    def _route_shift(self, route: EmergencyRoute) -> RouteShift:
        after = self._known().given.get(route.route, dict(route.found.distribution))
        return RouteShift(
            route=route.route,
            before=dict(route.found.distribution),
            after=after,
            target=None,
            revision=str(route.found.revision),
        )

    def _details(self) -> dict[str, Any]:
        state = self.state
        return {
            "subject": "emergency",
            "stage": self.driving.stage.value,
            "paused": self.driving.paused,
            "accepted_now": self.driving.accepted_now(),
            "providers": {s.provider: {"good": s.good, "reason": s.reason} for s in state.standings} if state else {},
            "given": {route: {name: p / 100 for name, p in shares.items()} for route, shares in state.given.items()}
            if state
            else {},
        }

    def _known(self) -> EmergencyState:
        assert self.state is not None
        return self.state

    def _command(self) -> str:
        routes = self.journal.routes or self.request.routes or ["ROUTE"]
        return f"failoverctl restore {routes[0]} --yes"

    request: EmergencyRequest
