"""Ports: the asked one or a sentence, the usual one where it is free, else another, said aloud."""

import socket
from collections.abc import Iterator

import pytest

from failover.errors import BadInput
from starter.ports import choose, free_port


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        yield holder.getsockname()[1]


def test_a_port_asked_for_and_in_use_is_refused(taken: int) -> None:
    """The sentence names the port, what it was for, and the option."""
    with pytest.raises(BadInput, match=f"Port {taken} for the gateway is in use.*--gateway-port"):
        choose("the gateway", asked=taken, usual=8080, option="--gateway-port", say=print)


def test_a_usual_port_in_use_gives_way_and_that_is_said(taken: int) -> None:
    """Nothing moves silently."""
    said: list[str] = []
    chosen = choose("the gateway", asked=None, usual=taken, option="--gateway-port", say=said.append)
    assert chosen != taken
    assert said == [f"Port {taken} is in use; the gateway takes port {chosen} instead."]


def test_a_free_port_is_taken_as_it_is() -> None:
    """Asked for or usual, without a word."""
    port, said = free_port(), list[str]()
    assert choose("x", asked=port, usual=None, option="--x", say=said.append) == port
    assert choose("x", asked=None, usual=port, option="--x", say=said.append) == port
    assert said == []
