"""What a look at something that a failover will need has found: by the doctor, or by a readiness audit."""

from dataclasses import dataclass
from enum import StrEnum


class Health(StrEnum):
    OK = "ok"
    WARNING = "warning"
    """A failover will work; something about it will be worse."""
    FAILED = "failed"
    """A failover will not work, or nobody will start or hear of it."""
    UNKNOWN = "unknown"
    """It could not be looked at, or nobody can tell: no good news."""


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


def unknown(about: str, said: str, repair: str) -> Finding:
    return Finding(about=about, health=Health.UNKNOWN, said=said, repair=repair)
