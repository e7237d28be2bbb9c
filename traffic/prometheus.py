"""Prometheus as a source of what users' tries became: by query, since everybody's metrics have names of their own."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx

from failover.config.detection import Source, SourceQueries
from failover.errors import Unavailable
from failover.failure import FailureKind, failure_of
from failover.telemetry import ProviderWindow

STALE_AFTER = timedelta(seconds=90)


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """What one kind of gateway calls things."""

    label: str
    failure_label: str
    queries: SourceQueries


def _histogram(metric: str, *, good: str) -> str:
    return (
        "histogram_quantile(0.95, sum by (le, {label}) (rate("
        + metric
        + "_bucket"
        + "{{"
        + good
        + "}}"
        + "[{window}])))"
    )


PRESETS: Mapping[str, Preset] = {
    "gateway": Preset(
        label="failover_provider",
        failure_label="failure",
        queries=SourceQueries(
            tries='sum by ({label}) (increase(failover_gateway_tries_total{{failover_synthetic="false"}}[{window}]))',
            failures="sum by ({label}, {failure_label}) (increase(failover_gateway_tries_total"
            '{{failure!="",failover_synthetic="false"}}[{window}]))',
            p95=_histogram("gen_ai_client_operation_duration_seconds", good='error_type="",failover_synthetic="false"'),
            fresh="max by ({label}) (timestamp(failover_gateway_tries_total))",
        ),
    ),
    # Its latencies are of successes only, and a refused connection is an exception_status of 500.
    "litellm": Preset(
        label="api_provider",
        failure_label="exception_status",
        queries=SourceQueries(
            tries="sum by ({label}) (increase(litellm_deployment_total_requests_total[{window}]))",
            failures="sum by ({label}, {failure_label}) "
            "(increase(litellm_deployment_failure_responses_total[{window}]))",
            p95=_histogram("litellm_llm_api_latency_metric", good=""),
            fresh="max by ({label}) (timestamp(litellm_deployment_total_requests_total))",
        ),
    ),
    "otel_genai": Preset(
        label="gen_ai_provider_name",
        failure_label="error_type",
        queries=SourceQueries(
            tries="sum by ({label}) (increase(gen_ai_client_operation_duration_seconds_count[{window}]))",
            failures="sum by ({label}, {failure_label}) "
            '(increase(gen_ai_client_operation_duration_seconds_count{{error_type!=""}}[{window}]))',
            p95=_histogram("gen_ai_client_operation_duration_seconds", good='error_type=""'),
            fresh="max by ({label}) (timestamp(gen_ai_client_operation_duration_seconds_count))",
        ),
    ),
}

Series = Sequence[tuple[Mapping[str, str], float]]


class PrometheusSource:
    """Asks one Prometheus. `name` is the source's key in the configuration."""

    def __init__(
        self, name: str, source: Source, *, token: str | None, clock: Callable[[], datetime] | None = None
    ) -> None:
        preset = PRESETS[source.preset]
        self._name = name
        self._label = source.label or preset.label
        self._failure_label = source.failure_label or preset.failure_label
        self._queries = preset.queries.model_copy(update=source.queries.model_dump(exclude_none=True))
        self._providers = {there: provider for provider, there in source.providers.items()}
        self._stale_after = source.stale_after or STALE_AFTER
        self._clock = clock or (lambda: datetime.now(UTC))
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._http = httpx.AsyncClient(
            base_url=source.url or "", headers=headers, timeout=source.timeout.total_seconds(), trust_env=False
        )

    async def read(self, window: timedelta) -> Sequence[ProviderWindow]:
        fresh = self._by_provider(await self._ask(self._queries.fresh, window))
        oldest = (self._clock() - self._stale_after).timestamp()
        known = {provider for provider, at in fresh.items() if at >= oldest}
        if not known:
            return []
        tries = self._by_provider(await self._ask(self._queries.tries, window))
        p95 = self._by_provider(await self._ask(self._queries.p95, window))
        failures = self._failures(await self._ask(self._queries.failures, window))
        return [
            ProviderWindow(
                provider=provider,
                route="",
                tries=round(count),
                first_tries=0,
                failures=failures.get(provider, {}),
                latency_p95=timedelta(seconds=p95[provider]) if provider in p95 else None,
            )
            for provider, count in sorted(tries.items())
            if provider in known
        ]

    def _by_provider(self, series: Series) -> dict[str, float]:
        told = {self._providers.get(labels.get(self._label, "")): value for labels, value in series}
        return {provider: value for provider, value in told.items() if provider is not None}

    def _failures(self, series: Series) -> dict[str, dict[FailureKind, int]]:
        counts: dict[str, dict[FailureKind, int]] = {}
        for labels, value in series:
            provider = self._providers.get(labels.get(self._label, ""))
            kind = failure_of(labels.get(self._failure_label, ""))
            if provider is not None and kind is not None:
                of_provider = counts.setdefault(provider, {})
                of_provider[kind] = of_provider.get(kind, 0) + round(value)
        return counts

    async def _ask(self, query: str | None, window: timedelta) -> Series:
        """The vector that an instant query gives, without what is no number."""
        if not query:
            return []
        seconds = f"{max(1, round(window.total_seconds()))}s"
        filled = query.format(label=self._label, failure_label=self._failure_label, window=seconds)
        try:
            response = await self._http.post("/api/v1/query", data={"query": filled})
            return [series for result in _vector(response) if math.isfinite((series := _pair(result))[1])]
        except httpx.HTTPError as error:
            raise Unavailable(f"The source {self._name} does not answer ({type(error).__name__}).") from error
        except (KeyError, TypeError, ValueError) as error:
            raise Unavailable(f"The source {self._name} answered nothing that Prometheus would: {error}") from error

    async def aclose(self) -> None:
        await self._http.aclose()


def _vector(response: httpx.Response) -> Sequence[Mapping[str, Any]]:
    answer = response.json()
    if answer["status"] != "success":
        raise ValueError(f"{response.status_code} {answer.get('errorType', '')}: {str(answer.get('error', ''))[:300]}")
    if answer["data"]["resultType"] != "vector":
        raise ValueError(f"the query gives a {answer['data']['resultType']}, and must give an instant vector")
    result: Sequence[Mapping[str, Any]] = answer["data"]["result"]
    return result


def _pair(result: Mapping[str, Any]) -> tuple[Mapping[str, str], float]:
    return result["metric"], float(result["value"][1])
