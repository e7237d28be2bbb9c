"""One HTTP call to a destination, and what its answer means: told, try again (and when), or a person must see to it."""

import email.utils
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx

from failover.errors import ChannelFailed

BUSY = (408, 420, 425, 429)
"""The statuses that mean "not now"; Statuspage said 420 for many years."""


class Caller:
    """Calls one destination, `who`. What is in `secrets` never appears in an error, whatever an answer repeats."""

    def __init__(
        self,
        who: str,
        *,
        timeout: timedelta,
        headers: Mapping[str, str] | None = None,
        secrets: Sequence[str] = (),
        remedies: Mapping[int, str] | None = None,
    ) -> None:
        self._who, self._secrets, self._remedies = who, secrets, remedies or {}
        self._client = httpx.AsyncClient(timeout=timeout.total_seconds(), headers=headers, follow_redirects=False)

    async def call(self, method: str, url: str, **said: Any) -> Any:
        """The JSON of its answer, None where it gave none. ChannelFailed where it was not taken."""
        try:
            response = await self._client.request(method, url, **said)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise ChannelFailed(f"{self._who} does not answer: {type(error).__name__}.") from error
        if response.is_success:
            return _json(response)
        raise self._failure(response)

    def _failure(self, response: httpx.Response) -> ChannelFailed:
        status = response.status_code
        if status in BUSY:
            wait = retry_after(response.headers, datetime.now(UTC))
            patience = f" for {wait.total_seconds():g} s" if wait else ""
            return ChannelFailed(f"{self._who} asks for patience{patience} ({status}).", wait=wait)
        if status >= 500:
            wait = retry_after(response.headers, datetime.now(UTC))
            return ChannelFailed(f"{self._who} is in trouble itself: {status}.", wait=wait)
        why = self._told(response)
        remedy = self._remedies.get(status, "")
        said = f"{self._who} refused it: {status}{f', {why}' if why else ''}{f'; {remedy}' if remedy else ''}."
        return ChannelFailed(said, permanent=True)

    def _told(self, response: httpx.Response) -> str:
        """What a refusal says of itself, in one line."""
        told = _json(response)
        if not isinstance(told, dict):
            return ""
        words = " ".join(str(told[key]) for key in ("error", "message", "errors", "detail") if told.get(key))
        for secret in self._secrets:
            words = words.replace(secret, "…")
        return " ".join(words.split())[:200].rstrip(".")

    async def aclose(self) -> None:
        await self._client.aclose()


def _json(response: httpx.Response) -> Any:
    try:
        return response.json()
    except ValueError:
        return None


def retry_after(headers: Mapping[str, str], now: datetime) -> timedelta | None:
    """How long an answer asks us to wait, in seconds or until a date; None where it does not say."""
    told = headers.get("Retry-After", "").strip()
    if told.isascii() and told.isdigit():
        return timedelta(seconds=min(int(told), 10**6))
    try:
        until = email.utils.parsedate_to_datetime(told)
    except (ValueError, TypeError):
        return None
    aware = until if until.tzinfo else until.replace(tzinfo=UTC)
    return max(timedelta(0), aware - now)
