"""ReadinessAudit: would a failover of any route to any of its targets work now? Looks at everything, and moves nothing."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError

from activities.notify import Notify
from activities.readiness import (
    Auditing,
    AuditPlan,
    ContextOrder,
    GoldenOrder,
    Kept,
    PeopleLook,
    ProviderLook,
    TrafficLook,
)
from failover import kinds
from failover.errors import NON_RETRYABLE
from failover.findings import Finding, Health, unknown
from failover.messages import readiness_changed
from failover.readiness import Check, Looked, Standing, Target, pair, prompts
from failover.requests import ReadinessAuditRequest
from workflows import failures
from workflows.options import HELPER, READ

NAME = kinds.READINESS_AUDIT

TRIES = RetryPolicy(
    initial_interval=timedelta(seconds=1), maximum_attempts=2, non_retryable_error_types=list(NON_RETRYABLE)
)
"""A worker that dies is no finding; a look that fails twice is."""

SILENCE = timedelta(seconds=30)
"""How much longer than one prompt an activity may be silent before it counts as dead."""

LISTED = 500
"""Routes in the result; all of them are in the audit that is kept."""

AGAIN = "repair that, then `failoverctl readiness audit`"


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditResult:
    """What came of it; the whole audit is kept beside the evidence. `told`: people were told what is new."""

    id: str
    score: float
    checks: int
    standings: Mapping[str, Standing]
    told: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Looks that are done, of all at most, and the last one."""

    done: int
    total: int
    last: str


@dataclass(frozen=True, slots=True)
class Unseen:
    """Why a look was not to be had."""

    why: str

    def finding(self, check: Check) -> Finding:
        return unknown(check, f"it could not be looked at: {self.why}", AGAIN)


SILENT = Unseen("its model does not answer")


@workflow.defn(name=NAME)
class ReadinessAudit:
    """Audit within a bounded time: what was not looked at by then is unknown."""

    def __init__(self) -> None:
        self._done, self._total, self._last = 0, 0, "planning"

    @workflow.query
    def progress(self) -> Progress:
        """How far it is."""
        return Progress(done=self._done, total=self._total, last=self._last)

    @workflow.run
    async def run(self, request: ReadinessAuditRequest) -> AuditResult:
        plan: AuditPlan = await workflow.execute_activity_method(Auditing.plan, summary="whom to look at", **READ)
        looked = await self._look(request, plan)
        kept: Kept = await workflow.execute_activity_method(Auditing.keep, looked, summary="keep the audit", **HELPER)
        told = await self._tell(looked.id, kept)
        workflow.set_current_details(f"{kept.score:.0f} % of {kept.checks} checks passed: `failoverctl readiness`")
        listed = dict(list(kept.standings.items())[:LISTED])
        return AuditResult(id=looked.id, score=kept.score, checks=kept.checks, standings=listed, told=told)

    async def _look(self, request: ReadinessAuditRequest, plan: AuditPlan) -> Looked:
        """Look at everything side by side; the activities themselves keep the load of each provider low."""
        self._until, self._silence = workflow.now() + plan.timeout, plan.prompt_timeout + SILENCE
        names = sorted({target.provider for target in plan.targets})
        sets = {prompts(target): GoldenOrder(provider=target.provider, route=target.route) for target in plan.targets}
        proofs = self._proofs(plan) if request.prove_context else {}
        self._total = len(names) + len(sets) + len(proofs) + 2
        by_provider, traffic, people = await asyncio.gather(
            self._each(Auditing.provider, {name: name for name in names}),
            self._one(Auditing.traffic, "the data plane"),
            self._one(Auditing.people, "the people"),
        )
        answering = {name for name in names if _answers(by_provider[name])}
        golden, proved = await asyncio.gather(
            self._each(Auditing.golden, {key: order for key, order in sets.items() if order.provider in answering}),
            self._each(Auditing.context, {key: order for key, order in proofs.items() if order.provider in answering}),
        )
        info = workflow.info()
        return Looked(
            id=f"{info.start_time:%Y%m%dT%H%M%S}-{info.run_id[-8:]}",
            at=info.start_time,
            requested_by=request.requested_by,
            targets=plan.targets,
            successors=plan.successors,
            providers={name: _of_provider(one) for name, one in by_provider.items()},
            golden={key: _seen(golden.get(key, SILENT), Check.GOLDEN) for key in sets},
            context={**plan.context, **_proved(plan, proved)},
            capacity=_capacity(plan, traffic),
            routes={route: _of_route(route, traffic, people) for route in plan.routes},
            common={
                Check.NOTIFICATIONS: people.notifications
                if isinstance(people, PeopleLook)
                else people.finding(Check.NOTIFICATIONS)
            },
            expiries={name: ends for name, one in by_provider.items() if (ends := _expires(one)) is not None},
        )

    def _proofs(self, plan: AuditPlan) -> dict[str, ContextOrder]:
        """One prompt for each length that is wanted of a provider: a longer one says nothing of those that need less."""
        return {
            _proof(plan, target): ContextOrder(provider=target.provider, tokens=plan.needs[target.route])
            for target in plan.targets
            if target.route in plan.needs
        }

    async def _each(self, look: Any, orders: Mapping[str, Any]) -> dict[str, Any]:
        found = await asyncio.gather(*(self._one(look, key, order) for key, order in orders.items()))
        return dict(zip(orders, found, strict=True))

    async def _one(self, look: Any, about: str, *order: Any) -> Any:
        """What an activity has found, or why that is not known."""
        left = max(self._until - workflow.now(), timedelta(seconds=1))
        try:
            return await workflow.execute_activity_method(
                look,
                args=list(order),
                summary=f"look at {about}"[:200],
                schedule_to_close_timeout=left,
                heartbeat_timeout=self._silence,
                retry_policy=TRIES,
            )
        except ActivityError as error:
            return Unseen(failures.why(error))
        finally:
            self._done, self._last = self._done + 1, about

    async def _tell(self, audit: str, kept: Kept) -> bool:
        """What is new, once; what could not be told is told after the next audit."""
        if kept.news is None:
            return False
        message = readiness_changed(f"readiness/{audit}", kept.news)
        try:
            await workflow.execute_activity_method(Notify.post, message, summary="tell people", **HELPER)
            await workflow.execute_activity_method(Auditing.told, kept.picture, summary="remember it", **HELPER)
        except ActivityError as error:
            workflow.logger.warning("the audit could not be told", extra={"why": failures.why(error)})
            return False
        return True


def _of_provider(look: ProviderLook | Unseen) -> Mapping[Check, Finding]:
    if isinstance(look, Unseen):
        return {check: look.finding(check) for check in (Check.CREDENTIALS, Check.EXPIRY, Check.MODEL)}
    return look.found


def _answers(look: ProviderLook | Unseen) -> bool:
    """Whether it is worth putting more questions: a provider in trouble gets none that it would fail anyway."""
    return not isinstance(look, Unseen) and look.found[Check.MODEL].health is not Health.FAILED


def _expires(look: ProviderLook | Unseen) -> datetime | None:
    return None if isinstance(look, Unseen) else look.expires


def _seen(look: Finding | Unseen, check: Check) -> Finding:
    return look.finding(check) if isinstance(look, Unseen) else look


def _proof(plan: AuditPlan, target: Target) -> str:
    return f"{target.provider} with {plan.needs[target.route]} tokens"


def _proved(plan: AuditPlan, proved: Mapping[str, Any]) -> dict[str, Finding]:
    needing = {pair(target): _proof(plan, target) for target in plan.targets if target.route in plan.needs}
    return {name: _seen(proved[proof], Check.CONTEXT) for name, proof in needing.items() if proof in proved}


def _capacity(plan: AuditPlan, look: TrafficLook | Unseen) -> dict[str, Finding]:
    if isinstance(look, Unseen):
        return {pair(target): look.finding(Check.CAPACITY) for target in plan.targets}
    return {pair(target): look.capacity[target.route][target.provider] for target in plan.targets}


def _of_route(route: str, traffic: TrafficLook | Unseen, people: PeopleLook | Unseen) -> dict[Check, Finding]:
    plane = traffic.finding(Check.DATA_PLANE) if isinstance(traffic, Unseen) else traffic.routes[route]
    asked = people.finding(Check.APPROVERS) if isinstance(people, Unseen) else people.routes[route]
    return {Check.DATA_PLANE: plane, Check.APPROVERS: asked}
