"""`failoverctl codec-server`: the codec server as a process."""

import asyncio
import ipaddress
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from urllib.parse import urlsplit

from starlette.applications import Starlette

from failover.errors import RequestError
from gateway.process import listening
from starter.codec.encryption import AesGcm
from starter.codec.server import create_app
from starter.configuration import load, named
from starter.foreground import ENDED_BY_SIGNAL, until_signal
from starter.logs import configure
from starter.output import say
from starter.running import find, write_atomically
from starter.settings import Settings
from starter.webhooks.guard import Guard


def run_codec_server(
    settings: Settings,
    *,
    config: Path | None,
    state: Path | None,
    host: str,
    port: int,
    origins: Sequence[str],
    ask_nobody: bool,
    ready_file: Path | None,
) -> int:
    """Run the codec server until SIGINT or SIGTERM → 0."""
    configure(settings.log_format or "console", settings.log_level)
    if not settings.codec_keys:
        raise RequestError(
            "Nothing is encrypted here: FAILOVER_CODEC_KEYS is not set, and the workers' keys are needed."
        )
    if ask_nobody and not _is_loopback(host):
        raise RequestError(
            f"--ask-nobody is for loopback only, and --host is {host}: whoever reached it would read everything."
        )
    guard = None
    if not ask_nobody:
        loaded = load(named(settings, config)).config
        guard = Guard(loaded, settings.environ, find(settings, state).api_token)
    app = create_app(AesGcm(settings.codec_keys), guard, [_origin(origin) for origin in origins])
    code = until_signal(_serve(app, host, port, ready_file))
    return 0 if code == ENDED_BY_SIGNAL else code


async def _serve(app: Starlette, host: str, port: int, ready_file: Path | None) -> int:
    async with AsyncExitStack() as held:
        url = await held.enter_async_context(listening(app, host, port))
        say(f"Payloads are decoded at {url}.")
        if ready_file:
            write_atomically(ready_file, {"url": url})
        await asyncio.Event().wait()
    return 0


def _origin(given: str) -> str:
    """An origin as a browser sends it; `*` would let every page that an operator looks at read everything."""
    parts = urlsplit(given)
    if parts.scheme not in ("http", "https") or not parts.netloc or parts.path.rstrip("/") or "*" in given:
        raise RequestError(f"--origin is {given!r}; give the Web UI's own, such as https://temporal.example.com.")
    return f"{parts.scheme}://{parts.netloc}".lower()


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
