"""The webhook server as one application: alerts, Slack, runs, metrics and health."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Mount, Route

from activities.deploys import DeployLog
from activities.drilling import PassedDrills
from activities.evidence import EvidenceStore
from activities.hold import HeldAutomation
from failover.config import Config
from failover.health import Verdict
from failover.ports import HoldStore, TrafficPlane
from starter.console.app import Console, Doors
from starter.console.entrance import HOME
from starter.console.incidents import Incidents
from starter.console.readiness import Sheet
from starter.console.seeing import Sources
from starter.webhooks.alerts_door import AlertsDoor
from starter.webhooks.answers import HANDLERS
from starter.webhooks.desk import Desk
from starter.webhooks.guard import Guard
from starter.webhooks.metrics import Metrics
from starter.webhooks.openapi import document
from starter.webhooks.runs_door import Driver, RunsDoor
from starter.webhooks.slack_door import SlackDoor
from starter.webhooks.slack_replies import SlackReplies
from starter.webhooks.sns import Sns
from starter.webhooks.starts_door import Starting, StartsDoor
from starter.webhooks.temporal import Temporal


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What the server is made of. `secrets` is the environment, for the names that the configuration gives."""

    config: Config
    temporal: Temporal
    plane: TrafficPlane | None
    secrets: Mapping[str, str]
    api_token: str | None
    sns: Sns
    hold: HoldStore | None = None
    deploys: DeployLog | None = None
    practised: PassedDrills | None = None
    verdicts: Callable[[], Awaitable[Sequence[Verdict]]] | None = None
    """The newest about each provider, from a worker; None where none is known."""
    evidence: EvidenceStore | None = None
    readiness: Callable[[], Sheet | None] | None = None
    """The last audit, for the console; None where this server knows of none."""


class WebhookServer:
    """The application, and what must be finished when it ends."""

    def __init__(self, parts: Parts) -> None:
        config, temporal = parts.config, parts.temporal
        metrics = Metrics()
        guard = Guard(config, parts.secrets, parts.api_token)
        driver = Driver(temporal, metrics)
        hold = HeldAutomation(parts.hold)
        self._desk = Desk(config, temporal, parts.plane, hold, parts.practised)
        alerts = AlertsDoor(config, guard, self._desk, parts.sns, metrics, parts.deploys)
        starting = Starting(config, temporal)
        runs, starts = RunsDoor(guard, temporal, driver, hold), StartsDoor(guard, starting)
        console = _console(parts, Doors(guard=guard, driver=driver, starting=starting))
        secret = parts.secrets.get(config.notifications.slack.signing_secret_env)
        self._slack = SlackDoor(config, secret, guard, driver, _replies(parts))

        async def healthz(_: Request) -> Response:
            return JSONResponse({"alive": True})

        async def readyz(_: Request) -> Response:
            why, held = await asyncio.gather(temporal.why_not(), hold.in_force())
            # Whoever asks here is unknown: who holds it and why is told to operators (GET /runs).
            told = {"ready": why is None, "reason": why, "automation_held": held is not None}
            return JSONResponse(told, status_code=503 if why else 200)

        async def scrape(_: Request) -> Response:
            return Response(generate_latest(metrics.registry), media_type=CONTENT_TYPE_LATEST)

        async def openapi(_: Request) -> Response:
            return JSONResponse(document(config))

        self.app = Starlette(
            routes=[
                Route("/webhooks/{sender}", alerts.post, methods=["POST"]),
                Route("/slack/interactive", self._slack.post, methods=["POST"]),
                Route("/runs", starts.post, methods=["POST"]),
                Route("/runs", runs.list, methods=["GET"]),
                Route("/runs/{run:path}/{verb}", runs.act, methods=["POST"]),
                Route("/runs/{run:path}", runs.look, methods=["GET"]),
                Route("/openapi.json", openapi, methods=["GET"]),
                Route("/metrics", scrape, methods=["GET"]),
                Route("/healthz", healthz, methods=["GET"]),
                Route("/readyz", readyz, methods=["GET"]),
                *([Route("/", _to_console), Mount("/console", console.app)] if console else []),
            ],
            exception_handlers=cast(Any, HANDLERS),
        )
        if console is not None:
            self.app.state.close = console.close

    async def finish(self) -> None:
        """What was answered already, and is still being carried out."""
        await self._slack.finish()
        await self._desk.finish()


def _console(parts: Parts, doors: Doors) -> Console | None:
    if not parts.config.console.enabled:
        return None
    sources = Sources(
        config=parts.config,
        temporal=parts.temporal,
        plane=parts.plane,
        hold=parts.hold,
        verdicts=parts.verdicts,
        incidents=Incidents(parts.evidence),
        readiness=parts.readiness,
    )
    return Console(sources, doors, parts.api_token)


async def _to_console(_: Request) -> Response:
    return RedirectResponse(HOME)


def _replies(parts: Parts) -> SlackReplies | None:
    settings = parts.config.notifications
    token = parts.secrets.get(settings.slack.token_env)
    return SlackReplies(token, api_url=settings.slack.api_url, timeout=settings.timeout) if token else None
