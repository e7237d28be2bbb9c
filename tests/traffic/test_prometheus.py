"""A real Prometheus, scraping a real gateway and what LiteLLM and OpenTelemetry's libraries expose."""

import asyncio
import os
import random
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
import yaml
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from failover.config import Config
from failover.config.detection import Source
from failover.config_file import parse
from failover.errors import Unavailable
from failover.failure import FailureKind
from failover.telemetry import ProviderWindow
from gateway.app import create_app
from gateway.counters import utc_now
from gateway.process import listening
from gateway.store import FileStore
from providers.memory import MemoryClient
from starter.ports import free_port
from traffic.prometheus import PrometheusSource

WINDOW = timedelta(seconds=10)

CONFIG = """
providers:
  bedrock: {kind: bedrock, model: m, region: r}
  google: {kind: vertex, model: m, project: p, region: r}
routes:
  chat: {distribution: {bedrock: 50, google: 50}}
failover_chains: {bedrock: [google], google: [bedrock]}
"""


@dataclass(slots=True)
class Exposition:
    """A page of metrics that a test writes."""

    text: str = ""
    up: bool = True
    url: str = ""

    async def serve(self, _: Request) -> Response:
        return PlainTextResponse(self.text, status_code=200 if self.up else 500)


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """A Prometheus, and what it scrapes four times a second."""

    url: str
    gateway: str
    providers: dict[str, MemoryClient]
    exposition: Exposition
    held: dict[str, Any] = field(default_factory=dict)


@pytest.fixture(scope="module")
def config() -> Config:
    return parse(CONFIG, "test.yaml").config


@pytest.fixture(scope="module")
async def observed(config: Config, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Observed]:
    binary = shutil.which("prometheus")
    if binary is None:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)("prometheus is not installed")
    directory = tmp_path_factory.mktemp("prometheus")
    providers = {key: MemoryClient(key, text="Hello") for key in config.providers}
    initial = {name: route.distribution for name, route in config.routes.items()}
    store = FileStore.open(directory / "policies.json", initial, utc_now)
    app = create_app(config, providers, store, token="t", rng=random.Random(7))
    exposition = Exposition()
    page = Starlette(routes=[Route("/metrics", exposition.serve)])
    async with listening(app, "127.0.0.1", 0) as gateway, listening(page, "127.0.0.1", 0) as exposition.url:
        url = f"http://127.0.0.1:{free_port()}"
        process = await _start(str(binary), directory, url, [gateway, exposition.url])
        try:
            yield Observed(url=url, gateway=gateway, providers=providers, exposition=exposition)
        finally:
            process.terminate()
            await process.wait()


async def _start(binary: str, directory: Path, url: str, targets: list[str]) -> asyncio.subprocess.Process:
    jobs = [
        {"job_name": f"job-{number}", "static_configs": [{"targets": [target.removeprefix("http://")]}]}
        for number, target in enumerate(targets)
    ]
    settings = {"global": {"scrape_interval": "250ms", "scrape_timeout": "250ms"}, "scrape_configs": jobs}
    (directory / "prometheus.yml").write_text(yaml.safe_dump(settings))
    process = await asyncio.create_subprocess_exec(
        binary,
        f"--config.file={directory / 'prometheus.yml'}",
        f"--storage.tsdb.path={directory / 'data'}",
        f"--web.listen-address={url.removeprefix('http://')}",
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )

    async def ready() -> bool:
        async with httpx.AsyncClient(trust_env=False) as http:
            try:
                return (await http.get(f"{url}/-/ready")).is_success
            except httpx.HTTPError:
                return False

    await until(ready)
    return process


async def until(condition: Callable[[], Awaitable[bool]], within: float = 40) -> None:
    async with asyncio.timeout(within):
        while not await condition():
            await asyncio.sleep(0.1)


@pytest.fixture
async def source_of(observed: Observed) -> AsyncIterator[Callable[..., PrometheusSource]]:
    made: list[PrometheusSource] = []

    def make(clock: Callable[[], datetime] | None = None, **changes: Any) -> PrometheusSource:
        settings = {"kind": "prometheus", "url": observed.url, "providers": {"bedrock": "bedrock", "google": "google"}}
        made.append(PrometheusSource("prom", Source.model_validate(settings | changes), token=None, clock=clock))
        return made[-1]

    yield make
    for source in made:
        await source.aclose()


async def of(source: PrometheusSource, provider: str) -> ProviderWindow | None:
    return next((one for one in await source.read(WINDOW) if one.provider == provider), None)


async def test_our_gateways_metrics_say_what_it_counted(
    observed: Observed, source_of: Callable[..., PrometheusSource]
) -> None:
    """Tries, failures by class and P95, by provider; a retry hides nothing, and our own requests do not count."""
    source = source_of()
    users = openai.AsyncOpenAI(base_url=f"{observed.gateway}/v1", api_key="x", max_retries=0)
    observed.providers["bedrock"].fail_with = FailureKind.THROTTLED
    bedrock = google = None
    try:

        async def counted() -> bool:
            nonlocal bedrock, google
            for _ in range(5):
                await users.chat.completions.create(model="chat", messages=[{"role": "user", "content": "x"}])
            bedrock, google = await of(source, "bedrock"), await of(source, "google")
            return bool(bedrock and google and bedrock.tries > 20 and bedrock.failed > 20)

        await until(counted)
    finally:
        observed.providers["bedrock"].fail_with = None
        await users.close()
    assert bedrock is not None and google is not None
    assert set(bedrock.failures) == {FailureKind.THROTTLED}
    # What Prometheus extrapolates is not exact: every one of bedrock's tries failed, and none of google's.
    assert bedrock.failed == pytest.approx(bedrock.tries, rel=0.2)
    assert bedrock.latency_p95 is None
    assert not google.failures
    assert google.tries > bedrock.tries
    assert google.latency_p95 is not None and google.latency_p95 < timedelta(seconds=1)


LITELLM = """
litellm_deployment_total_requests_total{{api_provider="bedrock",model_id="a"}} {total}
litellm_deployment_total_requests_total{{api_provider="vertex_ai",model_id="b"}} {other}
litellm_deployment_failure_responses_total{{api_provider="bedrock",model_id="a",exception_status="503"}} {failed}
litellm_deployment_failure_responses_total{{api_provider="bedrock",model_id="a",exception_status="429"}} {throttled}
litellm_deployment_failure_responses_total{{api_provider="bedrock",model_id="a",exception_status="_OTHER"}} {total}
litellm_llm_api_latency_metric_bucket{{api_provider="bedrock",model_id="a",le="1.0"}} 0
litellm_llm_api_latency_metric_bucket{{api_provider="bedrock",model_id="a",le="5.0"}} {total}
litellm_llm_api_latency_metric_bucket{{api_provider="bedrock",model_id="a",le="+Inf"}} {total}
litellm_llm_api_latency_metric_count{{api_provider="bedrock",model_id="a"}} {total}
"""

OTEL = """
gen_ai_client_operation_duration_seconds_count{{gen_ai_provider_name="azure",error_type=""}} {total}
gen_ai_client_operation_duration_seconds_count{{gen_ai_provider_name="mistral_ai",error_type=""}} {other}
gen_ai_client_operation_duration_seconds_count{{gen_ai_provider_name="azure",error_type="500"}} {failed}
gen_ai_client_operation_duration_seconds_count{{gen_ai_provider_name="azure",error_type="ThrottlingException"}} {throttled}
gen_ai_client_operation_duration_seconds_bucket{{gen_ai_provider_name="azure",error_type="",le="1.28"}} 0
gen_ai_client_operation_duration_seconds_bucket{{gen_ai_provider_name="azure",error_type="",le="5.12"}} {total}
gen_ai_client_operation_duration_seconds_bucket{{gen_ai_provider_name="azure",error_type="",le="+Inf"}} {total}
"""
"""Under names that the gateway beside it does not use."""


async def counting(exposition: Exposition, template: str) -> None:
    """Forty tries a second at bedrock, ten failed and five throttled of each; ten a second elsewhere."""
    step = 0
    while True:
        step += 1
        exposition.text = template.format(total=4 * step, other=step, failed=step, throttled=step // 2)
        await asyncio.sleep(0.1)


@pytest.mark.parametrize(
    ("preset", "template", "names", "changes"),
    [
        ("litellm", LITELLM, {"bedrock": "bedrock", "google": "vertex_ai"}, {}),
        ("litellm", LITELLM, {"bedrock": "a", "google": "b"}, {"label": "model_id"}),
        ("otel_genai", OTEL, {"bedrock": "azure", "google": "mistral_ai"}, {}),
    ],
    ids=["litellm", "litellm by model_id", "otel"],
)
async def test_what_others_call_it(
    preset: str,
    template: str,
    names: dict[str, str],
    changes: dict[str, Any],
    observed: Observed,
    source_of: Callable[..., PrometheusSource],
) -> None:
    """The presets' names, labels and classes; what cannot be classed condemns nobody."""
    source = source_of(preset=preset, providers=names, **changes)
    writing = asyncio.create_task(counting(observed.exposition, template))
    bedrock: ProviderWindow | None = None
    try:

        async def counted() -> bool:
            nonlocal bedrock
            bedrock = await of(source, "bedrock")
            ready = bedrock is not None and bedrock.failures.get(FailureKind.THROTTLED, 0) > 10
            return ready and bedrock is not None and bedrock.latency_p95 is not None

        await until(counted)
        google = await of(source, "google")
    finally:
        writing.cancel()
        observed.exposition.text = ""
    assert bedrock is not None and google is not None
    errors, throttled = bedrock.failures[FailureKind.SERVER_ERROR], bedrock.failures[FailureKind.THROTTLED]
    assert set(bedrock.failures) == {FailureKind.SERVER_ERROR, FailureKind.THROTTLED}
    assert errors == pytest.approx(2 * throttled, rel=0.3)
    assert bedrock.tries == pytest.approx((4 if preset == "litellm" else 5.5) * errors, rel=0.3)
    assert bedrock.latency_p95 is not None and 1 < bedrock.latency_p95.total_seconds() <= 5.12
    assert google.failures == {} and google.latency_p95 is None


async def test_what_is_old_or_gone_is_no_data(observed: Observed, source_of: Callable[..., PrometheusSource]) -> None:
    """A series whose newest sample is too old is left out, and so is one that is scraped no more."""
    queries = {
        "tries": "sum by ({label}) (last_over_time(mine_total[1h]))",
        "failures": "",
        "p95": "",
        "fresh": "max by ({label}) (timestamp(mine_total))",
    }
    changes: dict[str, Any] = {"label": "llm", "queries": queries, "providers": {"bedrock": "b"}}
    source, late = (
        source_of(clock=clock, **changes) for clock in (None, lambda: datetime.now(UTC) + timedelta(hours=1))
    )
    observed.exposition.text = 'mine_total{llm="b"} 100\n'

    async def seen() -> bool:
        return await of(source, "bedrock") is not None

    async def unseen() -> bool:
        return await of(source, "bedrock") is None

    await until(seen)
    found = await of(source, "bedrock")
    assert found is not None and found.tries == 100
    assert await late.read(WINDOW) == []
    observed.exposition.up = False
    try:
        await until(unseen)
    finally:
        observed.exposition.up, observed.exposition.text = True, ""


async def test_no_number_is_no_data(source_of: Callable[..., PrometheusSource]) -> None:
    """NaN, infinity and an empty answer are nothing, least of all good news."""
    for value in ("vector(0) / 0", "vector(1) / 0", "vector(1) > 2"):
        queries = {
            "tries": f'label_replace({value}, "llm", "b", "", "")',
            "fresh": 'label_replace(time() + vector(0), "llm", "b", "", "")',
        }
        source = source_of(label="llm", queries=queries | {"failures": "", "p95": ""}, providers={"bedrock": "b"})
        assert await source.read(WINDOW) == []


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"queries": {"tries": "sum by (", "fresh": "vector(1)"}, "providers": {"bedrock": ""}}, "parse error"),
        ({"queries": {"tries": "x", "fresh": "time()"}}, "must give an instant vector"),
        ({"url": "http://127.0.0.1:9"}, "does not answer"),
    ],
)
async def test_who_does_not_answer_is_unavailable(
    changes: dict[str, Any], said: str, source_of: Callable[..., PrometheusSource]
) -> None:
    """With what was wrong; whoever asks is blind then."""
    source = source_of(clock=lambda: datetime.fromtimestamp(0, UTC), **changes)
    with pytest.raises(Unavailable, match=said):
        await source.read(WINDOW)


async def test_what_answers_like_no_prometheus_is_unavailable(
    observed: Observed, source_of: Callable[..., PrometheusSource]
) -> None:
    """A page of something else at the address."""
    with pytest.raises(Unavailable, match="nothing that Prometheus would"):
        await source_of(url=observed.exposition.url).read(WINDOW)
