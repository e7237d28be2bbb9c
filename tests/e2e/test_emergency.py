"""All providers down at once, on the real embedded stack: service goes on degraded, and comes back by itself."""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.service import RPCError

from failover.distribution import same
from failover.policy import Mode, TrafficPolicy
from starter.connection import connect
from starter.demo.users import Got, Users
from starter.embedded.stack import ANY_PORTS, RunningStack, StackPlan, running
from starter.parts import plane_of
from starter.settings import Settings
from traffic.gateway import GatewayPlane

FOUND = {"cache": {"ttl": "100ms", "serve_stale": False}}
"""What an operator had switched on before; it is to be there again afterwards."""

WAITING = 15
PER_SECOND = 2.5
"""What meta declares in emergency.yaml."""


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """A running stack, its users, and the means to break and to look."""

    stack: RunningStack
    plane: GatewayPlane
    client: Client
    users: Users
    http: httpx.AsyncClient

    async def policy(self) -> TrafficPolicy:
        return (await self.plane.read(["chat"]))[0]

    async def switch(self, degraded: dict[str, Any]) -> None:
        found = await self.http.get("/policies/chat")
        body = {"distribution": found.json()["distribution"], "degraded": degraded, "reason": "an operator's own"}
        headers = {"Authorization": f"Bearer {self.stack.token}", "If-Match": found.headers["ETag"]}
        answer = await self.http.put("/policies/chat", json=body, headers=headers)
        assert answer.is_success, answer.text

    async def break_all(self) -> None:
        async with httpx.AsyncClient(base_url=self.stack.addresses.simulator or "") as control:
            for provider in ("bedrock", "google", "meta"):
                assert (await control.put(f"/faults/{provider}", json={"kind": "server_error"})).is_success

    async def mend(self, provider: str) -> None:
        async with httpx.AsyncClient(base_url=self.stack.addresses.simulator or "") as control:
            assert (await control.delete(f"/faults/{provider}")).is_success

    async def length(self) -> float:
        lines = (await self.http.get("/metrics")).text.splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith("failover_queue_length{"))

    async def ask(self, text: str) -> tuple[float, httpx.Response]:
        """→ when the answer came, and it."""
        body = {"model": "chat", "messages": [{"role": "user", "content": text}]}
        answer = await self.http.post("/v1/chat/completions", json=body)
        return time.monotonic(), answer

    async def status(self) -> WorkflowExecutionStatus | None:
        """Of the emergency's run; None before there is one."""
        try:
            return (await self.client.get_workflow_handle("emergency").describe()).status
        except RPCError:
            return None


async def until(condition: Callable[[], Coroutine[Any, Any, bool]], seconds: float) -> None:
    async with asyncio.timeout(seconds):
        while not await condition():
            await asyncio.sleep(0.05)


@pytest.fixture(scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory, temporal_cli: Path) -> AsyncIterator[World]:
    plan = StackPlan(
        config=Path(__file__).with_name("emergency.yaml"),
        state=tmp_path_factory.mktemp("stack"),
        durable=True,
        cli=temporal_cli,
        ports=ANY_PORTS,
    )
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "FAILOVER_CACHE") if name in os.environ}
    settings = Settings.from_env(kept)
    async with running(plan, settings, print) as stack:
        plane = plane_of(stack.as_found())
        assert isinstance(plane, GatewayPlane)
        http = httpx.AsyncClient(base_url=stack.addresses.gateway, trust_env=False, timeout=200)
        users = Users(stack.addresses.gateway + "/v1", "chat", rate=1)
        client = await connect(settings, stack.as_found())
        async with users.coming():
            yield World(stack=stack, plane=plane, client=client, users=users, http=http)
        await http.aclose()
        await plane.aclose()


@pytest.mark.timeout(240)
async def test_what_waited_through_the_emergency_is_answered_in_order_at_the_declared_rate(world: World) -> None:
    """All three down under traffic: the emergency comes by itself; the first one back serves everybody who waited.

    Nobody is missing, and the settings that were found are in force again when service is normal.
    """
    await world.switch(FOUND)

    async def served() -> bool:
        return any(one.got is Got.OK for one in world.users.asked)

    await until(served, 30)
    await world.break_all()

    async def degraded() -> bool:
        policy = await world.policy()
        return policy.mode is Mode.DEGRADED and "queue" in policy.degraded

    await until(degraded, 90)
    assert await world.status() is WorkflowExecutionStatus.RUNNING

    waiting = []
    for number in range(WAITING):
        before = await world.length()
        waiting.append(asyncio.create_task(world.ask(f"question {number}")))

        async def longer(before: float = before) -> bool:
            return await world.length() > before

        await until(longer, 20)

    await world.mend("meta")
    async with asyncio.timeout(90):
        came = await asyncio.gather(*waiting)
    moments, answers = [moment for moment, _ in came], [answer for _, answer in came]
    assert [answer.status_code for answer in answers] == [200] * WAITING
    assert {answer.headers["X-Failover-Source"] for answer in answers} == {"queue"}
    assert {answer.headers["X-Failover-Provider"] for answer in answers} == {"meta"}
    assert all(answer.headers["X-Failover-Banner"] for answer in answers)
    texts = [answer.json()["choices"][0]["message"]["content"] for answer in answers]
    assert all(text.endswith(f"question {number}") for number, text in enumerate(texts))
    assert moments == sorted(moments)
    assert moments[-1] - moments[0] > 0.85 * (WAITING - 1) / PER_SECOND

    async def normal() -> bool:
        return (await world.policy()).mode is Mode.NORMAL

    await until(normal, 90)
    policy = await world.policy()
    assert policy.degraded == FOUND
    assert same(policy.distribution, {"meta": 10_000})

    async def over() -> bool:
        return await world.status() is WorkflowExecutionStatus.COMPLETED

    await until(over, 30)
    assert await world.length() == 0
    _, answer = await world.ask("afterwards")
    assert (answer.headers["X-Failover-Source"], answer.headers["X-Failover-Provider"]) == ("live", "meta")
    assert "X-Failover-Banner" not in answer.headers
