"""Drills: where a failover may be practised, how hard, when, and when not."""

import re
from datetime import date, datetime, time, timedelta
from enum import StrEnum
from typing import Annotated, Any, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from failover.section import Count, Name, Section
from failover.units import Duration, Percent, PositiveDuration


class FaultKind(StrEnum):
    """What a drill breaks: each is found by probes, and makes a provider one that traffic must leave."""

    SERVER_ERROR = "server_error"
    NETWORK = "network"
    TIMEOUT = "timeout"
    AUTHENTICATION = "authentication"
    INVALID_ANSWER = "invalid_answer"


class Day(StrEnum):
    MON = "mon"
    TUE = "tue"
    WED = "wed"
    THU = "thu"
    FRI = "fri"
    SAT = "sat"
    SUN = "sun"

    @property
    def number(self) -> int:
        """The number of the weekday; 0 is Monday."""
        return list(Day).index(self)


def _known_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValueError(f"{name!r} is no time zone; write it as Europe/Berlin, America/New_York or UTC") from error
    return name


TimeZone = Annotated[str, AfterValidator(_known_zone)]


def _moment(value: Any) -> Any:
    """YAML reads a bare 18:00 as a number (to the base of sixty) and a bare date as a date; nobody means that."""
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 24 * 60:
        return f"{value // 60:02}:{value % 60:02}"
    if isinstance(value, datetime):
        return value.isoformat(timespec="minutes")
    return f"{value.isoformat()}T00:00" if isinstance(value, date) else value


def _is_clock(text: str) -> bool:
    return re.fullmatch(r"([01]?\d|2[0-3]):[0-5]\d", text) is not None


def _readable(text: str) -> str:
    if _is_clock(text):
        return f"{text:0>5}"
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is not None:
        raise ValueError(f'{text!r} is no time; write "18:00", or "2026-12-20T00:00", in the time_zone beside it')
    return moment.isoformat(timespec="minutes")


def _clock(text: str) -> str:
    if not _is_clock(text):
        raise ValueError(f'{text!r} is no time of day; write it as "03:30"')
    return f"{text:0>5}"


When = Annotated[str, BeforeValidator(_moment), AfterValidator(_readable)]
"""A time of day, or a moment, in somebody's time zone."""

Clock = Annotated[str, BeforeValidator(_moment), AfterValidator(_clock)]
"""A time of day."""


class Blackout(Section):
    """When no drill begins: on some days (or all) from one time of day to another, or once from one moment to another.

    A window that ends before it starts ends on the next day; `days` name those on which it starts.
    """

    start: When
    end: When
    days: list[Day] = []
    time_zone: TimeZone = "UTC"
    why: Annotated[str, Field(max_length=200)] = ""

    @model_validator(mode="after")
    def _is_one_kind(self) -> Self:
        clocks = [_is_clock(self.start), _is_clock(self.end)]
        if clocks[0] != clocks[1]:
            raise ValueError("start and end must both be times of day, or both be moments")
        if not clocks[0] and self.days:
            raise ValueError("days go with times of day; start and end are moments already")
        if not clocks[0] and self.end <= self.start:
            raise ValueError(f"the window ends ({self.end}) before it starts ({self.start})")
        return self

    def covers(self, now: datetime) -> bool:
        """Whether an aware moment lies within."""
        local = now.astimezone(ZoneInfo(self.time_zone))
        if not _is_clock(self.start):
            naive = local.replace(tzinfo=None)
            return datetime.fromisoformat(self.start) <= naive < datetime.fromisoformat(self.end)
        start, end, clock = time.fromisoformat(self.start), time.fromisoformat(self.end), local.time()
        if start < end:
            return start <= clock < end and self._starts_on(local.weekday())
        if clock >= start:
            return self._starts_on(local.weekday())
        return clock < end and self._starts_on((local.weekday() - 1) % 7)

    def _starts_on(self, weekday: int) -> bool:
        return not self.days or weekday in [day.number for day in self.days]


class DrillSchedule(Section):
    """A drill that begins by itself: at an interval (`every`), or on days (`days`, none: every day) at a time (`at`)."""

    provider: Name
    """Whose failure is practised."""
    route: Name | None = None
    """None: the only drill route."""
    fault: FaultKind = FaultKind.SERVER_ERROR
    percent: Annotated[Percent, Field(gt=0)] | None = None
    """Of a live route: how much of the provider's traffic; only a drill route goes without."""
    every: PositiveDuration | None = None
    days: list[Day] = []
    at: Clock | None = None
    time_zone: TimeZone = "UTC"

    @model_validator(mode="after")
    def _is_due_some_time(self) -> Self:
        if (self.every is None) == (self.at is None):
            raise ValueError("a schedule needs either every (such as 7d), or at (such as 03:30) and perhaps days")
        if self.every is not None and (self.days or self.every < timedelta(minutes=1)):
            raise ValueError("every is a minute at least, and goes without days")
        return self


class Stop(Section):
    """What ends a drill on a live route at once, measured on all users of the route since the drill began."""

    error_percent: Percent = 2
    request_loss_percent: Percent = 1
    p95: PositiveDuration = timedelta(milliseconds=3000)
    minimum_requests: Count = 20
    """Fewer say nothing."""


class Drills(Section):
    routes: list[Name] = []
    """Routes that nobody uses but drills: all of their traffic may be made to fail."""
    live_percent_limit: Percent = 5
    """The most of a provider's traffic on any other route that a drill may touch; 0: none."""
    fault_expiry: PositiveDuration = timedelta(seconds=30)
    """A fault that nobody renews is gone after this: a drill whose worker died leaves none behind."""
    baseline: Duration = timedelta(seconds=10)
    """How long users' side is looked at before anything breaks."""
    load_per_second: Annotated[float, Field(gt=0, le=200)] = 10
    """Requests of synthetic users on a drill route."""
    load_limit: Annotated[int, Field(gt=0, le=1_000_000)] = 6000
    """The most of them in one drill."""
    deadline: PositiveDuration = timedelta(minutes=10)
    """After it a drill ends as failed, and puts back what it found."""
    stop: Stop = Stop()
    blackouts: dict[Name, Blackout] = {}
    """When no drill begins; one that is due then is skipped, and says so."""
    schedules: dict[Name, DrillSchedule] = {}

    def blackout(self, now: datetime) -> str | None:
        """The reason why no drill begins now, or None."""
        for name, window in self.blackouts.items():
            if window.covers(now):
                why = f" ({window.why})" if window.why else ""
                return f"the blackout {name}{why}: {window.start} to {window.end}, {window.time_zone}"
        return None
