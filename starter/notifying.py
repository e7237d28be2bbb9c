"""`failoverctl notify`: tell people something, or try a channel, through the adapters that every procedure uses."""

import asyncio
import uuid
from pathlib import Path

from temporalio.exceptions import ApplicationError

from failover.communications import KEPT_OPEN
from failover.config.communications import ChannelName
from failover.errors import RequestError, Unavailable
from failover.messages import IncidentMessage, MessageRef
from starter.checking.context import CheckContext
from starter.exit_codes import ExitCode
from starter.logs import configure
from starter.output import as_json, say
from starter.parts import notifier
from starter.settings import Settings
from starter.trying import TEST, Tried, built, tell, tried_all

EVERYBODY = "all"


def run_notify(
    settings: Settings, state: Path | None, channel: str, text: str | None, *, test: bool, json: bool
) -> int:
    """Exit code 0 once it is said. Without Slack's token it is said here alone, and that is told."""
    context = CheckContext.find(settings, state)
    words = TEST if test and text is None else text or ""
    if not words.strip():
        raise RequestError("There is nothing to say: the text is empty.")
    configure("console")
    if test:
        return _test(context, channel, words, json=json)
    if channel in set(ChannelName):
        return _outside(context, ChannelName(channel), words, json=json)
    ref = asyncio.run(_post(context, channel, words))
    slack = context.config.notifications.slack
    if ref.channel == "console":
        say(f"Nobody else was told: {slack.token_env} is not set, so messages go to the console.")
    if json:
        as_json("message", ref)
    elif ref.channel != "console":
        print(f"Told {channel} (message {ref.id}).")
    return 0


async def _post(context: CheckContext, channel: str, text: str) -> MessageRef:
    message = IncidentMessage(key=f"by-hand/{uuid.uuid4().hex}", text=text, headline=text, urgent=True)
    try:
        return await notifier(context.config, context.settings, channel).post(message, retried=False)
    except ApplicationError as error:
        raise Unavailable(f"{error.message} Nobody was told.") from error
    except OSError as error:
        raise Unavailable(f"Slack does not answer ({error}). Nobody was told.") from error


def _outside(context: CheckContext, name: ChannelName, text: str, *, json: bool) -> int:
    """Send one message that is no incident."""
    if name in KEPT_OPEN:
        raise RequestError(
            f"{name.value} is told of incidents alone, in the words of the configuration; "
            f"`failoverctl notify {name.value} --test` tries it."
        )
    ((_, channel),) = built(context, [name]).items()
    tried = asyncio.run(tell(name, channel, text, is_test=False))
    if not tried.delivered:
        raise Unavailable(f"{tried.said} Nobody was told.")
    if json:
        as_json("message", MessageRef(channel=name.value, id=tried.id))
    else:
        print(f"Told {name.value}.")
    return 0


def _test(context: CheckContext, channel: str, text: str, *, json: bool) -> int:
    """Exit code 5 where a channel could not be reached, or refused."""
    tried: list[Tried] = []
    if channel == EVERYBODY or channel not in set(ChannelName):
        named = context.config.notifications.slack.channel if channel == EVERYBODY else channel
        tried.append(asyncio.run(_try_slack(context, named, f"[TEST] {text}")))
    names = None if channel == EVERYBODY else [ChannelName(channel)] if channel in set(ChannelName) else []
    tried += asyncio.run(tried_all(built(context, names), text))
    if json:
        as_json("tried", tried)
    else:
        for one in tried:
            print(f"{'ok    ' if one.delivered else 'FAILED'}  {one.channel}: {one.said}")
    return ExitCode.DONE if all(one.delivered for one in tried) else ExitCode.UNREACHABLE


async def _try_slack(context: CheckContext, channel: str, text: str) -> Tried:
    try:
        ref = await _post(context, channel, text)
    except Unavailable as error:
        return Tried(channel=channel, delivered=False, said=str(error))
    if ref.channel == "console":
        unset = context.config.notifications.slack.token_env
        return Tried(channel=channel, delivered=True, said=f"{unset} is not set: messages go to the log.")
    return Tried(channel=channel, delivered=True, said=f"told, message {ref.id}.", id=ref.id)
