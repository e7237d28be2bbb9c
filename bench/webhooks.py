"""Alerts at the webhook server of a whole stack, every part a process of its own."""

import asyncio
import itertools
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import yaml
from temporalio.client import Client
from temporalio.service import RPCError

from bench.figures import facts, table
from bench.incidents import healthy
from bench.latency import many
from failover.policy import Change, ChangedBy
from starter.configuration import demo_config
from starter.connection import connect
from starter.embedded.stack import ANY_PORTS, StackPlan, running
from starter.parts import closing, plane_of
from starter.settings import Settings
from traffic.gateway import GatewayPlane

RUN = "failover/bedrock"

FOUND = {"bedrock": 7000, "google": 2000, "meta": 1000}

STORM, STORM_SECONDS = 500, 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A stack whose providers are all well, so that alerts alone start runs; `next` makes every alert another one."""

    http: httpx.AsyncClient
    plane: GatewayPlane
    client: Client
    next: "itertools.count[int]"

    async def alert(self, provider: str = "bedrock", trigger: str = "unavailable") -> str:
        """→ what was done."""
        body = {"provider": provider, "trigger": trigger, "id": str(next(self.next))}
        answer = await self.http.post("/webhooks/generic", json=body)
        answer.raise_for_status()
        return str(answer.json()["alerts"][0]["did"])

    async def share(self) -> int:
        [policy] = await self.plane.read(["chat"])
        return policy.distribution.get("bedrock", 0)

    async def put_back(self) -> None:
        """No run, and the traffic as configured."""
        try:
            await self.client.get_workflow_handle(RUN).terminate()
        except RPCError:
            pass
        [policy] = await self.plane.read(["chat"])
        change = Change(
            route="chat",
            decided_on=policy.revision,
            key=f"back-{time.perf_counter_ns()}",
            distribution=FOUND,
            changed_by=ChangedBy(actor="bench"),
            reason="back",
        )
        await self.plane.apply([change])


@asynccontextmanager
async def place(cli: Path, settings: Settings) -> AsyncIterator[Place]:
    with tempfile.TemporaryDirectory() as directory:
        told = yaml.safe_load(demo_config().read_text())
        # A ramp that waits for people is a run that stays open while others join it.
        told["routes"]["chat"]["approvals"] = {"points": ["first_shift"]}
        told["webhooks"] = {"requests_per_second": 1_000_000, "burst": 1_000_000}
        config = Path(directory) / "bench.yaml"
        config.write_text(yaml.safe_dump(told))
        state = Path(directory) / "state"
        plan = StackPlan(config=config, state=state, durable=False, cli=cli, ports=ANY_PORTS, webhooks=True)
        async with running(plan, settings, lambda _: None) as up:
            await healthy(up)
            headers = {"Authorization": f"Bearer {up.token}"}
            limits = httpx.Limits(max_connections=128)
            client = await connect(settings, up.as_found())
            async with (
                httpx.AsyncClient(
                    base_url=up.addresses.webhooks or "", headers=headers, trust_env=False, limits=limits, timeout=60
                ) as http,
                closing(plane_of(up.as_found())) as plane,
            ):
                assert isinstance(plane, GatewayPlane)
                yield Place(http=http, plane=plane, client=client, next=itertools.count())


async def webhooks(cli: Path, settings: Settings, times: int) -> None:
    """Webhook → policy in force; how many a second; a storm."""
    async with place(cli, settings) as at:
        for _ in range(3):  # warm
            await moved(at)
        rows = [await moved(at) for _ in range(times)]
        table(
            "Webhook received → answered, and → policy in force (every part a process of its own)",
            [("answered: started", [row[0] for row in rows]), ("policy in force", [row[1] for row in rows])],
            "ms",
        )
        await sustained(at, times)
        await storm(at)


async def moved(at: Place) -> tuple[float, float]:
    """Milliseconds from the sending to the answer, and to the policy as the gateway tells it."""
    await at.put_back()
    began = time.perf_counter()

    async def answered() -> float:
        assert await at.alert() == "started"
        return 1000 * (time.perf_counter() - began)

    sent = asyncio.create_task(answered())
    while await at.share():
        await asyncio.sleep(0.002)
    in_force = 1000 * (time.perf_counter() - began)
    return await sent, in_force


async def sustained(at: Place, times: int) -> None:
    """Alerts that change nothing, 16 at a time."""
    await at.put_back()
    rows = []

    async def ignored() -> None:
        assert await at.alert("nobody") == "ignored"

    async def joined() -> None:
        assert await at.alert(trigger="throttled") in ("started", "joined")

    for name, call in (("about an unknown provider", ignored), ("that join an open run", joined)):
        began = time.perf_counter()
        taken = sorted(await many(call, times * 50, 16))
        rate = len(taken) / (time.perf_counter() - began)
        rows.append((name, str(len(taken)), f"{rate:.0f}", f"{taken[len(taken) // 2]:.0f} ms", f"{taken[-1]:.0f} ms"))
    facts("Webhooks a second, 16 at a time", ("", "n", "a second", "p50", "max"), rows)


async def storm(at: Place) -> None:
    """500 different alerts about one provider within 5 seconds, over a worker that acts on the first."""
    await at.put_back()
    began = time.perf_counter()
    taken: list[float] = []

    async def one(number: int) -> str:
        await asyncio.sleep(number * STORM_SECONDS / STORM)
        sent = time.perf_counter()
        did = await at.alert()
        taken.append(1000 * (time.perf_counter() - sent))
        return did

    did = Counter(await asyncio.gather(*(one(number) for number in range(STORM))))
    total = time.perf_counter() - began
    history = await at.client.get_workflow_handle(RUN).fetch_history()
    notes = sum(event.HasField("workflow_execution_signaled_event_attributes") for event in history.events)
    taken.sort()
    said = ", ".join(f"{count} {what}" for what, count in did.most_common())
    facts(
        f"A storm: {STORM} alerts about one provider in {STORM_SECONDS:g} s",
        ("", "answered within", "p50", "p99", "runs started", "notes on the run"),
        [
            (
                said,
                f"{total:.1f} s",
                f"{taken[STORM // 2]:.0f} ms",
                f"{taken[STORM * 99 // 100]:.0f} ms",
                str(did["started"]),
                str(notes),
            )
        ],
    )
