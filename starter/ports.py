"""Ports of this machine: which are free, and what to say about one that is not."""

import random
import socket
from collections.abc import Callable

from failover.errors import BadInput

LOOPBACK = "127.0.0.1"


SPAN = range(12_000, 32_000)
"""Ports below those that the system itself hands out, to connections and to whoever binds 0: none of these takes one of ours
between its being looked for and its being used."""


def free_port() -> int:
    """A port that nobody listens on now. Somebody may take it before it is used: bind 0 where that is possible."""
    while True:
        port = random.choice(SPAN)
        if is_free(port):
            return port


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        # A server that was just stopped leaves connections in TIME_WAIT, which hinder no new one.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
        return True


def choose(what: str, *, asked: int | None, usual: int | None, option: str, say: Callable[[str], None]) -> int:
    """The port asked for, or BadInput where it is taken; else the usual one; else a free one, which is said aloud."""
    if asked:
        if not is_free(asked):
            raise BadInput(
                f"Port {asked} for {what} is in use by another process; "
                f"stop that process, give another port with {option}, or leave {option} out to take a free one."
            )
        return asked
    if usual is None or asked == 0:
        return free_port()
    if is_free(usual):
        return usual
    chosen = free_port()
    say(f"Port {usual} is in use; {what} takes port {chosen} instead.")
    return chosen
