"""OpenTelemetry traces, off unless the standard OTEL_* variables name a collector; off, nothing of it is imported.

One trace goes from an alert's delivery over the workflow and its activities to the gateway's policy write. What leaves this
machine are names, ids and durations: no message of an error, no text of a request.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

from starlette.applications import Starlette

from starter.settings import Settings

if TYPE_CHECKING:
    from temporalio.client import Interceptor

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")

LAST_WORDS = 3.0
"""Seconds at the end of a process for what was not yet sent; a collector that is gone holds nobody up."""


def _nothing() -> dict[str, str]:
    return {}


def _as_it_is(_: Starlette) -> None:
    """Leave an application untraced."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tracing:
    """What a process wires in; the defaults trace nothing.

    `interceptors` are a Temporal client's; `headers` are those of the current span, for calls to the gateway; `dress` makes
    an application record the requests that change something, and join the trace of whoever sent them.
    """

    interceptors: "Sequence[Interceptor]" = ()
    headers: Callable[[], Mapping[str, str]] = _nothing
    dress: Callable[[Starlette], None] = _as_it_is


OFF = Tracing()


def is_wanted(environ: Mapping[str, str]) -> bool:
    """Whether a collector is named, and neither the SDK nor its traces are switched off."""
    if environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return False
    if environ.get("OTEL_TRACES_EXPORTER", "").strip().lower() == "none":
        return False
    return any(environ.get(name, "").strip() for name in _ENDPOINTS)


async def tracing(settings: Settings, service: str, held: AsyncExitStack) -> Tracing:
    """Trace the process `service` until `held` closes, which sends what is left."""
    if not is_wanted(settings.environ):
        return OFF
    from starter.spans import start

    started, shutdown = start(settings.environ, service)
    held.push_async_callback(_bounded, shutdown)
    return started


async def _bounded(shutdown: Callable[[], None]) -> None:
    # A thread that goes on is left alone: the process is about to end.
    await asyncio.wait([asyncio.ensure_future(asyncio.to_thread(shutdown))], timeout=LAST_WORDS)
