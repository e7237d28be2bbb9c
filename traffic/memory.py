"""A data plane in memory, which can be told to misbehave: for tests and rehearsals."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta

from failover.completion import Answer, Completion, FinishReason, Usage
from failover.distribution import Distribution
from failover.errors import DataPlaneUnavailable, ProviderError
from failover.failure import Failure, FailureKind
from failover.policy import Change, ChangedBy, ChangeResult, ChangeStatus, Revision, RouteRecord, TrafficPolicy, apply
from failover.telemetry import ProviderWindow, RouteWindow, Telemetry


class MemoryPlane:
    """Obeys the same rules as every policy store. What is public may be set by a test at any time.

    `unavailable` fails every call; `hang` never answers a write; `disobey` serves by `serving` whatever is stored;
    `forget_writes` answers a write as applied and keeps nothing. `laggard` adds an instance that obeys only the first
    revision. `requests` is how many users each reading shows on every
    route, served by the weights that are obeyed; `failing` are providers at which every try fails.
    """

    def __init__(self, distributions: Mapping[str, Distribution]) -> None:
        self._records = {route: RouteRecord(policy=_initial(route, shares)) for route, shares in distributions.items()}
        self.applied: list[Change] = []
        self.unavailable = False
        self.hang = False
        self.disobey = False
        self.forget_writes = False
        self.blind = False
        self.laggard = False
        self.requests = 100
        self.failing: set[str] = set()
        self.slow: dict[str, timedelta] = {}
        self.text = "PONG"
        self.before_write: Callable[[], None] | None = None
        self.serving = {route: dict(shares) for route, shares in distributions.items()}

    def distribution(self, route: str) -> Distribution:
        return self._records[route].policy.distribution

    def policy(self, route: str) -> TrafficPolicy:
        return self._records[route].policy

    async def read(self, routes: Sequence[str] | None = None) -> Sequence[TrafficPolicy]:
        self._answer()
        return [record.policy for route, record in self._records.items() if routes is None or route in routes]

    async def apply(self, changes: Sequence[Change]) -> Sequence[ChangeResult]:
        self._answer()
        if self.hang:
            await asyncio.Event().wait()
        if self.before_write is not None:
            interfere, self.before_write = self.before_write, None
            interfere()
        return [self.write(change) for change in changes]

    def write(self, change: Change) -> ChangeResult:
        """One change, at once: also for a test that plays somebody else."""
        record, result = apply(self._records.get(change.route), change, datetime.now(UTC))
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
        if self.blind:
            return None
        now = datetime.now(UTC)
        busy = self._records if self.requests else {}
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

    async def aclose(self) -> None:
        """Nothing is held."""

    def _answer(self) -> None:
        if self.unavailable:
            raise DataPlaneUnavailable("The data plane in memory was told not to answer.")


def _initial(route: str, shares: Distribution) -> TrafficPolicy:
    return TrafficPolicy(
        route=route,
        revision=Revision("memory", 1),
        distribution=dict(shares),
        changed_by=ChangedBy(actor="configuration"),
        reason="initial",
        changed_at=datetime.now(UTC),
    )
