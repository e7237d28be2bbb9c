"""What may be switched on, and what is tried in which order."""

from datetime import timedelta
from typing import Any
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from failover.config.emergency import Emergency
from failover.degraded import (
    NORMAL,
    CacheSettings,
    DegradedService,
    QueueSettings,
    Source,
    from_emergency,
    header_safe,
    order,
    read,
)

CACHE, LIVE, STALE, QUEUE, TEMPLATE = Source.CACHE, Source.LIVE, Source.STALE, Source.QUEUE, Source.TEMPLATE
SECOND, DAY = timedelta(seconds=1), timedelta(days=1)

ALL = DegradedService(
    cache=CacheSettings(ttl=timedelta(hours=2), serve_stale=True), queue=QueueSettings(), template="no answer"
)
CACHE_ONLY = DegradedService(cache=CacheSettings(ttl=timedelta(hours=2)))


@pytest.mark.parametrize(
    ("service", "age", "streaming", "others_wait", "expected"),
    [
        (NORMAL, None, False, False, (LIVE,)),
        (NORMAL, SECOND, False, True, (LIVE,)),
        (ALL, SECOND, False, False, (CACHE,)),
        (ALL, timedelta(hours=2), False, True, (CACHE,)),
        (ALL, DAY, False, False, (LIVE, STALE, QUEUE, TEMPLATE)),
        (ALL, DAY, False, True, (STALE, QUEUE, TEMPLATE)),
        (ALL, None, False, False, (LIVE, QUEUE, TEMPLATE)),
        (ALL, SECOND, True, False, (LIVE, QUEUE, TEMPLATE)),
        (ALL, DAY, True, True, (QUEUE, TEMPLATE)),
        (CACHE_ONLY, DAY, False, False, (LIVE,)),
        (CACHE_ONLY, SECOND, False, False, (CACHE,)),
        (DegradedService(template="x"), None, False, True, (LIVE, TEMPLATE)),
        (DegradedService(queue=QueueSettings()), None, False, True, (QUEUE,)),
    ],
)
def test_fresh_live_stale_queue_template(
    service: DegradedService, age: timedelta | None, streaming: bool, others_wait: bool, expected: tuple[Source, ...]
) -> None:
    assert order(service, age=age, streaming=streaming, others_wait=others_wait) == expected


SERVICES = st.builds(
    DegradedService,
    cache=st.none() | st.builds(CacheSettings, ttl=st.timedeltas(SECOND, DAY), serve_stale=st.booleans()),
    queue=st.none() | st.builds(QueueSettings, size=st.integers(1, 10), timeout=st.timedeltas(SECOND, DAY)),
    banner=st.none() | st.text(min_size=1, max_size=500),
    template=st.none() | st.text(min_size=1, max_size=20),
)


@given(SERVICES, st.none() | st.timedeltas(timedelta(0), 2 * DAY), st.booleans(), st.booleans())
def test_there_is_always_something_to_try_and_nothing_that_is_not_switched_on(
    service: DegradedService, age: timedelta | None, streaming: bool, others_wait: bool
) -> None:
    sources = order(service, age=age, streaming=streaming, others_wait=others_wait)
    assert sources
    assert list(sources) == sorted(sources, key=list(Source).index)
    assert service.cache is not None or not {CACHE, STALE} & set(sources)
    assert (QUEUE in sources) <= (service.queue is not None)
    assert (TEMPLATE in sources) <= (service.template is not None)
    assert not (streaming and {CACHE, STALE} & set(sources))
    assert not (others_wait and service.queue is not None and LIVE in sources), "a newcomer would overtake"


@given(SERVICES)
def test_what_a_policy_carries_means_the_same_when_it_is_read(service: DegradedService) -> None:
    """To the millisecond, which is as exact as durations are written."""
    read_back = read(service.as_settings())
    assert read_back.as_settings() == service.as_settings()
    assert read_back.is_on == service.is_on


def test_the_emergencys_settings_are_the_runbooks() -> None:
    """A route's own words come before the section's."""
    service = from_emergency(Emergency())
    assert service.as_settings()["cache"] == {"ttl": "2h", "serve_stale": True}
    assert service.as_settings()["queue"] == {"size": 10_000, "timeout": "5m"}
    assert service.banner and service.template
    assert from_emergency(Emergency(), template="ours").template == "ours"


@pytest.mark.parametrize(
    ("settings", "field"),
    [
        ({"cache": {"ttl": "soon"}}, "cache.ttl"),
        ({"cache": {"ttl": "9" * 40}}, "cache.ttl"),
        ({"cache": {"stale": True}}, "cache.stale"),
        ({"queue": {"size": -1}}, "queue.size"),
        ({"queue": []}, "queue"),
        ({"banner": "x" * 501}, "banner"),
        ({"unknown": None}, "unknown"),
    ],
)
def test_what_cannot_be_meant_names_its_field(settings: dict[str, Any], field: str) -> None:
    with pytest.raises(ValidationError) as caught:
        read(settings)
    assert field in {".".join(map(str, problem["loc"])) for problem in caught.value.errors()}


def test_nothing_is_normal_service() -> None:
    assert read({}) == read({"cache": None}) == NORMAL
    assert not read({}).is_on
    assert NORMAL.as_settings() == {}


@given(st.text())
def test_any_text_survives_a_header(text: str) -> None:
    """Printable ASCII as it is; no line ever ends in it."""
    text = text.encode("utf-8", "ignore").decode()
    safe = header_safe(text)
    assert safe.isascii() and safe.isprintable()
    assert unquote(safe) == text
