"""What the core asks of the world, as protocols. Adapters live in `providers/`, `traffic/` and `activities/`."""

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Protocol

from failover.automation import Hold
from failover.completion import Answer, Chunk, Completion, ServiceStatus
from failover.policy import Change, ChangeResult, TrafficPolicy
from failover.telemetry import ProviderWindow, Telemetry


class Clock(Protocol):
    """Time, as whoever waits and dates sees it: the machine's, or a rehearsal's that leaps."""

    def now(self) -> datetime:
        """Aware, in UTC."""
        ...

    async def sleep(self, duration: timedelta) -> None: ...


class ProviderClient(Protocol):
    """One provider's model behind one exact mapping. Makes one attempt a call: retries belong to the caller.

    Every failure is a `ProviderError`, a cut stream and an unreadable answer included; nothing of the vendor leaks.
    """

    @property
    def key(self) -> str:
        """The provider's key in the configuration."""
        ...

    async def invoke(self, completion: Completion, *, timeout: timedelta) -> Answer:
        """A whole answer, within `timeout`."""
        ...

    def stream(self, completion: Completion, *, timeout: timedelta) -> AsyncIterator[Chunk]:
        """The answer in pieces. `timeout` bounds the wait for the first piece and between pieces.

        Ends after the chunk that carries `finish`; a stream that ends without one raises ProviderError (CUT_STREAM).
        """
        ...

    async def check_service(self, *, timeout: timedelta) -> ServiceStatus:
        """What the control plane says. Raises nothing: an unreachable one is `reachable=False` with the detail."""
        ...

    async def aclose(self) -> None: ...


class TrafficPlane(Protocol):
    """The policy store and the data plane that obeys it."""

    async def read(self, routes: Sequence[str] | None = None) -> Sequence[TrafficPolicy]:
        """Policies in force, of the named routes or of all; an unknown route is left out.

        Raises DataPlaneUnavailable.
        """
        ...

    async def apply(self, changes: Sequence[Change]) -> Sequence[ChangeResult]:
        """One result a change, in order; each is compare-and-set and idempotent by its key.

        Raises DataPlaneUnavailable when it is not known whether anything was applied: call again with the same keys.
        """
        ...

    async def observe(
        self, *, window: timedelta | None = None, since: datetime | None = None, until: datetime | None = None
    ) -> Telemetry | None:
        """What was counted in the last `window`, or from `since` to `until`, moments of the data plane's clock.

        `until` None means up to now. None: it cannot tell.
        """
        ...

    async def obeyed(self) -> Mapping[str, Mapping[str, str]]:
        """Live instance → route → text of the revision that it obeys. Raises DataPlaneUnavailable."""
        ...

    async def ask(self, route: str, completion: Completion, *, timeout: timedelta) -> tuple[str, Answer]:
        """One synthetic request through the route as a user sends it → (provider that served it, answer).

        Tagged so that it does not count as a user's. Raises ProviderError when the route did not answer it.
        """
        ...

    async def aclose(self) -> None: ...


class PassiveSource(Protocol):
    """Somebody else who counts users' tries at the providers: a monitoring system."""

    async def read(self, window: timedelta) -> Sequence[ProviderWindow]:
        """Tries within the last `window` at the providers that it speaks for, over all routes (`route` is "").

        A provider of which it knows nothing fresh is left out. Raises Unavailable when it does not answer, or not in its
        own words.
        """
        ...

    async def aclose(self) -> None: ...


class HoldStore(Protocol):
    """Where the automation hold lives: with the policies, so that it is known while Temporal is down."""

    async def hold(self) -> Hold | None:
        """The hold that was set last, in force or over; None where there is none. Raises DataPlaneUnavailable."""
        ...

    async def keep_hold(self, hold: Hold | None) -> None:
        """Set it, or end it; kept for good before this returns. Raises DataPlaneUnavailable, or RequestError (refused)."""
        ...

    async def aclose(self) -> None: ...
