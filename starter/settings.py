"""Wiring and secrets, from the environment, read once: where things are and which keys open them.

What operators decide lives in `failover.yaml`; nothing here changes what a procedure does. `TEMPORAL_*` and
`temporal.toml` are Temporal's own way (`temporalio.envconfig`) and only handed on.
"""

import base64
import binascii
import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Self, cast

from failover.errors import ConfigError

LogFormat = Literal["json", "console"]
LogLevel = Literal["debug", "info", "warning", "error"]

OWN_VARIABLES: Mapping[str, str] = {
    "FAILOVER_CONFIG": "path of the configuration file",
    "FAILOVER_STATE": "directory that holds what outlives a process",
    "FAILOVER_CACHE": "directory for downloaded and built helpers, such as Temporal's dev server",
    "FAILOVER_GATEWAY_URL": "address of the gateway",
    "FAILOVER_REDIS_URL": "address of the Redis that shares the policies among gateways",
    "FAILOVER_SIMULATOR_URL": "control address of the provider simulator",
    "FAILOVER_WORKER_URL": "address of a worker's health endpoint, for the commands",
    "FAILOVER_API_TOKEN": "bearer token of every call that changes something",
    "FAILOVER_CODEC_KEYS": "keys that encrypt what Temporal keeps, each id:base64; the first encrypts, all decrypt",
    "FAILOVER_LOG_FORMAT": "json or console",
    "FAILOVER_LOG_LEVEL": "debug, info, warning or error",
    "FAILOVER_WORKER_HOST": "host that the worker's health endpoint binds",
    "FAILOVER_WORKER_PORT": "port of the worker's health endpoint; 0: any free one",
}
"""Every variable of ours and what it means; any other FAILOVER_ name is a mistake, and said to be one."""

OWN_PREFIX = "FAILOVER_"

VENDOR_VARIABLES = frozenset(
    {
        "SLACK_BOT_TOKEN",
        "SLACK_SIGNING_SECRET",
        "ALERTMANAGER_WEBHOOK_TOKEN",
        "GRAFANA_WEBHOOK_TOKEN",
        "PAGERDUTY_WEBHOOK_SECRET",
        "DATADOG_WEBHOOK_TOKEN",
        "GENERIC_WEBHOOK_TOKEN",
        "DEPLOYS_WEBHOOK_TOKEN",
        "STATUS_API_KEY",
        "PAGERDUTY_ROUTING_KEY",
        "SMTP_PASSWORD",
        "OUTGOING_WEBHOOK_SECRET",
        "OPENAI_API_KEY",
        "GRAFANA_TOKEN",
        "LLAMA_API_KEY",
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "AWS_PROFILE",
        "AWS_REGION",
        "AWS_DEFAULT_REGION",
        "AWS_CONFIG_FILE",
        "AWS_SHARED_CREDENTIALS_FILE",
        "AWS_ROLE_ARN",
        "AWS_WEB_IDENTITY_TOKEN_FILE",
        "AWS_CA_BUNDLE",
        "GOOGLE_APPLICATION_CREDENTIALS",
        "GOOGLE_CLOUD_PROJECT",
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "NO_PROXY",
        "NO_COLOR",
    }
)
"""Read by the vendors' SDKs, or named by the shipped configuration (`api_key_env`, `token_env`, `secret_env`)."""

CODEC_KEY_BYTES = 32
"""AES-256."""

_CODEC_KEY_ID = re.compile(r"[A-Za-z0-9._-]{1,40}")


@dataclass(frozen=True, slots=True, kw_only=True)
class CodecKey:
    """A key that encrypts payloads. Its id stands in the clear beside each of them."""

    id: str
    secret: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The environment as it was at start. None means: not set; the stack or the defaults decide.

    `environ` is kept for Temporal's settings and for secrets that the configuration names; it is never shown.
    """

    config: Path | None = None
    state: Path | None = None
    cache: Path | None = None
    gateway_url: str | None = None
    redis_url: str | None = None
    simulator_url: str | None = None
    worker_url: str | None = None
    api_token: str | None = field(default=None, repr=False)
    codec_keys: Sequence[CodecKey] = ()
    log_format: LogFormat | None = None
    log_level: LogLevel = "info"
    worker_host: str = "127.0.0.1"
    worker_port: int = 0
    environ: Mapping[str, str] = field(default_factory=dict, repr=False)

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Self:
        """Read the environment; ConfigError if a variable of ours is unknown or holds what it may not."""
        _refuse_unknown(environ)
        return cls(
            config=_path(environ, "FAILOVER_CONFIG"),
            state=_path(environ, "FAILOVER_STATE"),
            cache=_path(environ, "FAILOVER_CACHE"),
            gateway_url=_url(environ, "FAILOVER_GATEWAY_URL", "http", "https"),
            redis_url=_url(environ, "FAILOVER_REDIS_URL", "redis", "rediss", "unix"),
            simulator_url=_url(environ, "FAILOVER_SIMULATOR_URL", "http", "https"),
            worker_url=_url(environ, "FAILOVER_WORKER_URL", "http", "https"),
            api_token=environ.get("FAILOVER_API_TOKEN") or None,
            codec_keys=_codec_keys(environ),
            log_format=cast(
                LogFormat | None,
                _choice(environ, "FAILOVER_LOG_FORMAT", "json", "console"),
            ),
            log_level=cast(
                LogLevel,
                _choice(environ, "FAILOVER_LOG_LEVEL", "debug", "info", "warning", "error") or "info",
            ),
            worker_host=environ.get("FAILOVER_WORKER_HOST") or "127.0.0.1",
            worker_port=_port(environ, "FAILOVER_WORKER_PORT"),
            environ=dict(environ),
        )

    @property
    def temporal_address(self) -> str | None:
        return self.environ.get("TEMPORAL_ADDRESS") or None

    def cache_directory(self) -> Path:
        """The directory of helpers: FAILOVER_CACHE, else a .cache beside the sources, else the user's cache."""
        if self.cache is not None:
            return self.cache
        root = Path(__file__).resolve().parent.parent
        if (root / "pyproject.toml").is_file():
            return root / ".cache"
        return Path(self.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "failover-runbook"


def _refuse_unknown(environ: Mapping[str, str]) -> None:
    for name in environ:
        if name.startswith(OWN_PREFIX) and name not in OWN_VARIABLES:
            near = difflib.get_close_matches(name, OWN_VARIABLES, n=1, cutoff=0.85)
            hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(sorted(OWN_VARIABLES))}."
            raise ConfigError(f"The environment sets {name}, which is no setting; {hint}")


def _path(environ: Mapping[str, str], name: str) -> Path | None:
    value = environ.get(name)
    return Path(value).expanduser() if value else None


def _url(environ: Mapping[str, str], name: str, *schemes: str) -> str | None:
    value = environ.get(name)
    if not value:
        return None
    scheme, separator, rest = value.partition("://")
    if not separator or scheme not in schemes or not rest:
        # The value may hold a password, so it is not repeated.
        raise ConfigError(f"{name} is no address; it begins with {' or '.join(f'{known}://' for known in schemes)}.")
    return value.rstrip("/")


def _choice(environ: Mapping[str, str], name: str, *allowed: str) -> str | None:
    value = environ.get(name, "").lower()
    if not value:
        return None
    if value not in allowed:
        raise ConfigError(f"{name} is {value!r}; it must be {', '.join(allowed[:-1])} or {allowed[-1]}.")
    return value


def _port(environ: Mapping[str, str], name: str) -> int:
    value = environ.get(name) or "0"
    if not value.isascii() or not value.isdigit() or int(value) > 65535:
        raise ConfigError(f"{name} is {value!r}; a port is a number from 0 (any free one) to 65535.")
    return int(value)


def _codec_keys(environ: Mapping[str, str]) -> tuple[CodecKey, ...]:
    keys = tuple(_codec_key(given) for given in environ.get("FAILOVER_CODEC_KEYS", "").split())
    if len({key.id for key in keys}) != len(keys):
        raise ConfigError("FAILOVER_CODEC_KEYS names two keys by one id; a payload must say by which it was encrypted.")
    return keys


def _codec_key(given: str) -> CodecKey:
    id_, separator, encoded = given.partition(":")
    try:
        secret = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        secret = b""
    if not separator or not _CODEC_KEY_ID.fullmatch(id_) or len(secret) != CODEC_KEY_BYTES:
        # What was given may be a key, so nothing of it is repeated.
        raise ConfigError(
            f"FAILOVER_CODEC_KEYS holds what is no key; each is an id, a colon and {CODEC_KEY_BYTES} random bytes in "
            'base64, such as "2026-11:$(openssl rand -base64 32)"; several are divided by spaces.'
        )
    return CodecKey(id=id_, secret=secret)
