"""What follows an incident: who looks after it, and until when."""

from datetime import timedelta
from itertools import pairwise
from typing import Literal, Self

from pydantic import Field, model_validator

from failover.section import Section
from failover.units import Duration, PositiveDuration, render_duration

FollowedProcedure = Literal["immediate", "gradual", "canary", "emergency"]


class FollowUp(Section):
    """The runbook's after-care of every incident; nothing in it holds traffic work up."""

    enabled: bool = True
    procedures: list[FollowedProcedure] = ["immediate", "gradual", "canary", "emergency"]
    """After which of them, where they moved traffic or ended in need of a person."""
    owner: str = Field(default="", max_length=200)
    """Of what people are to do, until it is assigned; "": who asked for the run, or the on-call."""
    immediate_within: PositiveDuration = timedelta(minutes=30)
    """For validation, incident report and status page."""
    short_term_after: Duration = timedelta(hours=1)
    """When the analyses are made: traffic after the incident must have had the time to show what it cost."""
    short_term_within: PositiveDuration = timedelta(hours=24)
    long_term_within: PositiveDuration = timedelta(days=7)
    """For the review by people."""
    remind_every: PositiveDuration = timedelta(days=1)
    """How often people are told of what is overdue."""
    give_up_after: PositiveDuration = timedelta(days=21)
    """Then the follow-up ends, whatever is open; its record says what."""

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        times = (
            ("immediate_within", self.immediate_within),
            ("short_term_within", self.short_term_within),
            ("long_term_within", self.long_term_within),
            ("give_up_after", self.give_up_after),
        )
        for (earlier, first), (later, second) in pairwise(times):
            if second < first:
                raise ValueError(
                    f"{later} {render_duration(second)} is shorter than {earlier} {render_duration(first)}: "
                    "each part of the follow-up comes after the one before it"
                )
        if self.short_term_after > self.short_term_within:
            raise ValueError(
                f"short_term_after {render_duration(self.short_term_after)} is longer than short_term_within "
                f"{render_duration(self.short_term_within)}: the analyses would be overdue before they are made"
            )
        return self
