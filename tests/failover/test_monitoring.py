"""Limits as people write them, and figures judged by them."""

from datetime import UTC, datetime, timedelta

import pytest

from failover.config.routes import Targets
from failover.errors import RequestError
from failover.failure import FailureKind
from failover.gates import Judgement
from failover.monitoring import Figures, Limit, Metric, figures_of, judge, limits_of, parse_limit, parse_metrics, shown
from failover.telemetry import ProviderWindow, RouteWindow, Telemetry

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def figures(requests: int = 100, good: int = 100, p95: int | None = 200, seconds: float = 10) -> Figures:
    latency = None if p95 is None else timedelta(milliseconds=p95)
    return Figures(requests=requests, good=good, latency_p95=latency, window=timedelta(seconds=seconds))


@pytest.mark.parametrize(
    ("text", "metric", "above", "value"),
    [
        ("error_rate>2%", Metric.ERROR_RATE, True, 2),
        ("error_rate > 2.5", Metric.ERROR_RATE, True, 2.5),
        ("success_rate<98%", Metric.SUCCESS_RATE, False, 98),
        ("latency>1500", Metric.LATENCY, True, 1500),
        ("latency>1500ms", Metric.LATENCY, True, 1500),
        ("latency>1.5s", Metric.LATENCY, True, 1500),
        ("throughput<5", Metric.THROUGHPUT, False, 5),
        ("throughput<5/s", Metric.THROUGHPUT, False, 5),
    ],
)
def test_a_limit_is_read_as_it_is_written(text: str, metric: Metric, above: bool, value: float) -> None:
    """With or without its unit; what it says is what reads back."""
    limit = parse_limit("--alert-threshold", text)
    assert (limit.metric, limit.above, limit.value) == (metric, above, value)
    assert parse_limit("--alert-threshold", str(limit)) == limit


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("error_rate", "is no limit"),
        ("error_rate=2%", "is no limit"),
        ("errors>2%", "there is no metric 'errors'; there are error_rate, latency"),
        ("error_rate>two", "'two' is no value of error_rate"),
        ("error_rate>120%", "out of range"),
        ("error_rate>nan", "out of range"),
        ("throughput>inf", "out of range"),
        ("latency>soon", "'soon' is no value of latency"),
    ],
)
def test_a_limit_that_cannot_be_meant_is_a_sentence(text: str, words: str) -> None:
    """It names the option, what was written, and what may be."""
    with pytest.raises(RequestError, match="--alert-threshold") as refused:
        parse_limit("--alert-threshold", text)
    assert words in str(refused.value)


def test_metrics_are_those_that_there_are() -> None:
    """In the order of the option, each once."""
    assert parse_metrics("--metrics", "latency, error_rate,latency") == [Metric.LATENCY, Metric.ERROR_RATE]
    with pytest.raises(RequestError, match="no metric 'joy'"):
        parse_metrics("--metrics", "latency,joy")


@pytest.mark.parametrize(
    ("limit", "found", "judgement"),
    [
        ("error_rate>2%", figures(good=98), Judgement.PASS),
        ("error_rate>2%", figures(good=97), Judgement.FAIL),
        ("success_rate<98%", figures(good=98), Judgement.PASS),
        ("success_rate<98%", figures(good=97), Judgement.FAIL),
        ("latency>200ms", figures(p95=200), Judgement.PASS),
        ("latency>200ms", figures(p95=201), Judgement.FAIL),
        ("latency>200ms", figures(p95=None), Judgement.INCONCLUSIVE),
        ("error_rate>2%", figures(requests=49, good=0), Judgement.INCONCLUSIVE),
        ("error_rate>2%", figures(requests=0, good=0, p95=None), Judgement.INCONCLUSIVE),
        ("throughput<5", figures(requests=0, good=0), Judgement.FAIL),
        ("throughput<5", figures(requests=50), Judgement.PASS),
        ("throughput<5", figures(seconds=0), Judgement.INCONCLUSIVE),
    ],
)
def test_figures_are_judged(limit: str, found: Figures, judgement: Judgement) -> None:
    """At the limit it is kept; with too few requests nobody can tell, except that too few came."""
    assert judge(parse_limit("x", limit), found, minimum=50)[0] is judgement


def test_the_limits_of_targets() -> None:
    """Of success both ways round, and of response time; throughput is owed to nobody."""
    limits = limits_of(Targets(success_percent=98, response_time=timedelta(milliseconds=1500)))
    assert [str(limit) for limit in limits] == ["error_rate>2%", "success_rate<98%", "latency>1500ms"]


def test_what_is_shown_never_hides_a_broken_limit() -> None:
    """97.96 % does not read as the 98 that it misses, nor an error rate of 2.04 % as the 2 that it passes."""
    assert shown(Metric.SUCCESS_RATE, 97.96) == "97.9 %"
    assert shown(Metric.ERROR_RATE, 2.04) == "2.1 %"
    assert shown(Metric.SUCCESS_RATE, 98.0) == "98.0 %" and shown(Metric.LATENCY, None) == "unknown"
    assert Limit(metric=Metric.ERROR_RATE, above=True, value=2).broken_by(2.04)


def test_users_and_tries_are_counted_apart() -> None:
    """A template's words and an empty answer are no success; a provider's tries are those of the route alone."""
    telemetry = Telemetry(
        at=NOW,
        since=NOW - timedelta(seconds=10),
        providers=[
            ProviderWindow(provider="a", route="chat", tries=10, first_tries=9, failures={FailureKind.SERVER_ERROR: 4}),
            ProviderWindow(provider="a", route="other", tries=90, first_tries=90),
            ProviderWindow(provider="b", route="chat", tries=5, first_tries=1),
        ],
        routes=[RouteWindow(route="chat", requests=20, failed=2, lost=3, empty=1, templates=4)],
    )
    users = figures_of(telemetry, "chat")
    assert (users.requests, users.good) == (20, 13)
    assert users.value(Metric.THROUGHPUT) == 2
    tries = figures_of(telemetry, "chat", "a")
    assert (tries.requests, tries.good) == (10, 6)
    assert figures_of(telemetry, "nowhere").value(Metric.ERROR_RATE) is None
