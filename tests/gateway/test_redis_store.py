"""Several gateways on one Redis: one truth, obeyed everywhere within moments, and kept while Redis is away."""

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from redis.asyncio import Redis
from redis.exceptions import RedisError

from failover.config import Config
from failover.errors import ConfigError
from failover.policy import Change, ChangedBy, ChangeStatus
from gateway.app import create_app
from gateway.counters import utc_now
from gateway.process import listening
from gateway.redis_store import ALIVE, EPOCH, POLICY, VERSION, RedisStore
from providers.memory import MemoryClient
from starter.ports import free_port

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


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(3):
        while not condition():
            await asyncio.sleep(0.01)


async def test_every_gateway_reads_what_is_in_force_at_once(stores: list[RedisStore]) -> None:
    """Not what it happened to see last: a change written through one gateway is read back through another."""
    here, there = stores
    for n in range(20):
        changed = (await here.apply([change(here, f"k{n}", google=n * 100, meta=10000 - n * 100)]))[0].policy
        assert changed is not None
        assert (await there.read())["chat"] == changed
        assert there.policies["chat"] == changed


async def test_what_is_obeyed_never_goes_back(stores: list[RedisStore]) -> None:
    """However the answers of Redis overtake each other."""
    here = stores[0]
    before = here.policies["chat"]
    after = (await here.apply([change(here, "k1", google=10000)]))[0].policy
    here._adopt([before])
    assert here.policies["chat"] == after


async def test_an_emptied_redis_is_given_what_is_obeyed(stores: list[RedisStore]) -> None:
    """Traffic stays where it was moved to, under a new epoch, on which older decisions are refused."""
    here, there = stores
    decided_before = change(here, "late", bedrock=10000)
    await here.apply([change(here, "k1", google=10000)])
    await there.read()
    old = here.policies["chat"].revision.epoch
    await here._redis.flushall()
    await until(lambda: {store.policies["chat"].revision.epoch for store in stores}.isdisjoint({old}))
    await until(lambda: here.policies["chat"].revision == there.policies["chat"].revision)
    for store in stores:
        assert (await store.read())["chat"].distribution == {"google": 10000}
    assert (await there.apply([decided_before]))[0].status is ChangeStatus.REFUSED
    assert (await there.apply([change(there, "k2", meta=10000)]))[0].status is ChangeStatus.APPLIED


async def test_a_redis_that_is_set_back_is_given_what_is_obeyed(stores: list[RedisStore]) -> None:
    """As after a restored backup: the evacuated provider gets nothing."""
    here, there = stores
    redis = here._redis
    backup = {name: await redis.dump(name) for name in (EPOCH, VERSION, POLICY + "chat")}
    await here.apply([change(here, "k1", google=10000)])
    await there.read()
    old = here.policies["chat"].revision.epoch
    async with redis.pipeline(transaction=True) as restore:
        for name, value in backup.items():
            restore.restore(name, 0, value, replace=True)
        await restore.execute()
    await until(lambda: {store.policies["chat"].revision.epoch for store in stores}.isdisjoint({old}))
    for store in stores:
        assert (await store.read())["chat"].distribution == {"google": 10000}


async def test_an_instance_that_ended_is_not_waited_for(redis_url: str) -> None:
    """Neither one that said goodbye, nor, after its time, one that was killed."""
    staying, leaving, killed = [await RedisStore.open(redis_url, INITIAL, utc_now) for _ in range(3)]
    following = asyncio.create_task(staying.follow())
    assert len(await staying.obeyed()) == 3
    await leaving.aclose()
    assert len(await staying.obeyed()) == 2
    async with asyncio.timeout(2 * ALIVE.total_seconds()):
        while len(await staying.obeyed()) == 2:
            await asyncio.sleep(0.1)
    assert len(await staying.obeyed()) == 1
    following.cancel()
    await killed.aclose()
    await staying.aclose()


async def test_while_redis_is_away_users_are_served_and_nothing_changes(config: Config, tmp_path: Path) -> None:
    """And when it comes back empty, the change that was made before is still obeyed."""
    port = free_port()
    redis = await start_redis(port, tmp_path)
    initial = {name: route.distribution for name, route in config.routes.items()}
    store = await RedisStore.open(f"redis://127.0.0.1:{port}/0", initial, utc_now)
    following = asyncio.create_task(store.follow())
    app = create_app(config, {key: MemoryClient(key) for key in config.providers}, store, token="t")
    async with listening(app, "127.0.0.1", 0) as url, httpx.AsyncClient(base_url=url, trust_env=False) as http:
        operator = {"Authorization": "Bearer t"}
        etag = (await http.get("/policies/chat")).headers["ETag"]
        body = {"distribution": {"google": 100}, "reason": "a test"}
        changed = await http.put("/policies/chat", json=body, headers={**operator, "If-Match": etag})
        assert changed.status_code == 200
        redis.kill()
        await redis.wait()
        for _ in range(5):
            question = {"model": "chat", "messages": [{"role": "user", "content": "hello"}]}
            answer = await http.post("/v1/chat/completions", json=question)
            assert answer.headers["X-Failover-Provider"] == "google"
        refused = await http.put("/policies/chat", json=body, headers={**operator, "If-Match": etag})
        assert (refused.status_code, refused.headers["Retry-After"]) == (503, "1")
        assert (await http.get("/policies")).status_code == 503
        redis = await start_redis(port, tmp_path)
        async with asyncio.timeout(5):
            while (now := await http.get("/policies/chat")).status_code != 200:
                await asyncio.sleep(0.05)
        assert now.json()["distribution"] == {"google": 100.0}
        assert now.headers["ETag"] != changed.headers["ETag"]
    following.cancel()
    await store.aclose()
    redis.kill()
    await redis.wait()


async def start_redis(port: int, directory: Path) -> asyncio.subprocess.Process:
    """One that keeps nothing on disk."""
    server = shutil.which("redis-server")
    if server is None:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)("redis-server is not installed")
    options = ("--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(directory))
    process = await asyncio.create_subprocess_exec(str(server), *options, stdout=asyncio.subprocess.DEVNULL)
    async with asyncio.timeout(10):
        while not await answers(port):
            await asyncio.sleep(0.02)
    return process


async def answers(port: int) -> bool:
    redis: Any = Redis(port=port)
    try:
        return bool(await redis.ping())
    except RedisError:
        return False
    finally:
        await redis.aclose()


async def test_a_redis_that_is_not_there_is_said_at_start() -> None:
    """Without it what was decided is not known. The URL's password is not told."""
    with pytest.raises(ConfigError, match="FAILOVER_REDIS_URL") as refused:
        await RedisStore.open("redis://:pass-phrase@127.0.0.1:9/0", INITIAL, utc_now)
    assert "pass-phrase" not in str(refused.value)


async def test_degraded_service_is_switched_on_at_every_gateway_and_each_remembers_by_itself(
    config: Config, stores: list[RedisStore]
) -> None:
    """A change at one is obeyed by both; what one was answered the other does not know."""
    here, there = stores
    apps = [create_app(config, {"meta": MemoryClient("meta")}, store, token="t") for store in stores]
    await here.apply([change(here, "meta", meta=10000)])
    on = replace(change(here, "on", meta=10000), degraded={"cache": {"ttl": "2h"}, "banner": "degraded"})
    assert (await here.apply([on]))[0].status is ChangeStatus.APPLIED
    await until(lambda: bool(there.policies["chat"].degraded))
    question = {"model": "chat", "messages": [{"role": "user", "content": "hello"}]}
    told = []
    async with (
        listening(apps[0], "127.0.0.1", 0) as one,
        listening(apps[1], "127.0.0.1", 0) as other,
        httpx.AsyncClient(trust_env=False) as http,
    ):
        for url in (one, one, other, other):
            answer = await http.post(f"{url}/v1/chat/completions", json=question)
            assert answer.headers["X-Failover-Banner"] == "degraded"
            told.append(answer.headers["X-Failover-Source"])
    assert told == ["live", "cache", "live", "cache"]
