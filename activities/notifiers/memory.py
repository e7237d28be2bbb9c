"""Messages kept in memory, for tests."""

from failover.messages import IncidentMessage, MessageRef


class MemoryNotifier:
    """Keeps each message once by its key; `fail` makes every post raise it."""

    def __init__(self) -> None:
        self.messages: list[IncidentMessage] = []
        self.fail: Exception | None = None

    async def post(self, message: IncidentMessage, *, retried: bool) -> MessageRef:
        if self.fail is not None:
            raise self.fail
        if all(kept.key != message.key for kept in self.messages):
            self.messages.append(message)
        return message.thread or MessageRef(channel="memory", id=message.key)
