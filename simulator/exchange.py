"""One request through one dialect: credentials, body, fault, answer."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from datetime import timedelta

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from simulator.answers import Reply, call_in, nonsense, reply_with, sensible
from simulator.faults import Fault, FaultKind
from simulator.provider import Call, SimulatedProvider
from simulator.wire import Dialect, Frames, MalformedRequest, as_object

REFUSALS = frozenset(
    {
        FaultKind.SERVER_ERROR,
        FaultKind.THROTTLED,
        FaultKind.QUOTA,
        FaultKind.AUTHENTICATION,
        FaultKind.PERMISSION,
        FaultKind.MODEL_NOT_READY,
        FaultKind.MODEL_MISSING,
        FaultKind.REGION_DOWN,
        FaultKind.CAPACITY,
    }
)
"""Faults that are an error status in the vendor's own shape."""

Endpoint = Callable[[Request], Awaitable[Response]]
Listing = Callable[[Request, Call], Response]

_WORTH_WATCHING = timedelta(milliseconds=100)


def inference(provider: SimulatedProvider, dialect: Dialect) -> Endpoint:
    """The endpoint of one inference operation."""

    async def endpoint(request: Request) -> Response:
        if not dialect.has_credentials(request):
            return _no_credentials(provider, dialect, request)
        try:
            ask = dialect.read(request, as_object(await request.body()))
        except MalformedRequest as wrong:
            provider.counters.malformed += 1
            return dialect.malformed(provider.turn_away(region=dialect.region_of(request)), str(wrong))
        return await _answer(provider, dialect, request, provider.begin(ask))

    return endpoint


def control_plane(provider: SimulatedProvider, dialect: Dialect, listing: Listing) -> Endpoint:
    """The endpoint of one control-plane operation."""

    async def endpoint(request: Request) -> Response:
        if not dialect.has_credentials(request):
            return _no_credentials(provider, dialect, request)
        call = provider.begin_control(dialect.region_of(request))
        if call.fault is None:
            return listing(request, call)
        if call.fault.kind is FaultKind.CONTROL_PLANE_DOWN:
            return dialect.refusal(call, Fault(kind=FaultKind.SERVER_ERROR, status=500))
        return dialect.refusal(call, call.fault)

    return endpoint


def build_app(provider: SimulatedProvider, dialect: Dialect, routes: list[Route]) -> Starlette:
    """The provider's whole HTTP surface; what it does not serve is refused in the vendor's words."""

    async def unknown(request: Request, _error: Exception) -> Response:
        return dialect.not_found(provider.turn_away(), request.url.path)

    return Starlette(routes=routes, exception_handlers={HTTPException: unknown})


def reply_to(provider: SimulatedProvider, call: Call) -> Reply:
    """The model's answer, as right, wrong or empty as the fault has it."""
    ask, kind = call.ask, call.fault.kind if call.fault else None
    if kind is FaultKind.EMPTY:
        text = ""
    elif kind is FaultKind.WRONG:
        text = nonsense(call.number)
    else:
        text = provider.knows.get(ask.prompt) or sensible(provider.key, ask.prompt)
    call_of_tool = call_in(text, ask.tools)
    reply = reply_with("" if call_of_tool else text, prompt=ask.prompt, max_tokens=ask.max_tokens)
    reply = replace(reply, call=call_of_tool)
    provider.answered(reply)
    return reply


def delay_of(call: Call) -> timedelta:
    """How long the first byte takes."""
    slow = call.fault is not None and call.fault.kind is FaultKind.SLOW
    return call.latency + (call.fault.delay if slow and call.fault else timedelta())


async def _answer(provider: SimulatedProvider, dialect: Dialect, request: Request, call: Call) -> Response:
    kind = call.fault.kind if call.fault else None
    if kind is FaultKind.HANG:
        await _client_leaves(request)
        return Response(status_code=408)
    await _wait(request, delay_of(call))
    if call.fault and kind in REFUSALS:
        return dialect.refusal(call, call.fault)
    if kind is FaultKind.GARBAGE:
        return dialect.garbage(call)
    reply = reply_to(provider, call)
    if not call.ask.stream:
        return dialect.whole(call, reply)
    frames = dialect.frames(call, reply)
    return StreamingResponse(
        _paced(frames, call), media_type=frames.media_type or dialect.stream_media_type, headers=frames.headers
    )


def _no_credentials(provider: SimulatedProvider, dialect: Dialect, request: Request) -> Response:
    provider.counters.without_credentials += 1
    return dialect.no_credentials(provider.turn_away(region=dialect.region_of(request)))


async def _paced(frames: Frames, call: Call) -> AsyncIterator[bytes]:
    for part in frames.sent(call.fault):
        yield part
        await asyncio.sleep(call.latency.total_seconds() / 10)


async def _wait(request: Request, delay: timedelta) -> None:
    """Sleeps; a long wait ends early when the client is gone."""
    if delay < _WORTH_WATCHING:
        await asyncio.sleep(delay.total_seconds())
        return
    try:
        await asyncio.wait_for(_client_leaves(request), delay.total_seconds())
    except TimeoutError:
        return


async def _client_leaves(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
