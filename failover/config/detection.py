"""Detection: probes, rates, golden prompts, and what their verdicts start."""

import re
from datetime import timedelta
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from failover.config.automation import Automation
from failover.section import Bytes, Count, Name, Section
from failover.units import Duration, Percent, PositiveDuration, render_duration


class Probe(Section):
    """A real, tiny completion through the exact model mapping."""

    prompt: str = "Reply with only the word PONG"
    expect: str = r"(?i)\bpong\b"
    """Regular expression that a sensible answer matches."""
    max_tokens: Count = 10
    timeout: PositiveDuration = timedelta(seconds=5)
    cadence: PositiveDuration = timedelta(seconds=5)
    """How often each provider is probed."""

    @field_validator("expect")
    @classmethod
    def _is_a_pattern(cls, expect: str) -> str:
        try:
            re.compile(expect)
        except re.error as error:
            raise ValueError(f"it is no regular expression: {error}") from error
        return expect


class PassiveTrigger(Section):
    percent: Percent
    """Above this share of users' tries, the trigger fires."""
    window: PositiveDuration = timedelta(seconds=60)
    minimum_tries: Count = 20


class LatencyTrigger(Section):
    p95: PositiveDuration = timedelta(milliseconds=3000)
    window: PositiveDuration = timedelta(minutes=5)
    minimum_tries: Count = 20


ProcedureName = Literal["immediate", "gradual", "canary", "none"]


class Triggers(Section):
    """Which procedure each verdict starts."""

    unavailable: ProcedureName = "immediate"
    unusable: ProcedureName = "immediate"
    invalid_answers: ProcedureName = "immediate"
    throttled: ProcedureName = "gradual"
    slow: ProcedureName = "gradual"
    degraded_quality: ProcedureName = "canary"


class Accuracy(Section):
    """Golden prompts, put to every provider at a cadence of their own, and compared with a baseline."""

    enabled: bool = True
    suite: Name = "quick"
    cadence: PositiveDuration = timedelta(minutes=15)
    confidence_percent: Annotated[float, Field(gt=0, lt=100)] = 95
    """Of the interval of the drop, which must exclude none at all before a provider is condemned."""
    answered_percent: Percent = 80
    """With fewer of the prompts answered, nothing is concluded."""
    timeout: PositiveDuration = timedelta(seconds=20)
    """Of one prompt."""
    concurrency: Count = 4
    """How many prompts at once."""
    baseline: Literal["first", "people"] = "first"
    """Where there is none: the first complete run is the baseline, or people record one."""
    baseline_max_age: PositiveDuration = timedelta(days=30)
    """An older one still counts; `doctor` says that it is old."""
    suites: dict[Name, str] = {}
    """Name → file of a suite, beside this file; `quick` and `comprehensive` are shipped, and may be replaced."""


class SourceQueries(Section):
    """PromQL in place of the preset's; `{window}`, `{label}` and `{failure_label}` are filled in. "" asks nothing."""

    tries: str | None = None
    """Tries within the window, by `label`."""
    failures: str | None = None
    """Failed ones, by `label` and `failure_label`."""
    p95: str | None = None
    """Of answers, in seconds, by `label`."""
    fresh: str | None = None
    """When the newest sample was taken, in seconds since the epoch, by `label`."""


class Source(Section):
    """Who else counts users' tries. Of the providers that it speaks for, the gateway's own counters are not read."""

    kind: Literal["prometheus", "cloudwatch"]
    providers: dict[Name, str] = Field(min_length=1)
    """Provider → its name there: the label's value in Prometheus, the ModelId in CloudWatch."""
    url: str | None = None
    """Of Prometheus; of CloudWatch only where it is not AWS's own."""
    region: str | None = None
    """CloudWatch only."""
    token_env: str | None = None
    """Prometheus only: the name of the environment variable that holds a bearer token, never the token itself."""
    preset: Literal["gateway", "litellm", "otel_genai"] = "gateway"
    """Whose names and labels; each can be replaced below."""
    label: str | None = None
    failure_label: str | None = None
    queries: SourceQueries = SourceQueries()
    timeout: PositiveDuration = timedelta(seconds=5)
    refresh: PositiveDuration = timedelta(seconds=10)
    """How long a reading is used before it is read anew."""
    stale_after: PositiveDuration | None = None
    """Older samples are no data; None: 90 s in Prometheus, 5 m in CloudWatch, which publishes minutes late."""

    @model_validator(mode="after")
    def _needs(self) -> Self:
        if self.kind == "prometheus" and not self.url:
            raise ValueError("a source of kind prometheus needs a url, such as http://127.0.0.1:9090")
        if self.kind == "cloudwatch" and not self.region:
            raise ValueError("a source of kind cloudwatch needs a region")
        if self.queries.tries and self.queries.fresh is None:
            raise ValueError("a source with a query of its own for tries needs one for fresh: what is old is no data")
        return self


class Detection(Section):
    enabled: bool = True
    schedule_interval: PositiveDuration = timedelta(seconds=30)
    """How often the schedule starts a health check; each watches until the next one is due."""
    schedule_jitter: Duration = timedelta(0)
    """How much later than due a check may be started, at random, where many deployments share a server."""
    failure_threshold: Count = 3
    """Consecutive failed probes that make a provider unhealthy."""
    failure_memory: PositiveDuration = timedelta(seconds=300)
    """A failure older than this no longer counts."""
    probe: Probe = Probe()
    server_errors: PassiveTrigger = PassiveTrigger(percent=5)
    throttling: PassiveTrigger = PassiveTrigger(percent=10)
    latency: LatencyTrigger = LatencyTrigger()
    accuracy_drop_points: Percent = 10
    accuracy: Accuracy = Accuracy()
    sources: dict[Name, Source] = {}
    """Who counts users' tries, where it is not the embedded gateway."""
    triggers: Triggers = Triggers()
    automation: Automation = Automation()
    clear_percent: Percent = 80
    """A rate or latency that condemned a provider acquits it below this part of its limit: a verdict does not flutter."""
    samples_max_bytes: Bytes = 64 * 1024 * 1024
    """Of what the detectors saw, kept in the state directory for `failoverctl replay`; 0 keeps nothing."""
    cool_down: Duration = timedelta(minutes=10)
    """Between automatic runs; never holds traffic on a provider that is down."""
    automatic_switches_per_hour: Count = 4

    @property
    def slowest(self) -> timedelta:
        """The longest time from the first bad probe to unhealthy, by probes alone, if each hangs until its timeout."""
        return (self.failure_threshold - 1) * self.probe.cadence + self.probe.timeout

    @model_validator(mode="after")
    def _remembers_long_enough(self) -> Self:
        needed = (self.failure_threshold - 1) * self.probe.cadence
        if self.failure_memory <= needed:
            raise ValueError(
                f"failure_memory {render_duration(self.failure_memory)} forgets the first of {self.failure_threshold} failed "
                f"probes {render_duration(self.probe.cadence)} apart: no provider would ever be unhealthy; "
                f"it must be longer than {render_duration(needed)}"
            )
        return self

    @model_validator(mode="after")
    def _jitter_leaves_no_gap(self) -> Self:
        if self.schedule_jitter > self.probe.cadence:
            raise ValueError(
                f"schedule_jitter {render_duration(self.schedule_jitter)} is longer than the probes' cadence "
                f"{render_duration(self.probe.cadence)}: providers would go unwatched between two checks"
            )
        return self
