"""What every data plane must do, the real one and the one in memory alike."""

import random
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from failover.completion import Completion, Message, Role
from failover.errors import DataPlaneUnavailable
from failover.policy import Change, ChangedBy, ChangeStatus
from failover.ports import TrafficPlane
from gateway.app import create_app
from gateway.counters import utc_now
from gateway.process import listening
from gateway.store import FileStore
from providers.memory import MemoryClient
from starter.stack import demo_config, load
from traffic.gateway import GatewayPlane
from traffic.memory import MemoryPlane

QUESTION = Completion(messages=[Message(role=Role.USER, text="Reply with only the word PONG")])


@pytest.fixture(params=["gateway", "memory"])
async def plane(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[TrafficPlane]:
    config = load(demo_config()).config
    initial = {name: route.distribution for name, route in config.routes.items()}
    if request.param == "memory":
        yield MemoryPlane(initial)
        return
    store = FileStore.open(tmp_path / "policies.json", initial, utc_now)
    clients = {key: MemoryClient(key) for key in config.providers}
    app = create_app(config, clients, store, token="t", rng=random.Random(1))
    async with listening(app, "127.0.0.1", 0) as url:
        real = GatewayPlane(url, token="t")
        yield real
        await real.aclose()


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


async def test_nobody_there_is_unavailable() -> None:
    """A sentence with the address, and an error that is tried again."""
    plane = GatewayPlane("http://127.0.0.1:9", token=None)
    with pytest.raises(DataPlaneUnavailable, match=r"127\.0\.0\.1:9"):
        await plane.read()
    assert DataPlaneUnavailable.retryable
    await plane.aclose()
