"""Rehearsals: what is taken to be true of users and providers where nothing real is asked."""

from datetime import timedelta

from pydantic import Field

from failover.section import Count, Name, Section
from failover.units import PositiveDuration


class Rehearsal(Section):
    """The model of users and providers that `failoverctl rehearse` predicts with."""

    requests_per_minute: Count = 600
    """Of users, on every route that `route_requests_per_minute` does not name."""
    route_requests_per_minute: dict[Name, Count] = {}
    tokens_per_request: int = Field(default=0, ge=0)
    """In and out together, held against declared tokens_per_minute; 0: tokens are not rehearsed."""
    answer_time: PositiveDuration = timedelta(milliseconds=400)
    """How long half of the answers of a provider that is well take."""
    slow_answer_time: PositiveDuration = timedelta(milliseconds=800)
    """P95 of them."""

    def traffic(self, route: str) -> int:
        """Requests a minute on a route."""
        return self.route_requests_per_minute.get(route, self.requests_per_minute)
