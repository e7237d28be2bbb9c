"""People: can they be told, are all secrets there, does somebody hold the automation."""

import asyncio
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta

from pydantic import BaseModel

from failover.automation import Hold
from failover.communications import Channel
from failover.config import Config
from failover.config.communications import ChannelName
from failover.config.notifications import Slack
from failover.errors import ChannelFailed
from failover.findings import Finding, ok, warning

PATIENCE = timedelta(seconds=5)
"""The timeout of a call to Slack."""

MEANINGS = {
    "api_key_env": "the provider refuses us without it",
    "token_env": "messages go to the log without it, or the source refuses us",
}


LOOKED_AT_FOR_THEMSELVES = ("notifications.slack.", "webhooks.senders.", "communications.")


def secrets(config: Config, environ: Mapping[str, str]) -> list[Finding]:
    """Every variable that the configuration names but those of people and senders; never what is in it."""
    named = [(key, name) for key, name in _named(config, ()) if not key.startswith(LOOKED_AT_FOR_THEMSELVES)]
    missing = [
        warning(
            f"secret {name}",
            f"{key} names it, and it is not set",
            f"set {name}: {MEANINGS.get(key.split('.')[-1], 'it is needed')}",
        )
        for key, name in named
        if not environ.get(name)
    ]
    return missing or [ok("secrets", f"all {len(named)} that the configuration names are set")]


def senders(config: Config, environ: Mapping[str, str]) -> list[Finding]:
    """Tell whose alerts are taken: a sender without its secret (CloudWatch: without a topic) is refused at the door."""
    known = sorted(
        ((name, one) for name, one in config.webhooks.senders.items() if one.kind != "deploy"),
        key=lambda named: named[0],
    )
    opened = [name for name, one in known if one.topic_arns or any(map(environ.get, (one.secret_env or "").split()))]
    if opened:
        return [ok("webhooks", f"alerts are taken from {', '.join(opened)}")]
    unset = ", ".join(f"{one.secret_env} ({name})" for name, one in known if one.secret_env)
    return [
        warning("webhooks", "no alert is taken from anybody", f"set the secret of whoever sends you alerts: {unset}")
    ]


async def communications(channels: Mapping[ChannelName, Channel]) -> list[Finding]:
    """Every channel outside that is switched on, as far as it can be tried without telling anybody anything."""
    if not channels:
        return [ok("communications", "nobody outside is told: none of communications is switched on")]
    return list(await asyncio.gather(*(Outside(name, channel).reachable() for name, channel in channels.items())))


class Outside:
    """A channel outside, as something that can be looked at."""

    def __init__(self, name: ChannelName, channel: Channel) -> None:
        self._name, self._channel = name, channel

    async def reachable(self) -> Finding:
        name = self._name.value
        try:
            return ok(name, await self._channel.check())
        except ChannelFailed as error:
            return warning(name, str(error), f"then try it: `failoverctl notify {name} --test`")


def _named(section: BaseModel, path: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    for key in type(section).model_fields:
        value = getattr(section, key)
        if key.endswith("_env") and isinstance(value, str):
            yield ".".join((*path, key)), value
        for name, inner in value.items() if isinstance(value, dict) else [(None, value)]:
            if isinstance(inner, BaseModel):
                yield from _named(inner, (*path, key, *([str(name)] if name is not None else ())))


async def slack(settings: Slack, environ: Mapping[str, str]) -> list[Finding]:
    """The token, its scopes and the channel; nothing is posted."""
    from activities.notifiers.slack import NEEDED, SlackNotifier

    token = environ.get(settings.token_env)
    if not token:
        repair = f"set {settings.token_env} to a bot token with the scopes {', '.join(NEEDED)}"
        return [warning("slack", "there is no token: messages go to the workers' log", repair)]
    notifier = SlackNotifier(token, settings.channel, api_url=settings.api_url, timeout=PATIENCE)
    return [await notifier.reachable()]


def hold(found: Hold | None) -> Finding:
    """Warn if somebody has stopped everything that starts by itself."""
    if found is not None and found.in_force(datetime.now(UTC)):
        return warning("automation", str(found), "`failoverctl automation resume`, once its reason is gone")
    return ok("automation", "it is not held")
