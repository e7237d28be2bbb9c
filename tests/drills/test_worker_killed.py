"""A worker that dies while something is broken: the fault ends by itself, and the drill goes on with the next worker."""

import asyncio
from pathlib import Path
from typing import Any

import httpx
import yaml
from temporalio.client import Client

from activities.runs import TASK_TIMEOUT
from failover.incident import Outcome
from failover.requests import RunResult
from gateway.store import FileStore
from starter.embedded.temporal_server import DevServer
from tests.crashes.conftest import mortal_workers
from tests.drills.conftest import CONFIG, FOUND


async def test_the_fault_of_a_dead_worker_ends_and_the_drill_goes_on(
    dev_server: DevServer, temporal_client: Client, tmp_path: Path, gateway_url: tuple[str, Any, FileStore, Any, Any]
) -> None:
    """Every worker is killed with the fault in force; nobody heals anything by hand."""
    url, _, store, _, _ = gateway_url
    told = yaml.safe_load(CONFIG)
    told["kpis"] = {name: "5m" for name in ("detection", "immediate_execution", "restoration", "total")}
    # Slow enough for the worker to be killed between the fault and its detection.
    told["detection"] = {"probe": {"cadence": "2s"}, "server_errors": {"percent": 99, "minimum_tries": 100_000}}
    config, queue = tmp_path / "failover.yaml", "drill-killed"
    config.write_text(yaml.safe_dump(told))

    async with httpx.AsyncClient(base_url=url) as http:

        async def broken() -> bool:
            return bool((await http.get("/faults")).json()["faults"])

        async def until(wanted: bool) -> None:
            async with asyncio.timeout(60):
                while await broken() is not wanted:
                    await asyncio.sleep(0.05)

        async with mortal_workers(dev_server.address, url, config, tmp_path / "first", [queue]):
            run = await temporal_client.start_workflow(
                "FailoverDrill",
                {"provider": "bedrock"},
                id=f"drill/{queue}",
                task_queue=queue,
                task_timeout=TASK_TIMEOUT,
                result_type=RunResult,
            )
            await until(True)
        policy = store.policy("practice")
        assert policy.claim == run.id
        await until(False)
        assert store.policy("practice") == policy, "something was written by nobody"
        async with mortal_workers(dev_server.address, url, config, tmp_path / "second", [queue]):
            await until(True)
            result = await asyncio.wait_for(run.result(), 90)
    assert result.outcome is Outcome.PASSED, result.reason
    assert (store.policy("practice").distribution, store.policy("practice").claim) == (FOUND, None)
