"""Deployments as their senders tell them."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from failover.alerts import clean
from failover.analysis.case import Deploy
from failover.errors import RequestError
from failover.incident import TimelineEntry

AHEAD = timedelta(minutes=5)
"""A deploy that is told before it happens would be blamed for nothing; clocks differ by less than this."""


def _aware(moment: datetime) -> datetime:
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _word(text: str) -> str:
    said = clean(text, 200)
    if not said.strip():
        raise ValueError("it must hold something that can be read")
    return said


Word = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_word)]


class DeployNote(BaseModel):
    """One deployment: what, which version, when (default: now) and who did it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    service: Word
    version: Word
    at: Annotated[datetime, AfterValidator(_aware)] | None = None
    by: Annotated[str, Field(max_length=200), AfterValidator(lambda text: clean(text, 200))] = ""

    def noted(self, now: datetime, by: str) -> Deploy:
        """The deploy as it is kept. RequestError if it has not happened yet."""
        at = (self.at or now).astimezone(UTC)
        if at > now + AHEAD:
            raise RequestError(
                f"Nothing was noted: at ({at:%Y-%m-%d %H:%M:%S} UTC) lies in the future; note a deploy when it happens."
            )
        return Deploy(service=self.service, version=self.version, at=at, by=self.by, noted_at=now, noted_by=by)


def is_repeated(deploy: Deploy, noted: Sequence[Deploy], window: timedelta, *, timed: bool) -> bool:
    """Whether it was noted before: with the same time, or, where its sender tells none, a moment ago."""
    same = [one for one in noted if (one.service, one.version) == (deploy.service, deploy.version)]
    if timed:
        return any(one.at == deploy.at for one in same)
    return any(abs(deploy.noted_at - one.noted_at) <= window for one in same)


def marks(deploys: Sequence[Deploy], since: datetime, until: datetime) -> list[TimelineEntry]:
    """Deploys of that time as entries of a timeline."""
    return [
        TimelineEntry(at=one.at, step="deploy", text=f"{one.told} was deployed")
        for one in sorted(deploys, key=lambda one: one.at)
        if since <= one.at <= until
    ]
