"""How each kind of activity is tried: timeouts and retries, in one place."""

from datetime import timedelta
from typing import Any

from temporalio.common import RetryPolicy
from temporalio.workflow import ActivityCancellationType

from failover.errors import NON_RETRYABLE

BRISK = RetryPolicy(
    initial_interval=timedelta(milliseconds=200),
    backoff_coefficient=2,
    maximum_interval=timedelta(seconds=2),
    non_retryable_error_types=list(NON_RETRYABLE),
)
"""Traffic is waiting: try again soon, and never in vain."""

PATIENT = RetryPolicy(
    initial_interval=timedelta(seconds=1),
    backoff_coefficient=2,
    maximum_interval=timedelta(seconds=10),
    non_retryable_error_types=list(NON_RETRYABLE),
)

READ: dict[str, Any] = {
    "start_to_close_timeout": timedelta(seconds=5),
    "schedule_to_close_timeout": timedelta(seconds=30),
    "retry_policy": BRISK,
}
"""Looks at the data plane."""

SAMPLE: dict[str, Any] = {
    "start_to_close_timeout": timedelta(seconds=6),
    "schedule_to_close_timeout": timedelta(seconds=20),
    "retry_policy": RetryPolicy(maximum_attempts=1),
}
"""One look at the counters: a look that fails is a finding, and the next one comes soon."""

TO_THE_END: dict[str, Any] = {
    "start_to_close_timeout": timedelta(seconds=100),
    "schedule_to_close_timeout": timedelta(seconds=110),
    "heartbeat_timeout": timedelta(seconds=10),
    "retry_policy": BRISK,
}
"""Waits until what was begun has ended."""

GLANCE: dict[str, Any] = {
    "start_to_close_timeout": timedelta(seconds=2),
    "schedule_to_close_timeout": timedelta(seconds=3),
    "retry_policy": RetryPolicy(maximum_attempts=1),
}
"""A look by a local activity, while traffic waits: once, and never for long."""

WRITE: dict[str, Any] = {
    "start_to_close_timeout": timedelta(seconds=10),
    "schedule_to_close_timeout": timedelta(seconds=60),
    "heartbeat_timeout": timedelta(seconds=1),
    "retry_policy": BRISK,
    "cancellation_type": ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
}
"""Changes traffic: a regular activity (its schedule is the record of intent), stopped before anything is restored."""

PROBE: dict[str, Any] = {
    "start_to_close_timeout": timedelta(seconds=15),
    "schedule_to_close_timeout": timedelta(seconds=40),
    "retry_policy": BRISK,
}
"""Asks providers. A worker that dies meanwhile is no bad news of theirs: they are asked again."""


def candidates(timeout: timedelta) -> dict[str, Any]:
    """A probe of all candidates at once, each within `timeout`, while traffic waits."""
    return {**PROBE, "start_to_close_timeout": timeout + timedelta(seconds=2)}


COUNTED: dict[str, Any] = {
    "start_to_close_timeout": timedelta(seconds=5),
    "schedule_to_close_timeout": timedelta(seconds=8),
    "retry_policy": RetryPolicy(maximum_attempts=2),
}
"""Looks back at the counters once a run is over: its evidence is kept without, where they do not answer."""


def delivering(timeout: timedelta, round_: timedelta) -> dict[str, Any]:
    """News to somebody outside: each call of a try within `timeout`, the tries of a round within `round_`."""
    return {
        # A try may be several calls; whoever hangs all the same is tried again.
        "start_to_close_timeout": min(6 * timeout, timeout + timedelta(minutes=1)),
        "schedule_to_close_timeout": max(round_, timeout),
        "retry_policy": RetryPolicy(
            initial_interval=timedelta(seconds=1),
            backoff_coefficient=2,
            maximum_interval=timedelta(minutes=5),
            non_retryable_error_types=list(NON_RETRYABLE),
        ),
    }


HELPER: dict[str, Any] = {
    "start_to_close_timeout": timedelta(seconds=10),
    "schedule_to_close_timeout": timedelta(seconds=30),
    "retry_policy": PATIENT,
}
"""Slack, evidence: their failure is noted, and holds nothing up."""

BEGIN: dict[str, Any] = {**HELPER, "schedule_to_close_timeout": timedelta(seconds=10)}
"""Begins what goes on by itself after the run."""


def standing(deadline: timedelta) -> dict[str, Any]:
    """What goes on until it is cancelled, also on another worker; a cancellation waits until nothing of it goes on."""
    return {
        "start_to_close_timeout": deadline,
        "schedule_to_close_timeout": deadline,
        "heartbeat_timeout": timedelta(seconds=2),
        "retry_policy": BRISK,
        "cancellation_type": ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
    }
