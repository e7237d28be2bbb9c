"""What is said of a rehearsal, on terminals and pages alike."""

from datetime import timedelta

from failover.rehearsal import Asked, Rehearsed
from failover.units import render_duration

PREDICTION = "A prediction: nothing real was asked, changed or told. Times are virtual."


def clock(value: timedelta) -> str:
    """Render the time since the beginning of the script: "46:40.5", "1:02:03.0"."""
    tenths = round(value.total_seconds() * 10)
    minutes, left = divmod(tenths, 600)
    hours, minutes = divmod(minutes, 60)
    seconds = f"{left // 10:02}.{left % 10}"
    return f"{hours}:{minutes:02}:{seconds}" if hours else f"{minutes}:{seconds}"


def headline(told: Rehearsed) -> str:
    return f"{told.outcome} after {clock(told.took)}: {told.reason}"


def unanswered(asked: Asked) -> str:
    """Tell by when an answer is due, and what happens without one."""
    if asked.deadline is None:
        return asked.default
    return f"after {render_duration(_whole(asked.deadline - asked.at))}: {asked.default}"


def _whole(value: timedelta) -> timedelta:
    return timedelta(seconds=round(value.total_seconds()))
