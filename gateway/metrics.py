"""What Prometheus sees, with OpenTelemetry's GenAI names where they exist."""

from collections.abc import Iterator, Mapping
from datetime import timedelta

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import GaugeMetricFamily

from failover.config import Config
from failover.degraded import Source
from failover.failure import Failure
from gateway.cache import AnswerCache
from gateway.counters import RequestOutcome
from gateway.queue import Queues
from gateway.routing import Try
from gateway.store import PolicyStore

_SYSTEMS = {"bedrock": "aws.bedrock", "vertex": "gcp.vertex_ai", "llama": "meta.llama", "openai": "openai"}
"""Provider kind → OpenTelemetry's name (gen_ai.provider.name); there is none for Meta's API."""

_DURATION_BUCKETS = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
_TOKEN_BUCKETS = (1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144)


_WAITED_BUCKETS = (0.1, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 180, 240, 300, 600)


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
        self._answers = Counter(
            "failover_gateway_answers",
            "Answers to users by where they came from.",
            ["failover_route", "source"],
            registry=self.registry,
        )
        self._answered: dict[tuple[str, Source], Counter] = {}
        self._requests = Counter(
            "failover_gateway_requests",
            "Users' requests by how they ended: answered, left, failed, lost, empty, template.",
            ["failover_route", "outcome"],
            registry=self.registry,
        )
        self._ended = {
            (route, outcome): self._requests.labels(route, outcome.value)
            for route in config.routes
            for outcome in RequestOutcome
        }
        self._seconds = Histogram(
            "failover_gateway_request_seconds",
            "From a user's request to the end of its answer, of those that were answered.",
            ["failover_route"],
            buckets=_DURATION_BUCKETS,
            registry=self.registry,
        )
        self._lookups = Counter(
            "failover_cache_lookups",
            "Whole requests while the cache was on: answered from it fresh or stale, or not (miss).",
            ["failover_route", "found"],
            registry=self.registry,
        )
        self._waited = Histogram(
            "failover_queue_waited_seconds",
            "Time in the queue until the end of the wait.",
            ["failover_route", "ended"],
            buckets=_WAITED_BUCKETS,
            registry=self.registry,
        )
        self.registry.register(_Policies(store))

    def watch(self, cache: AnswerCache, queues: Queues) -> None:
        """Show how full they are."""
        self.registry.register(_Held(cache, queues))

    def answered(self, route: str, source: Source) -> None:
        child = self._answered.get((route, source))
        if child is None:
            child = self._answered[route, source] = self._answers.labels(route, source.value)
        child.inc()

    def ended(self, route: str, outcome: RequestOutcome, latency: timedelta) -> None:
        """A user's request is over."""
        child = self._ended.get((route, outcome))
        if child is None:
            child = self._ended[route, outcome] = self._requests.labels(route, outcome.value)
        child.inc()
        if outcome is RequestOutcome.ANSWERED:
            self._seconds.labels(route).observe(latency.total_seconds())

    def looked_up(self, route: str, found: str) -> None:
        self._lookups.labels(route, found).inc()

    def waited(self, route: str, ended: str, seconds: float) -> None:
        self._waited.labels(route, ended).observe(seconds)

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
        mode = GaugeMetricFamily(
            "failover_policy_mode", "1: the route's mode.", labels=["failover_route", "failover_mode"]
        )
        for route in policies:
            policy = self._store.policies[route]
            mode.add_metric([route, policy.mode.value], 1)
            revision.add_metric([route], policy.revision.number)
            for provider, points in policy.distribution.items():
                share.add_metric([route, provider], points / 10_000)
        yield share
        yield revision
        yield mode


class _Held:
    """What is remembered and who waits, read when it is scraped."""

    def __init__(self, cache: AnswerCache, queues: Queues) -> None:
        self._cache = cache
        self._queues = queues

    def collect(self) -> Iterator[GaugeMetricFamily]:
        yield GaugeMetricFamily("failover_cache_entries", "Remembered answers.", len(self._cache))
        yield GaugeMetricFamily("failover_cache_bytes", "Of remembered answers.", self._cache.bytes)
        yield GaugeMetricFamily("failover_queue_bytes", "Of waiting requests, all routes together.", self._queues.bytes)
        length = GaugeMetricFamily("failover_queue_length", "Waiting requests.", labels=["failover_route"])
        for route, waiting in self._queues.lengths().items():
            length.add_metric([route], waiting)
        yield length
