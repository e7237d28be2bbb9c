"""MultiProviderEmergency: degraded service while nobody serves; the first provider back gets traffic, then all is normal."""

from collections.abc import Coroutine, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

from temporalio import workflow
from temporalio.exceptions import ActivityError

from activities.emergency import Ecosystem
from activities.probing import CandidateProbe, Probing
from activities.restoration import SampleOrder
from failover import emergency
from failover.capacity import Headroom
from failover.config.kpis import Kpis
from failover.distribution import Distribution, render, same
from failover.driving import Driving, Stage, Verb
from failover.emergency import EmergencyRoute, ProviderWatch
from failover.incident import Moments, Outcome, PolicyWrite, RouteShift, RunRecord, TimelineEntry
from failover.messages import MessageRef
from failover.policy import Mode
from failover.requests import EmergencyRequest, RunResult
from failover.units import count, render_duration
from workflows import data_plane, failures
from workflows.degrading import Degrading, EmergencyState, Service, Unproved
from workflows.driven import Driven, carried_by, continue_with, grown_long
from workflows.ending import PATIENCE, Ended, close, first_read, within
from workflows.herald import Herald
from workflows.journal import Journal
from workflows.options import READ, candidates

STEPS = ("observe", "degrade", "watch", "return", "report")

KEPT_SAMPLES = 100


@dataclass(slots=True, kw_only=True)
class Carried:
    """What a run leaves to the one that continues it."""

    state: EmergencyState
    driving: Driving
    moments: Moments
    timeline: list[TimelineEntry]
    notes: list[str]
    subject: str
    thread: MessageRef | None
    writes: list[PolicyWrite] = field(default_factory=list)
    outward: str | None = None


@workflow.defn(name=emergency.NAME)
class MultiProviderEmergency(Driven):
    """Degrade, tell people, watch every provider; traffic by capacity to whoever comes back; normal service."""

    def __init__(self) -> None:
        self.driving = Driving(verbs=(Verb.ABORT, Verb.PAUSE, Verb.RESUME, Verb.ADVANCE))
        self.journal = Journal(emergency.NAME, STEPS)
        self.journal.details = self._details
        self.herald = Herald()
        self.state: EmergencyState | None = None

    @workflow.run
    async def run(self, request: EmergencyRequest) -> RunResult:
        self.request = request.model_copy(update={"carried": None})
        self._open(request)
        ended = await self.abortable(self._procedure(), self._abandon, self._record, dry_run=self.request.dry_run)
        return await close(self.herald, self._record(ended), dry_run=request.dry_run)

    async def _procedure(self) -> Ended:
        try:
            if self.state is None:
                await self._observe()
            return await self._until_normal()
        except Ended as ended:
            return ended

    # Observe and degrade

    def _open(self, request: EmergencyRequest) -> None:
        carried = carried_by(request, Carried)
        if carried is None:
            began = workflow.info().start_time
            self.journal.open("", decided=began, first_bad=None, unhealthy=None, counted=not request.dry_run)
            self.journal.enter("observe", f"Emergency: {self.request.reason or self._declared()}")
            return
        self._know(carried.state)
        self.driving = carried.driving
        self.journal.moments, self.journal.timeline = carried.moments, carried.timeline
        self.journal.notes, self.journal.phase = carried.notes, "watch"
        self.journal.writes = carried.writes
        self.herald = Herald(carried.subject, carried.thread, carried.outward)
        self.journal.routes = [route.route for route in carried.state.brief.routes]
        self.take_again()

    def _declared(self) -> str:
        by = self.request.requested_by
        return f"declared by {by}" if by else "no provider serves"

    def _know(self, state: EmergencyState) -> None:
        self.state = state
        self.routes = Degrading(self.request, state, self.journal)

    async def _observe(self) -> None:
        reading = workflow.execute_activity_method(Ecosystem.brief, self.request, summary="read the routes", **READ)
        brief = await first_read(reading, self._command())
        now = workflow.now()
        standings = [ProviderWatch(provider=name, since=now) for name in sorted(brief.providers)]
        self._know(EmergencyState(brief=brief, began=now, told_at=now, standings=standings))
        self.journal.concerns([route.route for route in brief.routes])
        if self.request.dry_run:
            raise Ended(Outcome.COMPLETED, f"Dry run, nothing was changed. It would be {emergency.describe(brief)}.")

    async def _degrade(self) -> None:
        """Switch degraded service on and prove it; a no-op once it is proved."""
        state = self._known()
        if not state.expected:
            self.journal.announce("degrade", f"Switching on {emergency.describe(state.brief)}.")
            contacts = "".join(f" {name}: {contact}." for name, contact in sorted(state.brief.contacts.items()))
            said = f"CRITICAL: Multi-provider AI outage. Switching on {emergency.describe(state.brief)}.{contacts}"
            self.herald.opened(
                "emergency",
                said,
                "multi-provider AI outage",
                providers=sorted(state.brief.providers),
                cause=self.request.reason or "no provider serves",
                known_down=True,
            )
            wanted = {route.route: Service(mode=Mode.DEGRADED, settings=route.degraded) for route in state.brief.routes}
            await self.routes.write("degrade", wanted)
            self.herald.moved()
        await self.routes.prove()
        assert self.journal.moments is not None
        if self.journal.moments.in_force is None:
            self.journal.mark(in_force=workflow.now(), verified=workflow.now())
            said = "Degraded service is in force, verified. Every provider is watched."
            self.journal.note(said)
            self.herald.update(said)

    # Watch and return

    async def _until_normal(self) -> Ended:
        """Degrade, look, shift to whoever is back; until all is normal or somebody orders otherwise.

        A data plane that does not answer is one more thing to wait for: the providers are watched on, and people told.
        """
        while True:
            trouble = None if self.driving.paused else await self._why_not(self._degrade())
            self.driving.stage = Stage.WATCHING
            await self._look()
            able = emergency.back(self._known().standings, self._known().brief.settings)
            if not self.driving.paused and trouble is None:
                ended = await self._turn(able)
                if isinstance(ended, Ended):
                    return ended
                trouble = ended
            self._tell(trouble)
            self.journal.refresh()
            await self._continue_as_new_if_long()
            await self._wait()

    async def _turn(self, able: Sequence[str]) -> Ended | str | None:
        """How it ended, what is in the way of the data plane, or None: service stays degraded for now."""
        if (trouble := await self._why_not(self._shift_to(able))) is not None:
            return trouble
        self.waits_for = await self._why_not_normal(able)
        if self.waits_for is not None and not self._ordered_on(able):
            return None
        return await self._normal(able)

    async def _why_not(self, work: Coroutine[Any, Any, None]) -> str | None:
        try:
            await work
        except Unproved as error:
            return str(error)
        return None

    async def _look(self) -> None:
        """Probe every provider once, all at the same time."""
        state = self._known()
        names = [watched.provider for watched in state.standings]
        order = CandidateProbe(providers=names, timeout=state.brief.probe_timeout)
        try:
            verdicts = await workflow.execute_activity_method(
                Probing.candidates, order, summary="probe every provider", **candidates(order.timeout)
            )
        except ActivityError as error:
            self.journal.note(f"The providers could not be probed: {failures.why(error)}")
            return
        known, now = {verdict.provider: verdict for verdict in verdicts}, workflow.now()
        for index, watched in enumerate(state.standings):
            seen = watched.seen(known[watched.provider], now)
            if (seen.good > 0) != (watched.good > 0):
                self.journal.note(f"{seen.provider} {'answers again' if seen.good else 'is down'}: {seen.reason}")
            state.standings[index] = seen

    async def _shift_to(self, able: Sequence[str]) -> None:
        """Give traffic by capacity to whoever is back; nothing changes while it is the same."""
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
        await self.routes.write(
            "return", {name: Service(mode=Mode.DEGRADED, distribution=shares) for name, shares in new.items()}
        )
        state.given |= new
        state.good_samples = 0
        await self.routes.prove()
        self.herald.update(f"{', '.join(able)} answer again and get traffic: {self._described(new)}", verified=True)

    def _described(self, shares: dict[str, dict[str, int]]) -> str:
        first = next(iter(shares))
        more = f" and {count(len(shares) - 1, 'route')} more" if len(shares) > 1 else ""
        return f"{first}: {render(shares[first])}{more}."

    async def _why_not_normal(self, able: Sequence[str]) -> str | None:
        state = self._known()
        if not able or not state.given:
            state.good_samples = 0
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
            self.journal.note(f"The demand is not known: {failures.why(error)}")
            return [Headroom() for _ in self.journal.routes]

    def _ordered_on(self, able: Sequence[str]) -> bool:
        """Whether people called the emergency over; without any provider there is nothing to return to."""
        ordered, self.driving.advance = self.driving.advance, False
        if ordered and not able:
            self.journal.note("Nobody serves: service stays degraded. Abort to switch it off all the same.")
        return ordered and bool(able)

    def _tell(self, trouble: str | None) -> None:
        """How it stands, every now and then; that the data plane makes difficulties, at once."""
        state, now = self._known(), workflow.now()
        news = trouble is not None and not state.troubled
        state.troubled = trouble is not None
        if not news and now - state.told_at < state.brief.settings.update_interval:
            return
        state.told_at = now
        since = render_duration(timedelta(seconds=round((now - state.began).total_seconds())))
        down = ", ".join(watched.provider for watched in state.standings if not watched.good) or "nobody"
        text = f"Still degraded after {since}: {trouble or self.waits_for}. Down: {down}."
        if trouble is not None:
            text += f" It is tried again. By hand: {self._command()}"
        self.journal.note(text)
        self.herald.update(text, urgent=news)

    async def _normal(self, able: Sequence[str]) -> Ended | str:
        """The mode, cache and queue settings that were found, on every route; or why they could not be written yet."""
        state = self._known()
        self.driving.stage = Stage.WRITING
        if (trouble := await self._why_not(self.routes.write("normal", self._as_found()))) is not None:
            return trouble
        try:
            await within(state.brief.abort_timeout, self.routes.until_proved())
        except (TimeoutError, Unproved):
            why = f"Normal service was written, but is not known to be in force: {self.routes.doubt}."
            return Ended(Outcome.NEEDS_HUMAN, why, self._command())
        self.journal.mark(restored=workflow.now())
        return Ended(
            Outcome.COMPLETED,
            f"Normal service on {count(len(state.brief.routes), 'route')}, by {', '.join(able)}; "
            "cache and queue are as they were found.",
        )

    def _as_found(self) -> dict[str, Service]:
        return {
            route.route: Service(mode=route.found.mode, settings=route.found.degraded)
            for route in self._known().brief.routes
        }

    async def _wait(self) -> None:
        state = self._known()
        interval = emergency.next_look(workflow.now() - state.began, state.brief.settings)
        began = workflow.now()
        await self.wait(interval, "until the next look")
        if self.driving.paused:
            state.waited += workflow.now() - began

    # Ends

    async def _abandon(self) -> Ended:
        """Abort: switch degraded service off (or leave it on, as ordered); no traffic for anybody who is down."""
        order, state = self.driving.abort, self.state
        actor = f"Aborted by {order.actor}." if order else "Cancelled."
        self.driving.stage = Stage.PUTTING_BACK
        if state is None or not state.written:
            return Ended(Outcome.ABORTED, f"{actor} Nothing had been changed.")
        if order is not None and order.mode == "hold":
            sure = "stays in force" if state.proved else "stays as far as it was written"
            return Ended(Outcome.ABORTED, f"{actor} Degraded service {sure}; end it with {self._command()}.")
        self.journal.announce("return", f"{actor} Switching degraded service off.")
        try:
            await within(state.brief.abort_timeout, self.routes.until("switch-off", self._as_found()))
        except Ended as ended:
            return ended
        except TimeoutError:
            limit = render_duration(state.brief.abort_timeout)
            why = f"nothing was proved within {limit}; {self.routes.doubt}".rstrip("; ")
            return Ended(Outcome.NEEDS_HUMAN, f"{actor} But it could not be switched off: {why}.", self._command())
        return Ended(
            Outcome.ABORTED,
            f"{actor} Degraded service is switched off: mode and settings are as found, distributions as they are.",
        )

    async def _continue_as_new_if_long(self) -> None:
        if not grown_long():
            return
        self.journal.notes += await self.herald.finish(PATIENCE)
        assert self.journal.moments is not None
        carried = Carried(
            state=self._known(),
            driving=self.driving,
            moments=self.journal.moments,
            timeline=self.journal.timeline,
            notes=self.journal.notes,
            writes=self.journal.writes,
            subject=self.herald.subject,
            thread=self.herald.thread,
            outward=self.herald.outward,
        )
        continue_with(self.request, carried)

    def _record(self, ended: Ended) -> RunRecord:
        self.driving.stage = Stage.CLOSED
        self.journal.close(ended.outcome, ended.reason)
        record = self.journal.record(self.request, ended.outcome, ended.reason, ended.command)
        state = self.state
        return replace(
            record,
            subject="emergency",
            waited_for_people=state.waited if state else timedelta(0),
            routes=[self._route_shift(route) for route in state.brief.routes] if state else [],
            samples=state.samples if state else [],
            kpis=state.brief.kpis if state else Kpis(),
            contacts=state.brief.contacts if state else {},
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
        return emergency.command(self.journal.routes or self.request.routes or [])

    request: EmergencyRequest
    routes: Degrading
    waits_for: str | None = None
    """Why service is not normal yet, as of the last look."""
