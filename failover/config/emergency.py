"""Degraded service, and the targets that hold while it lasts."""

from datetime import timedelta
from typing import Annotated, Literal

from pydantic import Field

from failover.config.routes import Targets
from failover.section import Count, Section, Text
from failover.units import PositiveDuration


class Emergency(Section):
    cache_ttl: PositiveDuration = timedelta(seconds=7200)
    cache_strategy: Literal["serve_stale_indefinitely"] = "serve_stale_indefinitely"
    serve_stale: bool = True
    request_handling: Literal["queue_and_retry"] = "queue_and_retry"
    queue_size: Count = 10_000
    queue_timeout: PositiveDuration = timedelta(seconds=300)
    user_notification: Literal["service_degradation_banner"] = "service_degradation_banner"
    banner: Annotated[str, Field(min_length=1, max_length=500)] = (
        "Service is degraded: answers may be late, or come from earlier ones. We are working on it."
    )
    """Told with every answer while it lasts."""
    fallback_responses: Literal["static_templates"] = "static_templates"
    template: Text = (
        "We cannot answer right now: none of our AI providers is available. Your request was not processed; "
        "please try again in a few minutes."
    )
    """What users are answered when nothing better is left; a route may have its own."""
    targets: Targets = Targets(response_time=timedelta(milliseconds=5000), success_percent=80, availability_percent=95)
    watch_interval: PositiveDuration = timedelta(seconds=30)
    """Between two looks at every provider; five times as often in the first minutes."""
    good_probes: Count = 2
    """In a row, before a provider counts as back."""
    good_samples: Count = 3
    """Of the users' side, in a row, before service is normal again."""
    update_interval: PositiveDuration = timedelta(minutes=15)
    """How often people are told how it stands."""
