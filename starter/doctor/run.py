"""Everything is looked at, side by side; what could not be looked at is said as well."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path

from activities.accuracy import BaselineStore
from activities.checks import data_plane, people, providers
from failover.config import Config
from failover.config_file import LoadedConfig
from failover.errors import FailoverError
from failover.findings import Finding, Health, failed, ok
from starter import readiness
from starter.channels import channels
from starter.configuration import load, named
from starter.connection import connect
from starter.doctor import temporal
from starter.golden import load_prompt_sets, load_suites
from starter.output import as_json, console, say
from starter.parts import BASELINES, passive_sources, plane_of, provider_clients, readiness_store
from starter.running import DEFAULT_HOME, Stack, find
from starter.settings import Settings

_MARK = {Health.OK: "ok     ", Health.WARNING: "warning", Health.FAILED: "FAILED ", Health.UNKNOWN: "unknown"}
_STYLE = {Health.OK: "green", Health.WARNING: "yellow", Health.FAILED: "bold red", Health.UNKNOWN: "yellow"}

Examination = Callable[[], Awaitable[Sequence[Finding]]]


async def examined(about: str, examine: Examination, repair: str) -> Sequence[Finding]:
    """What an examination found; one that could not be done is a finding too."""
    try:
        return await examine()
    except FailoverError as error:
        return [failed(about, str(error), repair)]


def run_doctor(settings: Settings, config: Path | None, state: Path | None, *, json: bool) -> int:
    """Exit code: 1 where something failed, else 0."""
    stack = find(settings, state)
    path = config or stack.config or named(settings, config)
    try:
        loaded = load(path)
        load_prompt_sets(loaded)
    except FailoverError as error:
        found: Sequence[Finding] = [failed("configuration", str(error), "correct the file; `failoverctl config check`")]
    else:
        say("Looking at Temporal, the data plane, the providers and the rest …")
        found = [ok("configuration", f"{path} can be used"), *asyncio.run(_examine(settings, stack, loaded))]
    if json:
        as_json("doctor", found)
    else:
        _show(found)
    return 1 if any(one.health is Health.FAILED for one in found) else 0


async def _examine(settings: Settings, stack: Stack, loaded: LoadedConfig) -> list[Finding]:
    config, environ = loaded.config, settings.environ
    examinations: list[Awaitable[Sequence[Finding]]] = [
        examined("temporal", lambda: _temporal(settings, stack, config), "start it, or set TEMPORAL_ADDRESS"),
        examined("data plane", lambda: _data_plane(stack, config), "start the gateway, or set FAILOVER_GATEWAY_URL"),
        examined("automation", lambda: _hold(stack), "start the gateway: the hold lives with the policies"),
        examined("communications", lambda: _communications(config, settings), "see to communications"),
        examined("slack", lambda: people.slack(config.notifications.slack, environ), "see to Slack"),
    ]
    found = [*await asyncio.gather(*examinations)]
    # By themselves: loading the vendors' SDKs stops everything else for seconds.
    found.append(await examined("providers", lambda: _providers(settings, loaded, stack), "correct their section"))
    home = stack.state or settings.state or DEFAULT_HOME
    found.append(await examined("readiness", lambda: _readiness(loaded, home), "see to the state directory"))
    return [
        *people.secrets(config, environ),
        *people.senders(config, environ),
        *(one for findings in found for one in findings),
    ]


async def _communications(config: Config, settings: Settings) -> Sequence[Finding]:
    built = channels(config, settings)
    try:
        return await people.communications(built)
    finally:
        for channel in built.values():
            await channel.aclose()


async def _temporal(settings: Settings, stack: Stack, config: Config) -> list[Finding]:
    return await temporal.examine(await connect(settings, stack), config)


async def _data_plane(stack: Stack, config: Config) -> list[Finding]:
    plane = plane_of(stack)
    try:
        return await data_plane.examine(plane, config)
    finally:
        await plane.aclose()


async def _providers(settings: Settings, loaded: LoadedConfig, stack: Stack) -> list[Finding]:
    config, home = loaded.config, stack.state or settings.state or DEFAULT_HOME
    async with AsyncExitStack() as held:
        clients = await provider_clients(config, settings)
        sources = passive_sources(config, settings)
        for one in clients.values():
            held.push_async_callback(one.aclose)
        for source in sources.values():
            held.push_async_callback(source.aclose)
        found = await providers.examine(config, clients)
        kept = providers.baselines(config, load_suites(loaded), BaselineStore(home / BASELINES), providers.now())
        return [*found, *kept, *await providers.sources(config, sources)]


async def _readiness(loaded: LoadedConfig, home: Path) -> list[Finding]:
    return [readiness.finding(loaded, readiness_store(loaded.config, home), providers.now())]


async def _hold(stack: Stack) -> list[Finding]:
    store = plane_of(stack)
    try:
        return [people.hold(await store.hold())]
    finally:
        await store.aclose()


def _show(found: Sequence[Finding]) -> None:
    from rich.text import Text

    out = console()
    for one in found:
        line = Text.assemble((_MARK[one.health], _STYLE[one.health]), f"  {one.about}: {one.said}")
        out.print(line)
        if one.repair:
            out.print(Text(f"         → {one.repair}"))
    bad = [one for one in found if one.health is not Health.OK]
    count = sum(one.health is Health.FAILED for one in bad)
    out.print(
        Text(
            "Everything that a failover needs is there." if not bad else f"{count} failed, {len(bad) - count} warnings."
        )
    )
