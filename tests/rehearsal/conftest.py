"""One time-skipping server for all rehearsals here: one after another, as `rehearse --all` does it."""

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from temporalio.testing import WorkflowEnvironment

from failover.config import Config
from starter.configuration import load
from starter.embedded.temporal_server import find_test_server
from starter.rehearsal.running import server
from starter.settings import Settings

SHIPPED = Path(__file__).parents[2] / "failover.yaml"


@pytest.fixture(scope="session")
def shipped() -> Config:
    """The runbook's own values, real durations included."""
    return load(SHIPPED).config


@pytest.fixture(scope="session")
async def test_server() -> Path:
    return await asyncio.to_thread(find_test_server, Settings.from_env(os.environ).cache_directory(), print)


@pytest.fixture(scope="module")
async def environment(test_server: Path, shipped: Config) -> AsyncIterator[WorkflowEnvironment]:
    async with server(test_server, shipped) as environment:
        yield environment
