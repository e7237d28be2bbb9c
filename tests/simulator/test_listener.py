"""Ports that refuse connections and come back."""

import socket

import pytest

from simulator.faults import parse_fault
from simulator.listener import PortInUse, reserve
from simulator.server import Simulator


def port_of(simulator: Simulator) -> int:
    return int(simulator.urls["meta"].removesuffix("/v1").rsplit(":", 1)[1])


async def test_a_refusing_port_stays_ours() -> None:
    """While nothing listens on it, nobody else can take the port, so that the provider can come back there."""
    async with Simulator({"meta": "llama"}) as simulator:
        await simulator.set_fault("meta", parse_fault("refused", {}))
        with socket.socket() as other, pytest.raises(OSError, match="in use"):
            other.bind(("127.0.0.1", port_of(simulator)))
        with socket.socket() as client:
            assert client.connect_ex(("127.0.0.1", port_of(simulator))) != 0


async def test_two_simulators_never_share_a_port() -> None:
    """The second one is told, and gives back whatever it had taken."""
    async with Simulator({"meta": "llama"}) as first:
        second = Simulator({"a": "llama", "meta": "llama"}, ports={"meta": port_of(first)})
        with pytest.raises(PortInUse, match=str(port_of(first))):
            await second.start()
        assert not second.urls


async def test_a_stopped_simulator_gives_its_ports_back() -> None:
    """The same port can be taken again at once, also after connections."""
    async with Simulator({"meta": "llama"}) as first:
        port = port_of(first)
        socket.create_connection(("127.0.0.1", port)).close()
    async with Simulator({"meta": "llama"}, ports={"meta": port}) as second:
        assert port_of(second) == port


def test_the_port_sends_without_delay() -> None:
    """asyncio turns Nagle's algorithm off only for sockets that name TCP; else every answer may take 40 ms more."""
    with reserve("127.0.0.1", 0) as reserved:
        assert reserved.proto == socket.IPPROTO_TCP
