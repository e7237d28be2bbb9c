"""Parts of the stack that can run alone, each in a process of its own."""

from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path

from failover.config import Config
from starter.configuration import load, named
from starter.foreground import ENDED_BY_SIGNAL, until_signal
from starter.logs import configure
from starter.output import say
from starter.parts import provider_clients
from starter.running import DEFAULT_HOME, write_atomically
from starter.settings import Settings
from starter.tracing import tracing


def run_gateway(
    settings: Settings, *, config: Path | None, state: Path | None, host: str, port: int, ready_file: Path | None
) -> int:
    """Run the gateway alone until SIGINT or SIGTERM → 0."""
    configure(settings.log_format or "console", settings.log_level)
    loaded = load(named(settings, config)).config
    home = (state or settings.state or DEFAULT_HOME) / "gateway"
    code = until_signal(_serve(loaded, settings, home, host, port, ready_file))
    return 0 if code == ENDED_BY_SIGNAL else code


async def _serve(config: Config, settings: Settings, home: Path, host: str, port: int, ready_file: Path | None) -> int:
    from gateway.process import run

    def ready(url: str) -> None:
        say(f"The gateway answers at {url}.")
        if ready_file:
            write_atomically(ready_file, {"url": url})

    home.mkdir(parents=True, exist_ok=True)
    async with AsyncExitStack() as held:
        traced = await tracing(settings, "failover-gateway", held)
        clients = await provider_clients(config, settings)
        for client in clients.values():
            held.push_async_callback(client.aclose)
        await run(
            config,
            clients,
            host=host,
            port=port,
            state=home,
            token=settings.api_token,
            ready=ready,
            redis_url=settings.redis_url,
            dress=traced.dress,
        )
    return 0


def run_simulator(arguments: Sequence[str]) -> int:
    """The simulator's own command line."""
    from simulator.__main__ import main

    return main(list(arguments))
