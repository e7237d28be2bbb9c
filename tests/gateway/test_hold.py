"""The automation hold: kept with the policies, in a file or in Redis, and by whoever holds the token."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from failover.automation import Hold
from failover.errors import DataPlaneUnavailable, RequestError
from gateway.counters import utc_now
from gateway.redis_store import RedisStore
from gateway.store import FileStore
from tests.gateway.conftest import TOKEN, Gateway
from traffic.gateway import GatewayPlane

HOLD = Hold(by="anna", why="a migration", since=datetime(2026, 1, 1, tzinfo=UTC))
INITIAL = {"chat": {"bedrock": 10000}}


async def test_a_hold_survives_a_restart_and_leaves_the_policies_alone(gateway: Gateway) -> None:
    """Set, read, read again from the file as a new process does, and ended."""
    plane = GatewayPlane(gateway.url, token=TOKEN)
    try:
        assert await plane.hold() is None
        before = gateway.store.policies
        await plane.keep_hold(HOLD)
        assert await plane.hold() == HOLD
        reopened = FileStore.open(gateway.store._path, INITIAL, utc_now)
        assert await reopened.hold() == HOLD
        assert (await gateway.put(bedrock=100)).status_code == 200
        assert await plane.hold() == HOLD
        assert gateway.store.policies["other"] == before["other"]
        await plane.keep_hold(None)
        assert await plane.hold() is None
    finally:
        await plane.aclose()


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
async def test_without_the_token_nothing_is_held_or_ended(method: str, gateway: Gateway) -> None:
    """Anybody may read it."""
    answer = await gateway.http.request(method, "/automation/hold", json={"by": "eve", "why": "x"})
    assert answer.status_code == 401
    assert (await gateway.http.get("/automation/hold")).json() == {"hold": None}


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"by": "anna"}, "why: Field required"),
        ({"by": "", "why": "x"}, "by: "),
        ({"by": "anna", "why": "x", "until": "2020-01-01T00:00:00Z"}, "is over already"),
        ({"by": "anna", "why": "x", "until": "2030-01-01T00:00:00"}, "until: "),
        ({"by": "anna", "why": "x", "untill": None}, "untill: "),
    ],
)
async def test_a_hold_that_cannot_be_meant_is_refused(body: dict[str, Any], said: str, gateway: Gateway) -> None:
    """With the field; nothing is held."""
    answer = await gateway.http.put("/automation/hold", json=body, headers=gateway.operator)
    assert answer.status_code == 422 and said in answer.json()["error"]["message"]
    assert await gateway.store.hold() is None


async def test_who_may_not_or_does_not_answer_is_told_apart(gateway: Gateway) -> None:
    """A wrong token is a refusal, no gateway is unavailable."""
    stranger, nobody = GatewayPlane(gateway.url, token="wrong"), GatewayPlane("http://127.0.0.1:9", token=TOKEN)
    try:
        with pytest.raises(RequestError, match="token"):
            await stranger.keep_hold(HOLD)
        with pytest.raises(DataPlaneUnavailable):
            await nobody.hold()
    finally:
        await stranger.aclose()
        await nobody.aclose()


async def test_gateways_on_one_redis_share_the_hold(redis_url: str) -> None:
    """Set at one it is known at the other; a Redis that forgot everything is told again."""
    here, there = [await RedisStore.open(redis_url, INITIAL, utc_now) for _ in range(2)]
    try:
        await here.keep_hold(HOLD)
        assert await there.hold() == HOLD
        assert await here.hold() == HOLD
        await here._redis.flushall()
        async with asyncio.timeout(5):
            while await there.hold() != HOLD or await here.hold() != HOLD:
                await asyncio.sleep(0.02)
        third = await RedisStore.open(redis_url, INITIAL, utc_now)
        assert await third.hold() == HOLD
        await third.aclose()
        await there.keep_hold(None)
        assert await here.hold() is None
    finally:
        await here._redis.flushall()
        await here.aclose()
        await there.aclose()


def test_a_hold_speaks() -> None:
    """Who, why, since when and until when, in one sentence."""
    assert str(HOLD) == "Automation is on hold since 2026-01-01 00:00 UTC until somebody ends it by anna: a migration"
    until = Hold(by="a", why="b", since=HOLD.since, until=HOLD.since + timedelta(hours=2))
    assert "until 2026-01-01 02:00 UTC" in str(until)
