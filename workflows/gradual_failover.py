"""GradualFailover: a provider's share falls in phases, or the route moves to a given distribution over a time."""

from temporalio import workflow

from activities.ramping import BriefOrder
from failover import gradual
from failover.errors import RequestError
from failover.ramp import RampBrief, RampPlan, Step
from failover.requests import GradualFailoverRequest, RunResult
from workflows.ramp import Ramp


@workflow.defn(name=gradual.NAME)
class GradualFailover(Ramp):
    """50/30/20, 25/50/25, 0/70/30 with time to settle and a monitored window after each; in doubt, people are asked."""

    procedure = gradual.NAME

    @workflow.run
    async def run(self, request: GradualFailoverRequest) -> RunResult:
        def planner(brief: RampBrief) -> RampPlan:
            if (why := gradual.why_not_start(request, brief.providers)) is not None:
                raise RequestError(f"{why} Nothing was changed.")
            return gradual.plan(request, brief)

        order = BriefOrder(route=request.route, source=request.failed_provider, throttled=request.failed_provider)
        return await self.carry_out(request, request.failed_provider or "", order, planner)

    async def more_steps(self) -> list[Step]:
        """Further steps off a provider that throttles: the share is measured anew after each step."""
        request, state = self.request, self.state
        assert isinstance(request, GradualFailoverRequest) and state is not None
        if request.throttled_share_percent is None:
            return []
        order = BriefOrder(route=request.route, source=request.failed_provider, throttled=request.failed_provider)
        return gradual.further(request, await self.read_brief(order), len(state.plan.steps))
