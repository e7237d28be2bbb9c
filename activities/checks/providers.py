"""The providers: credentials, the exact model, a real completion; baselines; whoever else counts."""

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from activities.accuracy import BaselineStore
from activities.probing import Prober
from failover.accuracy import age
from failover.completion import ServiceStatus
from failover.config import Config
from failover.errors import Unavailable
from failover.failure import UNUSABLE_KINDS, FailureKind
from failover.findings import Finding, failed, ok, warning
from failover.golden import Suite
from failover.health import Probe
from failover.ports import PassiveSource, ProviderClient
from failover.units import milliseconds

_REPAIR = {
    FailureKind.AUTHENTICATION: "put valid credentials into the environment, or log in again",
    FailureKind.PERMISSION: "let these credentials use the model",
    FailureKind.HARD_QUOTA: "raise the quota with the provider",
    FailureKind.MODEL_UNAVAILABLE: "correct providers.{key}.model or model_aliases: the vendor serves no such id here",
    FailureKind.REGION: "see the provider's status page, or another region",
    FailureKind.THROTTLED: "raise the rate limit: as a target it would throttle users too",
}


async def examine(config: Config, clients: Mapping[str, ProviderClient]) -> list[Finding]:
    prober = Prober(config, clients)
    each = await asyncio.gather(*(_provider(config, prober, clients[key], key) for key in sorted(clients)))
    return [finding for found in each for finding in found]


async def _provider(config: Config, prober: Prober, client: ProviderClient, key: str) -> list[Finding]:
    timeout = config.detection.probe.timeout
    probe, service = await asyncio.gather(prober.probe(key, timeout), client.check_service(timeout=timeout))
    return [answers(f"provider {key}", config, key, probe, service)]


def answers(about: str, config: Config, key: str, probe: Probe, service: ServiceStatus) -> Finding:
    """What a real completion through the exact mapping says, and the control plane beside it."""
    model = config.model_id(key)
    listing = f"model {model}" + (
        "" if service.model_listed is not False else ", which its control plane does not list"
    )
    if probe.failure is not None:
        kind = probe.failure.kind
        repair = _REPAIR.get(kind, "see the provider's status page; it is no target while it lasts").format(key=key)
        finding = failed if kind in UNUSABLE_KINDS or kind is not FailureKind.THROTTLED else warning
        return finding(about, f"{probe.failure} ({listing})", repair)
    said = f"a real completion took {milliseconds(probe.latency)} ms ({listing})"
    if not service.reachable:
        return warning(about, f"{said}, but its control plane does not answer: {service.detail}", "see its status page")
    return ok(about, said)


def baselines(config: Config, suites: Mapping[str, Suite], store: BaselineStore, now: datetime) -> list[Finding]:
    """Judge each provider's baseline of the suite that the health check asks."""
    settings = config.detection.accuracy
    if not settings.enabled:
        return []
    return [_baseline(config, suites[settings.suite], store, key, now) for key in sorted(config.providers)]


def _baseline(config: Config, suite: Suite, store: BaselineStore, key: str, now: datetime) -> Finding:
    about, settings = f"baseline {key}", config.detection.accuracy
    found = store.find(key, config.model_id(key), suite)
    if found is None:
        repair = (
            f"let a worker watch for {settings.cadence}"
            if settings.baseline == "first"
            else f"failoverctl baseline record {key}"
        )
        return warning(about, f"none for {config.model_id(key)} and this version of the suite {suite.name}", repair)
    said = (
        f"{found.score.passed} of {found.score.answered} ({suite.name}), {age(found, now)} old, by {found.recorded_by}"
    )
    if now - found.at > settings.baseline_max_age:
        return warning(about, said, f"while the provider is known to be good: failoverctl baseline record {key}")
    return ok(about, said)


async def sources(config: Config, made: Mapping[str, PassiveSource]) -> list[Finding]:
    """Judge the sources that count users' tries beside the gateway."""
    return list(await asyncio.gather(*(_source(config, name, source) for name, source in made.items())))


async def _source(config: Config, name: str, source: PassiveSource) -> Finding:
    about, window = f"source {name}", config.detection.server_errors.window
    try:
        told = await source.read(max(window, timedelta(minutes=1)))
    except Unavailable as error:
        return failed(
            about, str(error), f"see to detection.sources.{name}: until then only probes speak for its providers"
        )
    silent = sorted(set(config.detection.sources[name].providers) - {one.provider for one in told})
    if silent:
        return warning(
            about,
            f"it knows nothing fresh of {', '.join(silent)}",
            "check the names, labels and the scraping; idle is blind too",
        )
    return ok(about, f"{sum(one.tries for one in told)} tries lately")


def now() -> datetime:
    return datetime.now(UTC)
