"""Steady users: real chat completions through the gateway by the official OpenAI client, and what became of each."""

import asyncio
import contextlib
import itertools
import math
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from time import perf_counter
from typing import Any

import httpx2
from openai import APIError, AsyncOpenAI, AsyncStream, DefaultAsyncHttpxClient
from openai.types.chat import ChatCompletion, ChatCompletionChunk

PATIENCE = timedelta(seconds=30)
"""How long a user waits for an answer."""

STREAMED_EVERY = 4
"""One request in so many is streamed."""

QUESTION = "In one sentence: why is the sky blue?"


class Got(StrEnum):
    """What a user got: an answer, one without text, a stream that broke off, or an error."""

    OK = "ok"
    EMPTY = "empty"
    CUT = "cut"
    ERROR = "error"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One user's request. `provider` and `tries` are the gateway's headers, None and 0 where none came."""

    at: datetime
    latency: timedelta
    got: Got
    streamed: bool
    provider: str | None = None
    tries: int = 0
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Experience:
    """What users got within a time."""

    requests: int
    got: Mapping[Got, int]
    p95: timedelta | None

    @property
    def bad_percent(self) -> float:
        """Everything but a good answer."""
        return 100 * (self.requests - self.got.get(Got.OK, 0)) / self.requests if self.requests else 0.0


class Users:
    """Asks at a steady rate, whatever the answers: users do not wait for one another."""

    def __init__(self, base_url: str, route: str, rate: float) -> None:
        self._route = route
        self._pause = 1 / rate
        self._asking: set[asyncio.Task[None]] = set()
        self.asked: list[Asked] = []
        self._client = AsyncOpenAI(
            base_url=base_url,
            api_key="unused",
            max_retries=0,
            timeout=PATIENCE.total_seconds(),
            # A proxy set for the world outside is no way to our own gateway.
            http_client=DefaultAsyncHttpxClient(trust_env=False),
        )

    def experience(self, since: datetime, until: datetime | None = None) -> Experience:
        """The users' experience in the requests that were begun in that time and are over."""
        within = [one for one in self.asked if since <= one.at and (until is None or one.at < until)]
        latencies = sorted(one.latency for one in within if one.got is Got.OK)
        return Experience(requests=len(within), got=Counter(one.got for one in within), p95=_p95(latencies))

    @contextlib.asynccontextmanager
    async def coming(self) -> AsyncIterator["Users"]:
        """Let users come while the block runs; at its end, those who wait are sent home."""
        crowd = asyncio.create_task(self._come())
        try:
            yield self
        finally:
            tasks = [crowd, *self._asking]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._client.close()

    async def _come(self) -> None:
        start = perf_counter()
        for number in itertools.count():
            await asyncio.sleep(start + number * self._pause - perf_counter())
            task = asyncio.create_task(self._ask(streamed=number % STREAMED_EVERY == 0))
            self._asking.add(task)
            task.add_done_callback(self._asking.discard)

    async def _ask(self, *, streamed: bool) -> None:
        at, began = datetime.now(UTC), perf_counter()
        answer = _Answer()
        try:
            await (self._stream(answer) if streamed else self._whole(answer))
            got = answer.got(streamed=streamed)
        except (APIError, httpx2.HTTPError) as error:
            got = Got.CUT if answer.began else Got.ERROR
            answer.detail = str(error)[:200]
        self.asked.append(
            Asked(
                at=at,
                latency=timedelta(seconds=perf_counter() - began),
                got=got,
                streamed=streamed,
                provider=answer.provider,
                tries=answer.tries,
                detail=answer.detail,
            )
        )

    async def _whole(self, answer: "_Answer") -> None:
        raw = await self._client.chat.completions.with_raw_response.create(
            model=self._route, messages=[{"role": "user", "content": QUESTION}]
        )
        answer.headers(raw.headers)
        completion: ChatCompletion = raw.parse()
        answer.text = completion.choices[0].message.content or "" if completion.choices else ""

    async def _stream(self, answer: "_Answer") -> None:
        raw = await self._client.chat.completions.with_raw_response.create(
            model=self._route, messages=[{"role": "user", "content": QUESTION}], stream=True
        )
        answer.headers(raw.headers)
        stream: AsyncStream[ChatCompletionChunk] = raw.parse()
        async with stream:
            async for chunk in stream:
                answer.began = True
                for choice in chunk.choices:
                    answer.text += choice.delta.content or ""
                    answer.finished = answer.finished or choice.finish_reason is not None


@dataclass(slots=True)
class _Answer:
    """An answer as it comes in."""

    text: str = ""
    began: bool = False
    finished: bool = False
    provider: str | None = None
    tries: int = 0
    detail: str = ""

    def headers(self, headers: Mapping[str, str]) -> None:
        self.provider = headers.get("x-failover-provider")
        tries: Any = headers.get("x-failover-tries", "0")
        self.tries = int(tries) if tries.isdigit() else 0

    def got(self, *, streamed: bool) -> Got:
        if streamed and not self.finished:
            return Got.CUT if self.began else Got.ERROR
        return Got.OK if self.text.strip() else Got.EMPTY


def _p95(latencies: Sequence[timedelta]) -> timedelta | None:
    return latencies[math.ceil(0.95 * len(latencies)) - 1] if latencies else None
