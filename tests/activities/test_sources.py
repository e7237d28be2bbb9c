"""Who speaks for which provider: several sources, one reading, and none that makes up for another's silence."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from activities.sources import Readings
from failover.config import Config
from failover.config.detection import Detection, Source
from failover.config_file import parse
from failover.errors import ConfigError
from failover.failure import FailureKind, failure_of
from failover.health import Condition, Probe, ProbeHistory, judge
from failover.telemetry import ProviderWindow, Telemetry
from starter import worker_parts as composition
from traffic.memory import MemoryPlane, MemorySource

MINUTE = timedelta(minutes=1)
FAILING = ProviderWindow(
    provider="bedrock", route="", tries=100, first_tries=0, failures={FailureKind.SERVER_ERROR: 50}
)
FINE = ProviderWindow(provider="bedrock", route="", tries=100, first_tries=0)
SOURCE = Source.model_validate({"kind": "prometheus", "url": "http://unused", "providers": {"bedrock": "b"}})

MakeParts = Callable[..., composition.Parts]


def readings(parts: composition.Parts, source: MemorySource) -> Readings:
    return Readings(parts.config, parts.plane, {"prom": source})


@pytest.fixture
def parts(make_parts: MakeParts) -> composition.Parts:
    return make_parts(detection=Detection(sources={"prom": SOURCE}))


@pytest.fixture
def plane(parts: composition.Parts) -> MemoryPlane:
    assert isinstance(parts.plane, MemoryPlane)
    return parts.plane


def verdict(config: Config, telemetry: Telemetry | None, provider: str = "bedrock") -> Condition:
    now = datetime.now(UTC)
    history = ProbeHistory(last=Probe(provider=provider, at=now, latency=timedelta(0)), good_at=now)
    return judge(provider, history, {MINUTE: telemetry}, config.detection, now).condition


async def test_a_source_speaks_for_its_provider_alone(parts: composition.Parts, plane: MemoryPlane) -> None:
    """The gateway's counters of bedrock are not read, whatever they say; those of the others are."""
    plane.failing = {"bedrock", "google"}
    told = await readings(parts, MemorySource([FINE])).observe(MINUTE)
    assert told is not None
    assert told.of_provider("bedrock") == [FINE]
    assert verdict(parts.config, told) is Condition.HEALTHY
    assert verdict(parts.config, told, "google") is Condition.UNAVAILABLE
    assert told.of_route("chat") is not None


async def test_a_source_condemns_its_provider(parts: composition.Parts, plane: MemoryPlane) -> None:
    """Though every probe is green and the gateway counted nothing bad, also where the gateway does not answer."""
    source = MemorySource([FAILING, FAILING.__class__(provider="google", route="", tries=50, first_tries=0)])
    assert verdict(parts.config, await readings(parts, source).observe(MINUTE)) is Condition.UNAVAILABLE
    plane.unavailable = True
    told = await readings(parts, source).observe(MINUTE)
    assert verdict(parts.config, told) is Condition.UNAVAILABLE
    assert told is not None and told.of_provider("google") == []


@pytest.mark.parametrize("silence", ["unavailable", "broken", "nothing fresh"])
async def test_a_blind_source_is_no_news(silence: str, parts: composition.Parts, plane: MemoryPlane) -> None:
    """Neither good nor bad: the gateway is not asked in its place, nobody is condemned, and that it is so is known."""
    plane.failing = {"bedrock"}
    source = MemorySource()
    source.unavailable = silence == "unavailable"
    source.broken = silence == "broken"
    reading = readings(parts, source)
    told = await reading.observe(MINUTE)
    assert told is not None and told.of_provider("bedrock") == []
    assert verdict(parts.config, told) is Condition.HEALTHY
    assert list(reading.blind) == ["prom"]
    source.unavailable, source.broken, source.windows = False, False, [FINE]
    reading._read.clear()
    await reading.observe(MINUTE)
    assert reading.blind == {}


async def test_watches_share_a_reading(parts: composition.Parts) -> None:
    """Twenty watches at once, and again soon after: one question, since monitoring systems cost and limit them."""
    source = MemorySource([FINE])
    reading = readings(parts, source)
    await asyncio.gather(*(reading.observe(MINUTE) for _ in range(20)))
    await reading.observe(MINUTE)
    assert source.reads == 1
    await reading.observe(2 * MINUTE)
    assert source.reads == 2


@pytest.mark.parametrize(
    ("label", "kind"),
    [
        ("throttled", FailureKind.THROTTLED),
        ("429", FailureKind.THROTTLED),
        ("RateLimitError", FailureKind.THROTTLED),
        ("ThrottlingException", FailureKind.THROTTLED),
        ("500", FailureKind.SERVER_ERROR),
        ("503", FailureKind.SERVER_ERROR),
        ("504", FailureKind.TIMEOUT),
        ("timeout", FailureKind.TIMEOUT),
        ("APITimeoutError", FailureKind.TIMEOUT),
        ("InternalServerError", FailureKind.SERVER_ERROR),
        ("ServiceUnavailableException", FailureKind.SERVER_ERROR),
        ("401", FailureKind.AUTHENTICATION),
        ("AuthenticationError", FailureKind.AUTHENTICATION),
        ("PermissionDeniedError", FailureKind.PERMISSION),
        ("APIConnectionError", FailureKind.NETWORK),
        ("400", FailureKind.BAD_REQUEST),
        ("ContentPolicyViolationError", FailureKind.BAD_REQUEST),
        ("_OTHER", None),
        ("", None),
        ("200", None),
    ],
)
def test_what_others_call_a_failure(label: str, kind: FailureKind | None) -> None:
    """Our words, HTTP statuses, exceptions' names; what says nothing is no class."""
    assert failure_of(label) is kind


CONFIG = """
providers: {{a: {{kind: llama, model: m}}}}
routes: {{chat: {{distribution: {{a: 100}}}}}}
detection:
  sources:
    one: {{kind: prometheus, url: "http://x", providers: {{a: a}}}}
    two: {two}
"""


@pytest.mark.parametrize(
    ("two", "complaint"),
    [
        ("{kind: prometheus, url: 'http://x', providers: {a: a}}", "for which the source 'one' speaks already"),
        ("{kind: prometheus, url: 'http://x', providers: {b: b}}", "names 'b', which is no provider (known: a)"),
        ("{kind: prometheus, providers: {b: b}}", "needs a url"),
        ("{kind: cloudwatch, providers: {b: b}}", "needs a region"),
        ("{kind: graphite, providers: {b: b}}", "detection.sources.two.kind: 'graphite' is not allowed"),
        ("{kind: prometheus, url: x, providers: {b: b}, queries: {tries: x}}", "needs one for fresh"),
        ("{kind: prometheus, url: x, providers: {}}", "detection.sources.two.providers"),
    ],
)
def test_a_source_that_cannot_be_meant_is_refused(two: str, complaint: str) -> None:
    """Nobody speaks for a provider twice."""
    with pytest.raises(ConfigError) as refused:
        parse(CONFIG.format(two=two), "mine.yaml")
    assert complaint in str(refused.value)
