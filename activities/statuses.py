"""What providers say of themselves: asked when a verdict changes, kept, and asked again when somebody analyses."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

import structlog

from activities.json_lines import JsonLines
from activities.watching import Responder
from failover.analysis.case import ProviderStatus
from failover.analysis.statuses import read_status
from failover.automation import Permission
from failover.config.analysis import Analysis
from failover.errors import Unavailable
from failover.health import Verdict
from failover.triggers import Response

log = structlog.get_logger(__name__)

FILE = "statuses.jsonl"

OFTEN = timedelta(seconds=30)
"""A page is asked no more often while verdicts flutter."""


class Pages(Protocol):
    async def get(self, url: str) -> Any:
        """Fetch JSON; Unavailable with the reason, to be read after the provider's name, if none comes."""
        ...


class StatusLog:
    """Asks the configured pages, and keeps what they said."""

    def __init__(self, settings: Analysis, pages: Pages, state: Path) -> None:
        self._settings = settings
        self._pages = pages
        self._lines = JsonLines(state / FILE, ProviderStatus, settings.deploys_max_bytes)
        self._asked: dict[str, datetime] = {}

    async def ask(self, provider: str) -> ProviderStatus | None:
        """Ask a provider's page; None if none is configured. Never raises: a page's silence is an answer too."""
        page = self._settings.status_pages.get(provider)
        if page is None:
            return None
        try:
            async with asyncio.timeout(self._settings.status_timeout.total_seconds()):
                told = await self._pages.get(page.url)
        except (Unavailable, TimeoutError) as error:
            why = str(error) or "its status page did not answer in time"
            return ProviderStatus(provider=provider, asked_at=datetime.now(UTC), why_not=why)
        return read_status(provider, told, page.about, datetime.now(UTC))

    async def keep(self, provider: str) -> None:
        """Ask and keep, unless it was asked a moment ago."""
        now = datetime.now(UTC)
        if (
            provider not in self._settings.status_pages
            or now - self._asked.get(provider, datetime.min.replace(tzinfo=UTC)) < OFTEN
        ):
            return
        self._asked[provider] = now
        status = await self.ask(provider)
        if status is not None:
            try:
                await asyncio.to_thread(self._lines.append, status)
            except OSError as error:
                log.warning("what a status page said could not be kept", provider=provider, error=error.strerror)

    def kept(self, since: datetime, until: datetime) -> list[ProviderStatus]:
        return [one for one in self._lines.read() if since <= one.asked_at <= until]


class AskingResponder:
    """A responder that asks the provider's status page beside telling people; it holds nothing up."""

    def __init__(self, responder: Responder, statuses: StatusLog) -> None:
        self._responder = responder
        self._statuses = statuses

    async def start(
        self,
        procedure: str,
        verdict: Verdict,
        others: Sequence[Verdict],
        routes: Sequence[str],
        allowed: Permission,
    ) -> bool:
        return await self._responder.start(procedure, verdict, others, routes, allowed)

    async def tell(self, verdict: Verdict, response: Response) -> None:
        asking = asyncio.create_task(self._statuses.keep(verdict.provider))
        await self._responder.tell(verdict, response)
        await asking
