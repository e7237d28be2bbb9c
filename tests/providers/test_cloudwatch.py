"""CloudWatch's counters of Bedrock, by the unmodified SDK against a stand-in that speaks its protocol over HTTP."""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from failover.config.detection import Source
from failover.errors import Unavailable
from failover.failure import FailureKind
from failover.telemetry import ProviderWindow
from gateway.process import listening
from providers.cloudwatch import CloudWatchSource

NOW = datetime(2026, 1, 1, 12, 0, 20, tzinfo=UTC)
MODEL = "anthropic.claude-3-5-sonnet-20241022-v2:0"
Points = dict[int, float]


@dataclass(slots=True)
class StandIn:
    """Answers GetMetricData in AWS's JSON 1.0, which the SDK speaks. `series`: (model, metric) → minutes before noon → value."""

    series: dict[tuple[str, str], Points] = field(default_factory=dict)
    refuse: str | None = None
    asked: list[dict[str, Any]] = field(default_factory=list)
    page: int = 500
    url: str = ""

    async def answer(self, request: Request) -> Response:
        assert request.headers["x-amz-target"] == "GraniteServiceVersion20100801.GetMetricData"
        assert "AWS4-HMAC-SHA256" in request.headers["authorization"]
        if self.refuse is not None:
            return JSONResponse({"__type": self.refuse, "message": "no"}, 400)
        body = await request.json()
        self.asked.append(body)
        start = int(body.get("NextToken", "0"))
        queries = body["MetricDataQueries"][start : start + self.page]
        more = start + self.page < len(body["MetricDataQueries"])
        answer: dict[str, Any] = {"MetricDataResults": [self._result(body, query) for query in queries]}
        return JSONResponse(answer | ({"NextToken": str(start + self.page)} if more else {}))

    def _result(self, body: dict[str, Any], query: dict[str, Any]) -> dict[str, Any]:
        metric = query["MetricStat"]["Metric"]
        assert metric["Namespace"] == "AWS/Bedrock" and query["MetricStat"]["Period"] == 60
        assert query["MetricStat"]["Stat"] == ("p95" if metric["MetricName"] == "InvocationLatency" else "Sum")
        model = next(one["Value"] for one in metric["Dimensions"] if one["Name"] == "ModelId")
        points = self.series.get((model, metric["MetricName"]), {})
        noon = NOW.replace(second=0)
        times = {(noon - timedelta(minutes=ago)).timestamp(): value for ago, value in points.items()}
        inside = {at: value for at, value in times.items() if body["StartTime"] <= at < body["EndTime"]}
        return {
            "Id": query["Id"],
            "Label": metric["MetricName"],
            "Timestamps": list(inside),
            "Values": list(inside.values()),
            "StatusCode": "Complete",
        }


@pytest.fixture
async def cloudwatch() -> AsyncIterator[StandIn]:
    stand_in = StandIn()
    app = Starlette(routes=[Route("/{path:path}", stand_in.answer, methods=["POST"])])
    async with listening(app, "127.0.0.1", 0) as stand_in.url:
        yield stand_in


@pytest.fixture
async def source(cloudwatch: StandIn) -> AsyncIterator[Callable[[], CloudWatchSource]]:
    made: list[CloudWatchSource] = []

    def make(**changes: Any) -> CloudWatchSource:
        settings = {"kind": "cloudwatch", "region": "us-east-1", "url": cloudwatch.url, "providers": {"bedrock": MODEL}}
        parsed = Source.model_validate(settings | changes)
        made.append(CloudWatchSource("aws", parsed, credentials=("id", "secret"), clock=lambda: NOW))
        return made[-1]

    yield make
    for one in made:
        await one.aclose()


MINUTE = timedelta(minutes=1)


def counted(model: str = MODEL, **series: Points) -> dict[tuple[str, str], Points]:
    return {(model, metric): points for metric, points in series.items()}


async def test_the_newest_minute_by_class(cloudwatch: StandIn, source: Callable[[], CloudWatchSource]) -> None:
    """Published two minutes late; what is older than the window does not count, whoever's fault it was is told apart."""
    cloudwatch.series = counted(
        Invocations={2: 80, 3: 500, 4: 500},
        InvocationServerErrors={2: 10, 3: 99},
        InvocationThrottles={2: 5},
        InvocationClientErrors={2: 5},
        InvocationLatency={2: 2345.5, 3: 9999},
    )
    assert await source().read(MINUTE) == [
        ProviderWindow(
            provider="bedrock",
            route="",
            tries=100,
            first_tries=0,
            failures={FailureKind.SERVER_ERROR: 10, FailureKind.THROTTLED: 5, FailureKind.BAD_REQUEST: 5},
            latency_p95=timedelta(milliseconds=2345.5),
        )
    ]


async def test_a_longer_window_takes_more_minutes(cloudwatch: StandIn, source: Callable[[], CloudWatchSource]) -> None:
    """Counts are added up, and of the percentiles the worst stands: an average would hide it."""
    cloudwatch.series = counted(Invocations={1: 10, 2: 20, 3: 30, 4: 40}, InvocationLatency={1: 100, 2: 900, 3: 300})
    (found,) = await source().read(3 * MINUTE)
    assert (found.tries, found.latency_p95) == (60, timedelta(milliseconds=900))


async def test_a_total_outage_is_counted_without_any_success(
    cloudwatch: StandIn, source: Callable[[], CloudWatchSource]
) -> None:
    """Where only failures are published, the newest minute is theirs."""
    cloudwatch.series = counted(Invocations={4: 100}, InvocationThrottles={1: 40})
    (found,) = await source().read(MINUTE)
    assert (found.tries, dict(found.failures)) == (40, {FailureKind.THROTTLED: 40})


@pytest.mark.parametrize("series", [{}, counted(Invocations={6: 100}), counted("another", Invocations={1: 9})])
async def test_nothing_or_nothing_fresh_is_no_data(
    series: dict[tuple[str, str], Points], cloudwatch: StandIn, source: Callable[[], CloudWatchSource]
) -> None:
    """Not zero failures: nobody is acquitted by a metric that stopped."""
    cloudwatch.series = series
    assert await source().read(MINUTE) == []


async def test_every_provider_and_every_page_is_read(
    cloudwatch: StandIn, source: Callable[..., CloudWatchSource]
) -> None:
    """AWS answers in pages; each provider is its own model."""
    cloudwatch.page = 3
    cloudwatch.series = counted(Invocations={1: 10}, InvocationThrottles={1: 1}) | counted("haiku", Invocations={1: 7})
    found = await source(providers={"bedrock": MODEL, "small": "haiku"}).read(MINUTE)
    assert [(one.provider, one.tries) for one in found] == [("bedrock", 11), ("small", 7)]
    assert len(cloudwatch.asked) == 4


async def test_a_refusal_is_unavailable_with_its_code(
    cloudwatch: StandIn, source: Callable[[], CloudWatchSource]
) -> None:
    """And says nothing of keys."""
    cloudwatch.refuse = "AccessDeniedException"
    with pytest.raises(Unavailable, match=r"CloudWatch \(aws\) does not answer: AccessDenied"):
        await source().read(MINUTE)


async def test_nobody_there_is_unavailable(source: Callable[..., CloudWatchSource]) -> None:
    """Within the timeout."""
    with pytest.raises(Unavailable, match="does not answer"):
        await source(url="http://127.0.0.1:9", timeout="2s").read(MINUTE)
