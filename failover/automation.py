"""May the product start something by itself? Levels by route and verdict, and a hold that stops all of it at once.

Neither ever stops what people start.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Literal

from pydantic import Field

from failover import kinds
from failover.config import Config
from failover.config.automation import Automation, Level
from failover.health import DOWN, Condition
from failover.incident import Trigger
from failover.requests import Request
from failover.section import Name
from failover.starting import StartOrder
from failover.triggers import Response
from failover.units import PositiveSeconds, render_duration


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """A stop of everything that starts by itself: who, why, since when, until when (None: until somebody ends it)."""

    by: str
    why: str
    since: datetime
    until: datetime | None = None

    def in_force(self, now: datetime) -> bool:
        return self.until is None or now < self.until

    def __str__(self) -> str:
        until = f" until {self.until:%Y-%m-%d %H:%M} UTC" if self.until else " until somebody ends it"
        return f"Automation is on hold since {self.since:%Y-%m-%d %H:%M} UTC{until} by {self.by}: {self.why}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Permission:
    """What may come of a response: routes for which it is started, and proposed; or why not.

    `all_act`: no route is left out, so that nothing has to be named. `held`: an answer is owed once the hold ends. `said`:
    what whoever reads of the start should know of it.
    """

    act: Sequence[str] = field(default_factory=list)
    propose: Sequence[str] = field(default_factory=list)
    all_act: bool = False
    held: bool = False
    why_not: str = ""
    said: str = ""


def why_not_practised(
    config: Config, provider: str | None, drilled: Mapping[str, datetime] | None, now: datetime
) -> str | None:
    """Why the failover of a provider does not count as practised, by when its last passed drill ended; None where it does."""
    wanted = config.detection.automation.require_drill_within
    if wanted is None or provider is None:
        return None
    last = (drilled or {}).get(provider)
    if last is not None and now - last <= wanted:
        return None
    when = "none is on record" if last is None else f"the last passed on {last:%Y-%m-%d %H:%M} UTC"
    return f"No drill of {provider} passed within {render_duration(wanted)} ({when})"


def level(config: Config, route: str, condition: Condition) -> Level:
    """What may be started for a route about a verdict without a person."""
    own: Level | None = getattr(config.routes[route].automation, condition.value) if route in config.routes else None
    default: Level = getattr(config.detection.automation, condition.value)
    return own or default


def permission(
    config: Config,
    condition: Condition,
    routes: Iterable[str],
    hold: Hold | None,
    now: datetime,
    *,
    provider: str | None = None,
    drilled: Mapping[str, datetime] | None = None,
) -> Permission:
    """What automation may do on the routes concerned; if they are not known, on every route.

    `drilled`: when the last passed drill of each provider ended. Without one that is demanded, what would be started is
    proposed instead; but nobody waits for a drill while traffic is on a provider that is down.
    """
    if hold is not None and hold.in_force(now):
        return Permission(held=True, why_not=str(hold))
    levels = {route: level(config, route, condition) for route in (list(routes) or sorted(config.routes))}
    act = [route for route, is_at in levels.items() if is_at is Level.ACT]
    propose = [route for route, is_at in levels.items() if is_at is Level.PROPOSE]
    unpractised = why_not_practised(config, provider, drilled, now)
    if unpractised is not None and condition not in DOWN:
        act, propose = [], sorted({*act, *propose})
    why = "" if act or propose else f"Automation is off for {condition.value.replace('_', ' ')} on {', '.join(levels)}"
    said = ""
    if unpractised is not None and (act or propose):
        way = "the way out is taken all the same" if condition in DOWN else "people are asked first"
        said = f"{unpractised}; {way}"
    return Permission(act=act, propose=propose, all_act=len(act) == len(levels), why_not=why, said=said)


def permitted(response: Response, allowed: Permission) -> Response:
    """The response as far as it is allowed, and what people are told in its place."""
    if response.procedure is not None and not allowed.why_not and allowed.said:
        return replace(response, reason=f"{response.reason}. {allowed.said}")
    if response.procedure is None or not allowed.why_not:
        return response
    article = "an" if response.procedure[0] in "aeiou" else "a"
    reason = f"{response.reason}. {allowed.why_not}; {article} {response.procedure} failover is people's to start"
    return replace(response, procedure=None, reason=reason, held=allowed.held)


def gate(
    orders: Sequence[StartOrder], allowed: Permission, provider: str, reason: str, requested_by: str, config: Config
) -> list[StartOrder]:
    """What may be started of the orders about a provider, with a proposal in place of what people are to be asked first.

    Whoever starts something by itself asks here: the health check, alerts, whatever comes.
    """
    reason = f"{reason}. {allowed.said}" if allowed.said else reason
    orders = [_telling(order, allowed.said) for order in orders]
    if allowed.all_act:
        return orders
    return [
        gated
        for order in orders
        for gated in (
            _part(order, allowed.act),
            _asking(_part(order, allowed.propose), allowed.propose, provider, reason, requested_by, config),
        )
        if gated is not None
    ]


def _telling(order: StartOrder, said: str) -> StartOrder:
    """The order with what is to be known of it beside its reason, which stands in the policy, the messages and the report."""
    if not said:
        return order
    reason = f"{order.request.get('reason', '')}. {said}".removeprefix(". ")[:1000]
    return replace(order, request={**order.request, "reason": reason})


def _part(order: StartOrder, routes: Sequence[str]) -> StartOrder | None:
    """The order as far as it is about these routes: a ramp is of one, an immediate failover of those that it names."""
    if "route" in order.request:
        return order if order.request["route"] in routes else None
    named = order.request.get("routes")
    kept = [route for route in routes if named is None or route in named]
    return replace(order, request={**order.request, "routes": kept}) if kept else None


def _asking(
    order: StartOrder | None, routes: Sequence[str], provider: str, reason: str, requested_by: str, config: Config
) -> StartOrder | None:
    if order is None:
        return None
    about = [order.request["route"]] if "route" in order.request else order.request.get("routes", routes)
    return proposal(order, provider, about, reason, requested_by, config.detection.automation)


class ProposalRequest(Request):
    """Ask people whether a procedure may be started. `at_deadline`: what happens when nobody answers in time."""

    procedure: str = Field(min_length=1, max_length=100)
    workflow_id: str = Field(min_length=1, max_length=200)
    request: dict[str, object]
    summary: str = Field(default="", max_length=1000)
    provider: Name
    routes: list[Name] = Field(min_length=1)
    reason: str = Field(default="", max_length=1000)
    requested_by: str = Field(default="", max_length=200)
    deadline_seconds: PositiveSeconds
    at_deadline: Literal["nothing", "act"] = "nothing"

    @property
    def trigger(self) -> Trigger:
        """Always automatic: nobody proposes by hand."""
        return Trigger.AUTOMATIC

    @property
    def digest(self) -> str:
        """The digest of what would be started; an answer is bound to it."""
        told = {"procedure": self.procedure, "workflow_id": self.workflow_id, "request": self.request}
        return hashlib.sha256(json.dumps(told, sort_keys=True, default=str).encode()).hexdigest()[:12]


def proposal(
    order: StartOrder, provider: str, routes: Sequence[str], reason: str, requested_by: str, settings: Automation
) -> StartOrder:
    """The run that asks people about another run."""
    # What was known when people were asked is old once they answer: the run looks anew.
    asked = ProposalRequest(
        procedure=order.procedure,
        workflow_id=order.workflow_id,
        request={name: value for name, value in order.request.items() if name != "verdicts"},
        summary=order.summary,
        provider=provider,
        routes=list(routes),
        reason=reason[:1000],
        requested_by=requested_by,
        deadline_seconds=settings.deadline.total_seconds(),
        at_deadline=settings.at_deadline,
    )
    return StartOrder(
        procedure=kinds.PROPOSAL,
        workflow_id=kinds.run_id(kinds.PROPOSAL, order.workflow_id),
        request=asked.model_dump(mode="json"),
        summary=f"Asking people: {order.summary}",
    )


def levels_of(config: Config) -> Mapping[str, Mapping[str, Level]]:
    """Route → verdict → level, for people to look at."""
    conditions = [one for one in Condition if one not in (Condition.HEALTHY, Condition.BLIND)]
    return {route: {one.value: level(config, route, one) for one in conditions} for route in sorted(config.routes)}
