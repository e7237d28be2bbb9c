"""PagerDuty by Events API v2: one alert for what goes on, and one of its own where a person is needed.

They are two so that somebody who is needed is paged anew, whatever became of the first; what is in hand is acknowledged.
"""

from datetime import timedelta
from typing import Any

from activities.channels.http import Caller
from failover import kinds
from failover.communications import Delivery, Stage
from failover.config.communications import PagerDuty

PERSON = "/person"
"""What the dedup key of the second alert ends in."""


class PagerDutyChannel:
    """One integration. Its dedup keys make every event safe to repeat."""

    def __init__(self, settings: PagerDuty, key: str, *, timeout: timedelta) -> None:
        self._settings, self._key = settings, key
        self._caller = Caller(
            "PagerDuty",
            timeout=timeout,
            secrets=[key],
            remedies={400: f"see to the integration key in {settings.routing_key_env}"},
        )

    async def deliver(self, delivery: Delivery) -> str:
        news, key = delivery.news, delivery.incident.key
        if news.needs_person:
            await self._send("trigger", f"{key}{PERSON}", delivery, "critical")
        if news.stage is Stage.OPENED:
            emergency = delivery.incident.procedure == kinds.EMERGENCY
            await self._send("trigger", key, delivery, "critical" if emergency else "warning")
        elif news.stage is Stage.CLOSED:
            await self._send("resolve", key, delivery)
            if not news.needs_person:
                await self._send("resolve", f"{key}{PERSON}", delivery)
        elif news.verified:
            await self._send("acknowledge", key, delivery)
        return key

    async def _send(self, action: str, key: str, delivery: Delivery, severity: str | None = None) -> None:
        event: dict[str, Any] = {"routing_key": self._key, "event_action": action, "dedup_key": key[:255]}
        if severity is not None:
            event["payload"] = self._payload(delivery, severity)
        await self._caller.call("POST", self._settings.url, json=event)

    def _payload(self, delivery: Delivery, severity: str) -> dict[str, Any]:
        incident, news = delivery.incident, delivery.news
        return {
            "summary": " ".join(f"{incident.headline}: {news.text}".split())[:1024],
            "source": "failover-runbook",
            "severity": "info" if incident.flag else severity,
            "timestamp": news.at.isoformat(),
            "component": ", ".join(incident.providers),
            "class": incident.procedure,
            "custom_details": {
                "run": incident.workflow_id,
                "command": news.command or f"failoverctl watch {incident.workflow_id}",
                "contacts": dict(incident.contacts),
            },
        }

    async def check(self) -> str:
        return "PagerDuty: an integration key is there; whether it is right, only an event can tell"

    async def aclose(self) -> None:
        await self._caller.aclose()
