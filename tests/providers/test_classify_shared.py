"""What all vendors' refusals have in common: waits, words, and what may be shown of a message."""

from datetime import UTC, datetime, timedelta

import pytest

from failover.failure import FailureKind
from providers.classification import by_status, by_words, retry_after, shorten

K = FailureKind
NOW = datetime(2026, 10, 21, 7, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("headers", "wait"),
    [
        ({"Retry-After": "7"}, timedelta(seconds=7)),
        ({"retry-after": "0.5"}, timedelta(seconds=0.5)),
        ({"retry-after-ms": "250", "retry-after": "9"}, timedelta(milliseconds=250)),
        ({"Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT"}, timedelta(minutes=28)),
        ({"Retry-After": "Wed, 21 Oct 2026 07:28:00 -0000"}, timedelta(minutes=28)),
        ({"Retry-After": "Wed, 21 Oct 2026 06:00:00 GMT"}, timedelta(0)),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "-5"}, None),
        ({"Retry-After": "²"}, None),
        ({"Retry-After": "9" * 400}, None),
        ({"retry-after-ms": "9" * 400}, None),
        ({"Retry-After": ""}, None),
        ({}, None),
    ],
)
def test_the_wait_that_a_provider_asks_for(headers: dict[str, str], wait: timedelta | None) -> None:
    """Seconds, milliseconds or a date; nonsense is no wait, and never an error of ours."""
    assert retry_after(headers, NOW) == wait


@pytest.mark.parametrize(
    ("status", "message", "kind"),
    [
        (400, "messages: at least one message is required", K.BAD_REQUEST),
        (401, "", K.AUTHENTICATION),
        (402, "Payment Required", K.HARD_QUOTA),
        (403, "", K.PERMISSION),
        (404, "", K.MODEL_UNAVAILABLE),
        (408, "", K.TIMEOUT),
        (413, "Request Entity Too Large", K.BAD_REQUEST),
        (422, "", K.BAD_REQUEST),
        (429, "", K.THROTTLED),
        (500, "", K.SERVER_ERROR),
        (502, "<html><h1>502 Bad Gateway</h1></html>", K.SERVER_ERROR),
        (503, "", K.SERVER_ERROR),
        (504, "", K.TIMEOUT),
        (524, "a timeout occurred", K.TIMEOUT),
        (529, "Overloaded", K.CAPACITY),
    ],
)
def test_what_a_status_means(status: int, message: str, kind: FailureKind) -> None:
    """Where the message says nothing more."""
    assert by_status(status, message) is kind


@pytest.mark.parametrize(("wait", "kind"), [(3600, K.THROTTLED), (3601, K.HARD_QUOTA), (86_400, K.HARD_QUOTA)])
def test_a_wait_of_over_an_hour_is_a_quota(wait: int, kind: FailureKind) -> None:
    """Nobody waits that long for a rate limit."""
    assert by_status(429, "slow down", retry_after=timedelta(seconds=wait)) is kind


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        ("The service is currently unavailable in region us-central1.", K.REGION),
        ("The service is currently unavailable in the eu-west-1 region.", K.REGION),
        ("Service disruption in us-gov-west-1", K.REGION),
        ("Unavailable in europe-west4", K.REGION),
        ("On-demand capacity is exhausted in this region", K.CAPACITY),
        ("The engine is currently overloaded, please try again later", K.CAPACITY),
        ("Too many connections, please wait before trying again.", K.CAPACITY),
        ("Model meta-llama/Llama-3 is currently loading", K.MODEL_LOADING),
        ("Loading model", K.MODEL_LOADING),
        ("The model gemini-2.5-pro is loading. Please try again later.", K.MODEL_LOADING),
        ("The model is not ready to serve inference requests.", K.MODEL_LOADING),
        ("Unhandled exception in worker 3", None),
        ("Unhandled exception in shard-7", None),
        ("Error in llama3", None),
        ("The model my-model-3 failed", None),
        ("Internal error encountered.", None),
        ("", None),
    ],
)
def test_what_a_message_gives_away(message: str, kind: FailureKind | None) -> None:
    """A region, the model or the capacity is named only where the message names it."""
    assert by_words(message) is kind


def test_a_detail_keeps_what_only_resembles_a_key() -> None:
    """Regions and names stay readable."""
    for message in ("task-1234567 is unavailable in asia-northeast1", "no API key: configure api_key_env"):
        assert shorten(message) == message


def test_a_detail_is_one_short_line() -> None:
    """At most 200 characters, whatever came."""
    told = shorten("a\nb\t" + "x" * 500)
    assert told.startswith("a b xxx")
    assert len(told) == 200


@pytest.mark.parametrize(
    ("message", "hidden"),
    [
        ("Incorrect API key provided: sk-proj-abcdefgh12345678.", "abcdefgh12345678"),
        ("Authorization: Bearer ya29.a0AfH6SMBx-secret", "a0AfH6SMBx"),
        ("The access key AKIAIOSFODNN7EXAMPLE is not valid", "IOSFODNN7EXAMPLE"),
        ("https://host/v1?key=AIzaSyD-9tSrke72PouQMnMX", "AIzaSyD"),
        ("[{'type': 'missing', 'msg': 'Field required', 'input': {'content': 'my private question'}}]", "private"),
        ('{"msg":"field required","input":{"content":"my private question"}}', "private"),
    ],
)
def test_a_detail_holds_no_key_and_no_prompt(message: str, hidden: str) -> None:
    """Some servers say a request or its credentials back."""
    assert hidden not in shorten(message)
