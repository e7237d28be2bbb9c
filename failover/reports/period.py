"""The time that a report is about, as people write it."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from failover.errors import RequestError
from failover.units import parse_duration, render_duration

WINDOW = "failover-window"
"""The time of the latest run itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Period:
    """[since, until), or (`since` None) the time of the latest run itself."""

    since: datetime | None = None
    until: datetime | None = None
    said: str = "the latest run"


def parse_period(text: str | None, now: datetime) -> Period:
    """ "failover-window", "24h", "7d", "2026-11-01..2026-11-25", "2026-11-01..": days and moments are UTC, a last day
    counts whole. RequestError otherwise."""
    if text is None or text.strip() == WINDOW:
        return Period()
    text = text.strip().replace("…", "..").rstrip(".") + (".." if text.strip().endswith(("..", "…")) else "")
    if ".." in text:
        first, _, last = text.partition("..")
        return _between(first, last, now)
    if _is_day(text):
        return _between(text, text, now)
    try:
        length = parse_duration(text)
    except ValueError as error:
        raise _refused(text) from error
    if not length:
        raise RequestError("--period: nothing happens in no time.")
    return Period(since=now - length, until=now, said=f"the last {render_duration(length)}")


def _between(first: str, last: str, now: datetime) -> Period:
    try:
        since = _moment(first) if first else datetime(2000, 1, 1, tzinfo=UTC)
        until = (_moment(last) + (timedelta(days=1) if _is_day(last) else timedelta(0))) if last else now
    except (ValueError, OverflowError) as error:
        raise _refused(f"{first}..{last}") from error
    if until <= since:
        raise RequestError(f"--period: {first}..{last} ends before it begins.")
    return Period(since=since, until=until, said=f"{first or 'the beginning'} to {last or 'now'}")


def _is_day(text: str) -> bool:
    return len(text) == len("2026-11-01") and text.count("-") == 2


def _moment(text: str) -> datetime:
    found = datetime.fromisoformat(text)
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _refused(text: str) -> RequestError:
    return RequestError(
        f"--period: {text!r} is no period; write {WINDOW}, a duration such as 24h or 7d, or days: 2026-11-01..2026-11-25."
    )
