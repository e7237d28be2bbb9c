"""A worker's own HTTP endpoint: is it alive, can it work, what does it know, what did it measure."""

from collections.abc import Awaitable, Callable
from typing import Any

import httpx
from pydantic import TypeAdapter
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from temporalio.client import Client
from temporalio.service import RPCError
from temporalio.worker import Worker

from activities.board import VerdictBoard
from failover.health import Verdict

_VERDICTS = TypeAdapter(list[Verdict])


class Readiness:
    """Whether a worker can take work now; `draining` is set once it was told to stop."""

    def __init__(self, client: Client, worker: Worker) -> None:
        self._client = client
        self._worker = worker
        self.draining = False

    @property
    def alive(self) -> bool:
        return self._worker.is_running

    async def why_not(self) -> str | None:
        """Why no work can be taken; None where it can."""
        if self.draining:
            return "the worker is stopping"
        if not self._worker.is_running:
            return "the worker is not polling"
        try:
            await self._client.service_client.check_health()
        except RPCError as error:
            return f"Temporal does not answer: {error}"
        return None


def create_app(readiness: Readiness, board: VerdictBoard, sdk_metrics_url: str) -> Starlette:
    """/healthz, /readyz, /verdicts (the newest about each provider) and /metrics (the SDK's, for Prometheus)."""

    async def healthz(_: Request) -> Response:
        return JSONResponse({"alive": readiness.alive}, status_code=200 if readiness.alive else 503)

    async def readyz(_: Request) -> Response:
        why = await readiness.why_not()
        return JSONResponse({"ready": why is None, "reason": why}, status_code=503 if why else 200)

    async def verdicts(_: Request) -> Response:
        return Response(_VERDICTS.dump_json(board.all()), media_type="application/json")

    async def metrics(_: Request) -> Response:
        async with httpx.AsyncClient(trust_env=False) as http:
            answer = await http.get(sdk_metrics_url)
        return PlainTextResponse(answer.text)

    doors: dict[str, Callable[[Request], Awaitable[Any]]] = {
        "/healthz": healthz,
        "/readyz": readyz,
        "/verdicts": verdicts,
        "/metrics": metrics,
    }
    return Starlette(routes=[Route(path, door) for path, door in doors.items()])
