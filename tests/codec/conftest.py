"""Keys, and clients and workers that encrypt with them, over the real dev server and the real command line."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import Client

from starter.codec.encryption import AesGcm
from starter.embedded.temporal_server import DevServer
from starter.settings import CodecKey
from workflows.payloads import encrypting

OLD = CodecKey(id="2025-01", secret=bytes(range(32)))
NEW = CodecKey(id="2026-11", secret=bytes(reversed(range(32))))
STRANGE = CodecKey(id="strange", secret=b"s" * 32)

Encrypted = Callable[..., Any]
Temporal = Callable[..., Any]


@pytest.fixture
def encrypted(dev_server: DevServer, temporal_client: Client) -> Encrypted:
    """A client that encrypts with the first of the keys. The search attributes are registered already."""

    async def connect(*keys: CodecKey) -> Client:
        return await Client.connect(dev_server.address, data_converter=encrypting(AesGcm(keys)))

    return connect


@pytest.fixture
def temporal(temporal_cli: Path, dev_server: DevServer) -> Temporal:
    """The real command line, against the real server."""

    async def run(*args: str) -> tuple[int, str]:
        process = await asyncio.create_subprocess_exec(
            *(str(temporal_cli), *args, "--address", dev_server.address),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await process.communicate()
        assert process.returncode is not None
        return process.returncode, output.decode()

    return run
