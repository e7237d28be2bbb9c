"""Credentials that are missing are a failure of the call, with words that help; never a crash at start."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from failover.completion import Completion, Message, Role
from failover.config import Config
from failover.config.providers import Provider
from failover.credentials import Credentials
from failover.errors import ConfigError, ProviderError
from failover.failure import FailureKind
from failover.ports import ProviderClient
from gateway.process import listening
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
    for name in (
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "AWS_PROFILE",
        "AWS_CREDENTIAL_EXPIRATION",
    ):
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


# What can be told of them without a completion

KEYS = {"AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": "secret"}
ENDS = "2126-01-31T12:00:00Z"


async def told(provider: Provider) -> Credentials:
    async with client(provider) as asked:
        return await asked.credentials(timeout=PATIENCE)


@pytest.mark.parametrize(
    ("environ", "lasting", "ends", "problem"),
    [
        (KEYS, True, None, ""),
        ({**KEYS, "AWS_SESSION_TOKEN": "t"}, False, None, ""),
        ({**KEYS, "AWS_SESSION_TOKEN": "t", "AWS_CREDENTIAL_EXPIRATION": ENDS}, False, 2126, ""),
        ({"AWS_BEARER_TOKEN_BEDROCK": "key"}, False, None, ""),
        ({"AWS_PROFILE": "prod-typo"}, False, None, "prod-typo"),
        ({}, False, None, "no AWS credentials were found"),
    ],
)
async def test_what_aws_credentials_tell(
    monkeypatch: pytest.MonkeyPatch, environ: dict[str, str], lasting: bool, ends: int | None, problem: str
) -> None:
    """Keys last, a session ends when it says so, and of an API key nobody knows."""
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    found = await told(BEDROCK)
    assert (found.lasting, found.renews, problem in found.problem, bool(found.problem)) == (
        *(lasting, False, True),
        bool(problem),
    )
    assert (found.expires_at.year if found.expires_at else None) == ends
    assert "secret" not in repr(found)


async def test_aws_credentials_that_renew_themselves(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """From a process of one's own; and once it fails, that is said."""
    given = {"Version": 1, "AccessKeyId": "A", "SecretAccessKey": "s", "SessionToken": "t", "Expiration": ENDS}
    (tmp_path / "given.json").write_text(json.dumps(given))
    profile = f"[default]\ncredential_process = cat {tmp_path}/given.json\n"
    (tmp_path / "config").write_text(profile)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    found = await told(BEDROCK)
    assert found.renews and found.expires_at is not None and found.expires_at.year == 2126
    (tmp_path / "given.json").unlink()
    assert (await told(BEDROCK)).problem


@asynccontextmanager
async def google(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, status: int) -> AsyncIterator[None]:
    """A service account, whose tokens come from an endpoint of ours."""

    async def token(request: Request) -> JSONResponse:
        granted = {"access_token": "t", "expires_in": 3600, "token_type": "Bearer"}
        refused = {"error": "invalid_grant", "error_description": "Token has been expired or revoked."}
        return JSONResponse(granted if status == 200 else refused, status_code=status)

    app = Starlette(routes=[Route("/token", token, methods=["POST"])])
    async with listening(app, "127.0.0.1", 0) as url:
        key = rsa.generate_private_key(public_exponent=65_537, key_size=2048)
        pem = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        account = {
            "type": "service_account",
            "project_id": "p",
            "private_key_id": "k",
            "private_key": pem.decode(),
            "client_email": "c@p.iam.gserviceaccount.com",
            "token_uri": f"{url}/token",
        }
        file = tmp_path / "account.json"
        file.write_text(json.dumps(account))
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(file))
        yield


async def test_what_google_credentials_tell(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """They are renewed for the question: an account that was revoked is found here."""
    async with google(monkeypatch, tmp_path, 200):
        found = await told(VERTEX)
    assert found.renews and not found.problem and found.expires_at is not None
    assert timedelta(minutes=50) < found.expires_at - datetime.now(UTC) < timedelta(minutes=70)
    async with google(monkeypatch, tmp_path, 400):
        assert "expired or revoked" in (await told(VERTEX)).problem


async def test_what_keys_tell() -> None:
    """Whether one is there; nobody can ask when it ends."""
    missing = await told(LLAMA)
    assert "set LLAMA_API_KEY" in missing.problem
    there = await told(OPENAI.model_copy(update={"api_key_env": "OTHER"}))
    assert there == Credentials(kind="the API key in OTHER")
