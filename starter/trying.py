"""Trying the channels outside: whoever is told is told that it is a test, and nothing public or paid is opened."""

import asyncio
import uuid
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from failover.communications import KEPT_OPEN, Channel, Delivery, Incident, News, Stage
from failover.config.communications import ChannelName
from failover.errors import ChannelFailed, RequestError
from failover.incident import Outcome
from starter.channels import channels
from starter.checking.context import CheckContext

TEST = "This is a test of failoverctl: nothing has happened, and nothing needs to be done."


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """What became of it."""

    channel: str
    delivered: bool
    said: str
    id: str = ""


def built(context: CheckContext, names: Collection[ChannelName] | None) -> Mapping[ChannelName, Channel]:
    """The channels of these names, or all that are switched on. RequestError for one that is not."""
    on = channels(context.config, context.settings)
    missing = [name.value for name in names or () if name not in on]
    if missing:
        raise RequestError(
            f"{missing[0]} is not switched on in communications; `failoverctl config show` has its keys."
        )
    return {name: channel for name, channel in on.items() if names is None or name in names}


async def tried_all(on: Mapping[ChannelName, Channel], text: str) -> list[Tried]:
    """Try each of them, side by side."""
    return list(await asyncio.gather(*(_tried(name, channel, text) for name, channel in on.items())))


async def _tried(name: ChannelName, channel: Channel, text: str) -> Tried:
    if name not in KEPT_OPEN:
        return await tell(name, channel, text, is_test=True)
    try:
        return Tried(
            channel=name.value, delivered=True, said=f"{await channel.check()}. Nothing was opened or published."
        )
    except ChannelFailed as error:
        return Tried(channel=name.value, delivered=False, said=str(error))
    finally:
        await channel.aclose()


async def tell(name: ChannelName, channel: Channel, text: str, *, is_test: bool) -> Tried:
    """Tell one message; of a test, the alert that it raises is resolved at once."""
    incident = Incident(
        workflow_id="by-hand",
        run_id=uuid.uuid4().hex,
        procedure="Test" if is_test else "Message",
        subject="test of this channel" if is_test else "by hand",
        text=text,
        at=datetime.now(UTC),
        is_test=is_test,
    )
    opened = News(stage=Stage.OPENED, text=text, at=incident.at, number=1)
    over = News(stage=Stage.CLOSED, text=text, at=incident.at, number=2, outcome=Outcome.COMPLETED)
    try:
        reference = await channel.deliver(Delivery(channel=name, incident=incident, news=opened))
        if is_test and name is ChannelName.PAGERDUTY:
            await channel.deliver(Delivery(channel=name, incident=incident, news=over, reference=reference))
    except ChannelFailed as error:
        return Tried(channel=name.value, delivered=False, said=str(error))
    finally:
        await channel.aclose()
    return Tried(channel=name.value, delivered=True, said="told, as a test." if is_test else "told.", id=incident.key)
