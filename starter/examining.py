"""Golden prompts by command: what `validate --test-suite` and `offline --quick-validation` put to a provider."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from failover.accuracy import Assessment, Examination
from failover.config_file import LoadedConfig
from starter.parts import examiner, provider_clients
from starter.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Examined:
    """The run of a suite with every miss, and what it says against the baseline."""

    examination: Examination
    assessment: Assessment


async def examine(
    settings: Settings,
    loaded: LoadedConfig,
    state: Path,
    provider: str,
    suite: str,
    *,
    size: int | None = None,
    told: Callable[[int], None] | None = None,
) -> Examined:
    """Put a suite (its first `size` prompts) to a provider's model; `told` hears how many are answered.

    `state` holds the baselines. A run that is cut to a size is compared with none, and becomes none. RequestError for a
    provider or suite that is not there; ConfigError for one that cannot be used.
    """
    known = loaded.config.providers
    # Only the one that is asked: another vendor's SDK takes seconds to load.
    clients = await provider_clients(loaded.config, settings, only=[provider] if provider in known else known)
    try:
        asking = examiner(loaded, clients, state)
        found = await asking.examine(provider, suite, size=size, told=told)
        return Examined(examination=found, assessment=asking.judge(found))
    finally:
        for client in clients.values():
            await client.aclose()
