"""Credentials that are missing are a failure of the call, with words that help; never a crash at start."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from failover.completion import Completion, Message, Role
from failover.config import Config
from failover.config.providers import Provider
from failover.errors import ConfigError, ProviderError
from failover.failure import FailureKind
from failover.ports import ProviderClient
from providers.factory import build_clients

QUESTION = Completion(messages=[Message(role=Role.USER, text="ping")])
PATIENCE = timedelta(seconds=10)
BEDROCK = Provider(kind="bedrock", model="m", region="us-east-1", endpoint="http://127.0.0.1:9")
VERTEX = Provider(kind="vertex", model="m", region="us-central1", project="p", endpoint="http://127.0.0.1:9")
VERTEX_GRPC = VERTEX.model_copy(update={"transport": "grpc", "endpoint": None})
LLAMA = Provider(kind="llama", model="m", endpoint="http://127.0.0.1:9", api_key_env="LLAMA_API_KEY")
OPENAI = Provider(kind="openai", model="m", endpoint="http://127.0.0.1:9", api_key_env="OPENAI_API_KEY")


@pytest.fixture(autouse=True)
def _nothing_configured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_BEARER_TOKEN_BEDROCK", "GOOGLE_APPLICATION_CREDENTIALS"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE", "CLOUDSDK_CONFIG"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("NO_GCE_CHECK", "true")


@asynccontextmanager
async def client(provider: Provider) -> AsyncIterator[ProviderClient]:
    config = Config(providers={"x": provider}, routes={"chat": {"distribution": {"x": 100}}})
    built = build_clients(config, secrets={"OTHER": "key"})["x"]
    try:
        yield built
    finally:
        await built.aclose()


@pytest.mark.parametrize(
    ("provider", "said"),
    [
        (BEDROCK, "no AWS credentials"),
        (VERTEX, "default credentials were not found"),
        (VERTEX_GRPC, "default credentials were not found"),
        (LLAMA, "set LLAMA_API_KEY"),
        (OPENAI, "set OPENAI_API_KEY"),
        (OPENAI.model_copy(update={"api_key_env": None}), "configure api_key_env"),
    ],
)
async def test_missing_credentials(provider: Provider, said: str) -> None:
    """Whole, streamed and of the control plane alike."""
    async with client(provider) as asked:
        with pytest.raises(ProviderError, match=said) as whole:
            await asked.invoke(QUESTION, timeout=PATIENCE)
        with pytest.raises(ProviderError, match=said) as streamed:
            async for _ in asked.stream(QUESTION, timeout=PATIENCE):
                pass
        assert whole.value.failure.kind is streamed.value.failure.kind is FailureKind.AUTHENTICATION
        status = await asked.check_service(timeout=PATIENCE)
        assert not status.reachable
        assert said in status.detail


async def test_an_aws_profile_that_does_not_exist(monkeypatch: pytest.MonkeyPatch) -> None:
    """Is named."""
    monkeypatch.setenv("AWS_PROFILE", "prod-typo")
    async with client(BEDROCK) as asked:
        with pytest.raises(ProviderError, match="prod-typo") as failed:
            await asked.invoke(QUESTION, timeout=PATIENCE)
    assert failed.value.failure.kind is FailureKind.AUTHENTICATION


def test_a_simulator_that_does_not_serve_the_provider() -> None:
    """Is said at start: nothing could be called."""
    simulated = Provider(kind="openai", model="m", endpoint="simulator")
    config = Config(providers={"x": simulated}, routes={"chat": {"distribution": {"x": 100}}})
    with pytest.raises(ConfigError, match=r"providers\.x points at the simulator"):
        build_clients(config, secrets={}, simulator={})
