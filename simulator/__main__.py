"""`python -m simulator`: runs the simulator until it is told to end (SIGTERM, SIGINT)."""

import argparse
import asyncio
import json
import os
import signal
import sys
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

from failover.errors import ConfigError
from failover.golden import parse_suite
from simulator.faults import FaultKind
from simulator.listener import PortInUse
from simulator.provider import ProviderKind
from simulator.server import DEFAULT_SEED, Simulator

T = TypeVar("T")

_DEFAULT_PROVIDERS = (("bedrock", "bedrock"), ("google", "vertex"), ("meta", "llama"))


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code: 0 after a clean end, 1 when a port is taken, 2 for arguments that cannot be meant."""
    parser = _parser()
    options = parser.parse_args(arguments)
    providers = _once(parser, "--provider", options.provider or _DEFAULT_PROVIDERS)
    ports = _once(parser, "--port", options.port)
    grpc_ports = _once(parser, "--grpc-port", options.grpc_port)
    models: dict[str, list[str]] = {}
    for key, model in options.model:
        models.setdefault(key, []).append(model)
    for key in (*ports, *grpc_ports, *models):
        if key not in providers:
            parser.error(f"there is no provider {key!r}; given are: {', '.join(providers)}")
    try:
        knows = _answers(options.suite)
    except (OSError, ConfigError) as error:
        parser.error(f"--suite: {error}")
    simulator = Simulator(
        providers,
        seed=options.seed,
        grpc=options.grpc or bool(grpc_ports),
        latency=timedelta(milliseconds=options.latency_ms),
        host=options.host,
        advertised=options.advertise,
        ports=ports,
        grpc_ports=grpc_ports,
        control_port=options.control_port,
        models=models,
        knows=knows,
    )
    try:
        asyncio.run(_serve(simulator, options.ready_file))
    except PortInUse as taken:
        print(f"simulator: {taken}", file=sys.stderr)
        return 1
    return 0


async def _serve(simulator: Simulator, ready_file: Path | None) -> None:
    told_to_end = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, told_to_end.set)
    async with simulator:
        addresses = json.dumps(simulator.addresses(), indent=2)
        if ready_file:
            _write(ready_file, addresses)
        print(addresses, flush=True)
        await told_to_end.wait()


def _write(path: Path, text: str) -> None:
    """Write a file whole: whoever waits for it never sees half of it."""
    unfinished = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    unfinished.write_text(text + "\n")
    unfinished.replace(path)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m simulator",
        description="Provider endpoints with faults, in the vendors' own wire shapes.",
        epilog="Faults: " + "; ".join(f"{kind}: {kind.description}" for kind in FaultKind),
    )
    add = parser.add_argument
    add("--provider", action="append", type=_kind, metavar="KEY=KIND", help=f"kinds: {', '.join(ProviderKind)}")
    add("--port", action="append", type=_port, default=[], metavar="KEY=PORT", help="port of a provider; else any")
    add("--grpc", action="store_true", help="also serve Vertex over gRPC")
    add("--grpc-port", action="append", type=_port, default=[], metavar="KEY=PORT", help="gRPC port; implies --grpc")
    add("--model", action="append", type=_pair, default=[], metavar="KEY=ID", help="one more model that KEY lists")
    add("--suite", action="append", type=Path, default=[], metavar="FILE", help="golden prompts that it answers right")
    add("--control-port", type=int, default=0, metavar="PORT")
    add("--host", default="127.0.0.1", help="address to listen on")
    add("--advertise", metavar="HOST", help="host by which others reach it, where that is another")
    add("--seed", type=int, default=DEFAULT_SEED, help="same seed, same order of calls: same outcomes")
    add("--latency-ms", type=float, default=5.0, metavar="MS", help="latency of healthy answers")
    add("--ready-file", type=Path, metavar="FILE", help="written with all addresses once everything answers")
    return parser


def _answers(suites: Sequence[Path]) -> dict[str, str]:
    """Golden prompts and their right answers."""
    prompts = [prompt for path in suites for prompt in parse_suite(path.read_text(), str(path)).prompts]
    return {prompt.prompt: prompt.example for prompt in prompts}


def _pair(text: str) -> tuple[str, str]:
    key, separator, value = text.partition("=")
    if not (key and separator and value):
        raise argparse.ArgumentTypeError(f"{text!r} must be KEY=VALUE")
    return key, value


def _kind(text: str) -> tuple[str, str]:
    key, kind = _pair(text)
    if kind not in list(ProviderKind):
        raise argparse.ArgumentTypeError(f"there is no kind {kind!r}; allowed are: {', '.join(ProviderKind)}")
    return key, kind


def _port(text: str) -> tuple[str, int]:
    key, number = _pair(text)
    if not number.isdigit() or not 0 <= int(number) <= 65_535:
        raise argparse.ArgumentTypeError(f"{number!r} is not a port: give a number from 0 to 65535")
    return key, int(number)


def _once(parser: argparse.ArgumentParser, option: str, pairs: Sequence[tuple[str, T]]) -> dict[str, T]:
    found = dict(pairs)
    if len(found) < len(pairs):
        parser.error(f"{option} names a provider twice")
    return found


if __name__ == "__main__":
    sys.exit(main())
