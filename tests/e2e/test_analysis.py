"""Real incidents, each with a cause that was injected: the analysis ranks the right one first."""

import asyncio
import json
import os
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from activities.analyzing import recent
from activities.deploys import FILE as DEPLOYS
from activities.evidence import EvidenceStore
from activities.samples import SampleLog
from failover.health import Condition
from failover.incident import RunRecord
from failover.telemetry import ProviderWindow
from starter.cli import run
from starter.demo.users import Users
from starter.embedded.stack import ANY_PORTS, RunningStack, StackPlan, running
from starter.parts import EVIDENCE, SAMPLES, plane_of
from starter.settings import Settings
from starter.status import verdicts
from traffic.gateway import GatewayPlane

pytestmark = pytest.mark.timeout(180)

FOUND = {"bedrock": 70, "google": 20, "meta": 10}
WINDOW = timedelta(seconds=4)
"""Of the configuration: over so long the detectors count users' tries."""

EVERYBODY = ("bedrock", "google", "meta")


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """A running stack with its webhook server, users, and the means to break and to ask."""

    stack: RunningStack
    plane: GatewayPlane

    @property
    def state(self) -> Path:
        return Path(self.stack.addresses.state)

    async def fault(self, kind: str, *providers: str, **options: Any) -> datetime:
        began = datetime.now(UTC)
        async with httpx.AsyncClient(base_url=self.stack.addresses.simulator or "", trust_env=False) as control:
            for provider in providers or ("bedrock",):
                answer = await control.put(f"/faults/{provider}", json={"kind": kind, **options})
                assert answer.is_success, answer.text
        return began

    async def note_deploy(self, service: str, version: str) -> None:
        headers = {"Authorization": f"Bearer {self.stack.token}"}
        async with httpx.AsyncClient(base_url=self.stack.addresses.webhooks or "", trust_env=False) as http:
            answer = await http.post(
                "/webhooks/deploys", headers=headers, json={"service": service, "version": version, "by": "ci"}
            )
            assert answer.status_code == 200, answer.text

    async def set(self, shares: Mapping[str, float]) -> None:
        """And wait until every provider's watch has seen it."""
        began = datetime.now(UTC)
        headers = {"Authorization": f"Bearer {self.stack.token}"}
        async with httpx.AsyncClient(base_url=self.stack.addresses.gateway, headers=headers, trust_env=False) as http:
            etag = (await http.get("/policies/chat")).headers["ETag"]
            put = await http.put(
                "/policies/chat", json={"distribution": shares, "reason": "by hand"}, headers={"If-Match": etag}
            )
            assert put.is_success, put.text
        async with asyncio.timeout(30):
            while not shares.keys() <= {
                one.provider
                for one in SampleLog(self.state / SAMPLES, 0).read(began)
                if (one.shares or {}).get("chat") == round(shares[one.provider] * 100)
            }:
                await asyncio.sleep(0.1)

    async def healed(self) -> None:
        """No fault, nothing that failed before, everybody found well, the first distribution; no deploy of another test."""
        (self.state / DEPLOYS).unlink(missing_ok=True)
        async with httpx.AsyncClient(base_url=self.stack.addresses.simulator or "", trust_env=False) as control:
            await control.delete("/faults")
        async with asyncio.timeout(60):
            while not all(
                one.condition is Condition.HEALTHY and one.cause is None
                for one in await verdicts(self.stack.as_found())
            ):
                await asyncio.sleep(0.1)
            while any(window.failures for window in await self._tries()):
                await asyncio.sleep(0.1)
        await self.set(FOUND)

    async def _tries(self) -> Sequence[ProviderWindow]:
        """As the detectors count them: a failure of another test would be counted against this one's cause."""
        told = await self.plane.observe(window=WINDOW)
        assert told is not None
        return told.providers

    async def incident(self, since: datetime) -> RunRecord:
        """The first run that closed about it."""
        async with asyncio.timeout(60):
            while True:
                for record in recent(EvidenceStore(self.state / EVIDENCE)):
                    if record.moments.decided >= since:
                        return record
                await asyncio.sleep(0.1)


@pytest.fixture(scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory, temporal_cli: Path) -> AsyncIterator[World]:
    state = tmp_path_factory.mktemp("stack")
    plan = StackPlan(
        config=Path(__file__).with_name("quick.yaml"),
        state=state,
        durable=True,
        cli=temporal_cli,
        ports=ANY_PORTS,
        webhooks=True,
    )
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "FAILOVER_CACHE") if name in os.environ}
    async with running(plan, Settings.from_env(kept), print) as stack:
        plane = plane_of(stack.as_found())
        assert isinstance(plane, GatewayPlane)
        users = Users(stack.addresses.gateway + "/v1", "chat", rate=30)
        async with users.coming():
            yield World(stack=stack, plane=plane)
        await plane.aclose()


CAUSES = [
    ("throttled", {"rate": 40}, "rate limit of the provider"),
    ("server_error", {}, "server errors of the provider"),
    ("authentication", {}, "credentials refused"),
    ("hang", {}, "no answers in time"),
    ("wrong", {}, "wrong or empty answers"),
]


@pytest.mark.parametrize(("kind", "options", "cause"), CAUSES)
async def test_the_injected_cause_is_ranked_first(
    world: World,
    capsys: pytest.CaptureFixture[str],
    kind: str,
    options: dict[str, Any],
    cause: str,
) -> None:
    await world.healed()
    began = await world.fault(kind, **options)
    analysis = await analyzed(world, capsys, await world.incident(began))
    assert analysis["claims"][0]["cause"] == cause, shown(analysis)


async def test_a_raise_shortly_before_is_ranked_above_the_refusals_for_load(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same fault as the first, on a provider that had been given its traffic a moment ago."""
    await world.healed()
    await world.set({"bedrock": 5, "google": 80, "meta": 15})
    await world.healed()
    began = await world.fault("throttled", rate=40)
    analysis = await analyzed(world, capsys, await world.incident(began))
    assert analysis["claims"][0]["cause"] == "a change of the traffic policy shortly before", shown(analysis)


async def test_a_deploy_shortly_before_is_ranked_above_what_it_broke(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    await world.healed()
    await world.note_deploy("gateway", "v2")
    began = await world.fault("permission")
    analysis = await analyzed(world, capsys, await world.incident(began))
    first, second = analysis["claims"][:2]
    assert (first["cause"], second["cause"]) == ("a deploy shortly before", "credentials refused"), shown(analysis)


async def test_all_refused_at_once_is_our_own_network(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    """The last: what it leaves is an emergency."""
    await world.healed()
    began = await world.fault("refused", *EVERYBODY)
    analysis = await analyzed(world, capsys, await world.incident(began))
    assert analysis["claims"][0]["cause"] == "our own network", shown(analysis)


async def analyzed(world: World, capsys: pytest.CaptureFixture[str], record: RunRecord) -> dict[str, Any]:
    capsys.readouterr()
    arguments = ["analyze", "--include-logs", f"--state={world.state}", f"--run={record.run_id}"]
    assert await asyncio.to_thread(run, [*arguments, "--json"]) == 0
    told: dict[str, Any] = json.loads(capsys.readouterr().out)["data"]
    return told


def shown(analysis: dict[str, Any]) -> str:
    return json.dumps(analysis["claims"], indent=1)
