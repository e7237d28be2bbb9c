"""What failoverctl's exit codes mean: one table, for every verb."""

from enum import IntEnum

from failover.errors import FailoverError


class ExitCode(IntEnum):
    """The same numbers whichever verb returned them; `docs/operating.md` shows the table."""

    DONE = 0
    """Done, or there was nothing left to do."""
    FAILED = 1
    """Nothing was done: a question was answered with no, or something failed that has no number of its own."""
    USAGE = 2
    """What was asked for cannot be meant: an option, a name, a configuration file."""
    NOT_PROVED = 3
    """A check or a gate did not pass: ROLLED_BACK, HELD or STOPPED; a drill that FAILED."""
    REFUSED = 4
    """Refused for now: an order that is not accepted at this moment, another run that holds the route; REJECTED."""
    UNREACHABLE = 5
    """Temporal, the gateway or a worker did not answer; trying again may help."""
    NEEDS_HUMAN = 6
    """The message ends with the command that a person must run."""
    SUPERSEDED = 7
    """Somebody else changed the route; the run left it alone."""
    ENDED_BY_PERSON = 8
    """ABORTED, cancelled or terminated, as somebody ordered."""
    INTERRUPTED = 130
    """Ctrl-C: of the command, never of the run."""


OF_OUTCOMES: dict[str, ExitCode] = {
    "COMPLETED": ExitCode.DONE,
    "ROLLED_BACK": ExitCode.NOT_PROVED,
    "HELD": ExitCode.NOT_PROVED,
    "STOPPED": ExitCode.NOT_PROVED,
    "SUPERSEDED": ExitCode.SUPERSEDED,
    "ABORTED": ExitCode.ENDED_BY_PERSON,
    "REJECTED": ExitCode.REFUSED,
    "NEEDS_HUMAN": ExitCode.NEEDS_HUMAN,
    "PASSED": ExitCode.DONE,
    "INTERRUPTED": ExitCode.SUPERSEDED,
    "SKIPPED": ExitCode.REFUSED,
    "TERMINATED": ExitCode.ENDED_BY_PERSON,
    "TIMED_OUT": ExitCode.NEEDS_HUMAN,
    "BAD_INPUT": ExitCode.USAGE,
    "FAILED": ExitCode.FAILED,
}
"""The end of a run → exit code: an outcome of the procedure's own, or what Temporal alone knows."""


class NotNow(FailoverError):
    """What was asked for can be meant, and cannot be done as things stand; nothing was changed."""

    exit_code = ExitCode.REFUSED
