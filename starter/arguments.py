"""What people write as arguments, understood: durations, percents, routes, who is asking. BadInput says which option."""

import getpass
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from failover.config import Config
from failover.errors import RequestError
from failover.units import parse_duration

M = TypeVar("M", bound=BaseModel)


def seconds(option: str, text: str | None) -> float | None:
    """ "90", "90s", "5m" → seconds; None where it was not given."""
    if text is None:
        return None
    try:
        return parse_duration(text) / timedelta(seconds=1)
    except ValueError as error:
        raise RequestError(f"{option}: {error}.") from error


def moment(option: str, text: str | None) -> datetime | None:
    """A duration from now (90s, 2h, 3d), or a moment with its time zone; None where it was not given."""
    if text is None:
        return None
    now = datetime.now(UTC)
    at = _written(text) or _later(text, now)
    if at is None:
        raise RequestError(f"{option} is {text!r}; give a duration (90s, 2h) or a time in UTC (2026-01-31T12:00:00Z).")
    if at <= now:
        raise RequestError(f"{option} {text} is over already.")
    return at


def _written(text: str) -> datetime | None:
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return None
    return at if at.tzinfo else None


def _later(text: str, now: datetime) -> datetime | None:
    try:
        return now + parse_duration(text)
    except (ValueError, OverflowError):
        return None


def percent(option: str, text: str | None) -> float | None:
    """ "98" and "98%" → 98.0; None where it was not given."""
    if text is None:
        return None
    try:
        value = float(text.strip().removesuffix("%"))
    except ValueError:
        value = -1
    if not 0 <= value <= 100:
        raise RequestError(f"{option}: {text!r} is no percent; write a number from 0 to 100, such as 98 or 98%.")
    return value


def percents(option: str, text: str | None) -> list[float] | None:
    """ "10,25,50" → [10.0, 25.0, 50.0]; None where it was not given."""
    return None if text is None else [value for part in text.split(",") if (value := percent(option, part)) is not None]


def on_or_off(option: str, text: str, on: Iterable[str], off: Iterable[str]) -> bool:
    """One of two words, in any of their spellings."""
    word = text.strip().casefold()
    if word not in {*on, *off}:
        raise RequestError(f"{option}: {text!r} is neither {'/'.join(on)} nor {'/'.join(off)}.")
    return word in on


def route_of(config: Config, route: str | None) -> str:
    """The route that is meant: the one named, else the only one, else the configured default."""
    known = ", ".join(config.routes)
    if route is not None:
        if route not in config.routes:
            raise RequestError(f"There is no route {route!r}; the routes are {known}.")
        return route
    if len(config.routes) == 1:
        return next(iter(config.routes))
    if config.default_route is None:
        raise RequestError(f"Name a route with --route: there are {known}, and no default_route is configured.")
    return config.default_route


def operator() -> str:
    """The name of whoever gives the order, unless --actor says otherwise: the user of the operating system."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "failoverctl"


def request_of(shape: type[M], config: Config, **fields: Any) -> M:
    """A request; RequestError, in the words of the options, where it cannot be meant. What is None was not given."""
    try:
        return shape(**{name: value for name, value in fields.items() if value is not None})
    except ValidationError as error:
        said = "; ".join(f"{_option(problem['loc'])}: {_why(problem)}" for problem in error.errors())
        known = ", ".join(sorted(config.providers))
        raise RequestError(f"That cannot be asked for: {said}; the providers are {known}.") from error


def _why(problem: ErrorDetails) -> str:
    """A pattern is nothing that people should have to read."""
    return f"{problem['input']!r} is no name" if problem["type"] == "string_pattern_mismatch" else problem["msg"]


def _option(place: tuple[int | str, ...]) -> str:
    """ "cache_ttl_seconds" → "--cache-ttl": requests name units, options do not."""
    name = str(place[0]).removesuffix("_seconds").removesuffix("_percent") if place else ""
    return f"--{name.replace('_', '-')}"
