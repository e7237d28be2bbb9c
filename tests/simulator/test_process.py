"""The simulator as a process of its own."""

import asyncio
import json
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest


@asynccontextmanager
async def running(*arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "simulator", *arguments, stdout=pipe, stderr=pipe
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def ready(file: Path) -> Any:
    async with asyncio.timeout(20):
        while not file.exists():
            await asyncio.sleep(0.02)
    return json.loads(file.read_text())


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGINT])
async def test_it_answers_once_ready_and_ends_cleanly(tmp_path: Path, end: signal.Signals) -> None:
    """The ready file names addresses that answer; a signal ends it with exit 0, also while a call hangs."""
    file = tmp_path / "ready.json"
    async with running("--provider", "meta=llama", "--ready-file", str(file)) as process:
        addresses = await ready(file)
        assert list(addresses) == ["control", "providers"]
        meta = addresses["providers"]["meta"]
        assert meta["kind"] == "llama"
        headers = {"Authorization": "Bearer simulated"}
        async with httpx.AsyncClient(headers=headers, timeout=10) as client:
            assert (await client.get(f"{meta['url']}/models")).is_success
            await client.put(f"{addresses['control']}/faults/meta", json={"kind": "hang"})
            body = {"model": "m", "messages": [{"role": "user", "content": "hello"}]}
            hanging = asyncio.create_task(client.post(f"{meta['url']}/chat/completions", json=body))
            while not (await client.get(f"{addresses['control']}/stats")).json()["meta"]["inference_calls"]:
                await asyncio.sleep(0.01)
            process.send_signal(end)
            _, errors = await asyncio.wait_for(process.communicate(), 5)
            assert (process.returncode, errors) == (0, b"")
            with pytest.raises(httpx.TransportError):
                await hanging


async def test_grpc_is_served_on_the_port_asked_for(tmp_path: Path) -> None:
    """--grpc-port names the port, which the ready file repeats and which listens."""
    file = tmp_path / "ready.json"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    async with running("--provider", "google=vertex", "--grpc-port", f"google={port}", "--ready-file", str(file)):
        addresses = await ready(file)
        assert addresses["providers"]["google"]["grpc"] == f"127.0.0.1:{port}"
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.close()


@pytest.mark.parametrize("option", ["--port", "--control-port"])
async def test_a_port_in_use_is_named(option: str) -> None:
    """Somebody else's port ends the start with exit 1 and a sentence, not with a shared port."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        value = f"meta={port}" if option == "--port" else str(port)
        async with running("--provider", "meta=llama", option, value) as process:
            output, errors = await asyncio.wait_for(process.communicate(), 20)
    assert (process.returncode, output) == (1, b"")
    assert f"Port {port} on 127.0.0.1 is in use" in errors.decode()


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--provider", "meta=azure"], "bedrock, vertex, llama, openai"),
        (["--provider", "meta"], "KEY=VALUE"),
        (["--provider", "meta=llama", "--provider", "meta=openai"], "twice"),
        (["--provider", "meta=llama", "--port", "google=9302"], "given are: meta"),
        (["--provider", "meta=llama", "--port", "meta=seventy"], "0 to 65535"),
    ],
)
async def test_arguments_that_cannot_be_meant_are_refused(arguments: list[str], named: str) -> None:
    """Exit 2, with what is allowed, before anything listens."""
    async with running(*arguments) as process:
        output, errors = await asyncio.wait_for(process.communicate(), 20)
    assert (process.returncode, output) == (2, b"")
    assert named in errors.decode()


async def test_no_vendor_is_imported_at_start() -> None:
    """Starting fast means starting without the SDKs; gRPC and its messages wait until they are asked for."""
    program = "import sys, simulator.__main__; print(*sys.modules, sep='\\n')"
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", program, stdout=asyncio.subprocess.PIPE)
    output, _ = await process.communicate()
    vendors = {"boto3", "botocore", "google.cloud.aiplatform_v1", "google.protobuf", "openai", "grpc"}
    assert "simulator.server" in output.decode().split()
    assert not vendors & set(output.decode().split())
