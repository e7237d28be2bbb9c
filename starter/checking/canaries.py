"""The canary that is meant: which provider it tries, since when, and how it ended if it did."""

from dataclasses import dataclass
from datetime import datetime

from temporalio.client import Client

from failover import kinds
from failover.incident import Outcome
from failover.policy import TrafficPolicy
from failover.ports import TrafficPlane
from failover.ramp import RampPlan
from failover.requests import RunStatus
from starter.checking.context import CheckContext, policy_of
from starter.connection import connect
from starter.exit_codes import NotNow
from starter.runs.finding import executions, handle_of
from starter.runs.following import ask

OPEN = f'ExecutionStatus = "Running" AND WorkflowType = "{kinds.CANARY}"'


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """What a canary tries on a route. `since`: when the shares of now came into force. `outcome` None: it goes on."""

    run: str
    route: str
    target: str
    since: datetime
    outcome: Outcome | None
    reason: str

    @property
    def gave_up(self) -> bool:
        return self.outcome is not None and self.outcome is not Outcome.COMPLETED


async def trial(context: CheckContext, plane: TrafficPlane, route: str) -> Trial:
    """The open canary of the route, else the one that ended last there. NotNow where there is none to speak of."""
    client = await connect(context.settings, context.stack)
    run = handle_of(client, await _run_id(client, await policy_of(plane, route)))
    plan: RampPlan | None = await ask(run, "plan", RampPlan)
    status: RunStatus | None = await ask(run, "status", RunStatus)
    if plan is None or status is None:
        raise NotNow(
            f"No canary is under way on route {route}, and none that ended there tells. Start one, or name a provider."
        )
    target = next((gate.provider for step in plan.steps for gate in step.gates if gate.provider), None)
    if target is None:
        raise NotNow(f"{run.id} has no provider under test.")
    policy = await policy_of(plane, plan.route)
    return Trial(
        run=run.id,
        route=plan.route,
        target=target,
        since=policy.changed_at,
        outcome=status.outcome,
        reason=status.reason,
    )


async def _run_id(client: Client, policy: TrafficPolicy) -> str:
    """The run that holds the route's claim, if it is open: one may be started by hand; else the canary's usual id."""
    ids = [run.id for run in await executions(client, OPEN)]
    usual = kinds.run_id(kinds.CANARY, policy.route)
    return policy.claim if policy.claim in ids and policy.claim is not None else usual
