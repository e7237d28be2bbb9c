"""Degraded service: what a traffic policy may switch on for a route, and what is tried in which order.

The settings are the policy's `degraded` mapping. They are obeyed in any mode, so that an operator may switch on a cache
without an emergency; `mode` is the label.
"""

from collections.abc import Mapping
from datetime import timedelta
from enum import StrEnum
from typing import Annotated, Any
from urllib.parse import quote

from pydantic import BaseModel, ConfigDict, Field

from failover.config.emergency import Emergency
from failover.section import Count
from failover.units import PositiveDuration

_UNESCAPED = "".join(chr(code) for code in range(0x20, 0x7F) if chr(code) != "%")


class _Settings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class CacheSettings(_Settings):
    ttl: PositiveDuration = timedelta(seconds=7200)
    """How long a remembered answer is fresh: younger ones are served before any provider is asked."""
    serve_stale: bool = False
    """Whether older ones, of any age, are served when no provider answers."""


class QueueSettings(_Settings):
    size: Count = 10_000
    """How many requests of the route may wait."""
    timeout: PositiveDuration = timedelta(seconds=300)
    """How long each of them may."""


class DegradedService(_Settings):
    """What is switched on; an empty one is normal service."""

    cache: CacheSettings | None = None
    queue: QueueSettings | None = None
    banner: Annotated[str, Field(min_length=1, max_length=500)] | None = None
    """Told with every answer of the route."""
    template: Annotated[str, Field(min_length=1, max_length=20_000)] | None = None
    """The text that is answered when there is nothing better."""

    @property
    def is_on(self) -> bool:
        return self != NORMAL

    def as_settings(self) -> dict[str, Any]:
        """The settings as a traffic policy carries them: plain JSON, without what is not set."""
        return self.model_dump(mode="json", exclude_none=True)


NORMAL = DegradedService()
"""The settings of normal service: nothing is switched on."""


def from_emergency(emergency: Emergency, *, template: str | None = None, banner: str | None = None) -> DegradedService:
    """What the configuration's emergency section means for a route; `template` and `banner` override its texts."""
    return DegradedService(
        cache=CacheSettings(ttl=emergency.cache_ttl, serve_stale=emergency.serve_stale),
        queue=QueueSettings(size=emergency.queue_size, timeout=emergency.queue_timeout),
        banner=banner or emergency.banner,
        template=template or emergency.template,
    )


def read(settings: Mapping[str, Any]) -> DegradedService:
    """A policy's `degraded` mapping, checked. ValidationError (a ValueError) where it cannot be meant."""
    return DegradedService.model_validate(dict(settings))


class Source(StrEnum):
    """Where an answer may come from."""

    CACHE = "cache"
    LIVE = "live"
    STALE = "stale"
    QUEUE = "queue"
    TEMPLATE = "template"


def order(service: DegradedService, *, age: timedelta | None, streaming: bool, others_wait: bool) -> tuple[Source, ...]:
    """The sources to try for one request, best first; where the last of them gives nothing, it is an honest refusal.

    `age` is that of the remembered answer to the very same request, None without one. While others wait in the route's
    queue, nobody overtakes them by asking a provider: a newcomer joins their end.
    """
    remembered = service.cache is not None and age is not None and not streaming
    if remembered and service.cache and age is not None and age <= service.cache.ttl:
        return (Source.CACHE,)
    overtakes = service.queue is not None and others_wait
    tried = {
        Source.LIVE: not overtakes,
        Source.STALE: remembered and service.cache is not None and service.cache.serve_stale,
        Source.QUEUE: service.queue is not None,
        Source.TEMPLATE: service.template is not None,
    }
    return tuple(source for source, wanted in tried.items() if wanted)


def header_safe(text: str) -> str:
    """Text for an HTTP header: printable ASCII as it is, everything else as percent-encoded UTF-8, "%" included.

    JavaScript's decodeURIComponent and Python's urllib.parse.unquote read it back.
    """
    return quote(text, safe=_UNESCAPED)
