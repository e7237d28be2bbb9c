"""Durations as people write them, and what nobody can mean by one."""

from datetime import UTC, datetime, timedelta

import pytest
from pydantic import TypeAdapter, ValidationError

from failover.units import Duration, DurationTooLong, Seconds, parse_duration, render_duration, roughly


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 90),
        (90, 90),
        ("90s", 90),
        ("5m", 300),
        ("1h30m", 5400),
        ("1500ms", 1.5),
        ("0.5", 0.5),
        ("2d", 172_800),
        (1e-05, 0.00001),
    ],
)
def test_a_duration_is_read(text: object, seconds: float) -> None:
    """With or without units; a bare number is seconds."""
    assert parse_duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["", "soon", "5 m", "-3s", "1h30", "5m!", "nan", "inf", True, -1.0, float("nan")])
def test_what_is_no_duration_is_refused(text: object) -> None:
    with pytest.raises(ValueError, match="is no duration"):
        parse_duration(text)


@pytest.mark.parametrize("text", ["9" * 30 + "d", "9" * 400, "9" * 400 + "ms", 1e17, float("inf"), "36501d"])
def test_a_duration_that_nobody_can_wait_for_is_a_mistake(text: object) -> None:
    """A ValueError, which a configuration file and a request answer with a sentence; never an overflow."""
    with pytest.raises(DurationTooLong, match="longer than any duration can be"):
        parse_duration(text)
    with pytest.raises(ValidationError):
        TypeAdapter(Duration).validate_python(text)


def test_the_longest_duration_can_be_added_to_a_moment() -> None:
    assert datetime(2026, 1, 1, tzinfo=UTC) + parse_duration("36500d")


@pytest.mark.parametrize("text", ["1e300", "Infinity", "NaN", "-1", "31622401"])
def test_seconds_of_a_request_are_seconds_that_a_timer_takes(text: str) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(Seconds).validate_json(text)


@pytest.mark.parametrize("text", ["1500ms", "5m", "90s", "2h", "1d"])
def test_what_is_written_is_read_back(text: str) -> None:
    assert render_duration(parse_duration(text)) == text


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(-5, "0 s"), (119.9, "119 s"), (120, "2 min"), (3599, "59 min"), (90_000, "25 h 0 min"), (172_800, "2 d")],
)
def test_about_how_long(seconds: float, said: str) -> None:
    """As people say it, never exactly."""
    assert roughly(timedelta(seconds=seconds)) == said
