"""CanaryFailover: a target gains a little of the source's share, and more while it does well; rolled back otherwise."""

from temporalio import workflow

from activities.ramping import BriefOrder
from failover import canary
from failover.driving import Verb
from failover.errors import RequestError
from failover.ramp import RampBrief, RampPlan, Step
from failover.requests import CanaryFailoverRequest, RunResult
from workflows.ramp import Ramp


@workflow.defn(name=canary.NAME)
class CanaryFailover(Ramp):
    """5 % for five minutes, then 10, 25, 50, 75, 100; people may say which percent comes next."""

    procedure = canary.NAME
    verbs = tuple(Verb)

    @workflow.run
    async def run(self, request: CanaryFailoverRequest) -> RunResult:
        def planner(brief: RampBrief) -> RampPlan:
            if (why := canary.why_not_start(request, brief.providers)) is not None:
                raise RequestError(f"{why} Nothing was changed.")
            return canary.plan(request, brief)

        order = BriefOrder(route=request.route, source=request.source_provider)
        return await self.carry_out(request, request.source_provider, order, planner)

    def ordered_step(self, value: float, number: int) -> Step:
        """The step to an ordered percentage; at 100 % nothing is left to be ordered, and the run ends there."""
        request = self.request
        assert isinstance(request, CanaryFailoverRequest) and self.state is not None
        wanted = request.model_copy(update={"manual": value < 100})
        return canary.ordered(wanted, self.state.brief, value, number)
