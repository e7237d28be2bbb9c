"""Procedures: waits, steps and gates, with the runbook's values."""

from datetime import timedelta
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, field_validator, model_validator

from failover import steps
from failover.section import Count, Section, refuse
from failover.units import Duration, Percent, PositiveDuration, render_duration


class Immediate(Section):
    verdict_max_age: PositiveDuration = timedelta(seconds=10)
    """A health verdict older than this is not believed; the candidates are probed anew."""
    probe_timeout: PositiveDuration = timedelta(seconds=2)
    """For the deep probe of all candidates at once."""
    write_attempts: Count = 5
    """How often a refused write is read, decided and written again."""
    verify_timeout: PositiveDuration = timedelta(seconds=10)
    validate_timeout: PositiveDuration = timedelta(seconds=60)
    validate_interval: PositiveDuration = timedelta(seconds=2)
    validate_good_samples: Count = 3
    """Good samples in a row that prove the restoration."""
    abort_timeout: PositiveDuration = timedelta(seconds=60)
    """How long a cancelled run may take to put back what it found, before it asks for a person."""

    @model_validator(mode="after")
    def _can_be_validated(self) -> Self:
        needed = (self.validate_good_samples - 1) * self.validate_interval
        if self.validate_timeout < needed:
            raise ValueError(
                f"validate_timeout {render_duration(self.validate_timeout)} is over before {self.validate_good_samples} samples "
                f"{render_duration(self.validate_interval)} apart are taken; it must be {render_duration(needed)} at least"
            )
        return self


class Gating(Section):
    """How gates look at a ramp."""

    sample_interval: PositiveDuration = timedelta(seconds=10)
    window: PositiveDuration = timedelta(seconds=60)
    """What counts as lately; what was counted since the step began is judged beside it."""
    minimum_requests: Count = 50
    """Fewer say nothing: at 98 % one failure of fifty still passes."""
    failures: Count = 2
    """Bad samples in a row that make a gate fail."""
    errors: Count = 4
    """Monitor errors in a row that make a gate blind."""
    ask_deadline: PositiveDuration = timedelta(minutes=30)
    """How long a run in doubt waits for a person before it does what its procedure declares."""
    synthetic_per_sample: Annotated[int, Field(ge=0, le=20)] = 0
    """Requests of our own a sample to the provider under test, where users alone are too few."""
    synthetic_limit: Annotated[int, Field(ge=0)] = 200
    """The most of them in one run."""

    @model_validator(mode="after")
    def _sees_everything(self) -> Self:
        if self.window < self.sample_interval:
            raise ValueError(
                f"window {render_duration(self.window)} is shorter than sample_interval "
                f"{render_duration(self.sample_interval)}: what happens between two windows would not count as lately"
            )
        return self


class Gradual(Section):
    phases: list[list[Percent]] = [[50, 30, 20], [25, 50, 25], [0, 70, 30]]
    """Percent of failed provider, secondary and tertiary in each phase; the failed provider's never rises."""
    settle: Duration = timedelta(seconds=60)
    monitor: Duration = timedelta(minutes=2)
    """Monitored window after each phase but the last."""
    transition: Duration = timedelta(seconds=300)
    """For a given target distribution."""
    minimum_step: PositiveDuration = timedelta(seconds=10)
    maximum_steps: Count = 10
    """Of a transition."""
    on_doubt: Literal["hold", "roll_back"] = "hold"
    """What an unanswered question ends in."""

    @field_validator("phases")
    @classmethod
    def _lead_away(cls, phases: list[list[float]]) -> list[list[float]]:
        refuse(steps.why_not_phases(phases))
        if phases[-1][0] != 0:
            raise ValueError(f"the last phase leaves the failed provider {phases[-1][0]:g} %; it must leave it 0")
        return phases


def _to_the_end(percents: list[float]) -> list[float]:
    refuse(steps.why_not_percents(percents))
    if percents[-1] != 100:
        raise ValueError(f"the last percent is {percents[-1]:g}; it must be 100, so that a run that completes is done")
    return percents


Percents = Annotated[list[Percent], AfterValidator(_to_the_end)]
"""Percents of the share that moves: rising, to the whole of it."""


class Canary(Section):
    initial_percent: Annotated[Percent, Field(gt=0)] = 5
    initial_hold: Duration = timedelta(seconds=300)
    success_threshold_percent: Percent = 98
    failure_threshold_percent: Percent | None = None
    """Below it the canary has failed, between the two nobody can tell; None: the success threshold itself."""
    percents: Percents = [10, 25, 50, 75, 100]
    step_hold: Duration = timedelta(seconds=120)
    manual_deadline: PositiveDuration = timedelta(hours=1)
    """How long a canary that waits for orders waits."""
    on_doubt: Literal["hold", "roll_back"] = "roll_back"

    @model_validator(mode="after")
    def _has_a_band(self) -> Self:
        success, failure = self.success_threshold_percent, self.failure_threshold_percent
        if failure is not None and failure > success:
            raise ValueError(
                f"failure_threshold_percent {failure:g} lies above success_threshold_percent {success:g}; "
                "it may be as high at most"
            )
        return self


class Failback(Section):
    recovery_watch: Duration = timedelta(minutes=30)
    health_threshold_percent: Percent = 99
    watch_interval: PositiveDuration = timedelta(seconds=30)
    """Between two probes of the original provider; up to ten times as much while it stays down."""
    watch_deadline: PositiveDuration = timedelta(days=7)
    validation_probes: Count = 5
    """All of them must be answered well before any traffic returns."""
    percents: Percents = [10, 25, 50, 75, 100]
    step_hold: Duration = timedelta(seconds=180)
    on_doubt: Literal["hold", "step_back"] = "step_back"

    @model_validator(mode="after")
    def _has_time(self) -> Self:
        if self.watch_deadline < self.recovery_watch:
            raise ValueError(
                f"watch_deadline {render_duration(self.watch_deadline)} is over before recovery_watch "
                f"{render_duration(self.recovery_watch)} is: no provider could ever recover in time"
            )
        return self


class Validation(Section):
    sample_size: Count = 100
    success_threshold_percent: Percent = 95
    alert_error_rate_percent: Percent = 2
    """`monitor --user-impact` warns above this."""


class Procedures(Section):
    immediate: Immediate = Immediate()
    gradual: Gradual = Gradual()
    canary: Canary = Canary()
    failback: Failback = Failback()
    validation: Validation = Validation()
    gating: Gating = Gating()
