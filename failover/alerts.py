"""What an alert means: which provider, route and trigger it speaks of, and what should be done about it. Pure.

Senders' own forms are read by `failover.alert_forms`; here every alert has one shape.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from failover import kinds
from failover.automation import Hold, Permission, gate, permission
from failover.config import Config
from failover.distribution import Distribution, users_of
from failover.health import Condition, Verdict
from failover.senders import Alerts
from failover.starting import StartOrder, failback_order, orders_for

LIMIT = 1000
"""Characters of a label or sentence that are looked at."""


class Status(StrEnum):
    FIRING = "firing"
    RESOLVED = "resolved"
    OTHER = "other"
    """Neither firing nor resolved: an acknowledgement, a warning, missing data."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """One alert of any sender. `key` is the same when the same happening is delivered again.

    `says` is the sender's own word for its status, where that is neither firing nor resolved. `by`: the operator whose token
    it came with, where it was not the sender's own.
    """

    key: str
    name: str
    status: Status
    summary: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    started_at: datetime | None = None
    sent_at: datetime | None = None
    says: str = ""
    by: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Meaning:
    """The provider, route and trigger that an alert means. `route` None: every route that uses the provider."""

    provider: str
    route: str | None
    trigger: Condition


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What to do about an alert, and why.

    Whichever of the runs `tells` is open is told, and that is all; only where none is are `starts` started, or joined where
    they are open. Neither: the alert is ignored. `about`: the provider; a run about another one is not told.
    """

    reason: str
    about: str = ""
    tells: Sequence[str] = ()
    starts: Sequence[StartOrder] = ()


def meaning(alert: Alert, sender: str, config: Config) -> Meaning | str:
    """The provider, route and trigger that an alert is about, or the reason why they cannot be told."""
    settings = config.webhooks.alerts
    labels = {name: value[:LIMIT] for name, value in alert.labels.items()}
    ruled = _rule_of({**labels, "alert": alert.name[:LIMIT], "sender": sender}, settings)
    provider, route, trigger = ruled or (None, None, None)
    if trigger == "none":
        return "a rule says that such alerts start nothing"
    said = provider or _first(labels, settings.provider_labels)
    if said is None:
        return (
            f"it names no provider: no rule matches, and it has none of the labels {_named(settings.provider_labels)}"
        )
    provider = settings.provider_values.get(said, said)
    if provider not in config.providers:
        return f"{said!r} is no provider of this deployment; the providers are {_named(config.providers)}"
    route = route or _first(labels, settings.route_labels)
    if route is not None and route not in config.routes:
        return f"{route!r} is no route of this deployment; the routes are {_named(config.routes)}"
    word = trigger or _first(labels, settings.trigger_labels)
    if word is None:
        return f"it names no trigger: no rule matches, and it has none of the labels {_named(settings.trigger_labels)}"
    condition = _condition(settings.trigger_values.get(word, word))
    if condition is None:
        return f"{word!r} is no trigger; those are {_named(TRIGGERS)}"
    return Meaning(provider=provider, route=route, trigger=condition)


TRIGGERS = tuple(sorted(condition for condition in Condition if condition not in (Condition.HEALTHY, Condition.BLIND)))


def _condition(word: str) -> Condition | None:
    return Condition(word) if word in TRIGGERS else None


def _rule_of(labels: Mapping[str, str], settings: Alerts) -> tuple[str | None, str | None, str | None] | None:
    for rule in settings.rules:
        if all(re.fullmatch(pattern, labels.get(name, "")) for name, pattern in rule.match.items()):
            return rule.provider, rule.route, rule.trigger
    return None


def _first(labels: Mapping[str, str], names: Sequence[str]) -> str | None:
    return next((labels[name] for name in names if labels.get(name)), None)


def _named(names: object) -> str:
    return ", ".join(map(str, names))  # type: ignore[call-overload]


def decide(
    alert: Alert,
    sender: str,
    config: Config,
    policies: Mapping[str, Distribution] | None,
    now: datetime,
    hold: Hold | None = None,
    drilled: Mapping[str, datetime] | None = None,
) -> Decision:
    """What an alert should lead to. `policies` None: the data plane does not answer, and the run itself will look.

    `drilled`: when the last passed drill of each provider ended.

    An alert is no person: what it starts is as automatic as what a detector starts, under the same levels and hold.
    """
    if alert.status is Status.OTHER:
        return Decision(reason=f"{alert.says or 'its status'} is neither an alert nor its end")
    meant = meaning(alert, sender, config)
    if isinstance(meant, str):
        return Decision(reason=meant)
    if alert.status is Status.RESOLVED:
        return _resolved(alert, sender, meant, config, policies, hold, now)
    return _fired(alert, sender, meant, config, policies, hold, now, drilled)


def _fired(
    alert: Alert,
    sender: str,
    meant: Meaning,
    config: Config,
    policies: Mapping[str, Distribution] | None,
    hold: Hold | None,
    now: datetime,
    drilled: Mapping[str, datetime] | None,
) -> Decision:
    procedure = getattr(config.detection.triggers, meant.trigger.value)
    if procedure == "none":
        return Decision(reason=f"detection.triggers.{meant.trigger.value} is none")
    routes = _concerned(meant, config, policies)
    if not routes:
        return Decision(
            reason=f"no route uses {meant.provider}"
            if meant.route is None
            else f"{meant.route} does not use {meant.provider}",
            about=meant.provider,
            tells=[kinds.run_id(kinds.IMMEDIATE, meant.provider)],
        )
    said = f"{meant.provider} is {meant.trigger.value.replace('_', ' ')}"
    allowed = permission(config, meant.trigger, routes, hold, now, provider=meant.provider, drilled=drilled)
    if allowed.why_not:
        return Decision(
            reason=f"{allowed.why_not}; {said}, and what to do about it is people's to start",
            about=meant.provider,
            tells=_concerning(meant.provider, routes),
        )
    orders = _orders(procedure, alert, sender, meant, config, allowed, routes, now)
    if not orders:
        return Decision(reason=f"nobody is configured to take over from {meant.provider}")
    # A run that takes everything off the provider is told of lesser trouble too; beside it, a ramp would only be in its way,
    # and a question whether to begin what is under way would be asked for nothing.
    tells = [] if procedure == "immediate" and allowed.act else [kinds.run_id(kinds.IMMEDIATE, meant.provider)]
    return Decision(reason=said, about=meant.provider, tells=tells, starts=orders)


def _orders(
    procedure: str,
    alert: Alert,
    sender: str,
    meant: Meaning,
    config: Config,
    allowed: Permission,
    routes: Sequence[str],
    now: datetime,
) -> list[StartOrder]:
    verdict, by = verdict_of(alert, sender, meant, config, now), author(sender, alert)
    named = None if meant.route is None else [meant.route]
    orders = orders_for(
        procedure,
        verdict,
        others=(),
        routes=routes,
        only=named,
        requested_by=by,
        takers={route: config.chain(route, meant.provider) for route in routes},
    )
    return gate(orders, allowed, meant.provider, verdict.reason, by, config)


def _concerning(provider: str, routes: Sequence[str]) -> list[str]:
    """The runs that an alert about the provider may be news to."""
    ramps = (kinds.run_id(ramp, route) for route in routes for ramp in (kinds.GRADUAL, kinds.CANARY))
    return [kinds.run_id(kinds.IMMEDIATE, provider), *ramps]


def _concerned(meant: Meaning, config: Config, policies: Mapping[str, Distribution] | None) -> list[str]:
    """The routes that send the provider traffic; as configured, where the policies in force are not known."""
    shares = policies
    if shares is None:
        shares = {name: route.distribution for name, route in config.routes.items()}
        if meant.route is not None:
            return [meant.route]
    return [route for route in users_of(meant.provider, shares) if meant.route in (None, route)]


def _resolved(
    alert: Alert,
    sender: str,
    meant: Meaning,
    config: Config,
    policies: Mapping[str, Distribution] | None,
    hold: Hold | None,
    now: datetime,
) -> Decision:
    named = [meant.route] if meant.route is not None else list(config.routes)
    away = [route for route in named if _is_away(route, meant.provider, config, policies)]
    tells = _concerning(meant.provider, named)
    offered = [
        failback_order(route, meant.provider, f"{sender} says that {told(alert)} is over", author(sender, alert))
        for route in away
        if config.webhooks.alerts.on_resolved == "offer" and config.routes[route].failback != "off"
    ]
    over = f"{told(alert)} is over"
    if offered and hold is not None and hold.in_force(now):
        reason = f"{hold}; {over}, and a return to {meant.provider} is people's to start"
        return Decision(reason=reason, about=meant.provider, tells=tells)
    return Decision(reason=over, about=meant.provider, tells=tells, starts=offered)


def _is_away(route: str, provider: str, config: Config, policies: Mapping[str, Distribution] | None) -> bool:
    """Whether the provider has less of a route than it is configured to have."""
    if policies is None or route not in policies:
        return False
    return policies[route].get(provider, 0) < config.routes[route].distribution.get(provider, 0)


def verdict_of(alert: Alert, sender: str, meant: Meaning, config: Config, now: datetime) -> Verdict:
    """The alert as the verdict that it amounts to: what a run starts from, and what its report counts detection from."""
    began = alert.started_at
    known = began is not None and now - config.webhooks.max_age <= began <= now
    return Verdict(
        provider=meant.provider,
        condition=meant.trigger,
        reason=f"{sender}: {told(alert)}"[:LIMIT],
        at=now,
        first_bad_at=began if known else None,
    )


def author(sender: str, alert: Alert) -> str:
    """The name of whoever asks, as requests, notes and reports show it."""
    return f"{sender} alert sent by {alert.by}" if alert.by else f"{sender} alert"


def told(alert: Alert) -> str:
    """The alert in a few words, fit for people's eyes: one line, without control characters."""
    said = f"{alert.name}: {alert.summary}" if alert.summary and alert.summary != alert.name else alert.name
    return clean(said, 300)


def clean(text: str, limit: int) -> str:
    """One line of printable characters, cut to `limit`."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text[: 4 * limit]).split())
    return line if len(line) <= limit else f"{line[: limit - 1]}…"
