"""Every piece of news as JSON to one address, signed as our own inbound `generic` form is: who can check one checks the other."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from activities.channels.http import Caller
from failover.communications import Delivery
from failover.signatures import SIGNATURE_HEADER, TIMESTAMP_HEADER, sign

DELIVERY_HEADER = "x-failover-delivery"
"""Names the piece of news for good: a receiver that has seen it may forget the second one."""


class WebhookChannel:
    """One address. The time that is signed is that of the attempt, so that a late retry is not refused as stale."""

    def __init__(
        self, url: str, secret: str, *, timeout: timedelta, clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._url, self._secret, self._clock = url, secret, clock
        remedies = {401: "the receiver does not know the secret", 403: "the receiver does not know the secret"}
        self._caller = Caller("The webhook's receiver", timeout=timeout, secrets=[secret], remedies=remedies)

    async def deliver(self, delivery: Delivery) -> str:
        content = json.dumps(body(delivery), separators=(",", ":")).encode()
        timestamp = str(int(self._clock().timestamp()))
        headers = {
            "content-type": "application/json",
            TIMESTAMP_HEADER: timestamp,
            SIGNATURE_HEADER: sign(self._secret, content, timestamp),
            DELIVERY_HEADER: delivery.key,
        }
        await self._caller.call("POST", self._url, content=content, headers=headers)
        return delivery.incident.key

    async def check(self) -> str:
        return "the webhook: address and secret are there; whether they are right, only a delivery can tell"

    async def aclose(self) -> None:
        await self._caller.aclose()


def body(delivery: Delivery) -> dict[str, Any]:
    """What is posted; fields are only ever added."""
    incident, news = delivery.incident, delivery.news
    return {
        "event": f"incident.{news.stage.value}",
        "incident": incident.key,
        "procedure": incident.procedure,
        "run": incident.workflow_id,
        "subject": incident.subject,
        "providers": list(incident.providers),
        "text": news.text,
        "at": news.at.isoformat(),
        "number": news.number,
        "needs_person": news.needs_person,
        "outcome": news.outcome.value if news.outcome else None,
        "command": news.command,
        "contacts": dict(incident.contacts),
        "drill": incident.is_drill,
        "test": incident.is_test,
    }
