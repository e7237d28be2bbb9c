"""A data plane in memory, which can be told to misbehave: for tests and rehearsals."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from pydantic import ValidationError

from failover.automation import Hold
from failover.completion import Answer, Completion, FinishReason, Usage
from failover.degraded import read
from failover.distribution import Distribution
from failover.errors import DataPlaneUnavailable, ProviderError, RequestError, Unavailable
from failover.failure import Failure, FailureKind
from failover.policy import Change, ChangedBy, ChangeResult, ChangeStatus, Revision, RouteRecord, TrafficPolicy, apply
from failover.telemetry import ProviderWindow, RouteWindow, Telemetry


def _now() -> datetime:
    return datetime.now(UTC)


class MemoryPlane:
    """Obeys the same rules as every policy store. What is public may be set by a test at any time.

    `unavailable` fails every call; `hang` never answers a write; `disobey` serves by `serving` whatever is stored;
    `forget_writes` answers a write as applied and keeps nothing; `late` applies a write that long after the call was
    given up; `stale_reads` answers every read with what was first in force; `forget` starts a new epoch with it.
    `laggard` adds an instance that obeys only the first revision. `requests` is how many users each reading shows on
    every route, served by the weights that are obeyed; `failing` are providers at which every try fails.
    The counters are not told at all (`blind`), fail (`dark`), hang (`mute`), stand still (`frozen`), miss the routes
    (`partial`) or run by another clock (`skew`).
    """

    def __init__(self, distributions: Mapping[str, Distribution], clock: Callable[[], datetime] = _now) -> None:
        self._clock = clock
        self._initial = {
            route: RouteRecord(policy=_initial(route, shares, clock())) for route, shares in distributions.items()
        }
        self._records = dict(self._initial)
        self._later: set[asyncio.Task[None]] = set()
        self.applied: list[Change] = []
        self.unavailable = False
        self.hang = False
        self.disobey = False
        self.forget_writes = False
        self.late: timedelta | None = None
        self.stale_reads = False
        self.blind = False
        self.dark = False
        self.mute = False
        self.frozen: datetime | None = None
        self.partial = False
        self.skew = timedelta(0)
        self.laggard = False
        self.held: Hold | None = None
        self.requests = 100
        self.failing: set[str] = set()
        self.slow: dict[str, timedelta] = {}
        self.text = "PONG"
        self.before_write: Callable[[], None] | None = None
        self.serving = {route: dict(shares) for route, shares in distributions.items()}

    def distribution(self, route: str) -> Distribution:
        return self._records[route].policy.distribution

    def put(self, route: str, shares: Distribution) -> None:
        """What is in force and served, as if it had always been."""
        self._records[route] = self._initial[route] = RouteRecord(policy=_initial(route, shares, self._clock()))
        self.serving[route] = dict(shares)

    def policy(self, route: str) -> TrafficPolicy:
        return self._records[route].policy

    async def read(self, routes: Sequence[str] | None = None) -> Sequence[TrafficPolicy]:
        self._answer()
        records = self._initial if self.stale_reads else self._records
        return [record.policy for route, record in records.items() if routes is None or route in routes]

    async def apply(self, changes: Sequence[Change]) -> Sequence[ChangeResult]:
        self._answer()
        if self.late is not None:
            self._later.add(asyncio.create_task(self._apply_late(changes, self.late)))
        if self.hang or self.late is not None:
            await asyncio.Event().wait()
        _refuse_unmeant(changes)
        if self.before_write is not None:
            interfere, self.before_write = self.before_write, None
            interfere()
        return [self.write(change) for change in changes]

    async def _apply_late(self, changes: Sequence[Change], delay: timedelta) -> None:
        await asyncio.sleep(delay.total_seconds())
        for change in changes:
            self.write(change)

    def forget(self) -> None:
        """The store is made anew: its first policies, in another epoch."""
        for route, record in self._initial.items():
            policy = replace(record.policy, revision=Revision("another", 1))
            self._records[route] = RouteRecord(policy=policy)
            self.serving[route] = dict(policy.distribution)

    def write(self, change: Change) -> ChangeResult:
        """Apply one change, at once: also for a test that plays somebody else."""
        record, result = apply(self._records.get(change.route), change, self._clock())
        if record is None or self.forget_writes:
            return result
        self._records[change.route] = record
        if result.status is ChangeStatus.APPLIED:
            self.applied.append(change)
            if not self.disobey:
                self.serving[change.route] = dict(change.distribution)
        return result

    async def observe(
        self, *, window: timedelta | None = None, since: datetime | None = None, until: datetime | None = None
    ) -> Telemetry | None:
        self._answer()
        if self.dark:
            raise DataPlaneUnavailable("The counters in memory were told not to answer.")
        if self.mute:
            await asyncio.Event().wait()
        if self.blind:
            return None
        now = self.frozen or self._clock() + self.skew
        busy = self._records if self.requests and not self.partial else {}
        return Telemetry(
            at=now,
            since=since or now - (window or timedelta(seconds=60)),
            providers=[window for route in busy for window in self._tries(route)],
            routes=[self._users(route) for route in busy],
        )

    def _tries(self, route: str) -> list[ProviderWindow]:
        return [
            ProviderWindow(
                provider=provider,
                route=route,
                tries=share * self.requests // 10_000,
                first_tries=share * self.requests // 10_000,
                failures={FailureKind.SERVER_ERROR: share * self.requests // 10_000}
                if provider in self.failing
                else {},
                latency_p95=self.slow.get(provider, timedelta(milliseconds=100)),
            )
            for provider, share in self.serving[route].items()
            if share
        ]

    def _users(self, route: str) -> RouteWindow:
        shares = self.serving[route]
        failed = sum(share * self.requests // 10_000 for provider, share in shares.items() if provider in self.failing)
        latency = max(self.slow.get(name, timedelta(milliseconds=100)) for name, share in shares.items() if share)
        return RouteWindow(
            route=route, requests=self.requests, failed=failed, lost=failed, empty=0, latency_p95=latency
        )

    async def obeyed(self) -> Mapping[str, Mapping[str, str]]:
        self._answer()
        now = {route: str(record.policy.revision) for route, record in self._records.items()}
        return {"memory": now, **({"laggard": dict.fromkeys(now, "memory.1")} if self.laggard else {})}

    async def ask(self, route: str, completion: Completion, *, timeout: timedelta) -> tuple[str, Answer]:
        self._answer()
        served_by = max(self.serving[route], key=lambda name: self.serving[route][name])
        if served_by in self.failing:
            raise ProviderError(Failure(kind=FailureKind.SERVER_ERROR, provider=served_by, detail="as it was told"))
        return served_by, Answer(text=self.text, finish=FinishReason.STOP, usage=Usage())

    async def hold(self) -> Hold | None:
        self._answer()
        return self.held

    async def keep_hold(self, hold: Hold | None) -> None:
        self._answer()
        self.held = hold

    async def aclose(self) -> None:
        """Do nothing: nothing is held."""

    def _answer(self) -> None:
        if self.unavailable:
            raise DataPlaneUnavailable("The data plane in memory was told not to answer.")


def _refuse_unmeant(changes: Sequence[Change]) -> None:
    """Refuse as the gateway does: a batch with degraded service that cannot be meant changes nothing."""
    for change in changes:
        try:
            read(change.degraded or {})
        except ValidationError as error:
            field = ".".join(map(str, error.errors()[0]["loc"]))
            raise RequestError(
                f"Nothing was changed: degraded.{field} of route {change.route!r} cannot be meant."
            ) from error


def _initial(route: str, shares: Distribution, at: datetime) -> TrafficPolicy:
    return TrafficPolicy(
        route=route,
        revision=Revision("memory", 1),
        distribution=dict(shares),
        changed_by=ChangedBy(actor="configuration"),
        reason="initial",
        changed_at=at,
    )


class MemorySource:
    """Counts what it is told to have counted. `windows` may be set by a test at any time; `unavailable` fails every read,
    `broken` as only a mistake in an adapter would."""

    def __init__(self, windows: Sequence[ProviderWindow] = ()) -> None:
        self.windows = list(windows)
        self.unavailable = False
        self.broken = False
        self.reads = 0

    async def read(self, window: timedelta) -> Sequence[ProviderWindow]:
        self.reads += 1
        if self.unavailable:
            raise Unavailable("The source in memory was told not to answer.")
        if self.broken:
            raise KeyError("as it was told")
        return self.windows

    async def aclose(self) -> None:
        """Do nothing: nothing is held."""
