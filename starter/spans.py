"""The OpenTelemetry SDK, wired; imported only where traces are wanted."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import Event, ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.trace import SpanKind, Status, StatusCode, Tracer
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from starlette.applications import Starlette
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from temporalio.contrib.opentelemetry import TracingInterceptor

from starter.tracing import Tracing

SENT = frozenset(
    {
        "temporalWorkflowID",
        "temporalRunID",
        "temporalActivityID",
        "temporalUpdateID",
        "http.request.method",
        "http.response.status_code",
    }
)
"""Attributes that leave the machine; whatever a library adds is left out."""

_EXCEPTION_TYPE = "exception.type"

TRACED = ("/policies", "/automation/", "/webhooks/", "/runs", "/slack/")
"""Paths whose changes are recorded. Users' requests are not: they are many, and theirs."""

SYNTHETIC = b"x-failover-synthetic"
"""Header of the questions that the procedures ask through a route."""

_TRACE_CONTEXT = TraceContextTextMapPropagator()
"""The W3C's `traceparent` alone: baggage is anybody's words."""


def start(environ: Mapping[str, str], service: str) -> tuple[Tracing, Callable[[], None]]:
    """What to wire in, and what sends the rest at the end. The exporter reads the OTEL_* variables by itself."""
    named = {} if environ.get("OTEL_SERVICE_NAME") else {SERVICE_NAME: service}
    provider = TracerProvider(resource=Resource.create(named))
    provider.add_span_processor(BatchSpanProcessor(Sober(OTLPSpanExporter())))
    tracer = provider.get_tracer("failover")

    def dress(app: Starlette) -> None:
        app.add_middleware(Joining, tracer=tracer)

    return Tracing(interceptors=[TracingInterceptor(tracer)], headers=_headers, dress=dress), provider.shutdown


def _headers() -> dict[str, str]:
    carrier: dict[str, str] = {}
    _TRACE_CONTEXT.inject(carrier)
    return carrier


class Sober(SpanExporter):
    """Sends names, ids, durations and types of errors; their words stay here, since they may quote what was asked."""

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        return self._exporter.export([_sober(span) for span in spans])

    def shutdown(self) -> None:
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return self._exporter.force_flush(timeout_millis)


def _sober(span: ReadableSpan) -> ReadableSpan:
    return ReadableSpan(
        name=span.name,
        context=span.context,
        parent=span.parent,
        resource=span.resource,
        attributes={name: value for name, value in (span.attributes or {}).items() if name in SENT},
        events=[_type_of(event) for event in span.events if _EXCEPTION_TYPE in (event.attributes or {})],
        links=span.links,
        kind=span.kind,
        status=Status(span.status.status_code),
        start_time=span.start_time,
        end_time=span.end_time,
        instrumentation_scope=span.instrumentation_scope,
    )


def _type_of(event: Event) -> Event:
    kept = {_EXCEPTION_TYPE: (event.attributes or {})[_EXCEPTION_TYPE]}
    return Event(event.name, attributes=kept, timestamp=event.timestamp)


class Joining:
    """An application whose changes, and synthetic questions, are spans of the trace that their sender is in."""

    def __init__(self, app: ASGIApp, tracer: Tracer) -> None:
        self._app = app
        self._tracer = tracer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not _is_traced(scope):
            await self._app(scope, receive, send)
            return
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        method, door = scope["method"], scope["path"].split("/")[1]
        with self._tracer.start_as_current_span(
            # No more of the path: what follows is whatever a stranger sends.
            f"{method} /{door}",
            context=_TRACE_CONTEXT.extract(headers),
            kind=SpanKind.SERVER,
            attributes={"http.request.method": method},
        ) as span:
            await self._app(scope, receive, _telling(send, span))


def _is_traced(scope: Scope) -> bool:
    if scope["type"] != "http":
        return False
    path: str = scope["path"]
    changes = scope["method"] not in ("GET", "HEAD") and path.startswith(TRACED)
    return changes or any(name == SYNTHETIC for name, _ in scope["headers"])


def _telling(send: Send, span: Any) -> Send:
    """Note the answer's status on its way out."""

    async def noted(message: Message) -> None:
        if message["type"] == "http.response.start":
            span.set_attribute("http.response.status_code", message["status"])
            if message["status"] >= 500:
                span.set_status(Status(StatusCode.ERROR))
        await send(message)

    return noted
