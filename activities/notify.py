"""Telling people. A message that does not go out holds nothing up."""

from typing import Protocol

from temporalio import activity

from failover.messages import IncidentMessage, MessageRef


class Notifier(Protocol):
    """A destination of messages."""

    async def post(self, message: IncidentMessage, *, retried: bool) -> MessageRef:
        """Post once, whatever happens; → the thread that it is in. `retried`: it may be there already."""
        ...


class Notify:
    """The activity of every message."""

    def __init__(self, notifier: Notifier) -> None:
        self._notifier = notifier

    @activity.defn(name="notify.post")
    async def post(self, message: IncidentMessage) -> MessageRef:
        """Post one message, or find it posted by an attempt before."""
        return await self._notifier.post(message, retried=activity.info().attempt > 1)
