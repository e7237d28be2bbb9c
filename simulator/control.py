"""The control API: faults and counters over HTTP."""

import json
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from simulator.faults import FaultRejected, parse_fault

if TYPE_CHECKING:
    from simulator.server import Simulator


def control_app(simulator: "Simulator") -> Starlette:
    """Routes of the control port. What cannot be meant is answered 422 with a sentence, and changes nothing."""

    async def healthz(_request: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def providers(_request: Request) -> Response:
        return JSONResponse(simulator.addresses()["providers"])

    async def stats(request: Request) -> Response:
        if request.method == "DELETE":
            simulator.reset_stats()
        return JSONResponse(simulator.stats())

    async def faults(request: Request) -> Response:
        if request.method == "DELETE":
            await simulator.clear_faults()
        return JSONResponse(simulator.faults())

    async def fault(request: Request) -> Response:
        key = request.path_params["provider"]
        if request.method == "DELETE":
            await simulator.clear_fault(key)
            return JSONResponse({key: None})
        options = _object(await request.body())
        wanted = parse_fault(options.pop("kind", None), options)
        await simulator.set_fault(key, wanted)
        return JSONResponse({key: wanted.as_json()})

    async def rejected(_request: Request, error: Exception) -> Response:
        return JSONResponse({"error": str(error)}, 422)

    routes = [
        Route("/healthz", healthz),
        Route("/providers", providers),
        Route("/stats", stats, methods=["GET", "DELETE"]),
        Route("/faults", faults, methods=["GET", "DELETE"]),
        Route("/faults/{provider}", fault, methods=["PUT", "DELETE"]),
    ]
    return Starlette(routes=routes, exception_handlers={FaultRejected: rejected})


def _object(body: bytes) -> dict[str, Any]:
    try:
        parsed = json.loads(body)
    except ValueError:
        parsed = None
    if not isinstance(parsed, dict):
        raise FaultRejected('The body must be a JSON object such as {"kind": "server_error", "rate": 10}.')
    return parsed
