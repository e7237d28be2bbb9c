"""The codec server: Temporal's Web UI and command line send it what Temporal keeps, and are told what it says."""

from collections.abc import Sequence

from google.protobuf.json_format import MessageToDict, Parse, ParseError
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from temporalio.api.common.v1 import Payloads
from temporalio.converter import PayloadCodec

from failover.roles import Act
from starter.webhooks.answers import HANDLERS, Refused, read_body
from starter.webhooks.guard import Guard

MOST_BYTES = 16 * 1024 * 1024
"""The most bytes of one request: a page of a long history."""

HEADERS = ("authorization", "content-type", "x-namespace")
"""The headers that the Web UI sends beside those that need no leave."""

LOCAL_NAMES = ("localhost", "127.0.0.1")
"""The names by which a server that asks nobody may be called: another name that leads here is a page's trick."""


def create_app(codec: PayloadCodec, guard: Guard | None, origins: Sequence[str]) -> Starlette:
    """`guard` None: nobody is asked who they are. `origins`: of the Web UIs whose pages may read the answers."""

    async def decode(request: Request) -> Response:
        given = await _read(request, guard)
        return _answer(Payloads(payloads=await codec.decode(given.payloads)))

    async def encode(request: Request) -> Response:
        given = await _read(request, guard)
        return _answer(Payloads(payloads=await codec.encode(given.payloads)))

    async def healthz(_: Request) -> Response:
        return JSONResponse({"alive": True})

    middleware = [
        Middleware(
            CORSMiddleware,
            allow_origins=list(origins),
            allow_methods=["POST"],
            allow_headers=list(HEADERS),
            allow_credentials=True,
            max_age=600,
        )
    ]
    if guard is None:
        middleware.insert(0, Middleware(TrustedHostMiddleware, allowed_hosts=list(LOCAL_NAMES), www_redirect=False))
    return Starlette(
        routes=[
            Route("/decode", decode, methods=["POST"]),
            Route("/encode", encode, methods=["POST"]),
            Route("/healthz", healthz, methods=["GET"]),
        ],
        middleware=middleware,
        exception_handlers=HANDLERS,
    )


async def _read(request: Request, guard: Guard | None) -> Payloads:
    if guard is not None:
        guard.permit(request, Act.LOOK)
    # Another page can make a browser send a form, and never JSON without being asked for leave first.
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise Refused(415, "Payloads are sent as application/json.")
    body = await read_body(request, MOST_BYTES)
    try:
        given: Payloads = Parse(body, Payloads())
    except (ParseError, ValueError, RecursionError) as error:
        raise Refused(422, "The body is no list of Temporal's payloads.") from error
    return given


def _answer(payloads: Payloads) -> Response:
    return JSONResponse(MessageToDict(payloads), headers={"Cache-Control": "no-store"})
