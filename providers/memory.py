"""A provider in memory: answers what it is told to, fails as it is told to. For tests and rehearsals."""

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import timedelta

from failover.completion import Answer, Chunk, Completion, FinishReason, ServiceStatus, ToolCall, Usage
from failover.credentials import Credentials
from failover.errors import ProviderError
from failover.failure import Failure, FailureKind


class MemoryClient:
    """Sensible by default. What is public may be set by a test at any time.

    `fail_with` makes every call fail so, `break_with` every stream after its first piece; `hang` never answers;
    `stall` stops every stream for good after its first piece; `text` is what it answers otherwise, word by word where it
    streams. `open_streams` counts those that were begun and neither ended nor closed; `timeouts` is what each call was
    given, and `heard` the last message of it. `knows`: question → right answer of a whole one; `tool_calls`: what it calls where
    it is given tools; `holds`: its credentials.
    """

    def __init__(self, key: str, text: str = "PONG") -> None:
        self.key = key
        self.text = text
        self.fail_with: FailureKind | None = None
        self.break_with: FailureKind | None = None
        self.retry_after: timedelta | None = None
        self.hang = False
        self.stall = False
        self.open_streams = 0
        self.control_plane_up = True
        self.calls = 0
        self.timeouts: list[timedelta] = []
        self.heard: list[str] = []
        self.on_call: Callable[[], None] | None = None
        self.knows: dict[str, str] = {}
        self.tool_calls: list[ToolCall] = []
        self.holds = Credentials(kind="keys in memory", lasting=True)

    async def invoke(self, completion: Completion, *, timeout: timedelta) -> Answer:
        await self._take_call(completion, timeout)
        question = completion.messages[-1].text
        return Answer(
            text=self.knows.get(question, self.text),
            finish=FinishReason.STOP,
            usage=Usage(input_tokens=len(question) // 4, output_tokens=1),
            calls=self.tool_calls if completion.tools else (),
        )

    async def stream(self, completion: Completion, *, timeout: timedelta) -> AsyncIterator[Chunk]:
        await self._take_call(completion, timeout)
        self.open_streams += 1
        try:
            words = self.text.split(" ")
            for index, word in enumerate(words):
                yield Chunk(text=word if index == 0 else f" {word}")
                if self.break_with is not None:
                    raise self._error(self.break_with)
                if self.stall:
                    await asyncio.Event().wait()
            yield Chunk(finish=FinishReason.STOP, usage=Usage(input_tokens=1, output_tokens=len(words)))
        finally:
            self.open_streams -= 1

    async def _take_call(self, completion: Completion, timeout: timedelta) -> None:
        self.calls += 1
        self.timeouts.append(timeout)
        self.heard.append(completion.messages[-1].text)
        if self.on_call is not None:
            self.on_call()
        if self.hang:
            await asyncio.Event().wait()
        if self.fail_with is not None:
            raise self._error(self.fail_with)

    def _error(self, kind: FailureKind) -> ProviderError:
        failure = Failure(kind=kind, provider=self.key, detail="as it was told", retry_after=self.retry_after)
        return ProviderError(failure)

    async def check_service(self, *, timeout: timedelta) -> ServiceStatus:
        return ServiceStatus(
            reachable=self.control_plane_up, model_listed=None, detail="in memory", latency=timedelta(0)
        )

    async def credentials(self, *, timeout: timedelta) -> Credentials:
        return self.holds

    async def aclose(self) -> None:
        """Do nothing: nothing is held."""
