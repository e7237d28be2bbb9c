"""The web console."""

from datetime import timedelta
from typing import Annotated

from pydantic import Field

from failover.section import Section
from failover.units import PositiveDuration


class Console(Section):
    """Pages for people, at /console of the webhook server; who may do what is `access`."""

    enabled: bool = True
    session: Annotated[PositiveDuration, Field(le=timedelta(days=7))] = timedelta(hours=12)
    """After it an operator logs in again."""
    refresh: Annotated[PositiveDuration, Field(ge=timedelta(milliseconds=100))] = timedelta(seconds=1)
    """Between two looks at the stack while somebody watches; one look serves everybody."""
