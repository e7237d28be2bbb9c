"""Slack by the unmodified SDK, against a local stand-in of its API."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qsl

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from activities.notifiers.slack import SlackNotifier
from activities.notify import Notify
from failover.messages import MessageRef, opening, progress
from gateway.process import listening

TOKEN = "xoxb-very-secret"


@dataclass
class Slack:
    """What the stand-in keeps, and how it is told to refuse."""

    messages: list[dict[str, Any]] = field(default_factory=list)
    updates: list[dict[str, Any]] = field(default_factory=list)
    refuse: tuple[int, dict[str, Any], dict[str, str]] | None = None

    async def call(self, request: Request) -> JSONResponse:
        assert request.headers["authorization"] == f"Bearer {TOKEN}"
        if self.refuse is not None:
            status, body, headers = self.refuse
            return JSONResponse(body, status_code=status, headers=headers)
        method = request.path_params["method"]
        if method == "chat.postMessage":
            body = {**await request.json(), "ts": f"1000.{len(self.messages)}"}
            self.messages.append(body)
            return JSONResponse({"ok": True, "channel": "C1", "ts": body["ts"]})
        if method == "chat.update":
            self.updates.append(await request.json())
            return JSONResponse({"ok": True})
        if method == "conversations.list":
            return JSONResponse(
                {"ok": True, "channels": [{"id": "C0", "name": "x"}, {"id": "C1", "name": "ops-alerts"}]}
            )
        asked = {**request.query_params, **dict(parse_qsl((await request.body()).decode()))}
        if asked["channel"] != "C1":
            return JSONResponse({"ok": False, "error": "channel_not_found"})
        return JSONResponse({"ok": True, "messages": self.messages})


@pytest.fixture
async def slack() -> AsyncIterator[tuple[Slack, SlackNotifier]]:
    stand_in = Slack()
    app = Starlette(routes=[Route("/api/{method}", stand_in.call, methods=["GET", "POST"])])
    async with listening(app, "127.0.0.1", 0) as url:
        yield stand_in, SlackNotifier(TOKEN, "#ops-alerts", api_url=f"{url}/api", timeout=timedelta(seconds=5))


async def test_an_incident_is_one_thread_whose_first_message_is_kept_up_to_date(
    slack: tuple[Slack, SlackNotifier],
) -> None:
    """Opening, then replies; the opening's headline follows."""
    stand_in, notifier = slack
    post = Notify(notifier).post
    environment = ActivityEnvironment()
    thread = await environment.run(post, opening("k1", "bedrock", "70 % to google"))
    assert stand_in.messages[0]["channel"] == "#ops-alerts"
    assert "70 % to google" in stand_in.messages[0]["text"]
    again = await environment.run(post, progress("k2", "bedrock", "verified", thread))
    assert again == thread == MessageRef(channel="C1", id="1000.0")
    assert stand_in.messages[1]["thread_ts"] == "1000.0"
    assert (stand_in.updates[0]["ts"], "verified" in stand_in.updates[0]["text"]) == ("1000.0", True)


async def test_a_retried_message_is_posted_once(slack: tuple[Slack, SlackNotifier]) -> None:
    """The attempt before posted it and died: it is found by its key."""
    stand_in, notifier = slack
    first = await notifier.post(opening("k1", "bedrock", "x"), retried=False)
    assert await notifier.post(opening("k1", "bedrock", "x"), retried=True) == first
    reply = progress("k2", "bedrock", "y", first)
    await notifier.post(reply, retried=False)
    await notifier.post(reply, retried=True)
    assert len(stand_in.messages) == 2


async def test_slacks_own_patience_is_kept(slack: tuple[Slack, SlackNotifier]) -> None:
    """Retry-After becomes the delay of Temporal's next attempt."""
    stand_in, notifier = slack
    stand_in.refuse = (429, {"ok": False, "error": "ratelimited"}, {"Retry-After": "7"})
    with pytest.raises(ApplicationError) as refused:
        await notifier.post(opening("k1", "bedrock", "x"), retried=False)
    assert refused.value.next_retry_delay == timedelta(seconds=7)
    assert not refused.value.non_retryable


@pytest.mark.parametrize(
    ("error", "remedy"),
    [("channel_not_found", "create the channel"), ("invalid_auth", "valid bot token"), ("not_in_channel", "invite")],
)
async def test_what_retrying_will_not_heal_is_explained(
    slack: tuple[Slack, SlackNotifier], error: str, remedy: str
) -> None:
    """With what a person can do, and without the token."""
    stand_in, notifier = slack
    stand_in.refuse = (200, {"ok": False, "error": error}, {})
    with pytest.raises(ApplicationError, match=remedy) as refused:
        await notifier.post(opening("k1", "bedrock", "x"), retried=False)
    assert refused.value.non_retryable
    assert TOKEN not in str(refused.value)
    assert "#ops-alerts" in str(refused.value)
