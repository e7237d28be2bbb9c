"""What every data plane must do, the real one and the one in memory alike."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from temporalio.testing import ActivityEnvironment

from activities.board import VerdictBoard
from activities.certificates import Certificates
from activities.traffic import Traffic, VerifyOrder
from failover.completion import Completion, Message, Role
from failover.errors import DataPlaneUnavailable, RequestError
from failover.policy import Change, ChangedBy, ChangeStatus, Mode
from failover.ports import TrafficPlane
from failover.restoration import Expectation
from gateway.app import create_app
from gateway.counters import utc_now
from gateway.process import listening
from gateway.redis_store import RedisStore
from gateway.store import FileStore, PolicyStore
from providers.memory import MemoryClient
from starter.configuration import demo_config, load
from traffic.gateway import GatewayPlane
from traffic.memory import MemoryPlane

QUESTION = Completion(messages=[Message(role=Role.USER, text="Reply with only the word PONG")])


CONFIG = load(demo_config()).config
INITIAL = {name: route.distribution for name, route in CONFIG.routes.items()}


@pytest.fixture(params=["gateway", "gateway on Redis", "memory"])
def kind(request: pytest.FixtureRequest) -> str:
    """A URL in the place of Redis's name, so that only its tests need a server."""
    kind = str(request.param)
    return str(request.getfixturevalue("redis_url")) if kind == "gateway on Redis" else kind


@pytest.fixture
async def plane(kind: str, tmp_path: Path) -> AsyncIterator[TrafficPlane]:
    if kind == "memory":
        yield MemoryPlane(INITIAL)
    elif kind == "gateway":
        async with serving(FileStore.open(tmp_path / "policies.json", INITIAL, utc_now)) as real:
            yield real
    else:
        async with shared(kind) as store, serving(store) as real:
            yield real


@asynccontextmanager
async def serving(store: PolicyStore) -> AsyncIterator[GatewayPlane]:
    clients = {key: MemoryClient(key) for key in CONFIG.providers}
    app = create_app(CONFIG, clients, store, token="t", rng=random.Random(1))
    async with listening(app, "127.0.0.1", 0) as url:
        plane = GatewayPlane(url, token="t")
        yield plane
        await plane.aclose()


@asynccontextmanager
async def shared(redis_url: str) -> AsyncIterator[RedisStore]:
    """A store that nobody follows: its gateway obeys only what came through its own door."""
    store = await RedisStore.open(redis_url, INITIAL, utc_now)
    yield store
    await store._redis.flushall()
    await store.aclose()


async def change(plane: TrafficPlane, key: str = "k1", **shares: int) -> Change:
    policy = (await plane.read(["chat"]))[0]
    return Change(
        route="chat",
        decided_on=policy.revision,
        key=key,
        distribution=shares or {"google": 10000},
        changed_by=ChangedBy(actor="test", workflow_id="failover/bedrock"),
        reason="a test",
    )


async def test_what_is_applied_is_read_back(plane: TrafficPlane) -> None:
    """With its author, one revision on."""
    wanted = await change(plane)
    result = (await plane.apply([wanted]))[0]
    assert result.status is ChangeStatus.APPLIED
    policy = (await plane.read())[0]
    assert policy.distribution == {"google": 10000}
    assert policy.changed_by.workflow_id == "failover/bedrock"
    assert policy.revision.number == wanted.decided_on.number + 1


async def test_writes_are_fenced_and_idempotent(plane: TrafficPlane) -> None:
    """A repeated key is done already; a stale revision is refused, with what is in force; each has its own result."""
    first = await change(plane)
    stale = await change(plane, key="k2", meta=10000)
    results = [*(await plane.apply([first, first])), *(await plane.apply([stale]))]
    assert [result.status for result in results] == [
        ChangeStatus.APPLIED,
        ChangeStatus.REPEATED,
        ChangeStatus.REFUSED,
    ]
    assert results[2].policy is not None
    assert results[2].policy.distribution == {"google": 10000}


async def test_unknown_routes_are_left_out_of_a_reading(plane: TrafficPlane) -> None:
    """And refused by name in a change."""
    assert await plane.read(["nope"]) == []
    policy = (await plane.read())[0]
    wrong = await change(plane)

    result = (await plane.apply([replace(wrong, route="nope", decided_on=policy.revision)]))[0]
    assert result.status is ChangeStatus.REFUSED


async def test_a_question_is_answered_and_not_counted_as_a_users(plane: TrafficPlane) -> None:
    """By whoever serves the route."""
    if isinstance(plane, MemoryPlane):
        plane.requests = 0
    served_by, answer = await plane.ask("chat", QUESTION, timeout=timedelta(seconds=2))
    assert served_by in ("bedrock", "google", "meta")
    assert answer.text == "PONG"
    reading = await plane.observe(window=timedelta(seconds=60))
    assert reading is not None
    assert reading.routes == []


async def test_every_live_instance_tells_what_it_obeys(plane: TrafficPlane) -> None:
    """The new revision as soon as the change was answered, where there is one instance."""
    applied = (await plane.apply([await change(plane)]))[0].policy
    assert applied is not None
    assert [told["chat"] for told in (await plane.obeyed()).values()] == [str(applied.revision)]


async def test_many_routes_are_asked_for_at_once(plane: TrafficPlane) -> None:
    """More than fit into a URL; those that are there are read."""
    policies = await plane.read(["chat", *(f"none-{n}" for n in range(2000))])
    assert [policy.route for policy in policies] == ["chat"]


async def test_a_change_through_one_gateway_is_read_through_another(redis_url: str) -> None:
    """Also by one that has not obeyed it yet."""
    async with shared(redis_url) as here, shared(redis_url) as there, serving(here) as one, serving(there) as other:
        await one.apply([await change(one)])
        assert (await other.read(["chat"]))[0].distribution == {"google": 10000}


async def test_a_gateway_that_lags_behind_is_not_verified(redis_url: str) -> None:
    """Not until the timeout; once it follows, the same change is."""
    async with shared(redis_url) as here, shared(redis_url) as there, serving(here) as plane:
        await plane.apply([await change(plane)])
        expected = Expectation(route="chat", share={"google": 10000}, evacuated="bedrock")
        order = VerifyOrder(expected=[expected], timeout=timedelta(seconds=0.5))
        verify = Traffic(CONFIG, plane, VerdictBoard(), Certificates(CONFIG, {}, None)).verify
        lagging = await ActivityEnvironment().run(verify, order)
        assert lagging.verified is False
        assert "still obeys" in lagging.reason
        following = asyncio.create_task(there.follow())
        order = VerifyOrder(expected=[expected], timeout=timedelta(seconds=2))
        assert (await ActivityEnvironment().run(verify, order)).verified is True
        following.cancel()


async def test_nobody_there_is_unavailable() -> None:
    """A sentence with the address, and an error that is tried again."""
    plane = GatewayPlane("http://127.0.0.1:9", token=None)
    with pytest.raises(DataPlaneUnavailable, match=r"127\.0\.0\.1:9"):
        await plane.read()
    assert DataPlaneUnavailable.retryable
    await plane.aclose()


async def test_degraded_service_is_kept_as_it_was_written(plane: TrafficPlane) -> None:
    """Left out of a change it stays, and nothing switches it off but an empty one."""
    service = {"cache": {"ttl": "2h", "serve_stale": True}, "queue": {"size": 10, "timeout": "5m"}, "banner": "ill"}
    await plane.apply([replace(await change(plane, key="on"), degraded=service, mode=Mode.DEGRADED)])
    await plane.apply([await change(plane, key="move", meta=10000)])
    policy = (await plane.read(["chat"]))[0]
    assert (policy.degraded, policy.mode, policy.distribution) == (service, Mode.DEGRADED, {"meta": 10000})
    await plane.apply([replace(await change(plane, key="off", meta=10000), degraded={}, mode=Mode.NORMAL)])
    assert (await plane.read(["chat"]))[0].degraded == {}


async def test_degraded_service_that_cannot_be_meant_is_refused_by_its_field(plane: TrafficPlane) -> None:
    """And nothing is changed."""
    wrong = replace(await change(plane), degraded={"queue": {"size": 0}})
    with pytest.raises(RequestError, match=r"degraded\.queue\.size"):
        await plane.apply([wrong])
    assert (await plane.read(["chat"]))[0].revision == wrong.decided_on
