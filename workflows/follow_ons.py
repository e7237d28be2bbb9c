"""What follows from an immediate failover: people asked about routes it may not move, an emergency, a watch for the return."""

from collections.abc import Iterable, Sequence

from pydantic import ValidationError
from temporalio import workflow

from failover import immediate
from failover.automation import proposal
from failover.immediate import Brief, RouteNow
from failover.incident import Outcome
from failover.requests import ImmediateFailoverRequest
from failover.starting import emergency_order, failback_watch_order, uncertified_order
from workflows import other_runs
from workflows.ending import Ended
from workflows.journal import Journal


class FollowOns:
    """The runs that one failover begins. `to_ask`: routes of which people are to be asked first, with why."""

    def __init__(self, request: ImmediateFailoverRequest, journal: Journal) -> None:
        self.to_ask: dict[str, str] = {}
        self._request, self._journal = request, journal
        self._said = self._unasked = ""

    async def ask_people(self, brief: Brief | None) -> None:
        """Start a run that asks about routes that demand a certificate no able target holds, and starts on a yes."""
        request, routes = self._request, self.to_ask
        if request.is_drill or not routes or brief is None or brief.automation is None:
            return
        self.to_ask, why = {}, next(iter(routes.values()))
        order = uncertified_order(request, sorted(routes))
        asking = proposal(order, request.failed_provider, sorted(routes), why, request.requested_by, brief.automation)
        failed = await other_runs.start(asking)
        said = f"People are asked by the run {asking.workflow_id}"
        self._unasked = f"People could not be asked about {', '.join(sorted(routes))}: {failed}." if failed else ""
        self._journal.remark(self._unasked or f"{said}: {why}")
        self._said += "" if failed else f" {said}."

    def with_what_was_asked(self, ended: Ended) -> Ended:
        """The same end, with whom people can answer; one for a person where they could not even be asked."""
        if self._unasked:
            why = f"{ended.reason} {self._unasked}"
            return Ended(Outcome.NEEDS_HUMAN, why, immediate.command(self._request))
        return Ended(ended.outcome, f"{ended.reason}{self._said}", ended.command)

    async def declare_emergency(self, routes: Sequence[str], ended: Ended) -> Ended:
        """Start the emergency: no provider is left for some routes, which are served degraded until one comes back."""
        order = emergency_order(self._request, routes, ended.reason)
        why = await other_runs.start(order)
        if why is not None:
            return Ended(ended.outcome, f"{ended.reason} The emergency could not be declared: {why}.", ended.command)
        self._journal.note(f"The emergency procedure has begun: {order.workflow_id}.")
        return Ended(Outcome.HELD, f"{ended.reason} The emergency procedure has begun: run {order.workflow_id}.")

    async def watch_for_failback(self, routes: Iterable[RouteNow]) -> None:
        """Start the watch for the return where the route wants it; a watch that does not start holds nothing up."""
        for route in routes:
            if route.failback != "off" and (why := await self._why_not_watched(route)) is not None:
                workflow.logger.warning("the failback watch did not start", extra={"route": route.route, "why": why})

    async def _why_not_watched(self, route: RouteNow) -> str | None:
        info = workflow.info()
        try:
            order = failback_watch_order(
                self._request,
                route.route,
                workflow_id=info.workflow_id,
                run_id=info.run_id,
                auto=route.failback == "auto",
            )
        except ValidationError:
            # Started by hand, a run may have an id that no request takes.
            return "what this run is called cannot be asked about"
        return await other_runs.start(order)
