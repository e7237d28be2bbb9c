"""Being ready: how often it is audited whether a failover would work now, by what measure, and how long a proof holds."""

from datetime import timedelta
from typing import Any, Self

from pydantic import field_validator, model_validator

from failover.section import Count, Name, Section, Text
from failover.tools import ToolSpec, check_schema
from failover.units import Duration, Percent, PositiveDuration, render_duration


class Readiness(Section):
    """The audit of every route and every provider in its chains."""

    enabled: bool = True
    interval: PositiveDuration = timedelta(hours=6)
    """How often the schedule starts an audit."""
    jitter: Duration = timedelta(minutes=10)
    """How much later than due it may start, at random, so that many deployments do not ask a provider all at once."""
    catch_up: PositiveDuration = timedelta(hours=1)
    """After an outage of Temporal, an audit that was missed is made up for within this time."""
    timeout: PositiveDuration = timedelta(minutes=15)
    """Of a whole audit; what was not looked at by then is unknown."""
    suite: Name = "quick"
    """Golden prompts of the routes that name none of their own."""
    pass_percent: Percent = 95
    """Of the golden prompts; fewer right answers, and the target is not ready."""
    concurrency: Count = 2
    """Golden prompts at once at one provider: users come first."""
    certificate_lifetime: PositiveDuration = timedelta(hours=24)
    expiry_warning: PositiveDuration = timedelta(days=7)
    """Credentials that expire sooner are a warning."""
    keep_audits: Count = 100

    @model_validator(mode="after")
    def _outlives_an_interval(self) -> Self:
        longest = self.interval + self.jitter + self.timeout
        if self.certificate_lifetime <= longest:
            raise ValueError(
                f"certificate_lifetime {render_duration(self.certificate_lifetime)} is over before the next audit has renewed "
                f"it; it must be longer than interval, jitter and timeout together, {render_duration(longest)}"
            )
        return self


class RouteReadiness(Section):
    """What a target must be able to do for one route."""

    suite: Name | None = None
    """Golden prompts of this route, one of `detection.accuracy.suites`; None: `readiness.suite`."""
    system_prompt: Text | None = None
    """What the route puts before its users' questions: the golden prompts are asked behind it, too."""
    json_schema: dict[str, Any] | None = None
    """What every answer of the route must be; the examples of its suite must be, as well."""
    tools: list[ToolSpec] = []
    """What the route's model may call: each golden prompt is asked with them, and the question of each tool is added."""
    context_tokens: Count | None = None
    """The longest prompt that the route sends, with room for the answer."""

    @field_validator("json_schema")
    @classmethod
    def _is_schema(cls, value: dict[str, Any] | None) -> dict[str, Any] | None:
        return check_schema(value)
