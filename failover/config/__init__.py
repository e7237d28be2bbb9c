"""What operators decide: the shape of `failover.yaml`, with the runbook's values as defaults.

Providers, routes and chains have no default; everything else does. Parsing a file's text is `failover.config_file`.
"""

from collections.abc import Collection
from typing import Self

from pydantic import Field, model_validator

from failover.config.analysis import Analysis
from failover.config.baselines import Baselines
from failover.config.communications import Communications
from failover.config.console import Console
from failover.config.detection import Detection
from failover.config.drills import Drills
from failover.config.emergency import Emergency
from failover.config.evidence import Evidence
from failover.config.follow_up import FollowUp
from failover.config.gateway import Gateway
from failover.config.kpis import Kpis
from failover.config.notifications import Notifications
from failover.config.procedures import Procedures
from failover.config.providers import Capacity, Provider
from failover.config.readiness import Readiness
from failover.config.rehearsal import Rehearsal
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
    drills: Drills = Drills()
    notifications: Notifications = Notifications()
    follow_up: FollowUp = FollowUp()
    communications: Communications = Communications()
    gateway: Gateway = Gateway()
    evidence: Evidence = Evidence()
    baselines: Baselines = Baselines()
    access: Access = Access()
    webhooks: Webhooks = Webhooks()
    analysis: Analysis = Analysis()
    readiness: Readiness = Readiness()
    rehearsal: Rehearsal = Rehearsal()
    console: Console = Console()

    @model_validator(mode="after")
    def _names_exist(self) -> Self:
        problems = [
            *self._chain_problems(),
            *self._route_problems(),
            *self._promise_problems(),
            *self._source_problems(),
            *self._case_problems(),
            *self._certificate_problems(),
            *self._drill_problems(),
            *self.webhooks.alerts.unknown_names(self.providers, self.routes),
            *self.analysis.unknown_names(self.providers),
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

    def _case_problems(self) -> list[str]:
        support = self.communications.support
        named = {"aws": support.aws.providers, "google": support.google.providers}
        return [
            f"communications.support.{vendor}.providers names {provider!r}, which is no provider ({self._known()})"
            for vendor, providers in named.items()
            for provider in providers
            if provider not in self.providers
        ]

    def _certificate_problems(self) -> list[str]:
        demanding = [name for name in self.routes if self.only_certified(name)]
        if self.readiness.enabled or not demanding:
            return []
        return [
            f"only_certified is demanded for {', '.join(sorted(demanding))}, and readiness.enabled is false: nobody would "
            "ever certify a target; enable it, or demand no certificates"
        ]

    def only_certified(self, route: str) -> bool:
        """Whether automatic runs of the route are to choose certified targets."""
        own = self.routes[route].automation.only_certified if route in self.routes else None
        return self.detection.automation.only_certified if own is None else own

    def asks_without_certificate(self, route: str) -> bool:
        """Whether people are asked where no certified target is known to be well."""
        own = self.routes[route].automation.without_certificate if route in self.routes else None
        return (own or self.detection.automation.without_certificate) == "ask"

    def targets_of(self, route: str) -> list[str]:
        """All who may have to take over on a route: the chains of those who serve it, and whoever else serves it."""
        successors = self.successors_of(route)
        chained = [name for chain in successors.values() for name in chain]
        return list(dict.fromkeys([*chained, *(successors if len(successors) > 1 else [])]))

    def successors_of(self, route: str) -> dict[str, list[str]]:
        """Whoever serves a route → who may take over from it, best first."""
        serving = [name for name, share in self.routes[route].distribution.items() if share]
        return {source: self.chain(route, source) for source in serving}

    def _drill_problems(self) -> list[str]:
        drills = self.drills
        routes = ", ".join(self.routes)
        problems = [
            f"drills.routes names {name!r}, which is no route ({routes})"
            for name in drills.routes
            if name not in self.routes
        ]
        for name, schedule in drills.schedules.items():
            where, route = f"drills.schedules.{name}", schedule.route
            if schedule.provider not in self.providers:
                problems.append(f"{where}.provider is {schedule.provider!r}, which is no provider ({self._known()})")
            if route is None and len(drills.routes) != 1:
                problems.append(f"{where} names no route, and drills.routes does not name exactly one")
            elif route is not None and route not in self.routes:
                problems.append(f"{where}.route is {route!r}, which is no route ({routes})")
            elif route is not None and route not in drills.routes and schedule.percent is None:
                problems.append(f"{where}.route is {route!r}, which is no drill route: a live one needs a percent")
        return problems

    def _known(self) -> str:
        return "known: " + ", ".join(sorted(self.providers))

    def chain(self, route: str, failed: str) -> list[str]:
        """The providers that may take over the failed provider's traffic on a route, best first."""
        override = self.routes[route].chains if route in self.routes else {}
        return list(override.get(failed, self.failover_chains.get(failed, [])))

    def targets(self, route: str) -> Targets:
        """The targets of a route; of one that the data plane has and the configuration does not (any more), the usual ones."""
        return self.routes[route].targets if route in self.routes else Targets()

    def template(self, route: str) -> str | None:
        """What the route's users are told when nobody answers; None: as in any emergency."""
        return self.routes[route].template if route in self.routes else None

    def capacities(self) -> dict[str, Capacity]:
        """What each provider declared that it can take."""
        return {name: provider.capacity for name, provider in self.providers.items()}

    def contacts(self, providers: Collection[str]) -> dict[str, str]:
        """Provider → whom to call about it, if the configuration says so."""
        named = {name: self.providers[name].emergency_contact for name in providers if name in self.providers}
        return {name: contact for name, contact in sorted(named.items()) if contact}

    def models(self, providers: Collection[str]) -> dict[str, str]:
        """What each of them serves us, and where: as its vendor would ask."""
        known = {name: self.providers[name] for name in sorted(providers) if name in self.providers}
        return {
            name: f"model {self.model_id(name)}{f' in {one.region}' if one.region else ''}"
            for name, one in known.items()
        }

    def model_id(self, provider: str) -> str:
        """The id that the vendor serves for the provider's model."""
        model = self.providers[provider].model
        return self.model_aliases.get(model, model)
