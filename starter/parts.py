"""The adapters that processes are put together from, as settings and configuration wire them."""

from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from activities.accuracy import BaselineStore, Examiner
from activities.archive import CopiedArchive, DirectoryArchive
from activities.certificates import FileReadinessStore
from activities.evidence import RECORD, EvidenceStore
from activities.notifiers.console import ConsoleNotifier
from activities.notifiers.slack import SlackNotifier
from failover.config import Config
from failover.config.detection import Source
from failover.config_file import LoadedConfig
from failover.errors import ConfigError, FailoverError, Unavailable
from failover.ports import PassiveSource, ProviderClient, TrafficPlane
from providers.factory import SimulatedEndpoint, build_clients
from starter.configuration import load, named, simulated
from starter.connection import Http
from starter.golden import load_suites
from starter.running import Stack, find
from starter.settings import VENDOR_VARIABLES, Settings
from traffic.gateway import GatewayPlane

Context = Callable[[], Mapping[str, str]]
"""Headers of the trace that a call belongs to."""

EVIDENCE = "incidents"
"""The folder under the state directory with the records of closed runs."""

SAMPLES = "samples"
"""The folder under the state directory with the detectors' samples."""

BASELINES = "baselines"
"""The folder under the state directory with the baselines of golden prompts."""


READINESS = "readiness"
"""The folder under the state directory with audits and certificates."""


async def provider_clients(
    config: Config, settings: Settings, only: Collection[str] | None = None
) -> dict[str, ProviderClient]:
    """One client for each configured provider, or for `only` these: no other vendor's SDK is loaded then.

    Those that the configuration points at the simulator speak to it.
    """
    if only is not None:
        config = config.model_copy(update={"providers": {key: config.providers[key] for key in only}})
    simulator = await _simulator_addresses(settings) if simulated(config) else None
    return dict(build_clients(config, secrets=settings.environ, simulator=simulator))


async def _simulator_addresses(settings: Settings) -> dict[str, SimulatedEndpoint]:
    try:
        control = find(settings).need("simulator")
    except Unavailable as error:
        raise ConfigError(f"The configuration points at the simulator, and none is known. {error}") from error
    async with Http("simulator", control) as simulator:
        told = await simulator.get("/providers")
    return {key: SimulatedEndpoint(url=one["url"], grpc=one.get("grpc")) for key, one in told.items()}


def examiner(loaded: LoadedConfig, clients: Mapping[str, ProviderClient], state: Path) -> Examiner:
    """An examiner that puts golden prompts to these clients. ConfigError if a configured suite cannot be used."""
    return Examiner(loaded.config, clients, load_suites(loaded), BaselineStore(state / BASELINES))


def readiness_store(config: Config, state: Path) -> FileReadinessStore:
    return FileReadinessStore(state / READINESS, config.readiness.keep_audits)


def passive_sources(config: Config, settings: Settings) -> dict[str, PassiveSource]:
    """The sources that count users' tries beside the gateway. A vendor's SDK is imported only where it is spoken to."""
    return {name: _passive_source(name, source, settings) for name, source in config.detection.sources.items()}


def _passive_source(name: str, source: Source, settings: Settings) -> PassiveSource:
    if source.kind == "cloudwatch":
        from providers.cloudwatch import CloudWatchSource

        return CloudWatchSource(name, source)
    from traffic.prometheus import PrometheusSource

    return PrometheusSource(name, source, token=settings.environ.get(source.token_env or "") or None)


def secrets_of(config: Config | None, environ: Mapping[str, str], api_token: str | None) -> list[str]:
    """Values that must never be shown: of every variable that holds a secret, and the stack's own token."""
    named = {name for name in VENDOR_VARIABLES if any(word in name for word in ("KEY", "TOKEN", "SECRET"))}
    if config is not None:
        named |= {one.api_key_env for one in config.providers.values() if one.api_key_env}
        named |= {one.secret_env for one in config.webhooks.senders.values() if one.secret_env}
        named |= {one.token_env for one in config.detection.sources.values() if one.token_env}
        named |= {config.notifications.slack.token_env, config.notifications.slack.signing_secret_env}
    values = [part for name in named for part in environ.get(name, "").split()]
    return [*values, *([api_token] if api_token else [])]


def notifier(config: Config, settings: Settings, channel: str | None = None) -> SlackNotifier | ConsoleNotifier:
    """Slack where its token is set (to the configured channel, unless another is named), the log otherwise."""
    slack = config.notifications.slack
    token = settings.environ.get(slack.token_env)
    if not token:
        return ConsoleNotifier()
    return SlackNotifier(token, channel or slack.channel, api_url=slack.api_url, timeout=config.notifications.timeout)


def evidence_store(config: Config | None, state: Path) -> EvidenceStore:
    """The store of records as configured; under the state directory if nothing else is said."""
    settings = config.evidence if config is not None else None
    directory = Path(settings.directory) if settings and settings.directory else state / EVIDENCE
    if settings is None or settings.bucket is None:
        return EvidenceStore(directory)
    from providers.s3 import S3Archive

    return EvidenceStore(CopiedArchive(S3Archive(settings), DirectoryArchive(directory), settled=RECORD))


def evidence_of(settings: Settings, stack: Stack) -> EvidenceStore:
    """The same for commands, where the configuration may be out of reach: its default then."""
    return evidence_store(config_of(settings, stack), stack.state or stack.home)


def config_of(settings: Settings, stack: Stack) -> Config | None:
    """The configuration in force, where it can be had."""
    try:
        return load(stack.config or named(settings, None)).config
    except FailoverError:
        return None


def plane_of(stack: Stack, context: Context | None = None) -> GatewayPlane:
    """The gateway: it obeys the policies, keeps the automation hold with them, and breaks what drills want broken."""
    return GatewayPlane(stack.need("gateway"), token=stack.api_token, context=context)


@asynccontextmanager
async def closing(plane: TrafficPlane) -> AsyncIterator[TrafficPlane]:
    try:
        yield plane
    finally:
        await plane.aclose()
