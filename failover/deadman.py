"""The dead-man's switch: health checks that no longer complete are worse news than any that they could bring."""

from datetime import datetime, timedelta

from failover.units import render_duration

INTERVALS = 3
"""The number of intervals without a completed check after which nobody is watching."""

NOISE = timedelta(seconds=5)
"""The least time beyond one interval that counts as silence: a busy machine is not a dead one."""


def patience(interval: timedelta) -> timedelta:
    return max(INTERVALS * interval, interval + NOISE)


def why_red(
    completed: datetime | None, now: datetime, interval: timedelta, since: datetime | None = None
) -> str | None:
    """Why nobody can be said to watch; None where checks complete.

    `completed`: when the last check ended. `since`: from when on checks were to be expected; None: always.
    """
    quiet_since = max((moment for moment in (completed, since) if moment is not None), default=None)
    if quiet_since is not None and now - quiet_since <= patience(interval):
        return None
    last = f"the last one ended {_ago(now - completed)} ago" if completed else "none is known to have completed"
    return (
        f"No health check completes ({last}; one is due every {render_duration(interval)}), so nobody watches the "
        "providers: see `failoverctl doctor`"
    )


def _ago(age: timedelta) -> str:
    return render_duration(timedelta(seconds=max(0, round(age.total_seconds()))))
