"""Messages kept in memory, for tests."""

from collections.abc import Mapping, Sequence

from failover.findings import Finding, failed, ok
from failover.messages import IncidentMessage, MessageRef


class MemoryNotifier:
    """Keeps each message once by its key; `fail` makes every post raise it; `gone`: member id → why nobody can be asked there."""

    def __init__(self) -> None:
        self.messages: list[IncidentMessage] = []
        self.fail: Exception | None = None
        self.gone: dict[str, str] = {}

    async def post(self, message: IncidentMessage, *, retried: bool) -> MessageRef:
        if self.fail is not None:
            raise self.fail
        if all(kept.key != message.key for kept in self.messages):
            self.messages.append(message)
        return message.thread or MessageRef(channel="memory", id=message.key)

    async def reachable(self) -> Finding:
        said = "messages are kept in memory"
        return ok("memory", said) if self.fail is None else failed("memory", str(self.fail), "do not tell it to fail")

    async def missing(self, members: Sequence[str]) -> Mapping[str, str]:
        return {member: self.gone[member] for member in members if member in self.gone}
