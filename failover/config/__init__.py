"""What operators decide: the shape of `failover.yaml`, with the runbook's values as defaults.

Providers, routes and chains have no default; everything else does. Parsing a file's text is `failover.config_file`.
"""

from typing import Self

from pydantic import Field, model_validator

from failover.config.console import Console
from failover.config.detection import Detection
from failover.config.emergency import Emergency
from failover.config.gateway import Gateway
from failover.config.kpis import Kpis
from failover.config.notifications import Notifications
from failover.config.procedures import Procedures
from failover.config.providers import Capacity, Provider
from failover.config.routes import Route, Targets
from failover.roles import Access
from failover.section import Name, Section
from failover.senders import Webhooks
from failover.units import render_duration


class Config(Section):
    """All of `failover.yaml`."""

    providers: dict[Name, Provider] = Field(min_length=1)
    routes: dict[Name, Route] = Field(min_length=1)
    failover_chains: dict[Name, list[Name]] = {}
    """Provider → who takes over from it, in order of preference."""
    model_aliases: dict[str, str] = {}
    """Names that people use → the ids that the vendors serve."""
    default_route: Name | None = None
    detection: Detection = Detection()
    procedures: Procedures = Procedures()
    emergency: Emergency = Emergency()
    kpis: Kpis = Kpis()
    notifications: Notifications = Notifications()
    gateway: Gateway = Gateway()
    access: Access = Access()
    webhooks: Webhooks = Webhooks()
    console: Console = Console()

    @model_validator(mode="after")
    def _names_exist(self) -> Self:
        problems = [
            *self._chain_problems(),
            *self._route_problems(),
            *self._promise_problems(),
            *self._source_problems(),
            *self.webhooks.alerts.unknown_names(self.providers, self.routes),
        ]
        if problems:
            raise ValueError("\n".join(problems))
        return self

    def _chain_problems(self) -> list[str]:
        chains = {("failover_chains", provider): chain for provider, chain in self.failover_chains.items()}
        for name, route in self.routes.items():
            chains |= {(f"routes.{name}.chains", provider): chain for provider, chain in route.chains.items()}
        problems = []
        for (where, provider), chain in chains.items():
            unknown = [member for member in [provider, *chain] if member not in self.providers]
            problems += [
                f"{where}.{provider} names {member!r}, which is no provider ({self._known()})" for member in unknown
            ]
            everyone = [provider, *chain]
            twice = sorted({member for member in everyone if everyone.count(member) > 1})
            problems += [
                f"{where}.{provider} names {member!r} twice; a chain names no provider twice" for member in twice
            ]
        return problems

    def _route_problems(self) -> list[str]:
        problems = [
            f"routes.{name}.distribution names {provider!r}, which is no provider ({self._known()})"
            for name, route in self.routes.items()
            for provider in route.distribution
            if provider not in self.providers
        ]
        if self.default_route is not None and self.default_route not in self.routes:
            problems.append(f"default_route is {self.default_route!r}, which is no route ({', '.join(self.routes)})")
        return problems

    def _promise_problems(self) -> list[str]:
        slowest, promised = self.detection.slowest, self.kpis.detection
        if not self.detection.enabled or slowest <= promised:
            return []
        return [
            f"detection takes up to {render_duration(slowest)} ({self.detection.failure_threshold} probes, "
            f"{render_duration(self.detection.probe.cadence)} apart, the last with a timeout of "
            f"{render_duration(self.detection.probe.timeout)}), and kpis.detection promises {render_duration(promised)}; "
            "lower detection.failure_threshold, probe.cadence or probe.timeout, or promise less"
        ]

    def _source_problems(self) -> list[str]:
        claimed: dict[str, str] = {}
        problems = []
        for name, source in self.detection.sources.items():
            for provider in source.providers:
                where = f"detection.sources.{name}.providers names {provider!r}"
                if provider not in self.providers:
                    problems.append(f"{where}, which is no provider ({self._known()})")
                elif claimed.setdefault(provider, name) != name:
                    problems.append(f"{where}, for which the source {claimed[provider]!r} speaks already")
        return problems

    def _known(self) -> str:
        return "known: " + ", ".join(sorted(self.providers))

    def chain(self, route: str, failed: str) -> list[str]:
        """Who may take over the failed provider's traffic on a route, best first."""
        override = self.routes[route].chains if route in self.routes else {}
        return list(override.get(failed, self.failover_chains.get(failed, [])))

    def targets(self, route: str) -> Targets:
        """Of a route that the data plane has and the configuration does not name (any more), the usual ones."""
        return self.routes[route].targets if route in self.routes else Targets()

    def template(self, route: str) -> str | None:
        """What the route's users are told when nobody answers; None: as in any emergency."""
        return self.routes[route].template if route in self.routes else None

    def capacities(self) -> dict[str, Capacity]:
        """What each provider declared that it can take."""
        return {name: provider.capacity for name, provider in self.providers.items()}

    def model_id(self, provider: str) -> str:
        """The id that the vendor serves for the provider's model."""
        model = self.providers[provider].model
        return self.model_aliases.get(model, model)
