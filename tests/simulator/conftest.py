"""A simulator with one provider of each kind, and the vendors' own clients pointed at it."""

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import boto3
import httpx
import openai
import pytest
from botocore.config import Config
from google.oauth2.credentials import Credentials

from simulator.faults import parse_fault
from simulator.server import Simulator

ONE_ATTEMPT = Config(retries={"total_max_attempts": 1}, connect_timeout=1, read_timeout=0.5)

Inject = Callable[..., Any]


class FixedToken(Credentials):
    """A token that a refresh does not change, so that a 401 stays a 401."""

    def __init__(self) -> None:
        super().__init__(token="simulated")  # type: ignore[no-untyped-call]

    def refresh(self, request: object) -> None:
        self.token = "simulated"


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    kinds = {"bedrock": "bedrock", "google": "vertex", "meta": "llama", "compatible": "openai"}
    async with Simulator(kinds) as running:
        yield running


@pytest.fixture
def inject(simulator: Simulator) -> Inject:
    """inject(provider, kind, **options): puts the fault in force."""

    async def put(provider: str, kind: str, **options: object) -> None:
        await simulator.set_fault(provider, parse_fault(kind, options))

    return put


@pytest.fixture
async def control(simulator: Simulator) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=simulator.control_url, timeout=5) as client:
        yield client


@pytest.fixture
def aws(simulator: Simulator) -> Iterator[Callable[[str], Any]]:
    """aws(service): boto3's client of that service."""
    clients: list[Any] = []

    def client(service: str) -> Any:
        made = boto3.client(  # type: ignore[call-overload]
            service,
            endpoint_url=simulator.urls["bedrock"],
            region_name="eu-west-1",
            aws_access_key_id="AKIDEXAMPLE",
            aws_secret_access_key="simulated",
            config=ONE_ATTEMPT,
        )
        clients.append(made)
        return made

    yield client
    for made in clients:
        made.close()


@pytest.fixture
async def llama(simulator: Simulator) -> AsyncIterator[httpx.AsyncClient]:
    headers = {"Authorization": "Bearer simulated"}
    async with httpx.AsyncClient(base_url=simulator.urls["meta"], headers=headers, timeout=0.5) as client:
        yield client


@pytest.fixture
async def compatible(simulator: Simulator) -> AsyncIterator[openai.AsyncOpenAI]:
    url = simulator.urls["compatible"]
    async with openai.AsyncOpenAI(base_url=url, api_key="simulated", max_retries=0, timeout=0.5) as client:
        yield client


@pytest.fixture
def google_credentials() -> Credentials:
    return FixedToken()
