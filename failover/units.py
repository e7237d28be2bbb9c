"""Units as people write them in configuration files, flags and requests, and as they read them."""

import re
from datetime import timedelta
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, PlainSerializer

_PARTS = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_LONGEST = timedelta(days=36_500)
"""A hundred years: what is added to a moment of today still is a moment."""


class DurationTooLong(ValueError):
    """A duration in the right form that nobody can wait for."""


def parse_duration(value: Any) -> timedelta:
    """90, "90", "90s", "5m", "1h30m", "1500ms" → timedelta; a bare number is seconds. ValueError otherwise.

    DurationTooLong, which is one, where it is longer than a hundred years.
    """
    if isinstance(value, timedelta):
        return value
    text = str(value).strip()
    if isinstance(value, float) and value >= 0:
        return _of_seconds(value, text)
    if re.fullmatch(r"\d+(\.\d+)?", text) and not isinstance(value, bool):
        return _of_seconds(float(text), text)
    if not text or _PARTS.sub("", text):
        raise ValueError(
            f"{text!r} is no duration; write seconds, or a number with ms, s, m, h or d, such as 90s or 5m"
        )
    return _of_seconds(sum(float(number) * _UNITS[unit] for number, unit in _PARTS.findall(text)), text)


def _of_seconds(seconds: float, text: str) -> timedelta:
    if seconds > _LONGEST.total_seconds():
        raise DurationTooLong(f"{text[:40]!r} is longer than any duration can be; at most {_LONGEST.days} days")
    return timedelta(seconds=seconds)


def render_duration(value: timedelta) -> str:
    """The shortest exact spelling that `parse_duration` reads back: "1500ms", "5m", "90s"."""
    seconds, rest = divmod(milliseconds(value), 1000)
    if rest:
        return f"{milliseconds(value)}ms"
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds and seconds % size == 0:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"


def roughly(value: timedelta) -> str:
    """Render a time for people who want to know about when: "6 d", "3 h 20 min", "5 min", "12 s"; two parts at most."""
    seconds = max(0, value // timedelta(seconds=1))
    if seconds >= 2 * 86_400:
        return f"{seconds // 86_400} d"
    if seconds >= 3600:
        return f"{seconds // 3600} h {seconds % 3600 // 60} min"
    return f"{seconds // 60} min" if seconds >= 120 else f"{seconds} s"


def milliseconds(value: timedelta) -> int:
    """A time in whole milliseconds, for people to read."""
    return round(value / timedelta(milliseconds=1))


def count(number: int, noun: str) -> str:
    """ "1 route", "3 routes"."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


Duration = Annotated[timedelta, BeforeValidator(parse_duration), PlainSerializer(render_duration, return_type=str)]
"""A timedelta, written as "30s" or "5m"."""

Seconds = Annotated[float, Field(ge=0, le=timedelta(days=366).total_seconds(), allow_inf_nan=False)]
"""A duration as a request tells it: nobody means a wait of more than a year, and no timer takes all that a float can say."""

PositiveSeconds = Annotated[Seconds, Field(gt=0)]

PositiveDuration = Annotated[Duration, Field(gt=timedelta(0))]

Percent = Annotated[float, Field(ge=0, le=100)]
"""A percentage, 0 to 100; thresholds only: shares of traffic are whole basis points (see `failover.distribution`)."""
