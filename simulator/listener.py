"""A port that can refuse connections and come back under the same number."""

import asyncio
import errno
import socket

import uvicorn
from starlette.types import ASGIApp

_GRACE_SECONDS = 0.2


class PortInUse(Exception):
    """The port is in use: somebody else listens on it; the message names it."""


class Listener:
    """Serves one app on one port. The port stays reserved while nothing listens on it."""

    def __init__(self, app: ASGIApp, *, host: str, port: int = 0) -> None:
        self._app = app
        self._host = host
        self._reservation = reserve(host, port)
        self.port: int = self._reservation.getsockname()[1]
        self._server: uvicorn.Server | None = None

    async def open(self) -> None:
        """Listens; does nothing when it already does."""
        if self._server:
            return
        config = uvicorn.Config(
            self._app, log_config=None, access_log=False, lifespan="off", server_header=False, date_header=False
        )
        config.load()
        server = uvicorn.Server(config)
        server.lifespan = config.lifespan_class(config)
        await server.startup(sockets=[_bound(self._host, self.port)])
        self._server = server

    async def close(self) -> None:
        """Refuses from now on, and drops the connections that are open."""
        server, self._server = self._server, None
        if server is None:
            return
        for listening in server.servers:
            listening.close()
        for connection in list(server.server_state.connections):
            if connection.transport:
                connection.transport.abort()
        await _ended(list(server.server_state.tasks))

    async def release(self) -> None:
        """Closes, and gives the port back."""
        await self.close()
        self._reservation.close()


def reserve(host: str, port: int) -> socket.socket:
    """A socket that keeps the port for this process without listening. Raises PortInUse."""
    if port:
        _refuse_taken(host, port)
    return _bound(host, port)


def _refuse_taken(host: str, port: int) -> None:
    # Sharing a port, as reservation and listener do, would let two simulators answer on it in turn without a word.
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            raise PortInUse(
                f"Port {port} on {host} is in use: choose another one, or 0 for any that is free."
            ) from None


def _bound(host: str, port: int) -> socket.socket:
    # Only with the protocol named does asyncio turn Nagle's algorithm off; with it on, an answer can take 40 ms more.
    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    bound.bind((host, port))
    return bound


async def _ended(tasks: list[asyncio.Task[None]]) -> None:
    """Wait until requests see that their client is gone; those that do not in time are cancelled."""
    if not tasks:
        return
    _, late = await asyncio.wait(tasks, timeout=_GRACE_SECONDS)
    for task in late:
        task.cancel()
    await asyncio.gather(*late, return_exceptions=True)
