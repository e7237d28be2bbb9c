"""ImmediateFailover: all traffic off a failed provider, now; verified, and validated from the users' side."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from temporalio import workflow
from temporalio.exceptions import ActivityError, FailureError, is_cancelled_exception

from activities.probing import CandidateProbe, Probing
from activities.traffic import Traffic
from failover import immediate
from failover.health import Verdict
from failover.immediate import NAME, Brief, Plan, RouteNow
from failover.incident import Outcome, RunRecord, Sample, Trigger
from failover.requests import ImmediateFailoverRequest, RunResult
from failover.units import count, render_duration
from workflows import failures
from workflows.ending import Ended, close, first_read, undisturbed, why_it_cannot_begin, within
from workflows.evacuated_routes import EvacuatedRoutes
from workflows.follow_ons import FollowOns
from workflows.herald import Herald
from workflows.journal import Journal, Visible
from workflows.options import GLANCE, READ, candidates
from workflows.signing import me

STEPS = ("observe", "decide", "shift", "verify", "validate", "report")


@workflow.defn(name=NAME)
class ImmediateFailover(Visible):
    """Observe, decide, shift, verify, validate, report; and the next candidate where validation says no."""

    def __init__(self) -> None:
        self.journal = Journal(NAME, STEPS)
        self._herald = Herald()
        self._brief: Brief | None = None
        self._verdicts: dict[str, Verdict] = {}
        self._samples: list[Sample] = []
        self._left: dict[str, str] = {}
        self._forsaken: list[str] = []

    @workflow.run
    async def run(self, request: ImmediateFailoverRequest) -> RunResult:
        self.request = request
        self._follow_ons = FollowOns(request, self.journal)
        self._open()
        try:
            ended = await self._procedure()
        except BaseException as error:
            if not is_cancelled_exception(error):
                raise
            ended = await undisturbed(self._abandon())
            ended = _unneeded(ended) if request.is_drill else ended
            record = await undisturbed(self._record(ended))
            await close(self._herald, record, dry_run=request.dry_run)
            raise
        return await undisturbed(self._conclude(ended))

    async def _conclude(self, ended: Ended) -> RunResult:
        """What follows, the evidence, and the result; a cancellation comes too late for any of it."""
        request, follow_ons = self.request, self._follow_ons
        await follow_ons.ask_people(self._brief)
        ended = follow_ons.with_what_was_asked(ended)
        ended = _unneeded(ended) if request.is_drill else ended
        if self._forsaken and not request.is_drill:
            ended = await follow_ons.declare_emergency(self._forsaken, ended)
        result = await close(self._herald, await self._record(ended), dry_run=request.dry_run)
        if ended.outcome is Outcome.COMPLETED and request.trigger is Trigger.AUTOMATIC and not request.is_drill:
            await follow_ons.watch_for_failback(self.routes.moved())
        return result

    async def _procedure(self) -> Ended:
        try:
            brief = await self._observe()
            routes, ruled_out = brief.routes, dict[str, str]()
            while True:
                plan = self._decide(routes, ruled_out)
                await self._shift(brief, plan, ruled_out)
                await self._follow_ons.ask_people(self._brief)
                await self._verify()
                complaint = await self._validate(brief)
                if complaint is None:
                    return self._done()
                targets = self.routes.targets
                self.journal.note(f"{', '.join(targets)} did not restore the service: {complaint}")
                ruled_out |= dict.fromkeys(targets, complaint)
                routes = self.routes.as_found()
        except Ended as ended:
            return ended

    # Observe

    def _open(self) -> None:
        request = self.request
        self._verdicts = {verdict.provider: verdict for verdict in request.verdicts}
        self._herald.drill = request.is_drill
        verdict = self._verdicts.get(request.failed_provider)
        self.journal.open(
            request.failed_provider,
            decided=verdict.at if verdict else workflow.info().start_time,
            first_bad=verdict.first_bad_at if verdict else None,
            unhealthy=verdict.at if verdict and verdict.down else None,
            counted=not (request.dry_run or request.is_drill),
        )
        why = verdict.reason if verdict else request.reason or "an operator asked for it"
        self.journal.enter("observe", f"Immediate failover of {request.failed_provider}: {why}")

    async def _observe(self) -> Brief:
        """The policies, chains and what is known of the candidates; whoever is not known is probed, all at once."""
        request = self.request
        self._brief = brief = await self._read()
        self.routes = EvacuatedRoutes(request, brief, self.journal)
        self._refuse_to_drill(brief.routes)
        for verdict in brief.verdicts:
            self._verdicts.setdefault(verdict.provider, verdict)
        users = [route for route in brief.routes if route.distribution.get(request.failed_provider)]
        unknown = [name for name in immediate.candidates(request, users) if not self._fresh(name, brief)]
        if unknown:
            self._verdicts |= await self._probe(unknown, brief)
        return brief

    def _refuse_to_drill(self, routes: Sequence[RouteNow]) -> None:
        """A drill never competes: a route that somebody else has taken is theirs."""
        why = immediate.why_not_drill(me(), routes) if self.request.is_drill else None
        if why is not None:
            raise Ended(Outcome.SUPERSEDED, why)

    async def _read(self) -> Brief:
        """Read by a local activity, the fastest; if it fails by a regular one, whose retries people can see."""
        request = self.request
        try:
            glance: Brief = await workflow.execute_local_activity_method(Traffic.brief, request, **GLANCE)
            return glance
        except FailureError as error:
            if failures.is_bad_input(error):
                raise why_it_cannot_begin(error, immediate.command(request)) from error
            self.journal.note(f"The policies could not be read at once: {failures.why(error)}")
        reading = workflow.execute_activity_method(Traffic.brief, request, **READ)
        return await first_read(reading, immediate.command(request))

    def _fresh(self, provider: str, brief: Brief) -> bool:
        verdict = self._verdicts.get(provider)
        return verdict is not None and workflow.now() - verdict.at <= brief.settings.verdict_max_age

    async def _probe(self, providers: Sequence[str], brief: Brief) -> dict[str, Verdict]:
        order = CandidateProbe(providers=providers, timeout=brief.settings.probe_timeout)
        summary = f"probe {', '.join(providers)}"
        try:
            probed = await workflow.execute_activity_method(
                Probing.candidates, order, summary=summary, **candidates(order.timeout)
            )
        except ActivityError as error:
            self.journal.note(f"The candidates could not be probed: {failures.why(error)}")
            return {}
        return {verdict.provider: verdict for verdict in probed}

    # Decide

    def _decide(self, routes: Sequence[RouteNow], ruled_out: Mapping[str, str]) -> Plan:
        plan = self._plan(routes, ruled_out)
        decision = immediate.describe(self.request, plan)
        self.journal.enter("decide", decision)
        if self.request.dry_run:
            raise Ended(Outcome.COMPLETED, f"Dry run, nothing was changed. {decision}")
        self._set_aside(plan)
        for remark in dict.fromkeys(shift.remark for shift in plan.shifts if shift.remark):
            self.journal.remark(remark)
        if not plan.shifts and self._left:
            raise self._stranded()
        if not plan.shifts and self._follow_ons.to_ask:
            raise Ended(Outcome.HELD, decision)
        if not plan.shifts:
            raise Ended(Outcome.COMPLETED, decision)
        self.journal.concerns([shift.route for shift in plan.shifts])
        return plan

    def _plan(self, routes: Sequence[RouteNow], ruled_out: Mapping[str, str]) -> Plan:
        return immediate.plan(self.request, immediate.as_of(routes, workflow.now()), self._verdicts, ruled_out)

    def _set_aside(self, plan: Plan) -> None:
        """What the plan leaves where it is."""
        self._left |= plan.stranded
        self._follow_ons.to_ask |= plan.asks

    def _stranded(self) -> Ended:
        """The end of a run that leaves routes that nobody can take over, whatever became of the others."""
        request, why = self.request, " ".join(list(self._left.values())[:3])
        if request.target_provider and not self.routes.shifted:
            return Ended(Outcome.REJECTED, f"{why} Nothing was changed; name another target, or none.")
        self._forsaken = [] if request.target_provider else list(self._left)
        return Ended(Outcome.NEEDS_HUMAN, why, immediate.command(request))

    # Shift

    async def _shift(self, brief: Brief, plan: Plan, ruled_out: Mapping[str, str]) -> None:
        """Write every route; decide and write again, for the routes that somebody else changed meanwhile."""
        self.journal.enter("shift", f"Writing {count(len(plan.shifts), 'route')}")
        self._announce(plan)
        pending = plan.shifts
        for _ in range(brief.settings.write_attempts):
            refused = await self.routes.write(pending)
            for route in {shift.route for shift in pending} - {written.route for written in refused}:
                self._left.pop(route, None)
            if refused:
                self.journal.note(f"{count(len(refused), 'route')} refused: {refused[0].reason}")
                routes = await self.routes.reread([written.route for written in refused])
                self._refuse_to_drill(routes)
                plan = self._plan(routes, ruled_out)
                self._set_aside(plan)
            pending = plan.shifts if refused else []
            if not pending and self._left and not self.routes.shifted:
                raise self._stranded()
            if not pending:
                self.journal.mark(in_force=workflow.now())
                self._herald.moved()
                return
        reason = f"{count(len(pending), 'route')} changed faster under this run than it could write."
        raise Ended(Outcome.NEEDS_HUMAN, reason, immediate.command(self.request))

    def _announce(self, plan: Plan) -> None:
        """Tell people as the first write begins."""
        request = self.request
        failed = self._verdicts.get(request.failed_provider)
        self._herald.opened(
            request.failed_provider,
            immediate.describe(request, plan),
            providers=[request.failed_provider],
            cause=failed.reason if failed is not None and failed.down else request.reason,
            known_down=failed is not None and failed.down,
            is_drill=request.is_drill,
        )

    # Verify

    async def _verify(self) -> None:
        verification = await self.routes.verify()
        self.journal.enter("verify", verification.reason)
        if verification.verified is not True:
            reason = f"The change could not be verified: {verification.reason}."
            raise Ended(Outcome.NEEDS_HUMAN, reason, immediate.command(self.request))
        self.journal.mark(verified=workflow.now())
        said = f"Traffic is off {self.request.failed_provider}, verified; validating the users' side."
        self._herald.update(said, verified=True)

    # Validate

    async def _validate(self, brief: Brief) -> str | None:
        """Sample the users' side until it is good for long enough; → why it did not become so, or None."""
        needed = brief.settings.validate_good_samples
        self.journal.enter("validate", f"Waiting for {needed} good samples in a row")
        started, good = workflow.now(), 0
        while True:
            sample = await self.routes.sample(started)
            reason = sample if isinstance(sample, str) else sample.reason
            if isinstance(sample, Sample):
                self._samples.append(sample)
            good = good + 1 if isinstance(sample, Sample) and sample.good else 0
            self.journal.note(f"{'good' if good else 'not good'}: {reason}")
            if good >= needed:
                self.journal.mark(restored=workflow.now())
                return None
            # A streak that has begun is seen to its end: it is good news that is short of samples, not bad news.
            if not good and workflow.now() - started >= brief.settings.validate_timeout:
                return reason
            await workflow.sleep(brief.settings.validate_interval, summary="until the next sample")

    # End

    def _done(self) -> Ended:
        if self._left:
            return self._stranded()
        where, targets = count(len(self.routes.shifted), "route"), ", ".join(self.routes.targets)
        return Ended(
            Outcome.COMPLETED,
            f"The traffic of {self.request.failed_provider} on {where} goes to {targets}, and the users' side is good.",
        )

    async def _abandon(self) -> Ended:
        """Cancel: put back what was found, unless that would send traffic to a provider known to be down."""
        request, brief = self.request, self._brief
        if brief is None or not self.routes.tried:
            return Ended(Outcome.ABORTED, "Cancelled before any traffic was moved.")
        failed = self._verdicts.get(request.failed_provider)
        if failed is not None and failed.down:
            return Ended(
                Outcome.ABORTED,
                f"Cancelled, and held as it stands: {request.failed_provider} is {failed.condition.value}, "
                "and traffic is never sent back to a provider known to be down.",
            )
        self.journal.enter("shift", "Cancelled: putting back what was found")
        try:
            return await within(brief.settings.abort_timeout, self.routes.restore())
        except (TimeoutError, Ended) as error:
            why = str(error) or f"nothing answered within {render_duration(brief.settings.abort_timeout)}"
            reason = f"Cancelled, but what was found could not be put back: {why}"
            return Ended(Outcome.NEEDS_HUMAN, reason, immediate.command(request))

    async def _record(self, ended: Ended) -> RunRecord:
        request, brief = self.request, self._brief
        moments = self.journal.close(ended.outcome, ended.reason)
        record = replace(
            self.journal.record(request, ended.outcome, ended.reason, ended.command),
            verdict=self._verdicts.get(request.failed_provider),
            samples=self._samples,
            is_drill=request.is_drill,
        )
        if brief is None:
            return record
        return replace(
            record,
            routes=self.routes.record(),
            impact=await self.routes.impact(moments),
            kpis=brief.kpis,
            contacts=brief.contacts,
        )

    request: ImmediateFailoverRequest
    routes: EvacuatedRoutes
    """The routes to evacuate; set once they are read."""
    _follow_ons: FollowOns


def _unneeded(ended: Ended) -> Ended:
    """A drill that fails calls nobody: it puts back what it found."""
    if ended.outcome is not Outcome.NEEDS_HUMAN:
        return ended
    return Ended(Outcome.FAILED, ended.reason)
