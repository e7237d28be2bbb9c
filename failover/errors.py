"""Every error that the product raises on purpose.

FailoverError
├── BadInput                 what was asked for cannot be meant; nothing was changed
│   ├── ConfigError          the configuration file says something that it may not say
│   └── RequestError         a start, command or HTTP request names something unknown or contradictory
├── Refusal                  what was asked for can be meant, and may not be done as things stand; nothing was changed
├── ProviderError            one provider's answer to one call, classified (see `failover.failure`)
├── ChannelFailed            somebody outside was not told; it says whether and when to try again
└── Unavailable              something that we need did not answer; trying again may help
    ├── DataPlaneUnavailable the policy store or gateway did not answer, or not in its own words
    └── TemporalUnavailable  no Temporal server could be reached, found or started

Temporal matches error types by class name, not by inheritance: `NON_RETRYABLE` is derived from the tree for that.
"""

from datetime import timedelta
from typing import ClassVar

from failover.failure import Failure


class FailoverError(Exception):
    """Base of all. The message is a sentence: what happened, to what, and what can be done now."""

    retryable: ClassVar[bool] = False
    exit_code: ClassVar[int] = 1


class BadInput(FailoverError):
    """The caller's mistake: said at once, with nothing changed."""

    exit_code = 2


class ConfigError(BadInput):
    """A configuration file that cannot be used; names file, line, key, value and what is allowed."""


class RequestError(BadInput):
    """A request that names something unknown or contradicts itself."""


class Refusal(FailoverError):
    """A request that a run may not carry out as things stand: the run ends REJECTED, with nothing changed."""

    exit_code = 4


class ProviderError(FailoverError):
    """A provider's failed answer, with its classification."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(str(failure))
        self.failure = failure


class ChannelFailed(FailoverError):
    """A destination outside did not take what it was told. `permanent`: trying again will not heal it; a person must.

    `wait`: how long it asked us to wait.
    """

    retryable = True
    exit_code = 5

    def __init__(self, said: str, *, permanent: bool = False, wait: timedelta | None = None) -> None:
        super().__init__(said)
        self.permanent, self.wait = permanent, wait


class Unavailable(FailoverError):
    """A part that we depend on did not answer."""

    retryable = True
    exit_code = 5


class DataPlaneUnavailable(Unavailable):
    """The policy store or gateway could not be reached, or answered in no form that we know."""


class TemporalUnavailable(Unavailable):
    """No Temporal server could be reached, found or started."""

    retryable = False


def refuse(reason: str | None) -> None:
    """Raise RequestError with the reason, if there is one."""
    if reason is not None:
        raise RequestError(reason)


def _leaves(root: type[FailoverError]) -> list[type[FailoverError]]:
    found = [root]
    for child in root.__subclasses__():
        found += _leaves(child)
    return found


NON_RETRYABLE: tuple[str, ...] = tuple(
    sorted(error.__name__ for error in _leaves(FailoverError) if not error.retryable)
)
"""Names of the error classes that Temporal must not retry."""
