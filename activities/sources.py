"""One reading of users' tries, from the gateway's counters and from whoever else speaks for a provider."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

import structlog

from activities.clock import SYSTEM
from failover.config import Config
from failover.errors import DataPlaneUnavailable, Unavailable
from failover.ports import Clock, PassiveSource, TrafficPlane
from failover.telemetry import ProviderWindow, Telemetry, merged

log = structlog.get_logger(__name__)


class Readings:
    """Reads each source once for all watches. One that does not answer leaves its providers without data, and is told."""

    def __init__(
        self, config: Config, plane: TrafficPlane, sources: Mapping[str, PassiveSource], clock: Clock = SYSTEM
    ) -> None:
        self._clock = clock
        self._config = config
        self._plane = plane
        self._sources = sources
        self._speakers = {
            provider: name for name, source in config.detection.sources.items() for provider in source.providers
        }
        self._read: dict[tuple[str, timedelta], asyncio.Task[Sequence[ProviderWindow] | None]] = {}
        self._read_at: dict[tuple[str, timedelta], datetime] = {}
        self.blind: dict[str, str] = {}
        """Source → why nothing is known from it."""

    async def observe(self, window: timedelta) -> Telemetry | None:
        """What was counted in the last window, by whoever speaks for each provider; None where nobody told anything."""
        counted, told = await asyncio.gather(self._counted(window), self._spoken(window))
        return merged(counted, told, self._speakers, window, self._clock.now())

    async def _counted(self, window: timedelta) -> Telemetry | None:
        try:
            return await self._plane.observe(window=window)
        except DataPlaneUnavailable as error:
            log.warning("the data plane could not be observed", error=str(error))
            return None

    async def _spoken(self, window: timedelta) -> Mapping[str, Sequence[ProviderWindow]]:
        """Source → what it told; one that does not answer is left out."""
        told = await asyncio.gather(*(self._shared(name, window) for name in self._sources))
        return {name: windows for name, windows in zip(self._sources, told, strict=True) if windows is not None}

    async def _shared(self, name: str, window: timedelta) -> Sequence[ProviderWindow] | None:
        key, now = (name, window), self._clock.now()
        if key not in self._read or now - self._read_at[key] >= self._config.detection.sources[name].refresh:
            self._read[key], self._read_at[key] = asyncio.create_task(self._ask(name, window)), now
        # Shielded: a watch that is cancelled must not take the others' reading with it.
        return await asyncio.shield(self._read[key])

    async def _ask(self, name: str, window: timedelta) -> Sequence[ProviderWindow] | None:
        try:
            windows = await self._sources[name].read(window)
        except Unavailable as error:
            self._tell(name, str(error))
            return None
        except Exception as error:  # noqa: BLE001 (whatever is wrong with a source, the probes go on)
            self._tell(name, f"It could not be read ({type(error).__name__}: {error}).")
            return None
        silent = sorted(set(self._config.detection.sources[name].providers) - {one.provider for one in windows})
        self._tell(name, f"It knows nothing fresh of {', '.join(silent)}." if silent else None)
        return windows

    def _tell(self, name: str, why: str | None) -> None:
        if why is None:
            self.blind.pop(name, None)
        elif self.blind.get(name) != why:
            self.blind[name] = why
            log.warning("a source of passive rates is blind", source=name, why=why)
