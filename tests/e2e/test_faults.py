"""Every fault of the simulator, in one running stack under steady traffic: moved where it must be, left where it must not."""

import asyncio
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.service import RPCError

from activities.evidence import EvidenceStore
from failover.health import Condition, Verdict
from failover.incident import RunRecord
from failover.telemetry import Telemetry
from simulator.faults import FaultKind
from starter.connection import connect
from starter.demo.expectations import Seen, expected, injected_kind, judge, known
from starter.demo.users import Users
from starter.embedded.stack import ANY_PORTS, RunningStack, StackPlan, running
from starter.parts import EVIDENCE, plane_of
from starter.settings import Settings
from starter.status import verdicts
from traffic.gateway import GatewayPlane

FOUND = {"bedrock": 70, "google": 20, "meta": 10}
RATE = 30
CLEAN = timedelta(seconds=4)
"""The longest window of the configuration: after it, nothing of an old fault is counted any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """A running stack, its users, and the means to break and to look."""

    stack: RunningStack
    plane: GatewayPlane
    client: Client
    users: Users

    async def fault(self, kind: str, **options: Any) -> None:
        async with httpx.AsyncClient(base_url=self.stack.addresses.simulator or "") as control:
            answer = await control.put("/faults/bedrock", json={"kind": kind, **options})
            assert answer.is_success, answer.text

    async def heal(self) -> None:
        """As it was found: no fault, the first distribution, everybody healthy, no run open, old windows empty."""
        async with httpx.AsyncClient(base_url=self.stack.addresses.simulator or "") as control:
            await control.delete("/faults")
        async with asyncio.timeout(40):
            while await self.open_run() or not await self.all_healthy():
                await asyncio.sleep(0.1)
        headers = {"Authorization": f"Bearer {self.stack.token}"}
        async with httpx.AsyncClient(base_url=self.stack.addresses.gateway, headers=headers) as http:
            etag = (await http.get("/policies/chat")).headers["ETag"]
            body = {"distribution": FOUND, "reason": "as it was found"}
            put = await http.put("/policies/chat", json=body, headers={"If-Match": etag})
            assert put.is_success, put.text

    async def all_healthy(self) -> bool:
        found = await self.verdicts()
        counted = await self.telemetry(window=CLEAN)
        failed = any(window.failed for window in counted.providers)
        return (
            not failed
            and len(found) == 3
            and all(one.condition is Condition.HEALTHY and one.cause is None for one in found)
        )

    async def verdicts(self) -> list[Verdict]:
        return await verdicts(self.stack.as_found())

    async def telemetry(self, **when: Any) -> Telemetry:
        told = await self.plane.observe(**when)
        assert told is not None
        return told

    async def open_run(self) -> bool:
        return await self._is_open("failover/bedrock") or await self._is_open("gradual/chat")

    async def _is_open(self, workflow_id: str) -> bool:
        try:
            described = await self.client.get_workflow_handle(workflow_id).describe()
        except RPCError:
            return False
        return described.status is WorkflowExecutionStatus.RUNNING

    def latest(self, since: datetime) -> RunRecord | None:
        record = EvidenceStore(Path(self.stack.addresses.state) / EVIDENCE).latest()
        return record if record and record.moments.decided >= since else None

    async def share(self) -> int:
        return (await self.plane.read(["chat"]))[0].distribution.get("bedrock", 0)


@pytest.fixture(scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory, temporal_cli: Path) -> AsyncIterator[World]:
    state = tmp_path_factory.mktemp("stack")
    plan = StackPlan(
        config=Path(__file__).with_name("quick.yaml"),
        state=state,
        durable=True,
        cli=temporal_cli,
        ports=ANY_PORTS,
    )
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "FAILOVER_CACHE") if name in os.environ}
    settings = Settings.from_env(kept)
    async with running(plan, settings, print) as stack:
        plane = plane_of(stack.as_found())
        assert isinstance(plane, GatewayPlane)
        users = Users(stack.addresses.gateway + "/v1", "chat", rate=RATE)
        client = await connect(settings, stack.as_found())
        async with users.coming():
            yield World(stack=stack, plane=plane, client=client, users=users)
        await plane.aclose()


@pytest.fixture(autouse=True)
async def healed(world: World) -> None:
    await world.heal()


MOVING = [fault for fault in known() if (end := expected(fault)) and end.moves]
STAYING = [fault for fault in known() if (end := expected(fault)) and not end.moves]


@pytest.mark.parametrize("fault", MOVING)
async def test_a_fault_that_must_move_traffic_does(world: World, fault: str) -> None:
    """Found, classified, moved, verified, validated, reported; no first try goes to the faulty provider any more."""
    expectation = expected(fault)
    assert expectation is not None
    began = datetime.now(UTC)
    await world.fault(injected_kind(fault), **expectation.options)
    async with asyncio.timeout(40):
        while (record := world.latest(began)) is None:
            await asyncio.sleep(0.1)
    assert record.moments.verified is not None, record.reason
    since = await first_tries_after(world, record.moments.verified)
    seen = Seen(
        provider="bedrock",
        verdicts=await world.verdicts(),
        share_before=7000,
        policy_share=await world.share(),
        first_tries=since,
        record=record,
    )
    unmet = [check.text for check in judge(expectation, seen) if not check.met]
    assert not unmet, f"{unmet}; {record.reason}"
    assert record.moments.first_bad is not None
    assert record.moments.first_bad <= (record.moments.unhealthy or record.moments.first_bad)


async def first_tries_after(world: World, since: datetime) -> dict[str, int]:
    async with asyncio.timeout(20):
        while sum((counted := (await world.telemetry(since=since)).first_tries("chat")).values()) < 60:
            await asyncio.sleep(0.1)
    return counted


@pytest.mark.parametrize("fault", STAYING)
async def test_a_fault_that_must_not_move_traffic_does_not(world: World, fault: str) -> None:
    """Seen for what it is, and nothing is shifted."""
    expectation = expected(fault)
    assert expectation is not None
    began = (await world.telemetry(window=CLEAN)).at
    await world.fault(injected_kind(fault), **expectation.options)
    found: list[Verdict] = []
    async with asyncio.timeout(30):
        while not (
            told(found, expectation)
            and datetime.now(UTC) - began > CLEAN
            and (not expectation.shrinks or await world.share() < 7000)
        ):
            found += [one for one in await world.verdicts() if one.provider == "bedrock" and one.at > began]
            await asyncio.sleep(0.1)
    seen = Seen(
        provider="bedrock",
        verdicts=found,
        share_before=7000,
        policy_share=await world.share(),
        first_tries=await first_tries_after(world, began),
        record=world.latest(began),
    )
    unmet = [check.text for check in judge(expectation, seen) if not check.met]
    assert not unmet, unmet
    assert expectation.shrinks or not await world.open_run()


def told(found: list[Verdict], expectation: Any) -> bool:
    conditions = {one.condition for one in found}
    noted = not expectation.noted or any(expectation.noted in one.reason for one in found)
    return bool(conditions & expectation.conditions) and noted


async def test_one_request_in_ten_failing_moves_traffic_though_probes_are_green(world: World) -> None:
    """Users' tries are counted before the retry that hides them; three probes in a row would hardly ever see it."""
    began = datetime.now(UTC)
    await world.fault(FaultKind.SERVER_ERROR, rate=15)
    async with asyncio.timeout(40):
        while (record := world.latest(began)) is None:
            await asyncio.sleep(0.1)
    assert record.verdict is not None
    assert "tries of users failed" in record.verdict.reason
    assert await world.share() == 0


async def test_an_alert_about_a_provider_without_traffic_changes_nothing(world: World) -> None:
    """Once it is out of every route, its failing on starts no further run."""
    began = datetime.now(UTC)
    await world.fault(FaultKind.SERVER_ERROR)
    async with asyncio.timeout(40):
        while (record := world.latest(began)) is None:
            await asyncio.sleep(0.1)
    ended = datetime.now(UTC)
    async with asyncio.timeout(20):
        while not any(one.provider == "bedrock" and one.at > ended + CLEAN for one in await world.verdicts()):
            await asyncio.sleep(0.1)
    latest = world.latest(began)
    assert latest is not None
    assert latest.run_id == record.run_id
