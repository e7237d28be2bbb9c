"""ImmediateFailover: all traffic off a failed provider, now; verified, and validated from the users' side."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from temporalio import workflow
from temporalio.exceptions import ActivityError, FailureError, is_cancelled_exception

from activities.probing import CandidateProbe, Probing
from activities.restoration import SampleOrder
from activities.runs import StartOrder
from activities.traffic import Traffic, Written
from failover import immediate
from failover.automation import proposal
from failover.config.kpis import Kpis
from failover.emergency import NAME as EMERGENCY
from failover.failback import NAME as FAILBACK
from failover.health import Verdict
from failover.immediate import NAME as NAME
from failover.immediate import Brief, Plan, RouteNow, Shift
from failover.incident import Outcome, RouteShift, RunRecord, Sample, Trigger
from failover.policy import Change, ChangedBy
from failover.requests import ImmediateFailoverRequest, RunResult
from failover.restoration import Expectation
from failover.starting import uncertified_order
from failover.units import count, render_duration
from workflows import data_plane
from workflows.ending import Ended, close, first_read, is_bad_input, undisturbed, why_it_cannot_begin, within
from workflows.herald import Herald
from workflows.journal import Journal, Visible
from workflows.options import GLANCE, READ, candidates

EMERGENCY_ID = "emergency"
"""One emergency at a time: while it is open, another failover without a candidate joins it."""

STEPS = ("observe", "decide", "shift", "verify", "validate", "report")


@workflow.defn(name=NAME)
class ImmediateFailover(Visible):
    """Observe, decide, shift, verify, validate, report; and the next candidate where validation says no."""

    def __init__(self) -> None:
        self.journal = Journal(NAME, STEPS)
        self._herald = Herald()
        self._brief: Brief | None = None
        self._verdicts: dict[str, Verdict] = {}
        self._snapshot: dict[str, RouteNow] = {}
        self._tried: dict[str, Shift] = {}
        self._shifted: dict[str, Shift] = {}
        self._read_back: dict[str, Written] = {}
        self._samples: list[Sample] = []
        self._writes = 0
        self._left: dict[str, str] = {}
        self._forsaken: list[str] = []
        self._asked: dict[str, str] = {}
        self._said = self._unasked = ""

    @workflow.run
    async def run(self, request: ImmediateFailoverRequest) -> RunResult:
        self._open(request)
        try:
            ended = await self._procedure(request)
        except BaseException as error:
            if not is_cancelled_exception(error):
                raise
            ended = await undisturbed(self._abandon(request))
            ended = _unneeded(ended) if request.is_drill else ended
            record = await undisturbed(self._record(request, ended))
            await close(self._herald, record, dry_run=request.dry_run)
            raise
        return await undisturbed(self._conclude(request, ended))

    async def _conclude(self, request: ImmediateFailoverRequest, ended: Ended) -> RunResult:
        """What follows, the evidence, and the result; a cancellation comes too late for any of it."""
        await self._ask_people(request)
        ended = self._with_what_was_asked(request, ended)
        ended = _unneeded(ended) if request.is_drill else ended
        if self._forsaken and not request.is_drill:
            ended = await self._declare_emergency(request, ended)
        result = await close(self._herald, await self._record(request, ended), dry_run=request.dry_run)
        if ended.outcome is Outcome.COMPLETED and request.trigger is Trigger.AUTOMATIC and not request.is_drill:
            await self._watch_for_failback(request)
        return result

    async def _procedure(self, request: ImmediateFailoverRequest) -> Ended:
        try:
            brief = await self._observe(request)
            routes, ruled_out = brief.routes, dict[str, str]()
            while True:
                plan = self._decide(request, routes, ruled_out)
                await self._shift(request, brief, plan, ruled_out)
                await self._ask_people(request)
                await self._verify(request, brief)
                complaint = await self._validate(request, brief)
                if complaint is None:
                    return self._done(request)
                self._journal_failed_validation(complaint)
                ruled_out |= {shift.target: complaint for shift in self._shifted.values()}
                routes = self._as_found()
        except Ended as ended:
            return ended

    # Observe

    def _open(self, request: ImmediateFailoverRequest) -> None:
        self._verdicts = {verdict.provider: verdict for verdict in request.verdicts}
        self._herald.drill = request.is_drill
        verdict = self._verdicts.get(request.failed_provider)
        self.journal.open(
            request.failed_provider,
            decided=verdict.at if verdict else workflow.info().start_time,
            first_bad=verdict.first_bad_at if verdict else None,
            unhealthy=verdict.at if verdict and verdict.down else None,
            counted=not request.dry_run,
        )
        why = verdict.reason if verdict else request.reason or "an operator asked for it"
        self.journal.enter("observe", f"Immediate failover of {request.failed_provider}: {why}")

    async def _observe(self, request: ImmediateFailoverRequest) -> Brief:
        """The policies, chains and what is known of the candidates; whoever is not known is probed, all at once."""
        self._brief = brief = await self._read(request)
        self._snapshot = {route.route: route for route in brief.routes}
        self._refuse_to_drill(request, brief.routes)
        for verdict in brief.verdicts:
            self._verdicts.setdefault(verdict.provider, verdict)
        users = [route for route in brief.routes if route.distribution.get(request.failed_provider)]
        unknown = [name for name in immediate.candidates(request, users) if not self._fresh(name, brief)]
        if unknown:
            self._verdicts |= await self._probe(unknown, brief)
        return brief

    def _refuse_to_drill(self, request: ImmediateFailoverRequest, routes: Sequence[RouteNow]) -> None:
        """A drill never competes: a route that somebody else has taken is theirs."""
        why = immediate.why_not_drill(workflow.info().workflow_id, routes) if request.is_drill else None
        if why is not None:
            raise Ended(Outcome.SUPERSEDED, why)

    async def _read(self, request: ImmediateFailoverRequest) -> Brief:
        """By a local activity, the fastest; where that fails by a regular one, whose retries people can see."""
        try:
            glance: Brief = await workflow.execute_local_activity_method(Traffic.brief, request, **GLANCE)
            return glance
        except FailureError as error:
            if is_bad_input(error):
                raise why_it_cannot_begin(error, immediate.command(request)) from error
            self.journal.note(f"The policies could not be read at once: {data_plane.why(error)}")
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
            self.journal.note(f"The candidates could not be probed: {data_plane.why(error)}")
            return {}
        return {verdict.provider: verdict for verdict in probed}

    # Decide

    def _decide(
        self, request: ImmediateFailoverRequest, routes: Sequence[RouteNow], ruled_out: Mapping[str, str]
    ) -> Plan:
        plan = self._plan(request, routes, ruled_out)
        decision = immediate.describe(request, plan)
        self.journal.enter("decide", decision)
        if request.dry_run:
            raise Ended(Outcome.COMPLETED, f"Dry run, nothing was changed. {decision}")
        self._left |= plan.stranded
        self._asked |= plan.asks
        for remark in dict.fromkeys(shift.remark for shift in plan.shifts if shift.remark):
            self.journal.remark(remark)
        if not plan.shifts and self._left:
            raise self._stranded(request)
        if not plan.shifts and self._asked:
            raise Ended(Outcome.HELD, decision)
        if not plan.shifts:
            raise Ended(Outcome.COMPLETED, decision)
        self.journal.concerns([shift.route for shift in plan.shifts])
        return plan

    def _plan(
        self, request: ImmediateFailoverRequest, routes: Sequence[RouteNow], ruled_out: Mapping[str, str]
    ) -> Plan:
        return immediate.plan(request, immediate.as_of(routes, workflow.now()), self._verdicts, ruled_out)

    def _stranded(self, request: ImmediateFailoverRequest) -> Ended:
        """Routes are left that nobody can take over, whatever became of the others."""
        why = " ".join(list(self._left.values())[:3])
        if request.target_provider and not self._shifted:
            return Ended(Outcome.REJECTED, f"{why} Nothing was changed; name another target, or none.")
        self._forsaken = [] if request.target_provider else list(self._left)
        return Ended(Outcome.NEEDS_HUMAN, why, immediate.command(request))

    # Shift

    async def _shift(
        self, request: ImmediateFailoverRequest, brief: Brief, plan: Plan, ruled_out: Mapping[str, str]
    ) -> None:
        """Write every route; decide and write again, for the routes that somebody else changed meanwhile."""
        self.journal.enter("shift", f"Writing {count(len(plan.shifts), 'route')}")
        failed = self._verdicts.get(request.failed_provider)
        self._herald.opened(
            request.failed_provider,
            immediate.describe(request, plan),
            providers=[request.failed_provider],
            cause=failed.reason if failed is not None and failed.down else request.reason,
            known_down=failed is not None and failed.down,
            is_drill=request.is_drill,
        )
        pending = plan.shifts
        for _ in range(brief.settings.write_attempts):
            refused = await self._write(request, pending)
            if refused:
                self.journal.note(f"{count(len(refused), 'route')} refused: {refused[0].reason}")
                routes = await self._reread(request, [written.route for written in refused])
                self._refuse_to_drill(request, routes)
                plan = self._plan(request, routes, ruled_out)
                self._left |= plan.stranded
                self._asked |= plan.asks
            pending = plan.shifts if refused else []
            if not pending and self._left and not self._shifted:
                raise self._stranded(request)
            if not pending:
                self.journal.mark(in_force=workflow.now())
                self._herald.moved()
                return
        reason = f"{count(len(pending), 'route')} changed faster under this run than it could write."
        raise Ended(Outcome.NEEDS_HUMAN, reason, immediate.command(request))

    async def _reread(self, request: ImmediateFailoverRequest, routes: Sequence[str]) -> list[RouteNow]:
        """The routes as they stand now, once a write has been tried: where nobody can tell, a person must look."""
        found = await data_plane.reread(request, routes)
        if isinstance(found, str):
            reason = f"{count(len(routes), 'route')} could not be read again: {found}"
            raise Ended(Outcome.NEEDS_HUMAN, reason, immediate.command(request))
        return found

    async def _write(self, request: ImmediateFailoverRequest, shifts: Sequence[Shift]) -> list[Written]:
        """Write one batch; → the routes that were refused."""
        self._writes += 1
        self._tried |= {shift.route: shift for shift in shifts}
        changes = [self._change(request, shift) for shift in shifts]
        try:
            results = await data_plane.write(changes, f"shift {count(len(shifts), 'route')}")
        except data_plane.WriteFailed as error:
            raise Ended(
                Outcome.NEEDS_HUMAN, f"The data plane took no change: {error}", immediate.command(request)
            ) from error
        for shift, change, written in zip(shifts, changes, results, strict=True):
            if written.in_force:
                self.journal.wrote(change, "shift", written.revision)
                self._shifted[shift.route] = shift
                self._read_back[shift.route] = written
                self._left.pop(shift.route, None)
        return [written for written in results if not written.in_force]

    def _change(self, request: ImmediateFailoverRequest, shift: Shift) -> Change:
        info = workflow.info()
        return Change(
            route=shift.route,
            decided_on=shift.decided_on,
            key=f"{info.workflow_id}/{info.run_id}/{self._writes}",
            distribution=shift.after,
            claim=None if request.is_drill else "",
            changed_by=ChangedBy(
                actor=request.requested_by or "failover",
                workflow_id=info.workflow_id,
                run_id=info.run_id,
                step=f"{self.journal.phase}-{self._writes}",
            ),
            reason=request.reason or shift.reason,
        )

    # Verify

    async def _verify(self, request: ImmediateFailoverRequest, brief: Brief) -> None:
        expected = [
            Expectation(
                route=shift.route,
                share=shift.after,
                evacuated=None if request.share_percent else request.failed_provider,
                strict=request.share_percent is not None,
            )
            for shift in self._shifted.values()
        ]
        verification = await data_plane.verify(expected, brief.settings.verify_timeout)
        self._read_back |= {written.route: written for written in verification.in_force}
        self.journal.enter("verify", verification.reason)
        if verification.verified is not True:
            reason = f"The change could not be verified: {verification.reason}."
            raise Ended(Outcome.NEEDS_HUMAN, reason, immediate.command(request))
        self.journal.mark(verified=workflow.now())
        said = f"Traffic is off {request.failed_provider}, verified; validating the users' side."
        self._herald.update(said, verified=True)

    # Validate

    async def _validate(self, request: ImmediateFailoverRequest, brief: Brief) -> str | None:
        """Sample the users' side until it is good for long enough; → why it did not become so, or None."""
        needed = brief.settings.validate_good_samples
        self.journal.enter("validate", f"Waiting for {needed} good samples in a row")
        started, good = workflow.now(), 0
        while True:
            sample = await data_plane.sample(self._sample_order(request, brief, started))
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

    def _sample_order(self, request: ImmediateFailoverRequest, brief: Brief, since: datetime) -> SampleOrder:
        return SampleOrder(
            routes=list(self._shifted),
            since=since,
            window=3 * brief.settings.validate_interval,
            evacuated=request.failed_provider,
            moved=[] if request.share_percent else list(self._shifted),
        )

    def _journal_failed_validation(self, complaint: str) -> None:
        targets = ", ".join(sorted({shift.target for shift in self._shifted.values()}))
        self.journal.note(f"{targets} did not restore the service: {complaint}")

    def _as_found(self) -> list[RouteNow]:
        """The routes as they were, at their present revisions: the next candidate gets the same share."""
        return [
            replace(
                self._snapshot[route],
                distribution=shift.before,
                revision=self._read_back[route].revision or shift.decided_on,
            )
            for route, shift in self._shifted.items()
        ]

    # End

    def _done(self, request: ImmediateFailoverRequest) -> Ended:
        if self._left:
            return self._stranded(request)
        targets = ", ".join(sorted({shift.target for shift in self._shifted.values()}))
        where = count(len(self._shifted), "route")
        return Ended(
            Outcome.COMPLETED,
            f"The traffic of {request.failed_provider} on {where} goes to {targets}, and the users' side is good.",
        )

    async def _abandon(self, request: ImmediateFailoverRequest) -> Ended:
        """Cancelled: put back what was found, unless that would send traffic to a provider known to be down."""
        brief = self._brief
        if brief is None or not self._tried:
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
            return await within(brief.settings.abort_timeout, self._restore(request, brief))
        except (TimeoutError, Ended) as error:
            why = str(error) or f"nothing answered within {render_duration(brief.settings.abort_timeout)}"
            reason = f"Cancelled, but what was found could not be put back: {why}"
            return Ended(Outcome.NEEDS_HUMAN, reason, immediate.command(request))

    async def _restore(self, request: ImmediateFailoverRequest, brief: Brief) -> Ended:
        routes = await self._reread(request, list(self._tried))
        restored = [self._back(route) for route in routes if self._may_restore(route)]
        refused = await self._write(request, restored) if restored else []
        expected = [Expectation(route=shift.route, share=shift.after, evacuated=None) for shift in restored]
        verification = await data_plane.verify(expected, brief.settings.verify_timeout)
        if refused or verification.verified is not True:
            said = refused[0].reason if refused else verification.reason
            raise Ended(Outcome.NEEDS_HUMAN, said)
        where = count(len(restored), "route")
        return Ended(Outcome.ABORTED, f"Cancelled; {where} put back as found, verified.")

    def _may_restore(self, route: RouteNow) -> bool:
        """Ours, or not touched yet: written all the same, so that our own write, should it come late, is refused."""
        mine = route.changed_by == workflow.info().workflow_id
        return mine or route.revision == self._snapshot[route.route].revision

    def _back(self, route: RouteNow) -> Shift:
        return replace(
            self._tried[route.route],
            decided_on=route.revision,
            before=route.distribution,
            after=self._snapshot[route.route].distribution,
        )

    # What follows

    async def _ask_people(self, request: ImmediateFailoverRequest) -> None:
        """Routes that demand a certificate which no able target holds: a run of their own asks, and starts on a yes."""
        routes, brief = self._asked, self._brief
        if request.is_drill or not routes or brief is None or brief.automation is None:
            return
        self._asked, why = {}, next(iter(routes.values()))
        order = uncertified_order(request, sorted(routes))
        asking = proposal(order, request.failed_provider, sorted(routes), why, request.requested_by, brief.automation)
        failed = await data_plane.start(asking)
        said = f"People are asked by the run {asking.workflow_id}"
        self._unasked = f"People could not be asked about {', '.join(sorted(routes))}: {failed}." if failed else ""
        self.journal.remark(self._unasked or f"{said}: {why}")
        self._said += "" if failed else f" {said}."

    def _with_what_was_asked(self, request: ImmediateFailoverRequest, ended: Ended) -> Ended:
        if self._unasked:
            return Ended(Outcome.NEEDS_HUMAN, f"{ended.reason} {self._unasked}", immediate.command(request))
        return Ended(ended.outcome, f"{ended.reason}{self._said}", ended.command)

    async def _declare_emergency(self, request: ImmediateFailoverRequest, ended: Ended) -> Ended:
        """No provider is left for some routes: they are served degraded until one comes back."""
        order = StartOrder(
            procedure=EMERGENCY,
            workflow_id=EMERGENCY_ID,
            request={
                "routes": self._forsaken,
                "reason": ended.reason[:1000],
                "requested_by": request.requested_by,
                "trigger": request.trigger.value,
            },
            summary=f"no provider is left for {count(len(self._forsaken), 'route')}",
        )
        why = await data_plane.start(order)
        if why is not None:
            return Ended(ended.outcome, f"{ended.reason} The emergency could not be declared: {why}.", ended.command)
        self.journal.note(f"The emergency procedure has begun: {EMERGENCY_ID}.")
        return Ended(Outcome.HELD, f"{ended.reason} The emergency procedure has begun: run {EMERGENCY_ID}.")

    async def _watch_for_failback(self, request: ImmediateFailoverRequest) -> None:
        """Where the route wants it, the return begins to be watched for; that it does not start holds nothing up."""
        info = workflow.info()
        for route in self._shifted:
            wanted = self._snapshot[route].failback
            if wanted == "off":
                continue
            order = StartOrder(
                procedure=FAILBACK,
                workflow_id=f"failback/{route}",
                request={
                    "route": route,
                    "original_provider": request.failed_provider,
                    "auto": wanted == "auto",
                    "undoes_workflow_id": info.workflow_id,
                    "undoes_run_id": info.run_id,
                    "requested_by": request.requested_by,
                    "trigger": Trigger.AUTOMATIC.value,
                    "reason": f"after the failover of {request.failed_provider}",
                },
                summary=f"{route}: back to {request.failed_provider}",
            )
            if (why := await data_plane.start(order)) is not None:
                workflow.logger.warning("the failback watch did not start", extra={"route": route, "why": why})

    async def _record(self, request: ImmediateFailoverRequest, ended: Ended) -> RunRecord:
        moments = self.journal.close(ended.outcome, ended.reason)
        impact = None
        if self._shifted:
            first_bad = moments.first_bad or moments.decided
            in_force = moments.in_force or moments.decided
            restored = moments.restored or workflow.now()
            impact = await data_plane.impact(list(self._shifted), first_bad, in_force, restored)
        info = workflow.info()
        return RunRecord(
            procedure=NAME,
            workflow_id=info.workflow_id,
            run_id=info.run_id,
            trigger=request.trigger,
            requested_by=request.requested_by,
            request_reason=request.reason,
            provider=request.failed_provider,
            verdict=self._verdicts.get(request.failed_provider),
            outcome=ended.outcome,
            reason=ended.reason,
            command=ended.command,
            moments=moments,
            routes=[self._route_shift(name) for name in self._shifted],
            timeline=self.journal.timeline,
            samples=self._samples,
            impact=impact,
            notes=self.journal.notes,
            kpis=self._brief.kpis if self._brief else Kpis(),
            concerns=self.journal.routes,
            writes=self.journal.writes,
            contacts=self._brief.contacts if self._brief else {},
            is_drill=request.is_drill,
        )

    def _route_shift(self, route: str) -> RouteShift:
        written, shift = self._read_back[route], self._shifted[route]
        return RouteShift(
            route=route,
            before=self._snapshot[route].distribution,
            after=written.distribution,
            target=shift.target,
            revision=str(written.revision),
        )


def _unneeded(ended: Ended) -> Ended:
    """A drill that fails calls nobody: it puts back what it found."""
    if ended.outcome is not Outcome.NEEDS_HUMAN:
        return ended
    return Ended(Outcome.FAILED, ended.reason)
