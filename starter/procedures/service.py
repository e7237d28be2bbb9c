"""`config set`: a route's shares, or its cache and queue; each is a workflow."""

from dataclasses import dataclass
from typing import Any

from failover import kinds
from failover.config import Config
from failover.errors import RequestError, refuse
from failover.service import ServiceSettingsRequest, why_not_start
from starter.arguments import on_or_off, operator, request_of, route_of, seconds
from starter.procedures import gradual
from starter.procedures.gradual import Shares
from starter.procedures.launch import Joins, Launch, Manner, launch
from starter.settings import Settings

ON = ("enabled", "on", "true", "yes")
OFF = ("disabled", "off", "false", "no")


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """The words on cache and queue, as they were typed."""

    cache_mode: str | None
    cache_ttl: str | None
    serve_stale: str | None
    queuing: str | None
    queue_size: int | None
    queue_timeout: str | None
    route: str | None
    reason: str
    dry_run: bool

    @property
    def is_asked(self) -> bool:
        return any(
            value is not None
            for value in (
                *(self.cache_mode, self.cache_ttl, self.serve_stale),
                *(self.queuing, self.queue_size, self.queue_timeout),
            )
        )


def run_set(settings: Settings, shares: Shares | None, service: Service, manner: Manner) -> int:
    if (shares is not None) == service.is_asked:
        raise RequestError(
            "Set either --traffic-distribution, or the cache and queue of a route (--cache-mode, --request-queuing, …): "
            "the two are runs of their own."
        )
    if shares is not None:
        return launch(settings, manner, lambda config: gradual.shares(shares, config))
    return launch(settings, manner, lambda config: build(service, config))


def build(asked: Service, config: Config) -> Launch:
    route = route_of(config, asked.route)
    request = request_of(
        ServiceSettingsRequest,
        config,
        route=route,
        **_cache(asked),
        **_queue(asked),
        reason=asked.reason,
        requested_by=operator(),
        dry_run=asked.dry_run,
    )
    refuse(why_not_start(request, config.routes))
    return Launch(
        procedure=kinds.SERVICE,
        workflow_id=kinds.run_id(kinds.SERVICE, route),
        request=request,
        provider="",
        reason=asked.reason,
        requested_by=request.requested_by,
        summary=f"{route}: cache and queue, asked for by {request.requested_by}",
        question=f"Change the cache or queue of route {route}?",
        joins=Joins.NEVER,
        dry_run=asked.dry_run,
    )


def _cache(asked: Service) -> dict[str, Any]:
    stale = asked.serve_stale
    return {
        "cache": None if asked.cache_mode is None else _cache_mode(asked.cache_mode),
        "cache_ttl_seconds": seconds("--cache-ttl", asked.cache_ttl),
        "serve_stale": None if stale is None else on_or_off("--serve-stale", stale, ON, OFF),
    }


def _cache_mode(text: str) -> str:
    word = text.strip().casefold()
    if word == "emergency":
        return word
    return "on" if on_or_off("--cache-mode", text, ("normal", *ON), OFF) else "off"


def _queue(asked: Service) -> dict[str, Any]:
    queuing = asked.queuing
    on = None if queuing is None else on_or_off("--request-queuing", queuing, ON, OFF)
    return {
        "queue": None if on is None else "on" if on else "off",
        "queue_size": asked.queue_size,
        "queue_timeout_seconds": seconds("--queue-timeout", asked.queue_timeout),
    }
