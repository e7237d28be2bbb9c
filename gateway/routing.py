"""One request: whom the weights choose, who comes next when they fail, and what is counted of it."""

import asyncio
import random
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Protocol

from failover.completion import Answer, Chunk, Completion, FinishReason, Usage
from failover.config import Config
from failover.errors import ProviderError
from failover.failure import Failure, FailureKind
from failover.policy import TrafficPolicy
from failover.ports import ProviderClient
from failover.units import render_duration
from gateway.counters import Counters, RequestOutcome
from gateway.faults import INJECTED, Faults
from gateway.question import AT_ONCE, AllFailed, Question, Turn
from gateway.rates import Rates
from gateway.store import PolicyStore


class Observer(Protocol):
    """An observer of every try, users' and synthetic ones, for metrics."""

    def tried(self, attempt: "Try", failure: Failure | None, latency: timedelta) -> None: ...

    def used(self, attempt: "Try", input_tokens: int, output_tokens: int) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Try:
    """One try of one request at one provider; `number` counts from 1, and 1 is whom the weights chose."""

    policy: TrafficPolicy
    provider: str
    number: int
    started: datetime
    synthetic: bool
    probe: bool = False
    """A drill's probe: it is always within the drill, however few of the others are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """A whole answer, and the try that gave it."""

    attempt: Try
    answer: Answer


@dataclass(frozen=True, slots=True, kw_only=True)
class Streamed:
    """An answer whose first piece is here, the rest of it, and the try that gives it."""

    attempt: Try
    chunks: AsyncGenerator[Chunk, None]


class Router:
    """Sends requests to providers as the policy in force says. Never twice to the same one, never after bytes were sent."""

    def __init__(
        self,
        config: Config,
        clients: Mapping[str, ProviderClient],
        store: PolicyStore,
        counters: Counters,
        observer: Observer,
        rates: Rates,
        faults: Faults,
        clock: Callable[[], datetime],
        rng: random.Random,
    ) -> None:
        self._config = config
        self._clients = clients
        self._store = store
        self._counters = counters
        self._observer = observer
        self._rates = rates
        self._faults = faults
        self._clock = clock
        self._rng = rng

    def ready_in(self, route: str) -> float:
        """Seconds until some provider of the route may be asked within what it declared."""
        return min((self._rates.wait(name) for name in self._hopeful(route)), default=0.0)

    def choose(self, route: str) -> str | None:
        """Choose who is asked first by one who waited, within declared rates; its call is counted."""
        hopeful = self._hopeful(route)
        able = {name: share for name, share in hopeful.items() if not self._rates.wait(name)} or hopeful
        if not able:
            return None
        chosen = self._chosen(able)
        self._rates.begun(chosen)
        return chosen

    def _hopeful(self, route: str) -> dict[str, int]:
        return self._rates.hopeful(self._shares(self._store.policies[route]))

    async def answer(self, question: Question, turn: Turn = AT_ONCE) -> Served:
        """A whole answer with content; AllFailed, or ProviderError where the request itself is bad."""
        failures = list[Failure]()
        for attempt, timeout in self._tries(question, turn):
            try:
                answer = await self._invoke(attempt, question.completion, timeout)
            except ProviderError as error:
                failures.append(self._failed(attempt, error))
                continue
            self._succeeded(attempt)
            self._used(attempt, answer.usage)
            self._ended(question, turn, RequestOutcome.ANSWERED)
            return Served(attempt=attempt, answer=answer)
        raise _all_failed(question.route, failures)

    async def _invoke(self, attempt: Try, completion: Completion, timeout: timedelta) -> Answer:
        try:
            async with asyncio.timeout(timeout.total_seconds()):
                await self._strike(attempt, timeout)
                answer = await self._clients[attempt.provider].invoke(completion, timeout=timeout)
        except TimeoutError:
            raise _too_slow(attempt.provider, timeout) from None
        if not answer.text and answer.finish is not FinishReason.CONTENT_FILTER:
            raise _empty(attempt.provider)
        return answer

    async def stream(self, question: Question, turn: Turn = AT_ONCE) -> Streamed:
        """An answer that has begun; failures before its first piece were retried, later ones end it."""
        failures = list[Failure]()
        for attempt, timeout in self._tries(question, turn):
            try:
                await self._strike(attempt, timeout)
                chunks = self._clients[attempt.provider].stream(question.completion, timeout=timeout)
                first = await _first_piece(chunks, attempt.provider, timeout)
            except ProviderError as error:
                failures.append(self._failed(attempt, error))
                continue
            return Streamed(attempt=attempt, chunks=self._rest(attempt, question, turn, first, chunks))
        raise _all_failed(question.route, failures)

    async def _rest(
        self, attempt: Try, question: Question, turn: Turn, first: Chunk, chunks: AsyncIterator[Chunk]
    ) -> AsyncGenerator[Chunk, None]:
        """Yield the chunks from the first on. ProviderError midway: bytes were sent, so nobody else is tried."""
        outcome = RequestOutcome.LEFT
        try:
            async with aclosing(chunks) as rest:  # type: ignore[type-var]
                yield first
                async for chunk in rest:
                    if chunk.usage is not None:
                        self._used(attempt, chunk.usage)
                    yield chunk
            outcome = RequestOutcome.ANSWERED
            self._succeeded(attempt)
        except ProviderError as error:
            outcome = RequestOutcome.LOST
            self._failed(attempt, error)
            raise
        finally:
            if outcome is RequestOutcome.LEFT:
                self._left(attempt)
            self._ended(question, turn, outcome)

    async def _strike(self, attempt: Try, timeout: timedelta) -> None:
        """Raise ProviderError if a drill makes this try fail before it reaches the provider."""
        await self._faults.strike(attempt.policy, attempt.provider, timeout, always=attempt.probe)

    def _tries(self, question: Question, turn: Turn) -> Iterator[tuple[Try, timedelta]]:
        """Yield who is tried, one after the other, each with the time that is left for it."""
        policy, limits = self._store.policies[question.route], self._config.gateway
        began, number = self._clock(), 0
        order = [question.only] if question.only else self._order(policy, turn.provider)
        for provider in order:
            now = self._clock()
            left = began + limits.request_timeout - now
            if left <= timedelta(0) or number == limits.max_tries:
                return
            if provider != turn.provider:
                if turn.provider is not None and self._rates.wait(provider):
                    continue
                self._rates.begun(provider)
            number += 1
            attempt = Try(
                policy=policy,
                provider=provider,
                number=number,
                started=now,
                synthetic=question.synthetic,
                probe=question.only is not None,
            )
            yield attempt, min(left, limits.try_timeout)

    def _order(self, policy: TrafficPolicy, first: str | None) -> list[str]:
        """The providers to try: whom the weights choose, then the chain, those with a share before those without."""
        shares = self._shares(policy)
        if not shares:
            return []
        chosen = first if first is not None and first in shares else self._chosen(shares)
        chain = [*self._config.chain(policy.route, chosen), *sorted(shares, key=lambda name: -shares[name])]
        others = [name for name in dict.fromkeys(chain) if name != chosen and name in self._clients]
        return [chosen, *sorted(others, key=lambda name: name not in shares)]

    def _shares(self, policy: TrafficPolicy) -> dict[str, int]:
        return {name: share for name, share in policy.distribution.items() if share and name in self._clients}

    def _chosen(self, shares: Mapping[str, int]) -> str:
        return self._rng.choices(list(shares), weights=list(shares.values()))[0]

    def _used(self, attempt: Try, usage: Usage) -> None:
        self._observer.used(attempt, usage.input_tokens, usage.output_tokens)
        tokens = usage.input_tokens + usage.output_tokens
        self._rates.used(attempt.provider, tokens)
        if not attempt.synthetic:
            self._counters.count_tokens(attempt.policy.route, attempt.provider, started=attempt.started, tokens=tokens)

    def _succeeded(self, attempt: Try) -> None:
        self._rates.answered(attempt.provider)
        self._count(attempt, None)

    def _failed(self, attempt: Try, error: ProviderError) -> Failure:
        """Count a failed try. The user's own mistake is nobody's failure, and no reason to try elsewhere."""
        if error.failure.kind is FailureKind.BAD_REQUEST:
            self._observer.tried(attempt, error.failure, self._clock() - attempt.started)
            raise error
        injected = error.failure.code == INJECTED
        if error.failure.kind is not FailureKind.THROTTLED and not injected:
            self._rates.failed(attempt.provider)
        self._count(attempt, error.failure, injected=injected)
        return error.failure

    def _left(self, attempt: Try) -> None:
        """The provider answered as far as it was heard; how long the whole answer takes is not known."""
        self._count(attempt, None, timed=False)

    def _count(self, attempt: Try, failure: Failure | None, *, timed: bool = True, injected: bool = False) -> None:
        latency = self._clock() - attempt.started
        # Others judge the provider by these metrics: what it never heard of is no user's try at it.
        self._observer.tried(replace(attempt, synthetic=True) if injected else attempt, failure, latency)
        if not attempt.synthetic:
            self._counters.count_try(
                attempt.policy.route,
                attempt.provider,
                started=attempt.started,
                first=attempt.number == 1,
                failure=failure.kind if failure else None,
                latency=latency if timed else None,
                injected=injected,
            )

    def _ended(self, question: Question, turn: Turn, outcome: RequestOutcome) -> None:
        """Count a request that a provider answered; whoever asked counts the others."""
        if not question.synthetic:
            self._counters.count_request(
                question.route,
                question.number,
                started=question.began,
                outcome=outcome,
                latency=self._clock() - question.began,
                source=turn.source,
            )


def _all_failed(route: str, failures: list[Failure]) -> AllFailed:
    nobody = Failure(kind=FailureKind.NETWORK, provider=route, detail="no provider could be tried")
    return AllFailed(failures or [nobody])


async def _first_piece(chunks: AsyncIterator[Chunk], provider: str, timeout: timedelta) -> Chunk:
    """The first piece with text; a stream that ends without any is an empty answer. One without a use is closed."""
    try:
        async with asyncio.timeout(timeout.total_seconds()):
            async for chunk in chunks:
                if chunk.text or chunk.finish is FinishReason.CONTENT_FILTER:
                    return chunk
                if chunk.finish is not None:
                    break
        raise _empty(provider)
    except TimeoutError:
        await _close(chunks)
        raise _too_slow(provider, timeout) from None
    except ProviderError:
        await _close(chunks)
        raise


async def _close(chunks: AsyncIterator[Chunk]) -> None:
    async with aclosing(chunks):  # type: ignore[type-var]
        pass


def _empty(provider: str) -> ProviderError:
    return ProviderError(
        Failure(kind=FailureKind.INVALID_ANSWER, provider=provider, detail="an answer without content")
    )


def _too_slow(provider: str, timeout: timedelta) -> ProviderError:
    detail = f"no answer within {render_duration(timeout)}"
    return ProviderError(Failure(kind=FailureKind.TIMEOUT, provider=provider, detail=detail))
