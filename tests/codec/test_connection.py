"""Temporal's own settings reach the connection: API key, mTLS, profiles; and the keys, whoever connects."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from failover.errors import ConfigError, TemporalUnavailable
from starter.connection import connect, connect_options, converter
from starter.running import find
from starter.settings import Settings
from workflows.payloads import data_converter


def options(environ: Mapping[str, str], tmp_path: Path) -> dict[str, Any]:
    settings = Settings.from_env({"FAILOVER_STATE": str(tmp_path), **environ})
    return connect_options(settings, find(settings))


def test_an_api_key_and_a_namespace_are_handed_on(tmp_path: Path) -> None:
    """With TLS, as Temporal Cloud wants it."""
    told = options(
        {
            "TEMPORAL_ADDRESS": "ours.tmprl.cloud:7233",
            "TEMPORAL_NAMESPACE": "ours.a1b2c",
            "TEMPORAL_API_KEY": "an-api-key",
        },
        tmp_path,
    )
    assert (told["target_host"], told["namespace"], told["api_key"]) == (
        "ours.tmprl.cloud:7233",
        "ours.a1b2c",
        "an-api-key",
    )


def test_a_profile_of_temporals_file_names_the_server(tmp_path: Path) -> None:
    """Address and key come from there alone; the environment says which."""
    file = tmp_path / "temporal.toml"
    file.write_text('[profile.prod]\naddress = "temporal.internal:7233"\nnamespace = "ops"\napi_key = "of-the-file"\n')
    told = options({"TEMPORAL_CONFIG_FILE": str(file), "TEMPORAL_PROFILE": "prod"}, tmp_path)
    assert (told["target_host"], told["namespace"], told["api_key"]) == ("temporal.internal:7233", "ops", "of-the-file")


def test_settings_that_cannot_be_used_are_a_sentence(tmp_path: Path) -> None:
    """Before anything is connected to."""
    file = tmp_path / "broken.toml"
    file.write_text("no toml [")
    with pytest.raises(ConfigError, match="Temporal's settings cannot be used"):
        options({"TEMPORAL_ADDRESS": "a:1", "TEMPORAL_CONFIG_FILE": str(file)}, tmp_path)


def test_whoever_connects_encrypts_where_there_are_keys() -> None:
    """One converter for worker, commands, webhook server and schedules; without keys nothing changes."""
    assert converter(Settings.from_env({})) is data_converter
    sealed = converter(Settings.from_env({"FAILOVER_CODEC_KEYS": "a:" + "QUFB" * 10 + "QUE="}))
    assert sealed.payload_codec is not None


class Certificates:
    """An authority, a server and a client of its own making."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._ca_key = ec.generate_private_key(ec.SECP256R1())
        self._ca = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "ca")])
        self._write("ca", self._ca_key, self._sign("ca", self._ca_key, ca=True))
        for name in ("server", "client"):
            key = ec.generate_private_key(ec.SECP256R1())
            self._write(name, key, self._sign(name, key, ca=False))

    def _sign(self, name: str, key: ec.EllipticCurvePrivateKey, *, ca: bool) -> x509.Certificate:
        now = datetime.now(UTC)
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        return (
            x509.CertificateBuilder(self._ca, subject, key.public_key(), x509.random_serial_number())
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + timedelta(hours=1))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName("temporal.internal")]), critical=False)
            .sign(self._ca_key, hashes.SHA256())
        )

    def _write(self, name: str, key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate) -> None:
        secret = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        (self.directory / f"{name}.key").write_bytes(secret)
        (self.directory / f"{name}.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))

    def environ(self) -> dict[str, str]:
        return {
            "TEMPORAL_TLS_CLIENT_CERT_PATH": str(self.directory / "client.pem"),
            "TEMPORAL_TLS_CLIENT_KEY_PATH": str(self.directory / "client.key"),
            "TEMPORAL_TLS_SERVER_CA_CERT_PATH": str(self.directory / "ca.pem"),
            "TEMPORAL_TLS_SERVER_NAME": "temporal.internal",
        }


@asynccontextmanager
async def demanding(certificates: Certificates) -> AsyncIterator[tuple[int, "asyncio.Queue[str]"]]:
    """A server that speaks to nobody without a client certificate; → its port, and who came."""
    came: asyncio.Queue[str] = asyncio.Queue()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(certificates.directory / "ca.pem"))
    context.load_cert_chain(certificates.directory / "server.pem", certificates.directory / "server.key")
    context.verify_mode = ssl.CERT_REQUIRED
    context.set_alpn_protocols(["h2"])

    async def accept(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        [[(_, name)]] = writer.get_extra_info("peercert")["subject"]
        came.put_nowait(name)
        writer.close()

    server = await asyncio.start_server(accept, "127.0.0.1", 0, ssl=context)
    try:
        yield server.sockets[0].getsockname()[1], came
    finally:
        server.close()


async def test_mutual_tls_is_spoken_as_the_environment_says(tmp_path: Path) -> None:
    """A real handshake: the server's certificate is checked by the name given, and ours is shown to it."""
    certificates = Certificates(tmp_path)
    async with demanding(certificates) as (port, came):
        settings = Settings.from_env({"TEMPORAL_ADDRESS": f"127.0.0.1:{port}", **certificates.environ()})
        # It is no Temporal: what matters is who it saw.
        with pytest.raises(TemporalUnavailable, match="check TEMPORAL_ADDRESS"):
            await connect(settings, find(settings, tmp_path))
        assert await asyncio.wait_for(came.get(), timeout=10) == "client"
