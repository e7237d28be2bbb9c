"""What Slack is told after a button was pressed: the message changed in place, or a word to whoever pressed."""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import structlog
from slack_sdk.errors import SlackApiError
from slack_sdk.http_retry.builtin_handlers import RateLimitErrorRetryHandler
from slack_sdk.web import WebClient

from failover.messages import Asked, escaped, settled

log = structlog.get_logger("webhooks")

ATTEMPTS = 3
"""The most retries, after Slack's own Retry-After each."""


class SlackReplies:
    """Says it as well as it goes: the order that a button gave stands, whatever becomes of the message."""

    def __init__(self, token: str, *, api_url: str | None, timeout: timedelta) -> None:
        self._slack = WebClient(
            token=token,
            base_url=f"{api_url.rstrip('/')}/" if api_url else WebClient.BASE_URL,
            timeout=max(1, int(timeout.total_seconds())),
            retry_handlers=[RateLimitErrorRetryHandler(max_retry_count=ATTEMPTS)],
        )

    async def replace(self, channel: str, message: str, text: str, said: str, asked: Asked | None) -> None:
        """The message as it was, and what became of it; with its buttons only while it still asks."""
        # `text` comes from Slack, escaped already.
        blocks = settled(text, escaped(said), asked)
        await self._call(
            lambda: self._slack.chat_update(
                channel=channel, ts=message, text=f"{text}\n{escaped(said)}"[:3000], blocks=blocks
            )
        )

    async def whisper(self, channel: str, user: str, thread: str | None, said: str) -> None:
        await self._call(
            lambda: self._slack.chat_postEphemeral(channel=channel, user=user, thread_ts=thread, text=escaped(said))
        )

    async def _call(self, call: Callable[[], Any]) -> None:
        try:
            await asyncio.to_thread(call)
        except SlackApiError as error:
            log.warning("slack was not told", error=str(error.response.get("error", "unknown")))
        except OSError as error:
            log.warning("slack was not told", error=type(error).__name__)
