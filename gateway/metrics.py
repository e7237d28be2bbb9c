"""What Prometheus sees, with OpenTelemetry's GenAI names where they exist."""

from collections.abc import Iterator, Mapping
from datetime import timedelta

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import GaugeMetricFamily

from failover.config import Config
from failover.failure import Failure
from gateway.routing import Try
from gateway.store import PolicyStore

_SYSTEMS = {"bedrock": "aws.bedrock", "vertex": "gcp.vertex_ai", "llama": "meta.llama", "openai": "openai"}
"""Our kinds in OpenTelemetry's words (gen_ai.provider.name); there is none for Meta's API."""

_DURATION_BUCKETS = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
_TOKEN_BUCKETS = (1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144)


class Metrics:
    """Counts every try; `registry` is what /metrics shows."""

    def __init__(self, config: Config, store: PolicyStore) -> None:
        self.registry = CollectorRegistry()
        self._labels = {
            key: {
                "gen_ai_operation_name": "chat",
                "gen_ai_provider_name": _SYSTEMS[provider.kind],
                "gen_ai_request_model": config.model_id(key),
                "failover_provider": key,
            }
            for key, provider in config.providers.items()
        }
        names = [*next(iter(self._labels.values())), "failover_route"]
        self._duration = Histogram(
            "gen_ai_client_operation_duration_seconds",
            "Time of one try at one provider.",
            [*names, "error_type", "failover_synthetic"],
            buckets=_DURATION_BUCKETS,
            registry=self.registry,
        )
        self._tokens = Histogram(
            "gen_ai_client_token_usage",
            "Tokens of one answer.",
            [*names, "gen_ai_token_type"],
            buckets=_TOKEN_BUCKETS,
            registry=self.registry,
        )
        self._tries = Counter(
            "failover_gateway_tries",
            "Tries by provider; the first of a request is whom the weights chose.",
            ["failover_provider", "failover_route", "first", "failure", "failover_synthetic"],
            registry=self.registry,
        )
        self.registry.register(_Policies(store))

    def tried(self, attempt: Try, failure: Failure | None, latency: timedelta) -> None:
        kind = failure.kind.value if failure else ""
        synthetic = str(attempt.synthetic).lower()
        route = attempt.policy.route
        labels = {**self._labels[attempt.provider], "failover_route": route}
        self._duration.labels(**labels, error_type=kind, failover_synthetic=synthetic).observe(latency.total_seconds())
        first = str(attempt.number == 1).lower()
        self._tries.labels(attempt.provider, route, first, kind, synthetic).inc()

    def used(self, attempt: Try, input_tokens: int, output_tokens: int) -> None:
        labels = {**self._labels[attempt.provider], "failover_route": attempt.policy.route}
        self._tokens.labels(**labels, gen_ai_token_type="input").observe(input_tokens)
        self._tokens.labels(**labels, gen_ai_token_type="output").observe(output_tokens)


class _Policies:
    """The policies in force, read when they are scraped."""

    def __init__(self, store: PolicyStore) -> None:
        self._store = store

    def collect(self) -> Iterator[GaugeMetricFamily]:
        policies: Mapping[str, object] = self._store.policies
        share = GaugeMetricFamily(
            "failover_policy_share_ratio", "Share of a route's traffic.", labels=["failover_route", "failover_provider"]
        )
        revision = GaugeMetricFamily("failover_policy_revision", "Of a route's policy.", labels=["failover_route"])
        for route in policies:
            policy = self._store.policies[route]
            revision.add_metric([route], policy.revision.number)
            for provider, points in policy.distribution.items():
                share.add_metric([route, provider], points / 10_000)
        yield share
        yield revision
