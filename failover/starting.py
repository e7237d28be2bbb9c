"""The runs that the product starts by itself: which procedure, under which id, asked for what.

An id says what the run is about, so that whoever wants the same joins the one that is open.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from failover import kinds
from failover.health import Condition, Verdict
from failover.incident import Trigger
from failover.requests import (
    CanaryFailoverRequest,
    EmergencyRequest,
    FailbackRequest,
    GradualFailoverRequest,
    ImmediateFailoverRequest,
)
from failover.units import count


@dataclass(frozen=True, slots=True, kw_only=True)
class StartOrder:
    """A procedure to be started: what it is, under which id, asked for what."""

    procedure: str
    workflow_id: str
    request: dict[str, Any]
    summary: str


def orders_for(
    procedure: str,
    verdict: Verdict,
    *,
    others: Sequence[Verdict],
    routes: Sequence[str],
    requested_by: str,
    only: Sequence[str] | None = None,
    takers: Mapping[str, Sequence[str]] | None = None,
) -> list[StartOrder]:
    """What a verdict's configured procedure comes to: one run for a provider, or one ramp a route.

    `routes` are those that use the provider; `only`: an immediate failover moves no others. `takers`: by route, who could
    take over; without them a canary is left to people.
    """
    if procedure == "immediate":
        return [_immediate(verdict, others, only, requested_by)]
    if procedure == "gradual":
        return [_gradual(route, verdict, requested_by) for route in routes]
    if procedure == "canary":
        to = {route: next(iter((takers or {}).get(route, ())), None) for route in routes}
        return [_canary(route, target, verdict, requested_by) for route, target in to.items() if target is not None]
    return []


def _immediate(
    verdict: Verdict, others: Sequence[Verdict], only: Sequence[str] | None, requested_by: str
) -> StartOrder:
    request = ImmediateFailoverRequest(
        failed_provider=verdict.provider,
        routes=list(only) if only else None,
        reason=verdict.reason[:1000],
        requested_by=requested_by,
        trigger=Trigger.AUTOMATIC,
        emergency=True,
        verdicts=[verdict, *others],
    )
    return StartOrder(
        procedure=kinds.IMMEDIATE,
        workflow_id=kinds.run_id(kinds.IMMEDIATE, verdict.provider),
        request=request.model_dump(mode="json"),
        summary=f"{verdict.provider} is {verdict.condition.value.replace('_', ' ')}",
    )


def _gradual(route: str, verdict: Verdict, requested_by: str) -> StartOrder:
    """Order a gradual failover; off a throttled provider only the throttled share goes elsewhere."""
    request = GradualFailoverRequest(
        route=route,
        failed_provider=verdict.provider,
        throttled_share_percent=verdict.share_percent if verdict.condition is Condition.THROTTLED else None,
        reason=verdict.reason[:1000],
        requested_by=requested_by,
        trigger=Trigger.AUTOMATIC,
    )
    return _ramp(kinds.GRADUAL, request, verdict)


def _canary(route: str, target: str, verdict: Verdict, requested_by: str) -> StartOrder:
    request = CanaryFailoverRequest(
        route=route,
        source_provider=verdict.provider,
        target_provider=target,
        reason=verdict.reason[:1000],
        requested_by=requested_by,
        trigger=Trigger.AUTOMATIC,
    )
    return _ramp(kinds.CANARY, request, verdict)


def _ramp(procedure: str, request: GradualFailoverRequest | CanaryFailoverRequest, verdict: Verdict) -> StartOrder:
    return StartOrder(
        procedure=procedure,
        workflow_id=kinds.run_id(procedure, request.route),
        request=request.model_dump(mode="json"),
        summary=f"{request.route}: {verdict.provider} is {verdict.condition.value.replace('_', ' ')}",
    )


def uncertified_order(request: ImmediateFailoverRequest, routes: Sequence[str]) -> StartOrder:
    """The same failover for routes whose targets lack a certificate, once people have agreed to that.

    Under an id of its own: what people have agreed to is no mere note on a run that is open.
    """
    agreed = request.model_copy(update={"routes": list(routes), "uncertified": True, "verdicts": []})
    return StartOrder(
        procedure=kinds.IMMEDIATE,
        workflow_id=f"{kinds.run_id(kinds.IMMEDIATE, request.failed_provider)}/uncertified",
        request=agreed.model_dump(mode="json"),
        summary=f"{request.failed_provider} failed, and no certified target is known to be well",
    )


def failback_order(route: str, provider: str, reason: str, requested_by: str) -> StartOrder:
    """A failback that asks people before anything returns."""
    request = FailbackRequest(
        route=route,
        original_provider=provider,
        auto=False,
        reason=reason[:1000],
        requested_by=requested_by,
        trigger=Trigger.AUTOMATIC,
    )
    return _failback(request)


def _failback(request: FailbackRequest) -> StartOrder:
    return StartOrder(
        procedure=kinds.FAILBACK,
        workflow_id=kinds.run_id(kinds.FAILBACK, request.route),
        request=request.model_dump(mode="json"),
        summary=f"{request.route}: back to {request.original_provider}",
    )


def failback_watch_order(
    failover: ImmediateFailoverRequest, route: str, *, workflow_id: str, run_id: str, auto: bool
) -> StartOrder:
    """The return from a failover, which is that run's: by itself once the provider is well, or when people agree."""
    request = FailbackRequest(
        route=route,
        original_provider=failover.failed_provider,
        auto=auto,
        undoes_workflow_id=workflow_id,
        undoes_run_id=run_id,
        requested_by=failover.requested_by,
        trigger=Trigger.AUTOMATIC,
        reason=f"after the failover of {failover.failed_provider}",
    )
    return _failback(request)


def emergency_order(failover: ImmediateFailoverRequest, routes: Sequence[str], reason: str) -> StartOrder:
    """Order degraded service for routes that nobody can take over."""
    request = EmergencyRequest(
        routes=list(routes), reason=reason[:1000], requested_by=failover.requested_by, trigger=failover.trigger
    )
    return StartOrder(
        procedure=kinds.EMERGENCY,
        workflow_id=kinds.run_id(kinds.EMERGENCY),
        request=request.model_dump(mode="json"),
        summary=f"no provider is left for {count(len(routes), 'route')}",
    )
