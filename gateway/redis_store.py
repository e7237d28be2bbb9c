"""One policy store for several gateways: Redis holds it, each gateway follows it and says what it obeys."""

import asyncio
import secrets
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import structlog
from pydantic import TypeAdapter, ValidationError
from redis.asyncio import Redis
from redis.exceptions import RedisError, WatchError

from failover.distribution import Distribution
from failover.errors import ConfigError, DataPlaneUnavailable
from failover.policy import Change, ChangeResult, RouteRecord, TrafficPolicy, apply
from gateway.store import first_record

log = structlog.get_logger(__name__)

EPOCH, VERSION = "failover:epoch", "failover:version"
POLICY, INSTANCE = "failover:policy:", "failover:instance:"

POLL = timedelta(milliseconds=100)
"""How often each gateway looks whether anything changed: a change is obeyed everywhere within about that."""

ALIVE = timedelta(seconds=3)
"""An instance that has not reported for so long is gone."""

RIVALS = 20
"""How often a write is tried again because somebody else wrote at the same moment; each time it is decided anew."""

_RECORD = TypeAdapter(RouteRecord)
_REVISIONS = TypeAdapter(dict[str, str])


class RedisStore:
    """Policies in Redis, compare-and-set by WATCH. While Redis is away the last policies are obeyed, and none changes."""

    def __init__(self, redis: "Redis", clock: Callable[[], datetime]) -> None:
        self._redis: Any = redis
        self._clock = clock
        self._policies: dict[str, TrafficPolicy] = {}
        self._version = b""
        self._instance = secrets.token_hex(4)

    @classmethod
    async def open(cls, url: str, initial: Mapping[str, Distribution], clock: Callable[[], datetime]) -> "RedisStore":
        """The store at `url`; routes that it does not know begin with their initial distribution.

        ConfigError where Redis does not answer: without it, what was decided is not known.
        """
        store = cls(Redis.from_url(url, socket_timeout=2, socket_connect_timeout=2), clock)
        try:
            await store._begin(initial)
            await store._follow_once()
        except RedisError as error:
            raise ConfigError(
                f"The Redis of FAILOVER_REDIS_URL does not answer: {error}. Start it, then try again."
            ) from error
        return store

    async def _begin(self, initial: Mapping[str, Distribution]) -> None:
        await self._redis.set(EPOCH, secrets.token_hex(4), nx=True)
        epoch = (await self._redis.get(EPOCH)).decode()
        for route, shares in initial.items():
            record = first_record(route, shares, epoch, self._clock())
            if await self._redis.set(POLICY + route, _RECORD.dump_json(record), nx=True):
                await self._redis.incr(VERSION)

    @property
    def policies(self) -> Mapping[str, TrafficPolicy]:
        return self._policies

    async def apply(self, changes: Sequence[Change]) -> Sequence[ChangeResult]:
        try:
            for _ in range(RIVALS):
                try:
                    return await self._apply_once(changes)
                except WatchError:
                    continue
        except RedisError as error:
            raise DataPlaneUnavailable(f"The policy store does not answer: {error}.") from error
        raise DataPlaneUnavailable("The policy store is written by too many at once; try again.")

    async def _apply_once(self, changes: Sequence[Change]) -> Sequence[ChangeResult]:
        """WatchError where a route changed between reading and writing."""
        routes = sorted({change.route for change in changes})
        async with self._redis.pipeline(transaction=True) as transaction:
            await transaction.watch(*(POLICY + route for route in routes))
            before = {route: _read(await transaction.get(POLICY + route)) for route in routes}
            after, results, now = dict(before), [], self._clock()
            for change in changes:
                after[change.route], result = apply(after[change.route], change, now)
                results.append(result)
            changed = {
                route: record for route, record in after.items() if record is not None and record is not before[route]
            }
            transaction.multi()
            for route, record in changed.items():
                transaction.set(POLICY + route, _RECORD.dump_json(record))
            if changed:
                transaction.incr(VERSION)
            await transaction.execute()
        self._policies |= {route: record.policy for route, record in changed.items()}
        await self._report()
        return results

    async def obeyed(self) -> Mapping[str, Mapping[str, str]]:
        try:
            names = [name async for name in self._redis.scan_iter(match=f"{INSTANCE}*")]
            told = await self._redis.mget(names) if names else []
        except RedisError as error:
            raise DataPlaneUnavailable(f"The policy store does not answer: {error}.") from error
        return {
            name.decode().removeprefix(INSTANCE): _REVISIONS.validate_json(revisions)
            for name, revisions in zip(names, told, strict=True)
            if revisions is not None
        }

    async def follow(self) -> None:
        """Until cancelled: obey what is in Redis, and report it."""
        while True:
            await asyncio.sleep(POLL.total_seconds())
            try:
                await self._follow_once()
            except (RedisError, ValidationError) as error:
                log.warning("Redis cannot be followed; the last policies stay in force", error=str(error))

    async def _follow_once(self) -> None:
        version = await self._redis.get(VERSION) or b""
        if version != self._version:
            names = [name async for name in self._redis.scan_iter(match=f"{POLICY}*")]
            records = [_read(raw) for raw in await self._redis.mget(names)] if names else []
            self._policies = {record.policy.route: record.policy for record in records if record is not None}
            self._version = version
        await self._report()

    async def _report(self) -> None:
        revisions = {route: str(policy.revision) for route, policy in self._policies.items()}
        await self._redis.set(INSTANCE + self._instance, _REVISIONS.dump_json(revisions), px=ALIVE)

    async def aclose(self) -> None:
        await self._redis.delete(INSTANCE + self._instance)
        await self._redis.aclose()


def _read(raw: bytes | None) -> RouteRecord | None:
    return None if raw is None else _RECORD.validate_json(raw)
