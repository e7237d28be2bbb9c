"""A route's cache and queue, set by people: what is asked for, and the settings that it comes to."""

from collections.abc import Collection, Mapping
from typing import Any, Literal

from pydantic import Field

from failover import degraded, kinds
from failover.degraded import CacheSettings, DegradedService, QueueSettings
from failover.errors import RequestError
from failover.incident import Trigger
from failover.requests import Request
from failover.section import Count, Name
from failover.units import PositiveSeconds, parse_duration, render_duration

NAME = kinds.SERVICE


class ServiceSettingsRequest(Request):
    """Switch a route's cache or queue on, off, or to other values; what is not named stays as it is.

    `cache` "emergency" takes the configuration's emergency values, "on" the usual ones. Durations are seconds.
    """

    route: Name
    cache: Literal["emergency", "on", "off"] | None = None
    cache_ttl_seconds: PositiveSeconds | None = None
    serve_stale: bool | None = None
    queue: Literal["on", "off"] | None = None
    queue_size: Count | None = None
    queue_timeout_seconds: PositiveSeconds | None = None
    reason: str = Field(default="", max_length=1000)
    requested_by: str = Field(default="", max_length=200)
    dry_run: bool = False
    trigger: Trigger = Trigger.MANUAL


def why_not_start(request: ServiceSettingsRequest, routes: Collection[str]) -> str | None:
    """Why the request cannot be meant; None where it can."""
    if request.route not in routes:
        return f"There is no route {request.route!r}; the routes are {', '.join(sorted(routes))}."
    if request.cache == "off" and (request.cache_ttl_seconds is not None or request.serve_stale is not None):
        return "The cache is switched off, so it takes neither a TTL nor a word on stale answers."
    if request.queue == "off" and (request.queue_size is not None or request.queue_timeout_seconds is not None):
        return "The queue is switched off, so it takes neither a size nor a timeout."
    return None if _about_cache(request) or _about_queue(request) else "Nothing was named that could be set."


def wanted(request: ServiceSettingsRequest, found: Mapping[str, Any], emergency: Mapping[str, Any]) -> DegradedService:
    """The settings after the change. RequestError where those in force cannot be understood."""
    try:
        now, whole = degraded.read(found), degraded.read(emergency)
    except ValueError as error:
        raise RequestError(f"The settings of route {request.route!r} that are in force are not understood.") from error
    return now.model_copy(
        update={
            "cache": _cache(request, now.cache, whole.cache) if _about_cache(request) else now.cache,
            "queue": _queue(request, now.queue or whole.queue) if _about_queue(request) else now.queue,
        }
    )


def describe(service: DegradedService) -> str:
    """What is switched on, in words."""
    cache, queue = service.cache, service.queue
    stale = ", stale ones without limit" if cache and cache.serve_stale else ""
    return "; ".join(
        [
            f"cached answers for {render_duration(cache.ttl)}{stale}" if cache else "no cache",
            f"a queue of {queue.size} for {render_duration(queue.timeout)}" if queue else "no queue",
        ]
    )


def _about_cache(request: ServiceSettingsRequest) -> bool:
    return any(value is not None for value in (request.cache, request.cache_ttl_seconds, request.serve_stale))


def _about_queue(request: ServiceSettingsRequest) -> bool:
    return any(value is not None for value in (request.queue, request.queue_size, request.queue_timeout_seconds))


def _cache(
    request: ServiceSettingsRequest, now: CacheSettings | None, emergency: CacheSettings | None
) -> CacheSettings | None:
    if request.cache == "off":
        return None
    base = (emergency if request.cache == "emergency" else now) or CacheSettings()
    ttl = base.ttl if request.cache_ttl_seconds is None else parse_duration(request.cache_ttl_seconds)
    return CacheSettings(ttl=ttl, serve_stale=base.serve_stale if request.serve_stale is None else request.serve_stale)


def _queue(request: ServiceSettingsRequest, base: QueueSettings | None) -> QueueSettings | None:
    if request.queue == "off":
        return None
    base = base or QueueSettings()
    timeout = request.queue_timeout_seconds
    return QueueSettings(
        size=request.queue_size or base.size, timeout=base.timeout if timeout is None else parse_duration(timeout)
    )
