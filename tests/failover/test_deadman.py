"""The dead-man's switch."""

from datetime import UTC, datetime, timedelta

import pytest

from failover.deadman import why_red

NOW = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)
HALF = timedelta(seconds=30)


def ago(seconds: float) -> datetime:
    return NOW - timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("completed", "since", "interval", "red"),
    [
        (ago(31), None, HALF, False),
        (ago(90), None, HALF, False),
        (ago(91), None, HALF, True),
        (None, None, HALF, True),
        (None, ago(60), HALF, False),
        (None, ago(91), HALF, True),
        (ago(3600), ago(10), HALF, False),
        (ago(3600), ago(100), HALF, True),
        (ago(5), None, timedelta(seconds=1), False),
        (ago(7), None, timedelta(seconds=1), True),
        (ago(-3), None, HALF, False),
    ],
)
def test_when_nobody_watches(
    completed: datetime | None, since: datetime | None, interval: timedelta, red: bool
) -> None:
    """Three intervals without a completed check; who has just begun gives them time; a busy machine is no dead one."""
    assert (why_red(completed, NOW, interval, since) is not None) is red


def test_it_says_how_long_and_what_to_do() -> None:
    """For whoever is woken up by it."""
    why = why_red(ago(3600), NOW, HALF)
    assert why is not None
    assert "the last one ended 1h ago; one is due every 30s" in why and "failoverctl doctor" in why
    assert "none is known to have completed" in (why_red(None, NOW, HALF) or "")
