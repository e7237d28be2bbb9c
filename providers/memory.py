"""A provider in memory: answers what it is told to, fails as it is told to. For tests and rehearsals."""

from collections.abc import AsyncIterator
from datetime import timedelta

from failover.completion import Answer, Chunk, Completion, FinishReason, ServiceStatus, Usage
from failover.errors import ProviderError
from failover.failure import Failure, FailureKind


class MemoryClient:
    """Sensible by default; `fail_with` makes every call fail so, `text` is what it answers otherwise."""

    def __init__(self, key: str, text: str = "PONG") -> None:
        self.key = key
        self.text = text
        self.fail_with: FailureKind | None = None
        self.control_plane_up = True
        self.calls = 0

    async def invoke(self, completion: Completion, *, timeout: timedelta) -> Answer:
        self._take_call()
        return Answer(text=self.text, finish=FinishReason.STOP, usage=Usage(input_tokens=1, output_tokens=1))

    async def stream(self, completion: Completion, *, timeout: timedelta) -> AsyncIterator[Chunk]:
        self._take_call()
        yield Chunk(text=self.text)
        yield Chunk(finish=FinishReason.STOP, usage=Usage(input_tokens=1, output_tokens=1))

    def _take_call(self) -> None:
        self.calls += 1
        if self.fail_with is not None:
            raise ProviderError(Failure(kind=self.fail_with, provider=self.key, detail="as it was told"))

    async def check_service(self, *, timeout: timedelta) -> ServiceStatus:
        return ServiceStatus(
            reachable=self.control_plane_up, model_listed=None, detail="in memory", latency=timedelta(0)
        )

    async def aclose(self) -> None:
        """Nothing is held."""
