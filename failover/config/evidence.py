"""The place where the evidence of runs is kept."""

from datetime import timedelta
from typing import Self

from pydantic import Field, model_validator

from failover.section import Section
from failover.units import PositiveDuration


class Evidence(Section):
    """By default `incidents` in the state directory, which only what runs on the same machine can read."""

    directory: str | None = None
    bucket: str | None = Field(default=None, pattern=r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$")
    """An S3 bucket: kept for good, read from everywhere. A copy stays in the state directory, or in `directory`."""
    prefix: str = "failover-incidents"
    region: str | None = None
    endpoint: str | None = None
    """Of an S3-compatible store that is not AWS's."""
    timeout: PositiveDuration = timedelta(seconds=5)

    @model_validator(mode="after")
    def _place_of_bucket(self) -> Self:
        if self.bucket is None and (self.endpoint or self.region):
            raise ValueError("region and endpoint are of a bucket, and none is named")
        return self
