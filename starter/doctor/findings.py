"""What the doctor found."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from failover.errors import FailoverError


class Health(StrEnum):
    OK = "ok"
    WARNING = "warning"
    """A failover will work; something about it will be worse."""
    FAILED = "failed"
    """A failover will not work, or nobody will start or hear of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was looked at; `repair`: what to do, where it is not ok."""

    about: str
    health: Health
    said: str
    repair: str = ""


def ok(about: str, said: str) -> Finding:
    return Finding(about=about, health=Health.OK, said=said)


def warning(about: str, said: str, repair: str) -> Finding:
    return Finding(about=about, health=Health.WARNING, said=said, repair=repair)


def failed(about: str, said: str, repair: str) -> Finding:
    return Finding(about=about, health=Health.FAILED, said=said, repair=repair)


Examination = Callable[[], Awaitable[Sequence[Finding]]]


async def examined(about: str, examine: Examination, repair: str) -> Sequence[Finding]:
    """What an examination found; one that could not be done is a finding too."""
    try:
        return await examine()
    except FailoverError as error:
        return [failed(about, str(error), repair)]
