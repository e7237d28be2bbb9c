"""What the core asks of the world, as protocols. Adapters live in `providers/`, `traffic/` and `activities/`."""

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Protocol

from failover.automation import Hold
from failover.certificates import Certificate
from failover.completion import Answer, Chunk, Completion, ServiceStatus
from failover.credentials import Credentials
from failover.drill import Fault
from failover.findings import Finding
from failover.policy import Change, ChangeResult, TrafficPolicy
from failover.readiness import Audit, Picture
from failover.telemetry import ProviderWindow, Telemetry


class Clock(Protocol):
    """Time, as whoever waits and dates sees it: the machine's, or a rehearsal's that leaps."""

    def now(self) -> datetime:
        """The time now, aware, in UTC."""
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

    async def credentials(self, *, timeout: timedelta) -> Credentials:
        """What can be told of the credentials without a completion. Raises nothing: what is wrong is their `problem`."""
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
        """Apply changes; → one result each, in order. Each is compare-and-set and idempotent by its key.

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
        """Send one synthetic request through the route as a user would → (provider that served it, answer).

        Tagged so that it does not count as a user's. Raises ProviderError when the route did not answer it.
        """
        ...

    async def aclose(self) -> None: ...


class PassiveSource(Protocol):
    """Another system that counts users' tries at the providers: a monitoring system."""

    async def read(self, window: timedelta) -> Sequence[ProviderWindow]:
        """Tries within the last `window` at the providers that it speaks for, over all routes (`route` is "").

        A provider of which it knows nothing fresh is left out. Raises Unavailable when it does not answer, or not in its
        own words.
        """
        ...

    async def aclose(self) -> None: ...


class HoldStore(Protocol):
    """The store of the automation hold. It lies with the policies, so that it is known while Temporal is down."""

    async def hold(self) -> Hold | None:
        """The hold that was set last, in force or over; None where there is none. Raises DataPlaneUnavailable."""
        ...

    async def keep_hold(self, hold: Hold | None) -> None:
        """Set it, or end it; kept for good before this returns. Raises DataPlaneUnavailable, or RequestError (refused)."""
        ...

    async def aclose(self) -> None: ...


class Archive(Protocol):
    """Files that outlive the runs that they speak of; a key is "folder/name". Blocking: called from threads.

    Everything raises Unavailable where the place does not answer.
    """

    def put(self, key: str, content: bytes) -> None:
        """Store the content whole or not at all; what was there under the same key is replaced."""
        ...

    def get(self, key: str) -> bytes | None:
        """The content under the key; None if there is none."""
        ...

    def keys(self, *, folder: str = "*", after: str = "") -> Sequence[str]:
        """All keys, or those of one folder, that come after `after` in the order of text."""
        ...

    def where(self, key: str) -> str:
        """The place of a file, for people to read; for "" the place of the whole archive."""
        ...


class Reachable(Protocol):
    """A way by which people are told: Slack, a status page, a pager."""

    async def reachable(self) -> Finding:
        """Whether a message would go out now, without sending one. Raises nothing."""
        ...


class Directory(Protocol):
    """The directory of the people who can be asked."""

    async def missing(self, members: Sequence[str]) -> Mapping[str, str]:
        """Member id → why that person cannot be asked; those that can are left out. Raises Unavailable."""
        ...


class ReadinessStore(Protocol):
    """The store of audits and certificates, outside Temporal. Blocking: call it on a thread.

    Its errors are Unavailable.
    """

    def keep(self, audit: Audit, certificates: Sequence[Certificate]) -> None:
        """Store both, whole; a second time for the same audit replaces the first."""
        ...

    def latest(self) -> Audit | None: ...

    def audits(self) -> Sequence[str]:
        """Ids of those that are kept, newest first."""
        ...

    def find(self, audit: str) -> Audit | None: ...

    def certificates(self) -> Sequence[Certificate]: ...

    def told(self) -> Picture | None:
        """What people were told last; None: nothing yet."""
        ...

    def keep_told(self, picture: Picture) -> None: ...


class DrillPlane(Protocol):
    """A data plane in which a drill can make tries fail on their way to a provider."""

    async def inject(self, fault: Fault) -> datetime:
        """Set or renew the fault for each of its providers; → since when, on the data plane's clock.

        Raises RequestError where it may not be (the route is not the drill's), DataPlaneUnavailable.
        """
        ...

    async def heal(self, route: str, drill: str) -> None:
        """End a drill's faults of a route; it is no error that there are none. Raises DataPlaneUnavailable."""
        ...

    async def probe(self, route: str, provider: str, completion: Completion, *, timeout: timedelta) -> Answer:
        """Send one synthetic request through the route, which only this provider answers. Raises ProviderError."""
        ...

    async def use(self, route: str, completion: Completion, *, timeout: timedelta) -> Answer:
        """Send one request as a user does, and counted as one. Raises ProviderError."""
        ...

    async def aclose(self) -> None: ...
