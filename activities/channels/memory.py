"""A destination kept in memory, for tests."""

from failover.communications import Delivery


class MemoryChannel:
    """Keeps what it is told, a repetition once; `fail` makes every delivery raise it."""

    def __init__(self, reference: str = "ref-1") -> None:
        self.deliveries: list[Delivery] = []
        self.fail: Exception | None = None
        self.tries = 0
        self._reference = reference

    async def deliver(self, delivery: Delivery) -> str:
        self.tries += 1
        if self.fail is not None:
            raise self.fail
        if all(kept.key != delivery.key for kept in self.deliveries):
            self.deliveries.append(delivery)
        return self._reference

    async def check(self) -> str:
        if self.fail is not None:
            raise self.fail
        return "it would be kept in memory"

    async def aclose(self) -> None:
        pass
