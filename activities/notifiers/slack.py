"""Messages to Slack by its official SDK: one thread an incident, the opening message kept up to date."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import timedelta
from typing import Any

from slack_sdk.errors import SlackApiError, SlackClientError
from slack_sdk.web import WebClient
from temporalio.exceptions import ApplicationError

from failover.errors import Unavailable
from failover.findings import Finding, failed, ok
from failover.messages import Asked, IncidentMessage, MessageRef, escaped, settled

EVENT = "failover_incident"
"""Type of the metadata that marks our messages with their key."""

REMEDIES = {
    "channel_not_found": "create the channel, or name another one in notifications.slack.channel",
    "not_in_channel": "invite the app to the channel",
    "invalid_auth": "put a valid bot token into the environment",
    "not_authed": "put a bot token into the environment",
    "token_revoked": "install the app again and put its new bot token into the environment",
    "missing_scope": "give the app the scopes chat:write, channels:read and channels:history",
    "is_archived": "name a channel that is not archived in notifications.slack.channel",
}
"""What a person can do about the errors that trying again will not heal."""


NEEDED = ("chat:write", "channels:read", "channels:history")
"""Scopes of the bot token."""

GONE = {"user_not_found": "Slack knows no such member", "user_not_visible": "the app may not see that member"}


class SlackNotifier:
    """Posts to one channel. Makes one attempt: retries are Temporal's, with Slack's own Retry-After."""

    def __init__(self, token: str, channel: str, *, api_url: str | None = None, timeout: timedelta) -> None:
        self._slack = WebClient(
            token=token,
            base_url=f"{api_url.rstrip('/')}/" if api_url else WebClient.BASE_URL,
            timeout=max(1, int(timeout.total_seconds())),
            retry_handlers=[],
        )
        self._channel = channel

    async def post(self, message: IncidentMessage, *, retried: bool) -> MessageRef:
        """→ the thread that the message is in. `retried`: an earlier attempt may have posted it already."""
        try:
            return await asyncio.to_thread(self._post, message, retried)
        except SlackApiError as error:
            raise _explained(error, self._channel) from error

    async def reachable(self) -> Finding:
        """The token and its scopes; nothing is posted."""
        return await asyncio.to_thread(self._reachable)

    def _reachable(self) -> Finding:
        try:
            answer = self._slack.auth_test()
        except SlackApiError as error:
            code = str(error.response.get("error", "refused"))
            remedy = REMEDIES.get(code, "see Slack's documentation of it")
            return failed("slack", f"Slack refused the token: {code}", remedy)
        except (SlackClientError, OSError) as error:
            remedy = "see to the network, or notifications.slack.api_url"
            return failed("slack", f"Slack does not answer: {type(error).__name__}", remedy)
        given = {scope.strip() for scope in str(_header(answer.headers, "x-oauth-scopes")).split(",")}
        missing = [scope for scope in NEEDED if scope not in given]
        if missing:
            remedy = "give the app these scopes, and install it again"
            return failed("slack", f"the token lacks {', '.join(missing)}", remedy)
        return ok("slack", f"{answer.get('user', 'the bot')} may post; messages go to {self._channel}")

    async def missing(self, members: Sequence[str]) -> Mapping[str, str]:
        """Member id → why that person cannot be asked. Unavailable where Slack does not tell (scope users:read)."""
        return await asyncio.to_thread(self._missing, members)

    def _missing(self, members: Sequence[str]) -> Mapping[str, str]:
        found = {member: self._gone(member) for member in members}
        return {member: why for member, why in found.items() if why is not None}

    def _gone(self, member: str) -> str | None:
        try:
            user: Any = self._slack.users_info(user=member).get("user") or {}
        except SlackApiError as error:
            code = str(error.response.get("error", "refused"))
            if code in GONE:
                return GONE[code]
            remedy = "give the app the scope users:read" if code == "missing_scope" else REMEDIES.get(code, "see to it")
            raise Unavailable(f"Slack does not tell who is there: {code}; {remedy}.") from error
        except (SlackClientError, OSError) as error:
            raise Unavailable(f"Slack does not answer: {type(error).__name__}.") from error
        return "that member has left" if user.get("deleted") else None

    def _post(self, message: IncidentMessage, retried: bool) -> MessageRef:
        there = self._already_there(message) if retried else None
        ref = there or self._say(message)
        if message.thread is not None:
            self._slack.chat_update(
                channel=message.thread.channel,
                ts=message.thread.id,
                text=escaped(message.headline),
                blocks=message.headline_blocks(),
                metadata=_metadata(message),
            )
            if message.settles is not None:
                self._settle(message.thread, message.settles, escaped(message.text))
        return message.thread or ref

    def _settle(self, thread: MessageRef, asked: Asked, said: str) -> None:
        """Take the buttons away wherever in the thread this was asked, reminders too; however it was decided."""
        answer = self._slack.conversations_replies(
            channel=thread.channel, ts=thread.id, include_all_metadata=True, limit=200
        )
        for one in answer.get("messages") or []:
            if _payload(one).get("asks") == asdict(asked):
                text = str(one["text"])
                self._slack.chat_update(
                    channel=thread.channel,
                    ts=str(one["ts"]),
                    text=f"{text}\n{said}"[:3000],
                    blocks=settled(text, said),
                    metadata={"event_type": EVENT, "event_payload": {"key": _payload(one).get("key", "")}},
                )

    def _say(self, message: IncidentMessage) -> MessageRef:
        answer = self._slack.chat_postMessage(
            channel=message.thread.channel if message.thread else self._channel,
            thread_ts=message.thread.id if message.thread else None,
            text=escaped(message.text),
            blocks=message.blocks(),
            metadata=_metadata(message),
        )
        return MessageRef(channel=str(answer["channel"]), id=str(answer["ts"]))

    def _already_there(self, message: IncidentMessage) -> MessageRef | None:
        """The message that an attempt before this one posted without living to tell."""
        try:
            channel, posted = self._posted(message)
        except SlackApiError:
            return None  # Saying it twice is better than not at all.
        for one in posted:
            if _payload(one).get("key") == message.key:
                return MessageRef(channel=channel, id=str(one["ts"]))
        return None

    def _posted(self, message: IncidentMessage) -> tuple[str, Sequence[Any]]:
        """The channel's id, and what was said lately where this message would be."""
        if message.thread is not None:
            channel = message.thread.channel
            answer = self._slack.conversations_replies(
                channel=channel, ts=message.thread.id, include_all_metadata=True, limit=100
            )
        else:
            channel = self._channel_id()
            answer = self._slack.conversations_history(channel=channel, include_all_metadata=True, limit=50)
        return channel, answer.get("messages") or []

    def _channel_id(self) -> str:
        """The channel's id: messages are posted to a name, but read only by id."""
        for page in self._slack.conversations_list(exclude_archived=True, limit=1000):
            for channel in page["channels"]:
                if channel["name"] == self._channel.removeprefix("#"):
                    return str(channel["id"])
        return self._channel


def _metadata(message: IncidentMessage) -> dict[str, Any]:
    asks = {"asks": asdict(message.asks)} if message.asks else {}
    return {"event_type": EVENT, "event_payload": {"key": message.key, **asks}}


def _payload(posted: Mapping[str, Any]) -> Mapping[str, Any]:
    """What a message was marked with when we posted it."""
    found: Mapping[str, Any] = (posted.get("metadata") or {}).get("event_payload") or {}
    return found


def _explained(error: SlackApiError, channel: str) -> ApplicationError:
    """What went wrong and what helps; the token is in none of it."""
    response: Any = error.response
    code = str(response.get("error", "unknown_error"))
    if response.status_code == 429 or code == "ratelimited":
        wait = timedelta(seconds=float(response.headers.get("Retry-After", 1)))
        return ApplicationError(f"Slack asks for patience ({wait.total_seconds():g} s).", next_retry_delay=wait)
    remedy = REMEDIES.get(code)
    sentence = f"Slack refused the message to {channel}: {code}" + (f"; {remedy}." if remedy else ".")
    return ApplicationError(sentence, type="SlackError", non_retryable=remedy is not None)


def _header(headers: Mapping[str, object], name: str) -> object:
    return next((value for key, value in headers.items() if key.lower() == name), "")
