"""Faults in a whole stack: how soon they are found, and what users lose."""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import yaml

from bench.figures import facts, table
from failover.health import Condition
from simulator.faults import FaultKind
from starter.configuration import demo_config
from starter.demo.users import Got, Users
from starter.embedded.stack import ANY_PORTS, RunningStack, StackPlan, running
from starter.settings import Settings
from starter.status import verdicts

PROBED = [FaultKind.SERVER_ERROR, FaultKind.HANG, FaultKind.REFUSED, FaultKind.AUTHENTICATION, FaultKind.WRONG]
"""The default choice; --full takes all that condemn."""

UNSEEN_BY_PROBES = {FaultKind.THROTTLED, FaultKind.SLOW, FaultKind.CONTROL_PLANE_DOWN}

SLOW = timedelta(seconds=1)


@asynccontextmanager
async def stack(cli: Path, settings: Settings, cadence: str, detection: bool = True) -> AsyncIterator[RunningStack]:
    with tempfile.TemporaryDirectory() as directory:
        told = yaml.safe_load(demo_config().read_text())
        told["detection"]["probe"]["cadence"] = cadence
        config = Path(directory) / "bench.yaml"
        config.write_text(yaml.safe_dump(told))
        plan = StackPlan(
            config=config, state=Path(directory) / "state", durable=False, cli=cli, ports=ANY_PORTS, schedules=detection
        )
        async with running(plan, settings, lambda _: None) as up:
            await healthy(up)
            yield up


async def set_fault(up: RunningStack, kind: FaultKind | None, **options: object) -> None:
    async with httpx.AsyncClient(base_url=up.addresses.simulator or "", trust_env=False) as control:
        await control.delete("/faults")
        if kind is not None:
            (await control.put("/faults/bedrock", json={"kind": kind, **options})).raise_for_status()


async def healthy(up: RunningStack) -> None:
    async with asyncio.timeout(60):
        while True:
            found = await verdicts(up.as_found())
            if len(found) == 3 and all(one.condition is Condition.HEALTHY and one.cause is None for one in found):
                return
            await asyncio.sleep(0.05)


async def put_back(up: RunningStack) -> None:
    headers = {"Authorization": f"Bearer {up.token}"}
    async with httpx.AsyncClient(base_url=up.addresses.gateway, headers=headers, trust_env=False) as http:
        etag = (await http.get("/policies/chat")).headers["ETag"]
        body = {"distribution": {"bedrock": 70, "google": 20, "meta": 10}, "reason": "bench"}
        (await http.put("/policies/chat", json=body, headers={"If-Match": etag})).raise_for_status()


async def detection(cli: Path, settings: Settings, *, full: bool, times: int) -> None:
    """Fault → unhealthy by probes alone (no users), at two cadences."""
    faults = [kind for kind in FaultKind if kind not in UNSEEN_BY_PROBES] if full else PROBED
    for cadence in ("1s", "5s"):
        rows: list[tuple[str, Sequence[float]]] = []
        async with stack(cli, settings, cadence) as up:
            for kind in faults:
                rows.append((kind.value, [await detected(up, kind) for _ in range(times if cadence == "1s" else 1)]))
        table(f"Detection by probes alone: fault → unhealthy, cadence {cadence} (timeout 5 s)", rows, "s")


async def detected(up: RunningStack, kind: FaultKind) -> float:
    await set_fault(up, kind)
    began = datetime.now(UTC)
    async with asyncio.timeout(60):
        while True:
            down = [one for one in await verdicts(up.as_found()) if one.provider == "bedrock" and one.down]
            if down:
                break
            await asyncio.sleep(0.02)
    taken = (down[0].at - began).total_seconds()
    await set_fault(up, None)
    await asyncio.sleep(6)  # probes that hang reach their timeout; else the next fault would find them there
    await healthy(up)
    return taken


LOSSES: Mapping[FaultKind, Mapping[str, object]] = {
    FaultKind.SERVER_ERROR: {},
    FaultKind.HANG: {},
    FaultKind.EMPTY: {},
    FaultKind.STREAM_CUT: {},
    FaultKind.QUOTA: {},
    FaultKind.THROTTLED: {"rate": 30},
}


async def loss(cli: Path, settings: Settings, *, full: bool, rate: float = 50, seconds: float = 20) -> None:
    """What users lose in the 20 s after a fault with the control plane green."""
    green = {FaultKind.REGION_DOWN, FaultKind.REFUSED, FaultKind.CONTROL_PLANE_DOWN}
    faults = {kind: LOSSES.get(kind, {}) for kind in FaultKind if kind not in green} if full else LOSSES
    rows = []
    async with stack(cli, settings, "1s") as up:
        for kind, options in faults.items():
            rows.append(await lost(up, kind, options, rate, seconds))
            await set_fault(up, None)
            await asyncio.sleep(11)  # until the windows of the configuration hold nothing of this fault
            await healthy(up)
            await put_back(up)
    head = ("fault", "requests", "failed", "cut", "slow > 1 s", "sent twice", "steady after", "stayed at bedrock")
    facts(f"Users' loss: {rate:g} requests a second for {seconds:g} s after the fault", head, rows)


async def lost(
    up: RunningStack, kind: FaultKind, options: Mapping[str, object], rate: float, seconds: float
) -> Sequence[str]:
    users = Users(f"{up.addresses.gateway}/v1", "chat", rate=rate)
    async with users.coming():
        await asyncio.sleep(3)
        await set_fault(up, kind, **options)
        began = datetime.now(UTC)
        await asyncio.sleep(seconds)
    asked = [one for one in users.asked if one.at >= began]
    bad = [one for one in asked if one.got in (Got.ERROR, Got.EMPTY, Got.CUT) or one.latency > SLOW or one.tries > 1]
    steady = max((one.at for one in bad), default=began) - began
    late = [one for one in asked if one.at > began + timedelta(seconds=seconds / 2)]
    stayed = sum(one.provider == "bedrock" and one.tries == 1 for one in late)
    return (
        kind.value,
        str(len(asked)),
        str(sum(one.got in (Got.ERROR, Got.EMPTY) for one in asked)),
        str(sum(one.got is Got.CUT for one in asked)),
        str(sum(one.latency > SLOW for one in asked)),
        str(sum(one.tries > 1 for one in asked)),
        f"{steady.total_seconds():.1f} s",
        f"{100 * stayed / max(1, len(late)):.0f} %",
    )
