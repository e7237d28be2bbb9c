"""Status pages: Atlassian Statuspage by its API, and any that takes a POST of status and message with a bearer key."""

from datetime import timedelta
from typing import Any

from activities.channels.http import Caller
from failover.communications import OVER, Delivery, Stage, public_status, public_text
from failover.config.communications import StatusPage
from failover.errors import ChannelFailed

STATUSPAGE = "https://api.statuspage.io/v1"

METADATA = "failover"
"""The name under which our key stands in an incident's metadata."""


class StatuspageChannel:
    """One page. The API knows no idempotency key: an incident is looked for by its metadata before it is created."""

    def __init__(self, settings: StatusPage, key: str, *, timeout: timedelta) -> None:
        self._settings = settings
        self._base = f"{(settings.url or STATUSPAGE).rstrip('/')}/pages/{settings.page_id}"
        self._caller = Caller(
            "Statuspage",
            timeout=timeout,
            headers={"Authorization": f"OAuth {key}"},
            secrets=[key],
            remedies={
                401: f"put a valid key into {settings.api_key_env}",
                403: f"the key in {settings.api_key_env} may not do this",
                404: "see to communications.status_page.page_id",
            },
        )

    async def deliver(self, delivery: Delivery) -> str:
        reference = delivery.reference or await self._find(delivery.incident.key)
        if reference and delivery.news.stage is Stage.OPENED:
            return reference
        if reference:
            await self._caller.call("PATCH", f"{self._base}/incidents/{reference}", json=self._said(delivery))
            return reference
        name = {"name": f"{delivery.incident.flag}{self._settings.title}"}
        created = await self._caller.call("POST", f"{self._base}/incidents", json=self._said(delivery, **name))
        if not isinstance(created, dict) or not created.get("id"):
            raise ChannelFailed("Statuspage answered in a form that is not known: no id of the incident.")
        return str(created["id"])

    async def _find(self, key: str) -> str:
        unresolved = await self._caller.call("GET", f"{self._base}/incidents/unresolved")
        for one in unresolved if isinstance(unresolved, list) else []:
            if ((one.get("metadata") or {}).get(METADATA) or {}).get("key") == key:
                return str(one["id"])
        return ""

    def _said(self, delivery: Delivery, **more: str) -> dict[str, Any]:
        over = delivery.news.stage is Stage.CLOSED and delivery.news.outcome in OVER
        shown = "operational" if over else "degraded_performance"
        components = self._settings.components
        incident: dict[str, Any] = {
            **more,
            "status": public_status(delivery),
            "body": public_text(self._settings, delivery),
            "metadata": {METADATA: {"key": delivery.incident.key}},
        }
        if components:
            incident |= {"component_ids": components, "components": dict.fromkeys(components, shown)}
        return {"incident": incident}

    async def check(self) -> str:
        found = await self._caller.call("GET", self._base)
        name = found.get("name") if isinstance(found, dict) else None
        return f"Statuspage: the key opens the page {name or self._settings.page_id}"

    async def aclose(self) -> None:
        await self._caller.aclose()


class PostedStatusChannel:
    """`{"status": …, "message": …}` to one address. Headers name incident and news, for pages that can tell twice from once."""

    def __init__(self, settings: StatusPage, key: str, *, timeout: timedelta) -> None:
        assert settings.url is not None
        self._settings, self._url = settings, settings.url
        self._caller = Caller(
            "The status page",
            timeout=timeout,
            headers={"Authorization": f"Bearer {key}"},
            secrets=[key],
            remedies={
                401: f"put a valid key into {settings.api_key_env}",
                403: f"the key in {settings.api_key_env} may not do this",
                404: "see to communications.status_page.url",
            },
        )

    async def deliver(self, delivery: Delivery) -> str:
        text = f"{delivery.incident.flag}{public_text(self._settings, delivery)}"
        headers = {"Idempotency-Key": delivery.key, "X-Failover-Incident": delivery.incident.key}
        said = {"status": public_status(delivery), "message": text}
        answer = await self._caller.call("POST", self._url, json=said, headers=headers)
        theirs = answer.get("id") if isinstance(answer, dict) else None
        return delivery.reference or str(theirs or delivery.incident.key)

    async def check(self) -> str:
        return "the status page: address and key are there; whether they are right, only a post can tell"

    async def aclose(self) -> None:
        await self._caller.aclose()
