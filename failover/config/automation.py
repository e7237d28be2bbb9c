"""Automation: what may be done without a person."""

from datetime import timedelta
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import BeforeValidator

from failover.section import Section
from failover.units import PositiveDuration


def unquoted_off(value: object) -> object:
    """Read a bare `off`, which YAML takes for false, as the word: nobody who writes it means anything else."""
    return "off" if value is False else value


class Level(StrEnum):
    """What the product may do by itself about a verdict."""

    OFF = "off"
    """Tell people; they start whatever is to be started."""
    PROPOSE = "propose"
    """Ask people first (`detection.automation.deadline`)."""
    ACT = "act"


Automatic = Annotated[Level, BeforeValidator(unquoted_off)]


class Levels(Section):
    """Of one route, by verdict; None: as `detection.automation` says."""

    unavailable: Automatic | None = None
    unusable: Automatic | None = None
    invalid_answers: Automatic | None = None
    throttled: Automatic | None = None
    slow: Automatic | None = None
    degraded_quality: Automatic | None = None
    only_certified: bool | None = None
    without_certificate: Literal["take", "ask"] | None = None


class Automation(Section):
    """What may be started without a person, by verdict; a route can differ (`routes.*.automation`)."""

    unavailable: Automatic = Level.ACT
    unusable: Automatic = Level.ACT
    invalid_answers: Automatic = Level.ACT
    throttled: Automatic = Level.ACT
    slow: Automatic = Level.ACT
    degraded_quality: Automatic = Level.ACT
    deadline: PositiveDuration = timedelta(minutes=10)
    """How long a proposal waits for people."""
    at_deadline: Literal["nothing", "act"] = "nothing"
    """What happens to a proposal that nobody answered, where the trouble lasts."""
    only_certified: bool = False
    """Automatic runs choose targets that an audit has certified, as long as one of them is known to be well."""
    without_certificate: Literal["take", "ask"] = "take"
    """Where none is: take the best of the others and say so, or ask people first."""
    require_drill_within: PositiveDuration | None = None
    """Without a passed drill of the provider within it, ramps are only proposed; the way out of who is down never waits."""
