"""A worker's own HTTP endpoint: is it alive, can it work, what does it know, what did it measure."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any, TypeVar

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
from activities.hold import HeldAutomation
from failover.automation import Hold
from failover.config import Config
from failover.errors import TemporalUnavailable
from failover.health import Verdict
from starter.census import Census, census
from starter.checks import Watched, watched
from starter.worker_metrics import WorkerMetrics

PATIENCE = 3.0
"""Seconds for Temporal's answer to a scrape."""

_EXPOSITION = "text/plain; version=0.0.4; charset=utf-8"

T = TypeVar("T")

_READY: TypeAdapter[dict[str, bool | str | Watched | Hold | None]] = TypeAdapter(
    dict[str, bool | str | Watched | Hold | None]
)
_VERDICTS = TypeAdapter(list[Verdict])


class Readiness:
    """Whether a worker can take work now, and somebody watches; `draining` is set once it was told to stop."""

    def __init__(self, client: Client, worker: Worker, config: Config, hold: HeldAutomation | None = None) -> None:
        self._client = client
        self._worker = worker
        self._config = config
        self._hold = hold or HeldAutomation(None)
        self._since = datetime.now(UTC)
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

    async def watched(self) -> Watched | None:
        """The dead-man's switch; a worker that has just begun gives the checks time. None where nobody can tell."""
        try:
            return await watched(self._client, self._config, self._since)
        except TemporalUnavailable:
            return None

    async def census(self) -> Census:
        """The runs under way."""
        return await census(self._client)

    async def hold(self) -> Hold | None:
        """The automation hold that is in force."""
        return await self._hold.in_force()


def create_app(readiness: Readiness, board: VerdictBoard, sdk_metrics_url: str, figures: WorkerMetrics) -> Starlette:
    """/healthz, /readyz, /verdicts (the newest about each provider) and /metrics (ours and the SDK's, for Prometheus)."""

    async def healthz(_: Request) -> Response:
        return JSONResponse({"alive": readiness.alive}, status_code=200 if readiness.alive else 503)

    async def readyz(_: Request) -> Response:
        why, checks, hold = await asyncio.gather(readiness.why_not(), readiness.watched(), readiness.hold())
        why = why or (checks.why_red if checks else None)
        told = {"ready": why is None, "reason": why, "health_checks": checks, "automation_hold": hold}
        return Response(_READY.dump_json(told), status_code=503 if why else 200, media_type="application/json")

    async def verdicts(_: Request) -> Response:
        return Response(_VERDICTS.dump_json(board.all()), media_type="application/json")

    async def metrics(_: Request) -> Response:
        counted, checks, hold = await asyncio.gather(
            _soon(readiness.census(), Census(answered=False)), _soon(readiness.watched(), None), readiness.hold()
        )
        ours = figures.render(counted, checks, held=hold is not None)
        return PlainTextResponse(ours + await _sdk_metrics(sdk_metrics_url), media_type=_EXPOSITION)

    doors: dict[str, Callable[[Request], Awaitable[Any]]] = {
        "/healthz": healthz,
        "/readyz": readyz,
        "/verdicts": verdicts,
        "/metrics": metrics,
    }
    return Starlette(routes=[Route(path, door) for path, door in doors.items()])


async def _soon(question: Awaitable[T], otherwise: T) -> T:
    """A scrape that waits for Temporal would be lost, and the worker be taken for dead."""
    try:
        async with asyncio.timeout(PATIENCE):
            return await question
    except TimeoutError:
        return otherwise


async def _sdk_metrics(url: str) -> str:
    """The SDK's own metrics; "" if they cannot be had: ours are worth the scrape alone."""
    try:
        async with httpx.AsyncClient(trust_env=False) as http:
            return (await http.get(url)).text
    except httpx.HTTPError:
        return ""
