"""People: can they be told, are all secrets there, does somebody hold the automation."""

import asyncio
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime

from pydantic import BaseModel

from failover.automation import Hold
from failover.config import Config
from failover.config.notifications import Slack
from failover.findings import Finding, failed, ok, warning

NEEDED = ("chat:write", "channels:read", "channels:history")

MEANINGS = {
    "api_key_env": "the provider refuses us without it",
    "token_env": "messages go to the log without it, or the source refuses us",
}


LOOKED_AT_FOR_THEMSELVES = ("notifications.slack.", "webhooks.senders.")


def secrets(config: Config, environ: Mapping[str, str]) -> list[Finding]:
    """Every variable that the configuration names but Slack's and the alerts' senders'; never what is in it."""
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
    """Whose alerts are taken: a sender without its secret (CloudWatch: without a topic) is refused at the door."""
    known = sorted(config.webhooks.senders.items())
    opened = [name for name, one in known if one.topic_arns or any(map(environ.get, (one.secret_env or "").split()))]
    if opened:
        return [ok("webhooks", f"alerts are taken from {', '.join(opened)}")]
    unset = ", ".join(f"{one.secret_env} ({name})" for name, one in known if one.secret_env)
    return [
        warning("webhooks", "no alert is taken from anybody", f"set the secret of whoever sends you alerts: {unset}")
    ]


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
    token = environ.get(settings.token_env)
    if not token:
        repair = f"set {settings.token_env} to a bot token with the scopes {', '.join(NEEDED)}"
        return [warning("slack", "there is no token: messages go to the workers' log", repair)]
    return await asyncio.to_thread(_slack, settings, token)


def _slack(settings: Slack, token: str) -> list[Finding]:
    from slack_sdk.errors import SlackApiError, SlackClientError
    from slack_sdk.web import WebClient

    from activities.notifiers.slack import REMEDIES

    base = f"{settings.api_url.rstrip('/')}/" if settings.api_url else WebClient.BASE_URL
    client = WebClient(token=token, base_url=base, timeout=5, retry_handlers=[])
    try:
        answer = client.auth_test()
    except SlackApiError as error:
        code = str(error.response.get("error", "refused"))
        return [
            failed("slack", f"Slack refused the token: {code}", REMEDIES.get(code, "see Slack's documentation of it"))
        ]
    except (SlackClientError, OSError) as error:
        return [
            failed(
                "slack",
                f"Slack does not answer: {type(error).__name__}",
                "see to the network, or notifications.slack.api_url",
            )
        ]
    given = {scope.strip() for scope in str(_header(answer.headers, "x-oauth-scopes")).split(",")}
    missing = [scope for scope in NEEDED if scope not in given]
    if missing:
        return [
            failed("slack", f"the token lacks {', '.join(missing)}", "give the app these scopes, and install it again")
        ]
    return [ok("slack", f"{answer.get('user', 'the bot')} may post; messages go to {settings.channel}")]


def _header(headers: Mapping[str, object], name: str) -> object:
    return next((value for key, value in headers.items() if key.lower() == name), "")


def hold(found: Hold | None) -> Finding:
    """Somebody may have stopped everything that starts by itself."""
    if found is not None and found.in_force(datetime.now(UTC)):
        return warning("automation", str(found), "`failoverctl automation resume`, once its reason is gone")
    return ok("automation", "it is not held")
