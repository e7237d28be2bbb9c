"""`failoverctl serve` as a process of its own: up before Temporal is, loopback unless told otherwise, a clean end."""

import asyncio
import json
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx

from starter.configuration import demo_config
from starter.embedded.processes import Child, ready, start
from starter.embedded.stack import PATIENCE


@asynccontextmanager
async def serve(home: Path, *options: str, **environ: str) -> AsyncIterator[Child]:
    ours = {name: value for name, value in os.environ.items() if not name.startswith(("FAILOVER_", "TEMPORAL_"))}
    environ = {**ours, "PYTHONPATH": str(Path(__file__).parents[2]), "FAILOVER_STATE": str(home)} | environ
    command = [sys.executable, "-m", "starter", "serve", f"--config={demo_config()}", *options]
    child = await start("webhooks", command, log=home / "log", environ=environ)
    try:
        yield child
    finally:
        await child.stop(PATIENCE)


async def test_it_is_up_before_temporal_is(tmp_path: Path) -> None:
    """Alive, not ready, senders told to try again; after SIGTERM nothing is left and the exit code is 0."""
    file = tmp_path / "ready.json"
    there = {"TEMPORAL_ADDRESS": "127.0.0.1:1", "FAILOVER_API_TOKEN": "a-token", "GENERIC_WEBHOOK_TOKEN": "generic"}
    async with serve(tmp_path, "--port=0", f"--ready-file={file}", **there) as child:
        url = (await ready(child, file, PATIENCE))["url"]
        assert url.startswith("http://127.0.0.1:")
        async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=30) as http:
            assert (await http.get("/healthz")).status_code == 200
            assert (await http.get("/readyz")).status_code == 503
            for token in ("generic", "a-token"):
                alert = {"provider": "bedrock", "trigger": "unavailable"}
                sent = await http.post("/webhooks/generic", json=alert, headers={"Authorization": f"Bearer {token}"})
                assert sent.status_code == 503, sent.text
        child.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(PATIENCE.total_seconds()):
            assert await child.process.wait() == 0
    log = child.log.read_text()
    assert "PAGERDUTY_WEBHOOK_SECRET" in log, "senders without a secret are told at the start"
    assert "a-token" not in log and json.dumps(alert) not in log


async def test_a_port_in_use_is_a_sentence(tmp_path: Path) -> None:
    """Exit 2, with what to do."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        async with serve(tmp_path, f"--port={port}", TEMPORAL_ADDRESS="127.0.0.1:1") as child:
            async with asyncio.timeout(PATIENCE.total_seconds()):
                assert await child.process.wait() == 2
    assert f"Port {port} on 127.0.0.1 cannot be bound" in child.log.read_text()
