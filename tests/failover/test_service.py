"""Cache and queue as people set them: what is named changes, the rest stays."""

from typing import Any

import pytest

from failover.service import ServiceSettingsRequest, describe, wanted, why_not_start

EMERGENCY = {
    "cache": {"ttl": "2h", "serve_stale": True},
    "queue": {"size": 10_000, "timeout": "5m"},
    "banner": "late",
    "template": "sorry",
}


@pytest.mark.parametrize(
    ("found", "asked", "after"),
    [
        ({}, {"cache": "emergency"}, {"cache": {"ttl": "2h", "serve_stale": True}}),
        ({}, {"cache": "on"}, {"cache": {"ttl": "2h", "serve_stale": False}}),
        ({}, {"cache_ttl_seconds": 60}, {"cache": {"ttl": "1m", "serve_stale": False}}),
        (
            {"cache": {"ttl": "1m", "serve_stale": False}, "banner": "hi"},
            {"serve_stale": True},
            {"cache": {"ttl": "1m", "serve_stale": True}, "banner": "hi"},
        ),
        (EMERGENCY, {"cache": "off"}, {name: EMERGENCY[name] for name in ("queue", "banner", "template")}),
        ({}, {"queue": "on", "queue_size": 7}, {"queue": {"size": 7, "timeout": "5m"}}),
        (
            {"queue": {"size": 7, "timeout": "1m"}},
            {"queue_timeout_seconds": 90},
            {"queue": {"size": 7, "timeout": "90s"}},
        ),
        ({"queue": {"size": 7, "timeout": "1m"}}, {"queue": "off"}, {}),
    ],
)
def test_what_is_named_changes(found: dict[str, Any], asked: dict[str, Any], after: dict[str, Any]) -> None:
    """Everything else stays as it was found."""
    service = wanted(ServiceSettingsRequest(route="chat", **asked), found, EMERGENCY)
    assert service.as_settings() == after


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({}, "Nothing was named"),
        ({"cache": "off", "serve_stale": True}, "takes neither a TTL"),
        ({"queue": "off", "queue_size": 3}, "takes neither a size"),
        ({"route": "chet", "cache": "on"}, "the routes are chat"),
    ],
)
def test_what_cannot_be_meant(asked: dict[str, Any], words: str) -> None:
    """A sentence, before anything is done."""
    why = why_not_start(ServiceSettingsRequest(**{"route": "chat", **asked}), ["chat"])
    assert why is not None and words in why


def test_it_is_told_in_words() -> None:
    """What is on and what is not."""
    service = wanted(ServiceSettingsRequest(route="chat", cache="emergency"), {}, EMERGENCY)
    assert describe(service) == "cached answers for 2h, stale ones without limit; no queue"
