"""`failoverctl notify`: tell people something, through the notifier that every procedure uses."""

import asyncio
import uuid
from pathlib import Path

from temporalio.exceptions import ApplicationError

from failover.errors import RequestError, Unavailable
from failover.messages import IncidentMessage, MessageRef
from starter.checking.place import Place
from starter.logs import configure
from starter.output import as_json, say
from starter.parts import notifier
from starter.settings import Settings


def run_notify(settings: Settings, state: Path | None, channel: str, text: str, *, json: bool) -> int:
    """Exit code 0 once it is said. Without Slack's token it is said here alone, and that is told."""
    place = Place.find(settings, state)
    if not text.strip():
        raise RequestError("There is nothing to say: the text is empty.")
    configure("console")
    ref = asyncio.run(_post(place, channel, text))
    slack = place.config.notifications.slack
    if ref.channel == "console":
        say(f"Nobody else was told: {slack.token_env} is not set, so messages go to the console.")
    if json:
        as_json("message", ref)
    elif ref.channel != "console":
        print(f"Told {channel} (message {ref.id}).")
    return 0


async def _post(place: Place, channel: str, text: str) -> MessageRef:
    message = IncidentMessage(key=f"by-hand/{uuid.uuid4().hex}", text=text, headline=text, urgent=True)
    try:
        return await notifier(place.config, place.settings, channel).post(message, retried=False)
    except ApplicationError as error:
        raise Unavailable(f"{error.message} Nobody was told.") from error
    except OSError as error:
        raise Unavailable(f"Slack does not answer ({error}). Nobody was told.") from error
