"""What the failure of an activity means: its sentence, and whether trying again could help."""

from temporalio.exceptions import ActivityError, ApplicationError, FailureError, is_cancelled_exception

from failover.errors import NON_RETRYABLE


def why(error: FailureError) -> str:
    """The sentence of what went wrong in an activity. A cancellation is not an answer: it goes on upwards."""
    if is_cancelled_exception(error):
        raise error
    return str(error.cause or error)


def is_bad_input(error: FailureError) -> bool:
    """Whether trying again could not help: what was asked for cannot be meant."""
    said = told(error)
    return isinstance(said, ApplicationError) and said.type in NON_RETRYABLE


def told(error: FailureError) -> BaseException | None:
    """What the activity itself raised: a local one raises it bare, a regular one wrapped."""
    return error.cause if isinstance(error, ActivityError) else error
