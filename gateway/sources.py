"""The sources of an answer: a provider at once, the cache, a provider after waiting, or static words.

The order is `failover.degraded`'s. It is looked up anew after each source that gave nothing, so that a request which
failed while degraded service was switched on is not told so, but has its share of it.
"""

from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Protocol

import structlog

from failover.completion import Answer, Chunk, FinishReason, Usage
from failover.degraded import NORMAL, DegradedService, Source, order, read
from failover.policy import TrafficPolicy
from gateway.cache import AnswerCache, Remembered
from gateway.counters import Counters, RequestOutcome
from gateway.question import AT_ONCE, AllFailed, Question, Turn
from gateway.queue import Closing, Gone, Left, Noted, Queue, Queues, Refused
from gateway.routing import Router, Try
from gateway.store import PolicyStore

log = structlog.get_logger(__name__)


class Observer(Noted, Protocol):
    """An observer of where users' answers came from, and whether the cache knew ("fresh", "stale", "miss")."""

    def answered(self, route: str, source: Source) -> None: ...

    def looked_up(self, route: str, found: str) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What a user is given: a whole answer or, where it was asked for, one in pieces.

    `attempt` is the try that gave it, None where no provider was asked; `age` of a remembered answer; `waited` in the
    queue.
    """

    source: Source
    policy: TrafficPolicy
    answer: Answer | None = None
    chunks: AsyncGenerator[Chunk, None] | None = None
    attempt: Try | None = None
    banner: str | None = None
    age: timedelta | None = None
    waited: timedelta | None = None


class Services:
    """What the policies in force switch on, each read once; NORMAL itself where that is nothing."""

    def __init__(self, store: PolicyStore) -> None:
        self._store = store
        self._known: dict[str, tuple[TrafficPolicy, DegradedService]] = {}

    def of(self, route: str) -> DegradedService:
        policy = self._store.policies[route]
        known = self._known.get(route)
        if known is None or known[0] is not policy:
            known = self._known[route] = (policy, _meant(policy))
        return known[1]


def _meant(policy: TrafficPolicy) -> DegradedService:
    """Read a policy's degraded service; changes are checked before, but a store may be older or younger than this."""
    try:
        service = read(policy.degraded)
        return service if service.is_on else NORMAL
    except ValueError as error:
        log.warning(
            "a policy's degraded service cannot be meant; service is normal", route=policy.route, why=str(error)
        )
        return NORMAL


class _Asking:
    """One request on its way through the sources."""

    def __init__(self, question: Question, gone: Gone) -> None:
        self.question = question
        self.gone = gone
        self.tried: set[Source] = set()
        self.arrived: int | None = None


class Sources:
    """Answers each request from the best source that has something; counts where from, and those that got nothing."""

    def __init__(
        self,
        router: Router,
        store: PolicyStore,
        cache: AnswerCache,
        queues: Queues,
        counters: Counters,
        observer: Observer,
        clock: Callable[[], datetime],
    ) -> None:
        self._router = router
        self._store = store
        self._cache = cache
        self._queues = queues
        self._counters = counters
        self._observer = observer
        self._clock = clock
        self._services = Services(store)

    async def reply(self, question: Question, gone: Gone) -> Reply:
        """Reply to a question; AllFailed, Refused or Left if there is no answer, ProviderError if the request is bad."""
        if question.synthetic:
            # Asked to learn how the providers do: nothing but a provider's own answer, now, tells that.
            return await self._from_provider(question, AT_ONCE)
        number = self._counters.begin_request(question.route, started=question.began)
        question = replace(question, number=number)
        source: Source | None = None
        try:
            reply = await self._best(_Asking(question, gone))
            source = reply.source
            self._observer.answered(question.route, source)
            return reply
        except Left:
            self._count(question, RequestOutcome.LEFT)
            raise
        except (AllFailed, Refused):
            self._count(question, RequestOutcome.FAILED)
            raise
        except BaseException:
            self._counters.drop_request(number, started=question.began)
            raise
        finally:
            self._looked_up(question, source)

    async def _best(self, asking: _Asking) -> Reply:
        nothing: Exception | None = None
        while (source := self._next(asking)) is not None:
            try:
                return await self._from(source, asking)
            except Closing:
                raise
            except (AllFailed, Refused) as error:
                nothing = error
        assert nothing is not None
        raise nothing

    def _next(self, asking: _Asking) -> Source | None:
        """The best source that was not tried yet, by the policy of now."""
        question, service = asking.question, self._services.of(asking.question.route)
        if service is NORMAL:
            return None if Source.LIVE in asking.tried else Source.LIVE
        queue = self._queues.of(question.route) if service.queue is not None else None
        if queue is not None and asking.arrived is None:
            asking.arrived = queue.arrive()
        remembered = self._recall(question, service)
        sources = order(
            service,
            age=remembered.age(self._clock()) if remembered else None,
            streaming=question.streaming,
            others_wait=queue is not None and queue.must_wait(),
        )
        return next((source for source in sources if source not in asking.tried), None)

    async def _from(self, source: Source, asking: _Asking) -> Reply:
        asking.tried.add(source)
        question, service = asking.question, self._services.of(asking.question.route)
        if source in (Source.CACHE, Source.STALE):
            return self._from_cache(question, source)
        if source is Source.TEMPLATE:
            return self._from_template(question, service)
        if source is Source.LIVE:
            return await self._at_once(question, service)
        # Whoever waited in vain, or found no place, does not overtake those who still wait.
        asking.tried.add(Source.LIVE)
        return await self._from_queue(asking, self._queues.of(question.route), service)

    def _recall(self, question: Question, service: DegradedService) -> Remembered | None:
        return self._cache.recall(question.key) if service.cache is not None and question.key is not None else None

    def _looked_up(self, question: Question, source: Source | None) -> None:
        if question.key is not None and self._services.of(question.route).cache is not None:
            found = {Source.CACHE: "fresh", Source.STALE: "stale"}
            self._observer.looked_up(question.route, "miss" if source is None else found.get(source, "miss"))

    def _from_cache(self, question: Question, source: Source) -> Reply:
        remembered = self._recall(question, self._services.of(question.route))
        assert remembered is not None
        self._count(question, RequestOutcome.ANSWERED, source)
        age = remembered.age(self._clock())
        return self._reply(question, source, answer=remembered.answer, age=age)

    def _from_template(self, question: Question, service: DegradedService) -> Reply:
        self._count(question, RequestOutcome.TEMPLATE, Source.TEMPLATE)
        answer = Answer(text=service.template or "", finish=FinishReason.STOP, usage=Usage())
        if question.streaming:
            return self._reply(question, Source.TEMPLATE, chunks=_in_pieces(answer))
        return self._reply(question, Source.TEMPLATE, answer=answer)

    async def _at_once(self, question: Question, service: DegradedService) -> Reply:
        if service.queue is None:
            return await self._from_provider(question, AT_ONCE)
        queue = self._queues.of(question.route)
        return await queue.at_once(lambda turn: self._from_provider(question, turn))

    async def _from_queue(self, asking: _Asking, queue: Queue, service: DegradedService) -> Reply:
        assert service.queue is not None and asking.arrived is not None
        question, joined = asking.question, self._clock()

        async def ask(turn: Turn) -> Reply:
            return await self._from_provider(question, turn, waited=self._clock() - joined)

        return await queue.wait(question, service.queue, asking.arrived, asking.gone, ask)

    async def _from_provider(self, question: Question, turn: Turn, waited: timedelta | None = None) -> Reply:
        if question.streaming:
            streamed = await self._router.stream(question, turn)
            return self._reply(question, turn.source, chunks=streamed.chunks, attempt=streamed.attempt, waited=waited)
        served = await self._router.answer(question, turn)
        if question.key is not None:
            now = self._clock()
            self._cache.remember(question.key, Remembered(served.answer, served.attempt.provider, now))
        return self._reply(question, turn.source, answer=served.answer, attempt=served.attempt, waited=waited)

    def _reply(
        self,
        question: Question,
        source: Source,
        *,
        answer: Answer | None = None,
        chunks: AsyncGenerator[Chunk, None] | None = None,
        attempt: Try | None = None,
        age: timedelta | None = None,
        waited: timedelta | None = None,
    ) -> Reply:
        policy = attempt.policy if attempt is not None else self._store.policies[question.route]
        banner = self._services.of(question.route).banner
        return Reply(
            source=source,
            policy=policy,
            answer=answer,
            chunks=chunks,
            attempt=attempt,
            banner=banner,
            age=age,
            waited=waited,
        )

    def _count(self, question: Question, outcome: RequestOutcome, source: Source = Source.LIVE) -> None:
        self._counters.count_request(
            question.route,
            question.number,
            started=question.began,
            outcome=outcome,
            latency=self._clock() - question.began,
            source=source,
        )


async def _in_pieces(answer: Answer) -> AsyncGenerator[Chunk, None]:
    yield Chunk(text=answer.text)
    yield Chunk(finish=answer.finish, usage=answer.usage)
