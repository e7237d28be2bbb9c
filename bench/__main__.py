"""`make bench`, or `python -m bench` with the names of some of them (NAMES) and --full."""

import argparse
import asyncio
import os
import platform
import sys
from pathlib import Path

from bench.commands import commands
from bench.degraded import degraded
from bench.figures import console
from bench.incidents import detection, loss
from bench.latency import latency
from bench.peers import peers
from bench.ramps import aborts, histories
from bench.shift import routes, shift
from bench.webhooks import webhooks
from starter.embedded.temporal_server import find_cli, find_test_server
from starter.settings import Settings

NAMES = (
    "shift",
    "routes",
    "aborts",
    "histories",
    "latency",
    "degraded",
    "detection",
    "loss",
    "peers",
    "webhooks",
    "commands",
)


async def main(names: list[str], full: bool, cli: Path, settings: Settings) -> None:
    console.print(
        f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, {platform.system()}"
    )
    console.print()
    jobs = {
        "shift": lambda: shift(cli, 200 if full else 60),
        "routes": lambda: routes(cli),
        "aborts": lambda: aborts(cli, 40 if full else 15),
        "histories": lambda: histories(find_test_server(settings.cache_directory(), print)),
        "latency": lambda: latency(4000 if full else 1000),
        "degraded": lambda: degraded(2000 if full else 1000, 10_000),
        "detection": lambda: detection(cli, settings, full=full, times=5 if full else 3),
        "loss": lambda: loss(cli, settings, full=full),
        "peers": lambda: peers(cli, settings),
        "webhooks": lambda: webhooks(cli, settings, 100 if full else 40),
        "commands": lambda: commands(cli, settings, 40 if full else 15),
    }
    for name in names or NAMES:
        console.print(f"[dim]{name} …[/dim]")
        await jobs[name]()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", choices=[[], *NAMES])
    parser.add_argument("--full", action="store_true", help="every fault, more of everything; half an hour")
    options = parser.parse_args()
    settings = Settings.from_env(os.environ)
    asyncio.run(main(options.names, options.full, find_cli(settings.cache_directory(), print), settings))
    sys.stdout.flush()
    # The SDK's Rust core can abort while the interpreter finalises.
    os._exit(0)
