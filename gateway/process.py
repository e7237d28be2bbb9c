"""The gateway as a process: bind, serve, drain, end."""

import asyncio
import ipaddress
import socket
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from datetime import timedelta
from pathlib import Path

import uvicorn
from starlette.applications import Starlette

from failover.config import Config
from failover.distribution import Distribution
from failover.errors import BadInput
from failover.ports import ProviderClient
from gateway.app import create_app
from gateway.counters import utc_now
from gateway.store import FileStore, PolicyStore, sole_user

DRAIN = timedelta(seconds=5)
"""The time for requests in flight when the gateway is told to end."""

LAST_WORDS = timedelta(seconds=1)
"""The part of DRAIN for telling those who have no answer yet that none will come."""


async def run(
    config: Config,
    clients: Mapping[str, ProviderClient],
    *,
    host: str,
    port: int,
    state: Path,
    token: str | None,
    ready: Callable[[str], None],
    redis_url: str | None = None,
    dress: Callable[[Starlette], None] | None = None,
) -> None:
    """Serve until cancelled, on the policies in `state`, or in Redis where several gateways share them.

    `ready` is told the URL once requests are answered; port 0 takes any free one. `dress` may add to the application.

    BadInput where the port is taken; ConfigError where the policy store cannot be read, or is another gateway's.
    """
    initial = {name: route.distribution for name, route in config.routes.items()}
    async with _store(initial, state, redis_url) as store:
        app = create_app(config, clients, store, token=token, loopback=_is_loopback(host))
        if dress is not None:
            dress(app)
        async with listening(app, host, port) as url:
            ready(url)
            await asyncio.Event().wait()


@asynccontextmanager
async def _store(initial: Mapping[str, Distribution], state: Path, redis_url: str | None) -> AsyncIterator[PolicyStore]:
    if redis_url is None:
        with sole_user(state / "policies.lock"):
            yield FileStore.open(state / "policies.json", initial, utc_now)
        return
    from gateway.redis_store import RedisStore

    store = await RedisStore.open(redis_url, initial, utc_now)
    following = asyncio.create_task(store.follow())
    try:
        yield store
    finally:
        following.cancel()
        await asyncio.wait([following])
        await store.aclose()


@asynccontextmanager
async def listening(app: Starlette, host: str, port: int) -> AsyncIterator[str]:
    """The app served while the block runs; → its URL. Requests in flight at the end are answered, within bounds.

    An app with a `state.close` is told so at once: requests that wait have no time left to be answered in.
    """
    with bind(host, port) as sock:
        config = uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            lifespan="off",
            # Who is asking is the connection's other end, whatever a header says.
            proxy_headers=False,
            timeout_graceful_shutdown=int(DRAIN.total_seconds()),
        )
        server = _Server(config)
        serving = asyncio.create_task(server.serve(sockets=[sock]))
        try:
            yield f"http://{host}:{sock.getsockname()[1]}"
        finally:
            getattr(app.state, "close", _nothing)(DRAIN - LAST_WORDS)
            server.should_exit = True
            await serving


def _nothing(_: timedelta) -> None:
    """Do nothing, for an app that holds nobody up."""


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none: signals belong to whoever runs the process."""
        yield


def bind(host: str, port: int) -> socket.socket:
    """A listening socket, from which on no connection is refused."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # Naming the protocol lets asyncio switch Nagle's algorithm off, which costs 40 ms a call.
    sock = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((host, port))
    except OSError as error:
        sock.close()
        raise BadInput(
            f"Port {port} on {host} cannot be bound ({error.strerror}); give another with --port."
        ) from error
    sock.listen(1024)
    return sock


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
