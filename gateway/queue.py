"""Requests that wait until a provider answers again, each in its own coroutine; a queue only says whose turn it is."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any, Protocol, TypeVar

from failover.degraded import QueueSettings, Source
from failover.failure import Failure, FailureKind
from failover.policy import Revision
from failover.waiting import Line, Pace, Place, Room, wait
from gateway.question import AllFailed, Question, Turn
from gateway.routing import Router
from gateway.store import PolicyStore

T = TypeVar("T")

Gone = Callable[[], Awaitable[None]]
"""Returns once the user has gone away."""

TICK = 1.0
"""Seconds after which a queue looks at the policy again, however long it was told to wait."""

COME_BACK = 30
"""Seconds: what is told to whoever found no place, or waited in vain."""

_OWN_FAULT = frozenset({FailureKind.TIMEOUT, FailureKind.INVALID_ANSWER, FailureKind.CUT_STREAM})
"""How a request may fail by its own fault, for ever: the next in line is tried after it, lest it blocks them all."""


class Refused(Exception):
    """The queue gives no answer: a sentence, a code, and the seconds after which to come back."""

    code = "queue_full"
    retry_after = COME_BACK


class Expired(Refused):
    """No provider answered in time."""

    code = "queue_expired"


class Closing(Refused):
    """The gateway ends; another one, or the next, may answer."""

    code = "shutting_down"
    retry_after = 1


class Left(Exception):
    """The user went away while the request waited."""


class Noted(Protocol):
    """An observer of how each wait ended (answered, queue_full, queue_expired, shutting_down, left, failed), in seconds."""

    def waited(self, route: str, ended: str, seconds: float) -> None: ...


class _Round:
    """The tries since the policy last gave new hope; older ones hold nobody up."""

    def __init__(self) -> None:
        self.under_way = 0


class _Leave:
    """One turn that was given, until it is used up."""

    def __init__(self, turn: Turn, round_: _Round) -> None:
        self.turn = turn
        self.round = round_
        round_.under_way += 1

    def move(self, round_: _Round) -> None:
        self.end()
        self.round = round_
        round_.under_way += 1

    def end(self) -> None:
        self.round.under_way -= 1


class _Waiter:
    """A request in the line; `turn` is what it waits for now."""

    def __init__(self, deadline: float, gone: "asyncio.Future[None]") -> None:
        self.deadline = deadline
        self.gone = gone
        self.turn: asyncio.Future[_Leave] = asyncio.get_running_loop().create_future()


class Queue:
    """The queue of one route. Whoever may ask at once has no place in it, but counts for its pace like the others."""

    def __init__(self, route: str, room: Room, router: Router, store: PolicyStore, noted: Noted) -> None:
        self._route = route
        self._router = router
        self._store = store
        self._noted = noted
        self._line: Line[_Waiter] = Line(room)
        self._pace = Pace()
        self._round = _Round()
        self._revision: Revision | None = None
        self._after: Place | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._trying: dict[asyncio.Future[Any], _Leave] = {}
        self._closing = False

    def __len__(self) -> int:
        return len(self._line)

    def arrive(self) -> int:
        """A newcomer's number, which it keeps if it has to wait later."""
        return self._line.arrive()

    def must_wait(self) -> bool:
        """Whether a newcomer would overtake somebody, or ask more of the providers than they can take now."""
        self._see_policy()
        return self._line.is_ready or self._wait() != 0

    async def at_once(self, ask: Callable[[Turn], Awaitable[T]]) -> T:
        """Ask without waiting. Raises what `ask` raises."""
        try:
            return await self._asked(self._give(Source.LIVE), ask)
        finally:
            self._pump()

    async def wait(
        self,
        question: Question,
        settings: QueueSettings,
        arrived: int,
        gone: Gone,
        ask: Callable[[Turn], Awaitable[T]],
    ) -> T:
        """Wait for a turn, ask, and wait again while nobody answers. Raises Refused, Left, or what `ask` raises."""
        began, ended = time.monotonic(), "failed"
        leaving = asyncio.ensure_future(gone())
        try:
            answer = await self._served(
                _Waiter(began + settings.timeout.total_seconds(), leaving), question, settings, arrived, ask
            )
            ended = "answered"
            return answer
        except Refused as refusal:
            ended = refusal.code
            raise
        except (Left, asyncio.CancelledError):
            ended = "left"
            raise
        finally:
            leaving.cancel()
            self._noted.waited(self._route, ended, time.monotonic() - began)
            self._pump()

    async def _served(
        self,
        waiter: _Waiter,
        question: Question,
        settings: QueueSettings,
        arrived: int,
        ask: Callable[[Turn], Awaitable[T]],
    ) -> T:
        place = self._join(waiter, question, settings, arrived)
        try:
            while True:
                leave = await self._turn(waiter, settings)
                try:
                    return await self._asked(leave, ask)
                except AllFailed as error:
                    if all(failure.kind in _OWN_FAULT for failure in error.failures):
                        self._after = place
                waiter.turn = asyncio.get_running_loop().create_future()
                self._line.put_back(place)
        finally:
            self._line.leave(place)

    def _join(self, waiter: _Waiter, question: Question, settings: QueueSettings, arrived: int) -> Place:
        if self._closing:
            raise _closing()
        why = self._line.why_not(question.size, at_most=settings.size)
        if why is not None:
            raise Refused(f"No provider answers now, and there is no place in the queue: {why}.")
        return self._line.join(waiter, question.size, question.priority, arrived)

    async def _turn(self, waiter: _Waiter, settings: QueueSettings) -> _Leave:
        """Wait until it is this one's turn. Raises Expired, Left or Closing."""
        if self._closing:
            raise _closing()
        left = waiter.deadline - time.monotonic()
        try:
            if left > 0:
                self._pump()
                either: set[asyncio.Future[Any]] = {waiter.turn, waiter.gone}
                await asyncio.wait(either, timeout=left, return_when=asyncio.FIRST_COMPLETED)
            if waiter.gone.done():
                raise Left
            if not waiter.turn.done():
                seconds = f"{settings.timeout.total_seconds():g}"
                raise Expired(f"No provider answered in the {seconds} s that a request may wait.")
        except BaseException:
            _give_back(waiter)
            raise
        return waiter.turn.result()

    async def _asked(self, leave: _Leave, ask: Callable[[Turn], Awaitable[T]]) -> T:
        """What an answer, or none, tells of the pace; the user's own mistake tells nothing."""
        trying = asyncio.ensure_future(ask(leave.turn))
        self._trying[trying] = leave
        try:
            answer = await trying
        except asyncio.CancelledError:
            if (task := asyncio.current_task()) is not None and task.cancelling():
                raise
            raise _moved_off(leave.turn) from None
        except AllFailed as error:
            wish = error.retry_after.total_seconds() if error.retry_after else None
            if leave.round is self._round:
                self._pace = self._pace.failed(time.monotonic(), wish)
            raise
        else:
            self._pace, self._after = self._pace.answered(), None
            return answer
        finally:
            del self._trying[trying]
            leave.end()

    def _give(self, source: Source) -> _Leave:
        return _Leave(Turn(source=source, provider=self._router.choose(self._route)), self._round)

    def _wait(self) -> float | None:
        rate = self._router.ready_in(self._route)
        return wait(self._pace, self._round.under_way, rate, time.monotonic())

    def _pump(self) -> None:
        """Give as many turns as the pace allows, and look again when it will allow more."""
        self._see_policy()
        while self._line.is_ready and not self._closing:
            delay = self._wait()
            if delay != 0:
                return self._look_again(delay)
            taken = self._line.take(self._after)
            assert taken is not None
            taken[1].turn.set_result(self._give(Source.QUEUE))

    def _see_policy(self) -> None:
        """A change of the policy is new hope: somebody is tried at once, though old tries still hang elsewhere.

        Those of the line that hang at a provider which lost its share are given up: nothing was sent to their users
        yet, and they have a place to go back to.
        """
        policy = self._store.policies[self._route]
        if policy.revision == self._revision:
            return
        self._revision = policy.revision
        if not self._pace.answering:
            self._pace, self._round, self._after = Pace(), _Round(), None
        for trying, leave in self._trying.items():
            turn = leave.turn
            if turn.source is Source.QUEUE and turn.provider and not policy.distribution.get(turn.provider):
                # It ends in a moment, and holds the others up until then, lest they overtake it.
                leave.move(self._round)
                trying.cancel()

    def _look_again(self, delay: float | None) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time() + (TICK if delay is None else min(delay, TICK))
        if self._timer is not None and not self._timer.cancelled() and loop.time() < self._timer.when() <= due:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer = loop.call_at(due, self._pump)

    def close(self) -> None:
        """Tell whoever waits that the gateway ends; tries under way are finished."""
        self._closing = True
        for waiter in self._line.members():
            if not waiter.turn.done():
                waiter.turn.set_exception(_closing())
        if self._timer is not None:
            self._timer.cancel()


def _closing() -> Closing:
    return Closing("The gateway is ending; ask again.")


def _moved_off(turn: Turn) -> AllFailed:
    detail = "given up, since traffic was moved off it"
    return AllFailed([Failure(kind=FailureKind.CAPACITY, provider=turn.provider or "", detail=detail)])


def _give_back(waiter: _Waiter) -> None:
    """A turn that came as the one who waited for it went."""
    if not waiter.turn.done():
        waiter.turn.cancel()
    elif not waiter.turn.cancelled():
        with suppress(Closing):
            waiter.turn.result().end()


class Queues:
    """One for each route that ever needed one, in one room."""

    def __init__(self, max_bytes: int, router: Router, store: PolicyStore, noted: Noted) -> None:
        self._room = Room(max_bytes)
        self._router = router
        self._store = store
        self._noted = noted
        self._queues: dict[str, Queue] = {}

    def of(self, route: str) -> Queue:
        if route not in self._queues:
            self._queues[route] = Queue(route, self._room, self._router, self._store, self._noted)
        return self._queues[route]

    def lengths(self) -> Mapping[str, int]:
        return {route: len(queue) for route, queue in self._queues.items()}

    @property
    def bytes(self) -> int:
        return self._room.used

    def close(self) -> None:
        """Tell everybody who waits, on every route, that the gateway ends."""
        for queue in self._queues.values():
            queue.close()
