"""Clients for the configured providers. A vendor's SDK is imported only where a provider of its kind is configured."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from failover.config import Config
from failover.config.providers import SIMULATOR, Provider
from failover.errors import ConfigError
from failover.ports import ProviderClient


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedEndpoint:
    """Where the simulator serves one provider; `grpc` is host:port, None where it serves none."""

    url: str
    grpc: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Order:
    key: str
    provider: Provider
    model: str
    secrets: Mapping[str, str]
    simulated: SimulatedEndpoint | None


def build_clients(
    config: Config,
    *,
    secrets: Mapping[str, str],
    simulator: Mapping[str, SimulatedEndpoint] | None = None,
) -> dict[str, ProviderClient]:
    """Provider key → client. `secrets` holds the API keys by the names that the configuration gives.

    ConfigError where a provider points at a simulator that does not serve it.
    """
    clients: dict[str, ProviderClient] = {}
    for key, provider in config.providers.items():
        simulated = (simulator or {}).get(key)
        if provider.endpoint == SIMULATOR and simulated is None:
            raise ConfigError(f"providers.{key} points at the simulator, which serves no provider of that name.")
        wanted = simulated if provider.endpoint == SIMULATOR else None
        order = _Order(key=key, provider=provider, model=config.model_id(key), secrets=secrets, simulated=wanted)
        clients[key] = _BUILDERS[provider.kind](order)
    return clients


def _bedrock(order: _Order) -> ProviderClient:
    from providers.bedrock import BedrockClient, BedrockEndpoint

    simulated, provider = order.simulated, order.provider
    endpoint = BedrockEndpoint(
        region=provider.region or "us-east-1",
        model=order.model,
        api=provider.api,
        url=simulated.url if simulated else provider.endpoint,
        credentials=("simulated", "simulated") if simulated else None,
    )
    return BedrockClient(order.key, endpoint)


def _vertex(order: _Order) -> ProviderClient:
    from providers.vertex import VertexClient, VertexEndpoint

    simulated, provider = order.simulated, order.provider
    endpoint = VertexEndpoint(
        project=provider.project or "simulated",
        region=provider.region or "us-central1",
        model=order.model,
        transport=provider.transport,
        url=simulated.url if simulated else provider.endpoint,
        grpc_target=simulated.grpc if simulated else None,
        token="simulated" if simulated else None,
    )
    return VertexClient(order.key, endpoint)


def _llama(order: _Order) -> ProviderClient:
    from providers.http import JsonApi
    from providers.llama import BASE_URL, LlamaClient, classify

    url = order.simulated.url if order.simulated else order.provider.endpoint or BASE_URL
    return LlamaClient(order.key, order.model, JsonApi(order.key, url, *_key(order), classify))


def _openai(order: _Order) -> ProviderClient:
    from providers.http import JsonApi
    from providers.openai import OpenAiClient, classify

    url = order.simulated.url if order.simulated else order.provider.endpoint or ""
    return OpenAiClient(order.key, order.model, JsonApi(order.key, url, *_key(order), classify))


def _key(order: _Order) -> tuple[str | None, str | None]:
    """The API key, and the name of the variable that should hold it."""
    if order.simulated:
        return "simulated", None
    name = order.provider.api_key_env
    return order.secrets.get(name or "") or None, name


_BUILDERS: Mapping[str, Callable[[_Order], ProviderClient]] = {
    "bedrock": _bedrock,
    "vertex": _vertex,
    "llama": _llama,
    "openai": _openai,
}
