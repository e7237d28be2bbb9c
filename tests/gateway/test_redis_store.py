"""Several gateways on one Redis: one truth, obeyed everywhere within moments, and kept while Redis is away."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from failover.errors import ConfigError
from failover.policy import Change, ChangedBy, ChangeStatus
from gateway.counters import utc_now
from gateway.redis_store import RedisStore

INITIAL = {"chat": {"bedrock": 10000}, "other": {"meta": 10000}}


@pytest.fixture
async def stores(redis_url: str) -> AsyncIterator[list[RedisStore]]:
    """Two gateways' stores, following."""
    opened = [await RedisStore.open(redis_url, INITIAL, utc_now) for _ in range(2)]
    following = [asyncio.create_task(store.follow()) for store in opened]
    yield opened
    for task in following:
        task.cancel()
    await opened[0]._redis.flushall()
    for store in opened:
        await store.aclose()


def change(store: RedisStore, key: str, route: str = "chat", **shares: int) -> Change:
    return Change(
        route=route,
        decided_on=store.policies[route].revision,
        key=key,
        distribution=shares,
        changed_by=ChangedBy(actor="test"),
        reason="a test",
    )


async def test_a_change_at_one_gateway_is_obeyed_by_the_other(stores: list[RedisStore]) -> None:
    """Within a third of a second, and both say so."""
    here, there = stores
    result = (await here.apply([change(here, "k1", google=10000)]))[0]
    assert result.status is ChangeStatus.APPLIED
    async with asyncio.timeout(2):
        while there.policies["chat"].distribution != {"google": 10000}:
            await asyncio.sleep(0.01)
    async with asyncio.timeout(2):
        while {revisions["chat"] for revisions in (await here.obeyed()).values()} != {str(result.policy.revision)}:  # type: ignore[union-attr]
            await asyncio.sleep(0.01)
    assert len(await here.obeyed()) == 2


async def test_of_rivals_on_one_revision_exactly_one_wins(stores: list[RedisStore]) -> None:
    """Forty writes decided on the same revision, at both gateways at once: one is applied, the others refused."""
    changes = [change(stores[n % 2], f"k{n}", google=n * 100, meta=10000 - n * 100) for n in range(40)]
    results = await asyncio.gather(*(stores[n % 2].apply([one]) for n, one in enumerate(changes)))
    statuses = [result[0].status for result in results]
    assert statuses.count(ChangeStatus.APPLIED) == 1
    assert statuses.count(ChangeStatus.REFUSED) == 39


async def test_a_repeated_key_is_known_at_every_gateway(stores: list[RedisStore]) -> None:
    """A write that is sent again, elsewhere, changes nothing."""
    once = change(stores[0], "once", google=10000)
    await stores[0].apply([once])
    assert (await stores[1].apply([once]))[0].status is ChangeStatus.REPEATED


async def test_a_batch_is_one_transaction(stores: list[RedisStore]) -> None:
    """Two routes in one call, each with its result."""
    here = stores[0]
    results = await here.apply([change(here, "k1", google=10000), change(here, "k1", route="other", google=10000)])
    assert [result.status for result in results] == [ChangeStatus.APPLIED, ChangeStatus.APPLIED]


async def test_a_redis_that_is_not_there_is_said_at_start() -> None:
    """Without it what was decided is not known."""
    with pytest.raises(ConfigError, match="FAILOVER_REDIS_URL"):
        await RedisStore.open("redis://127.0.0.1:9/0", INITIAL, utc_now)


def test_no_secret_of_the_url_is_in_a_store(stores: Any) -> None:
    """The URL may hold a password; the store's representation does not."""
    assert "redis://" not in repr(stores[0])
