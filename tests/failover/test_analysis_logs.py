"""Log lines of an incident: which belong to it, and that nothing secret is in them."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from failover.analysis.case import Logs, Span
from failover.analysis.logs import HIDDEN, correlated, hide
from failover.incident import Moments, Trigger
from tests.records import run_record

T0 = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)
SPAN = Span(since=T0 - timedelta(minutes=15), onset=T0, until=T0 + timedelta(minutes=1))
RECORD = run_record(
    trigger=Trigger.MANUAL,
    requested_by="anna",
    reason="",
    moments=Moments(decided=T0),
)


def line(seconds: float = 0, level: str = "info", event: str = "something", **fields: object) -> str:
    at = (T0 + timedelta(seconds=seconds)).isoformat()
    return json.dumps({"timestamp": at, "level": level, "event": event, **fields})


def found(*lines: str, most: int = 40, secrets: tuple[str, ...] = ()) -> Logs:
    return correlated([("worker", lines)], RECORD, SPAN, ["bedrock", "google"], secrets, most)


def test_what_names_the_incident_or_is_loud_belongs() -> None:
    logs = found(
        line(event="bedrock is down"),
        line(event="started", workflow_id="failover/bedrock"),
        line(event="something else"),
        line(event="bedrocks are no provider"),
        line(level="error", event="the disk is full"),
        line(-60, event="bedrock, too early"),
        line(300, event="bedrock, too late"),
    )
    assert [one.text for one in logs.lines] == [
        "bedrock is down",
        "started workflow_id=failover/bedrock",
        "the disk is full",
    ]


def test_they_are_bounded_and_what_names_it_comes_first() -> None:
    noise = [line(level="warning", event=f"noise {number}") for number in range(50)]
    logs = found(*noise, line(5, event="bedrock is down"), most=10)
    assert len(logs.lines) == 10 and logs.more == 41 and logs.lines[-1].text == "bedrock is down"


def test_what_is_said_again_and_again_is_one_line() -> None:
    logs = found(*[line(number, level="warning", event="the pool is full") for number in range(5)])
    assert [one.text for one in logs.lines] == ["the pool is full (5 times)"]


def test_a_log_that_is_no_json_is_told_and_a_few_plain_lines_are_not() -> None:
    assert found("The gateway answers.", line(), line(), line()).unread == 0
    assert found("2026-01-31 12:00:00 [info] ready", "another").unread == 2


def test_fields_that_may_hold_what_users_said_are_never_shown() -> None:
    logs = found(
        line(
            event="a try failed",
            provider="bedrock",
            code="503",
            messages=[{"role": "user", "content": "my secret question"}],
            body="my secret question",
            exception="Traceback\n  File x, line 1\nValueError: {'prompt': 'my secret question'}",
        )
    )
    [one] = logs.lines
    assert "my secret question" not in one.text
    assert one.text.startswith("a try failed provider=bedrock code=503 ValueError: {'prompt': ")


SECRETS = [
    ("Authorization: Bearer abcdef1234567890", "abcdef1234567890"),
    ("authorization=Basic dXNlcjpwYXNzd29yZA==", "dXNlcjpwYXNzd29yZA=="),
    ("api_key=sk-0123456789abcdef", "0123456789abcdef"),
    ("x AKIAIOSFODNN7EXAMPLE y", "AKIAIOSFODNN7EXAMPLE"),
    ("token: xoxb-1234567890-abcdefgh", "xoxb-1234567890"),
    ('{"client_secret": "hunter2hunter2"}', "hunter2hunter2"),
    ("redis://user:pa55word@host:6379", "pa55word"),
    ("https://h/p?X-Amz-Signature=deadbeef&x=1", "deadbeef"),
    ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.abc", "eyJzdWIi"),
    ("aws wJalrXUtnFEMIK7MDENGbPxRfiCYEXAMPLEKEY12", "wJalrXUtnFEMIK7MDENG"),
    ('{"messages": [{"role": "user", "content": "why is the sky blue"}]}', "sky blue"),
    ('{"prompt": "why is the sky \\"blue\\""}', "sky"),
    ("the value of-the-environment here", "of-the-environment"),
]


@pytest.mark.parametrize(("text", "secret"), SECRETS)
def test_nothing_secret_is_left(text: str, secret: str) -> None:
    shown = hide(text, ["of-the-environment"])
    assert secret not in shown and HIDDEN in shown


@pytest.mark.parametrize(
    "text",
    [
        "bedrock: 23 of 146 tries of users failed (15.8 %, limit 5 %), mostly server error",
        'Could not connect: "http://127.0.0.1:47101/model/anthropic.claude-3-5-sonnet-20241022-v2%3A0/converse"',
        "failover/bedrock/01a213e5-1d6d-7860-8180-686165151dff/2",
    ],
)
def test_what_is_not_secret_is_left_as_it_is(text: str) -> None:
    assert hide(text) == text
