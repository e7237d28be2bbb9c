"""A provider of a rehearsal: does as the script says, in the rehearsal's time."""

from datetime import timedelta

from failover.completion import Completion
from failover.failure import FailureKind
from failover.ports import Clock
from failover.world import QUICK, World
from providers.memory import MemoryClient

NONSENSE = "BANANA"


class RehearsedClient(MemoryClient):
    """A fault that strikes a share of the calls strikes them evenly: a third of them is each third one."""

    def __init__(self, key: str, world: World, clock: Clock) -> None:
        super().__init__(key)
        self._world = world
        self._clock = clock
        self._due = 0.0

    async def _take_call(self, completion: Completion, timeout: timedelta) -> None:
        condition = self._world.condition(self.key, self._clock.now())
        self._due += condition.chance
        struck = self._due >= 1
        self._due -= struck
        self.fail_with = condition.kind if struck else None
        self.text = NONSENSE if condition.wrong else "PONG"
        await self._clock.sleep(self._takes(timeout, condition.p50))
        if self.fail_with is None and condition.p50 > timeout:
            self.fail_with = FailureKind.TIMEOUT
        await super()._take_call(completion, timeout)

    def _takes(self, timeout: timedelta, answer: timedelta) -> timedelta:
        if self.fail_with is FailureKind.TIMEOUT:
            return timeout
        return QUICK if self.fail_with else min(answer, timeout)
