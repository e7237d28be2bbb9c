"""One run, open or over, as it tells of itself."""

from temporalio.client import WorkflowExecutionStatus
from temporalio.service import RPCError

from failover import kinds
from failover.ramp import RampPlan
from starter.runs.finding import handle_of
from starter.runs.following import Run, ask, look_at
from starter.runs.memory import OpenRun
from starter.webhooks.answers import Refused
from starter.webhooks.temporal import Temporal


class Runs:
    """Every answer is bounded; Refused: 404 where Temporal knows no such run."""

    def __init__(self, temporal: Temporal) -> None:
        self._temporal = temporal

    def handle(self, workflow_id: str) -> Run:
        return handle_of(self._temporal.client, workflow_id)

    async def find(self, workflow_id: str) -> tuple[OpenRun, str]:
        """Find a run → the run, and how it ended ("" while it is open)."""
        run = self.handle(workflow_id)
        try:
            described = await self._temporal.bounded(run.describe())
        except (RPCError, ValueError) as error:
            raise Refused(404, f"Temporal knows no run {workflow_id!r}.") from error
        look = await self._temporal.bounded(look_at(run))
        found = OpenRun(
            workflow_id=workflow_id,
            procedure=described.workflow_type,
            started_at=described.start_time,
            look=look,
        )
        if described.status is WorkflowExecutionStatus.RUNNING and not look.is_over:
            return found, ""
        own = look.status.outcome.value if look.status and look.status.outcome else None
        return found, own or (described.status.name if described.status else "OVER")

    async def plan(self, run: OpenRun) -> RampPlan | None:
        """A ramp's whole plan; None of what has none, or tells none now."""
        if run.procedure not in kinds.RAMPS:
            return None
        plan: RampPlan | None = await self._temporal.bounded(ask(self.handle(run.workflow_id), "plan", RampPlan))
        return plan
