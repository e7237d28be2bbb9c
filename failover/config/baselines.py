"""Performance baselines: how providers do on each route while all is well."""

from datetime import timedelta
from typing import Self

from pydantic import model_validator

from failover.section import Count, Section
from failover.units import Percent, PositiveDuration, render_duration

REMEMBERED = timedelta(minutes=14)
"""What a gateway's counters reach back for sure."""


class Baselines(Section):
    enabled: bool = True
    window: PositiveDuration = timedelta(minutes=10)
    """All of it must be healthy time: no run open, no route changed, service normal, every provider well."""
    refresh: PositiveDuration = timedelta(hours=1)
    minimum_requests: Count = 100
    success_percent: Percent = 98
    """A window with fewer good answers makes no baseline."""
    stale_after: PositiveDuration = timedelta(days=7)
    """An older one still compares; a warning says how old it is."""

    @model_validator(mode="after")
    def _is_remembered(self) -> Self:
        if self.window > REMEMBERED:
            raise ValueError(
                f"window {render_duration(self.window)} is longer than the counters remember; "
                f"{render_duration(REMEMBERED)} at most"
            )
        return self
