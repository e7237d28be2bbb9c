"""The context of a check: the settings, the stack that they lead to, and the configuration that is in force there."""

from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Self

from activities.evidence import EvidenceStore
from failover.config import Config
from failover.config.routes import Targets
from failover.config_file import LoadedConfig
from failover.errors import RequestError, Unavailable
from failover.policy import Mode, TrafficPolicy
from failover.ports import ProviderClient, TrafficPlane
from failover.telemetry import Telemetry
from starter.arguments import route_of
from starter.configuration import in_force
from starter.parts import closing, evidence_store, plane_of, provider_clients
from starter.running import DEFAULT_HOME, Stack, find
from starter.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckContext:
    settings: Settings
    stack: Stack
    loaded: LoadedConfig

    @classmethod
    def find(cls, settings: Settings, state: Path | None) -> Self:
        stack = find(settings, state)
        loaded = in_force(settings, stack)
        return cls(settings=replace(settings, state=state or settings.state), stack=stack, loaded=loaded)

    @property
    def config(self) -> Config:
        return self.loaded.config

    @property
    def home(self) -> Path:
        """The state directory: incidents and baselines lie there."""
        return self.stack.state or self.settings.state or DEFAULT_HOME

    def evidence(self) -> EvidenceStore:
        """The records of closed runs."""
        return evidence_store(self.config, self.home)

    def provider(self, name: str) -> str:
        """The name of a configured provider; RequestError for any other."""
        if name not in self.config.providers:
            raise RequestError(f"There is no provider {name!r}; the providers are {', '.join(self.config.providers)}.")
        return name

    def default_route(self, route: str | None = None) -> str:
        """The one that is named, the only one, or the default."""
        return route_of(self.config, route)

    def routes(self, route: str | None) -> list[str]:
        """The one that is named, else all of them."""
        return [self.default_route(route)] if route is not None else list(self.config.routes)

    @asynccontextmanager
    async def clients(self, only: Collection[str]) -> AsyncIterator[Mapping[str, ProviderClient]]:
        """Open a client for each of these providers. ConfigError if one cannot be made."""
        made = await provider_clients(self.config, self.settings, only)
        try:
            yield made
        finally:
            for client in made.values():
                await client.aclose()

    @asynccontextmanager
    async def plane(self) -> AsyncIterator[TrafficPlane]:
        async with closing(plane_of(self.stack)) as plane:
            yield plane

    def targets(self, policy: TrafficPolicy) -> Targets:
        """The targets in force: relaxed while service is degraded."""
        degraded = policy.mode is Mode.DEGRADED
        return self.config.emergency.targets if degraded else self.config.routes[policy.route].targets


async def policy_of(plane: TrafficPlane, route: str) -> TrafficPolicy:
    """The policy of a route; Unavailable if the data plane knows no such route."""
    policies = await plane.read([route])
    if not policies:
        raise Unavailable(f"The data plane has no policy of route {route} yet.")
    return policies[0]


async def counted(plane: TrafficPlane, since: datetime) -> Telemetry:
    """What was counted since then. Unavailable where the data plane does not count."""
    telemetry = await plane.observe(since=since)
    if telemetry is None:
        raise Unavailable("The data plane does not count what it serves: nothing can be judged.")
    return telemetry
