"""One policy store for several gateways: Redis holds it, each gateway follows it and says what it obeys."""

import asyncio
import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import structlog
from pydantic import TypeAdapter, ValidationError
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError, WatchError

from failover.automation import Hold
from failover.distribution import Distribution
from failover.errors import ConfigError, DataPlaneUnavailable
from failover.policy import Change, ChangeResult, Revision, RouteRecord, TrafficPolicy, apply
from gateway.store import first_record

log = structlog.get_logger(__name__)

EPOCH, VERSION, ROUTES, INSTANCES = "failover:epoch", "failover:version", "failover:routes", "failover:instances"
HOLD = "failover:automation-hold"
POLICY, INSTANCE = "failover:policy:", "failover:instance:"

POLL = timedelta(milliseconds=100)
"""How often each gateway looks whether anything changed: a change is obeyed everywhere within about that."""

ALIVE = timedelta(seconds=3)
"""An instance that has not reported for so long is gone."""

PATIENCE = timedelta(seconds=1)
"""The timeout of one answer of Redis, which is asked twice: less than whoever waits for the gateway has."""

RIVALS = 20
"""How often a write is tried again because somebody else wrote at the same moment; each time it is decided anew."""

_RECORD = TypeAdapter(RouteRecord)
_HOLD = TypeAdapter(Hold)
_REVISIONS = TypeAdapter(dict[str, str])

State = tuple[bytes | None, bytes | None]
"""The store's epoch, and a number that grows with every change."""


class RedisStore:
    """Policies in Redis, compare-and-set by WATCH. While Redis is away the last policies are obeyed, and none changes.

    A Redis that comes back emptied or set back to an older state is given what is obeyed now, under a new epoch: traffic
    never returns to where it was moved away from because a database forgot.
    """

    def __init__(self, redis: "Redis", clock: Callable[[], datetime]) -> None:
        self._redis: Any = redis
        self._clock = clock
        self._policies: dict[str, TrafficPolicy] = {}
        self._seen: State = (None, None)
        self._hold: Hold | None = None
        self._instance = secrets.token_hex(4)

    @classmethod
    async def open(cls, url: str, initial: Mapping[str, Distribution], clock: Callable[[], datetime]) -> "RedisStore":
        """The store at `url`; routes that it does not know begin with their initial distribution.

        ConfigError where Redis does not answer: without it, what was decided is not known.
        """
        patience = PATIENCE.total_seconds()
        retry = Retry(NoBackoff(), 1)
        redis = Redis.from_url(url, socket_timeout=patience, socket_connect_timeout=patience, retry=retry)
        store = cls(redis, clock)
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
        await self._redis.sadd(ROUTES, *initial)

    @property
    def policies(self) -> Mapping[str, TrafficPolicy]:
        return self._policies

    async def read(self) -> Mapping[str, TrafficPolicy]:
        try:
            await self._follow_once()
        except RedisError as error:
            raise _away(error) from error
        return self._policies

    async def apply(self, changes: Sequence[Change]) -> Sequence[ChangeResult]:
        try:
            await self._follow_once()
            for _ in range(RIVALS):
                try:
                    return await self._apply_once(changes)
                except WatchError:
                    continue
        except RedisError as error:
            raise _away(error) from error
        raise DataPlaneUnavailable("The policy store is written by too many at once; try again.")

    async def _apply_once(self, changes: Sequence[Change]) -> Sequence[ChangeResult]:
        """Apply changes in one transaction; WatchError if a route changed between reading and writing."""
        routes = sorted({change.route for change in changes})
        async with self._redis.pipeline(transaction=True) as transaction:
            await transaction.watch(EPOCH, *(POLICY + route for route in routes))
            found = await transaction.mget([POLICY + route for route in routes])
            before = {route: _read(raw) for route, raw in zip(routes, found, strict=True)}
            after, results, now = dict(before), [], self._clock()
            for change in changes:
                after[change.route], result = apply(after[change.route], change, now)
                results.append(result)
            changed = {
                route: record for route, record in after.items() if record is not None and record is not before[route]
            }
            transaction.multi()
            _store(transaction, changed)
            await transaction.execute()
        self._adopt(record.policy for record in changed.values())
        await self._report()
        return results

    async def hold(self) -> Hold | None:
        try:
            await self._follow_once()
        except RedisError as error:
            raise _away(error) from error
        return self._hold

    async def keep_hold(self, hold: Hold | None) -> None:
        try:
            await self._follow_once()
            async with self._redis.pipeline(transaction=True) as transaction:
                if hold is None:
                    transaction.delete(HOLD)
                else:
                    transaction.set(HOLD, _HOLD.dump_json(hold))
                transaction.incr(VERSION)
                await transaction.execute()
            await self._follow_once()
        except RedisError as error:
            raise _away(error) from error

    async def obeyed(self) -> Mapping[str, Mapping[str, str]]:
        try:
            names = sorted(await self._redis.smembers(INSTANCES))
            told = await self._redis.mget([INSTANCE + name.decode() for name in names]) if names else []
            gone = [name for name, revisions in zip(names, told, strict=True) if revisions is None]
            if gone:
                await self._redis.srem(INSTANCES, *gone)
        except RedisError as error:
            raise _away(error) from error
        return {
            name.decode(): _REVISIONS.validate_json(revisions)
            for name, revisions in zip(names, told, strict=True)
            if revisions is not None
        }

    async def follow(self) -> None:
        """Obey what is in Redis, and report it, until cancelled."""
        away = False
        while True:
            await asyncio.sleep(POLL.total_seconds())
            try:
                await self._follow_once()
                away = False
            except Exception as error:  # noqa: BLE001 (whoever stops following obeys the past for good)
                if not away:
                    log.warning("Redis cannot be followed; the last policies stay in force", error=str(error))
                away = True

    async def _follow_once(self) -> None:
        state = await self._state()
        if self._is_lost(state):
            await self._renew()
            state = await self._state()
        if state != self._seen:
            names = sorted(await self._redis.smembers(ROUTES))
            found = await self._redis.mget([POLICY + name.decode() for name in names]) if names else []
            self._adopt(record.policy for raw in found if (record := _read(raw)) is not None)
            held = await self._redis.get(HOLD)
            self._hold = None if held is None else _HOLD.validate_json(held)
            self._seen = state
        await self._report()

    async def _state(self) -> State:
        epoch, version = await self._redis.mget(EPOCH, VERSION)
        return epoch, version

    def _is_lost(self, state: State) -> bool:
        """Whether Redis forgot what this gateway saw in it."""
        (seen_epoch, seen_version), (epoch, version) = self._seen, state
        if seen_epoch is None:
            return False
        return epoch is None or (epoch == seen_epoch and int(version or 0) < int(seen_version or 0))

    async def _renew(self) -> None:
        """Write a new epoch after a loss; of several gateways that see it one writes, and the others follow it."""
        epoch = secrets.token_hex(4)
        records = {
            route: RouteRecord(policy=replace(policy, revision=Revision(epoch, 1), key=""))
            for route, policy in self._policies.items()
        }
        with suppress(WatchError):
            async with self._redis.pipeline(transaction=True) as transaction:
                await transaction.watch(EPOCH, VERSION)
                epoch_now, version_now = await transaction.mget(EPOCH, VERSION)
                if not self._is_lost((epoch_now, version_now)):
                    return
                transaction.multi()
                transaction.set(EPOCH, epoch)
                _store(transaction, records)
                if self._hold is not None:
                    transaction.set(HOLD, _HOLD.dump_json(self._hold))
                await transaction.execute()
            log.warning("Redis had lost the policies; it was given those that are obeyed", epoch=epoch)

    def _adopt(self, policies: Iterable[TrafficPolicy]) -> None:
        """Adopt policies, but no older revision, in whatever order answers arrive; another epoch is another history."""
        for policy in policies:
            ours = self._policies.get(policy.route)
            if ours is None or ours.revision.epoch != policy.revision.epoch or ours.revision < policy.revision:
                self._policies[policy.route] = policy

    async def _report(self) -> None:
        revisions = {route: str(policy.revision) for route, policy in self._policies.items()}
        async with self._redis.pipeline(transaction=False) as together:
            together.sadd(INSTANCES, self._instance)
            together.set(INSTANCE + self._instance, _REVISIONS.dump_json(revisions), px=ALIVE)
            await together.execute()

    async def aclose(self) -> None:
        # A Redis that is gone forgets the instance by itself.
        with suppress(RedisError):
            await self._redis.delete(INSTANCE + self._instance)
        await self._redis.aclose()


def _store(transaction: Any, records: Mapping[str, RouteRecord]) -> None:
    if not records:
        return
    transaction.sadd(ROUTES, *records)
    for route, record in records.items():
        transaction.set(POLICY + route, _RECORD.dump_json(record))
    transaction.incr(VERSION)


def _away(error: RedisError) -> DataPlaneUnavailable:
    return DataPlaneUnavailable(f"The policy store does not answer: {error}.")


def _read(raw: bytes | None) -> RouteRecord | None:
    try:
        return None if raw is None else _RECORD.validate_json(raw)
    except ValidationError as error:
        raise DataPlaneUnavailable("A policy in Redis cannot be read; write it anew, or restore a backup.") from error
