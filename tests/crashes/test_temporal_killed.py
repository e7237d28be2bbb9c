"""kill -9 of Temporal itself: with a database file, every run goes on where it was once the server is back."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from temporalio.client import Client

from failover.incident import Outcome
from starter.embedded.temporal_server import DevServer, start_dev_server
from starter.search_attributes import register_search_attributes
from tests.crashes.conftest import (
    FOUND,
    MOVED,
    Lab,
    Run,
    config_file,
    details,
    gateway,
    mortal_workers,
    order,
    said,
    until_said,
    writes_in_force,
)
from workflows.payloads import data_converter

ROUTES = ["immediate", "ramp", "approval"]


class Server:
    """A dev server with a database file, on a port that it keeps."""

    def __init__(self, cli: Path, folder: Path, running: DevServer) -> None:
        self.running = running
        self._cli, self._folder = cli, folder

    async def kill_and_restart(self) -> None:
        self.running.child.process.kill()
        await self.running.child.process.wait()
        port = int(self.running.address.rpartition(":")[2])
        self.running = await _start(self._cli, self._folder, port)


async def _start(cli: Path, folder: Path, port: int) -> DevServer:
    return await start_dev_server(cli, port=port, ui_port=None, db=folder / "temporal.db", log=folder / "temporal.log")


@pytest.fixture
async def server(temporal_cli: Path, tmp_path: Path) -> AsyncIterator[Server]:
    server = Server(temporal_cli, tmp_path, await _start(temporal_cli, tmp_path, 0))
    yield server
    await server.running.stop()


@contextlib.asynccontextmanager
async def _labs(server: Server, folder: Path) -> AsyncIterator[dict[str, Lab]]:
    config = config_file(folder, ROUTES)
    client = await Client.connect(server.running.address, data_converter=data_converter)
    await register_search_attributes(client)
    async with (
        gateway(config, folder, dict.fromkeys(ROUTES, FOUND)) as (url, store),
        mortal_workers(server.running.address, url, config, folder, ROUTES),
    ):
        yield {name: Lab(name=name, client=client, store=store, state=folder / name) for name in ROUTES}


async def test_temporal_killed_in_mid_run_ends_in_the_same_policies(server: Server, tmp_path: Path) -> None:
    """An immediate failover, a ramp within its hold, and one of two approvals given: nothing is lost or done twice."""
    async with _labs(server, tmp_path) as labs:
        canary = {"source_provider": "bedrock", "target_provider": "google"}
        approvals = {"points": ["full"], "quorum": 2, "deadline": "5m"}
        ramp = await labs["ramp"].start("CanaryFailover", {"route": "ramp", **canary, "initial_seconds": 8})
        waiting = await labs["approval"].start(
            "CanaryFailover", {"route": "approval", **canary, "approvals": approvals}
        )
        await until_said(waiting, "Waiting for 2 to approve")
        bound = {name: (await details(waiting))["approval"][name] for name in ("step", "digest")}
        await order(waiting, "approve", **bound)
        request = {"failed_provider": "bedrock", "routes": ["immediate"]}
        immediate = await labs["immediate"].start("ImmediateFailover", request)
        await labs["immediate"].until(lambda: labs["immediate"].policy.revision.number == 2)
        before = labs["approval"].policy
        await server.kill_and_restart()
        assert (await details(waiting))["approval"]["granted"] == ["alice"]
        assert labs["approval"].policy == before
        await order(waiting, "approve", **{**bound, "actor": "bob"})
        runs: dict[str, Run] = {"immediate": immediate, "ramp": ramp, "approval": waiting}
        for name, run in runs.items():
            result = await asyncio.wait_for(run.result(), 60)
            assert result.outcome is Outcome.COMPLETED, (name, await said(run))
            policy = labs[name].policy
            assert (policy.distribution, policy.claim) == (MOVED, None)
            assert await writes_in_force([run], name) == policy.revision.number - 1
