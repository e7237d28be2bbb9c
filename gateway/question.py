"""What a user asks, with what leave it is put to providers, and that none of them answered."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from failover.completion import Completion
from failover.degraded import Source
from failover.failure import Failure
from failover.waiting import Priority


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One request: what is asked of which route, and when it came.

    `key`: under which its answer is remembered, None where it never is. `size`: bytes that it holds while it waits.
    `only`: the one provider that is asked, whatever the weights say; a drill's probe. `number`: under which its end is
    counted, of a user's request that is being answered.
    """

    route: str
    completion: Completion
    began: datetime
    streaming: bool = False
    synthetic: bool = False
    key: bytes | None = None
    priority: Priority = Priority.NORMAL
    size: int = 0
    only: str | None = None
    number: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """Leave to ask providers: at once, or after waiting.

    `provider`: who is asked first, its call counted already; then nobody is asked beyond what they declared. None:
    whom the weights choose.
    """

    source: Source = Source.LIVE
    provider: str | None = None


AT_ONCE = Turn()


class AllFailed(Exception):
    """No provider answered; `failures` in the order of the tries."""

    def __init__(self, failures: list[Failure]) -> None:
        super().__init__("; ".join(str(failure) for failure in failures))
        self.failures = failures

    @property
    def last(self) -> Failure:
        return self.failures[-1]

    @property
    def retry_after(self) -> timedelta | None:
        """The shortest pause that any of them asked for."""
        return min((failure.retry_after for failure in self.failures if failure.retry_after), default=None)
