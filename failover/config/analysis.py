"""The analysis of incidents: how far back it looks, and whom it asks."""

from collections.abc import Collection
from datetime import timedelta
from typing import Annotated

from pydantic import Field

from failover.section import Count, Name, Section
from failover.senders import Pattern
from failover.units import PositiveDuration


class StatusPage(Section):
    url: Annotated[str, Field(pattern=r"^https?://[^\s@]+$")]
    """Of its JSON: a Statuspage's /api/v2/summary.json or incidents.json, or Google Cloud's incidents.json."""
    about: Pattern | None = None
    """A regular expression that names the components, products or incidents that are meant; None: all of them."""


class Analysis(Section):
    lookback: PositiveDuration = timedelta(minutes=15)
    """A deploy or a change of the policy that came no longer before the first bad sample came shortly before it."""
    status_pages: dict[Name, StatusPage] = {}
    """Provider → its own status page; none is asked by default."""
    status_timeout: PositiveDuration = timedelta(seconds=5)
    log_lines: Count = 40
    """Of all logs together, in one analysis."""
    deploys_max_bytes: Annotated[int, Field(ge=4096)] = 1024 * 1024
    """Of the deploys that are noted, and of what status pages said; the oldest go first."""

    def unknown_names(self, providers: Collection[str]) -> list[str]:
        """Complaints about names that are no provider."""
        known = ", ".join(sorted(providers))
        return [
            f"analysis.status_pages names {name!r}, which is no provider (known: {known})"
            for name in self.status_pages
            if name not in providers
        ]
