"""POST /webhooks/{sender}: a delivery is proved, read, acted on, and answered with what was done. Deploys are noted."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import Any

import structlog
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from activities.deploys import DeployLog
from failover.alert_forms import read, read_deploy
from failover.alerts import Alert
from failover.config import Config
from failover.errors import BadInput, Unavailable
from failover.senders import Sender
from starter.webhooks.answers import Refused, read_body
from starter.webhooks.desk import Answer, Desk
from starter.webhooks.guard import Guard
from starter.webhooks.metrics import Metrics
from starter.webhooks.sns import Sns

log = structlog.get_logger("webhooks")


class AlertsDoor:
    """Every sender's door."""

    def __init__(
        self, config: Config, guard: Guard, desk: Desk, sns: Sns, metrics: Metrics, deploys: DeployLog | None = None
    ) -> None:
        self._config = config
        self._guard = guard
        self._desk = desk
        self._sns = sns
        self._metrics = metrics
        self._deploys = deploys

    async def post(self, request: Request) -> Response:
        name = request.path_params["sender"]
        sender = self._config.webhooks.senders.get(name)
        if sender is None:
            raise Refused(404, "There is no such sender here; they are named in webhooks.senders.")
        began, status = time.perf_counter(), 500
        try:
            response = await self._deliver(name, sender, request)
            status = response.status_code
            return response
        except (Refused, BadInput, Unavailable) as error:
            status = error.status if isinstance(error, Refused) else 422 if isinstance(error, BadInput) else 503
            log.warning("delivery refused", sender=name, status=status, why=str(error))
            raise
        finally:
            self._metrics.deliveries.labels(name, str(status)).inc()
            self._metrics.seconds.labels(name).observe(time.perf_counter() - began)

    async def _deliver(self, name: str, sender: Sender, request: Request) -> Response:
        body = await read_body(request, self._config.webhooks.max_body_bytes)
        if sender.how == "sns":
            return await self._from_sns(name, sender, request, body)
        operator = self._guard.sender(name, sender, request, body)
        if sender.kind == "deploy":
            return await self._note_deploy(name, operator, body)
        alerts = read(sender.kind, body, self._config.webhooks.max_alerts)
        self._refuse_old(alerts)
        return await self._act(name, [replace(alert, by=operator) for alert in alerts])

    async def _from_sns(self, name: str, sender: Sender, request: Request, body: bytes) -> Response:
        believed = await self._sns.believe(sender, body, self._config.webhooks.max_age, datetime.now(UTC))
        if isinstance(believed, str):
            raise self._guard.refusal(request, f"This delivery is refused: {believed}.")
        self._guard.pace(name)
        if believed.message.Type == "Notification":
            return await self._act(name, believed.message.read())
        said = "The subscription is confirmed." if believed.confirmed else "Noted: the subscription has ended."
        log.info("subscription", sender=name, topic=believed.message.TopicArn, said=said)
        return JSONResponse({"said": said, "alerts": []})

    async def _note_deploy(self, name: str, operator: str, body: bytes) -> Response:
        """Note a deploy. It starts nothing; whoever analyses an incident is told of it."""
        note = read_deploy(body)
        if self._deploys is None:
            raise Unavailable("This server has no state directory, so deploys cannot be kept here.")
        by = f"{name} ({operator})" if operator else name
        deploy, new = await asyncio.to_thread(self._deploys.note, note, by, datetime.now(UTC))
        said = f"Noted: {deploy.told}." if new else f"It was noted already: {deploy.told}."
        log.info("deploy", sender=name, said=said)
        return JSONResponse({"said": said, "alerts": []})

    def _refuse_old(self, alerts: Sequence[Alert]) -> None:
        now, max_age = datetime.now(UTC), self._config.webhooks.max_age
        for alert in alerts:
            if alert.sent_at is not None and abs(now - alert.sent_at) > max_age:
                raise Refused(401, "This delivery is refused: it was made too far from now (webhooks.max_age).")

    async def _act(self, name: str, alerts: Sequence[Alert]) -> Response:
        answers = await self._desk.handle(name, alerts)
        for answer in answers:
            self._metrics.alerts.labels(name, answer.did.value).inc()
        for said in dict.fromkeys(answer.said for answer in answers):
            log.info("alert", sender=name, said=said)
        return JSONResponse({"said": _together(answers), "alerts": [_plain(answer) for answer in answers]})


def _plain(answer: Answer) -> dict[str, Any]:
    return {**asdict(answer), "did": answer.did.value, "runs": list(answer.runs)}


def _together(answers: Sequence[Answer]) -> str:
    """Put together all that was done, each sentence once."""
    return " ".join(list(dict.fromkeys(answer.said for answer in answers))[:20])
