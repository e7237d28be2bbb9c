"""Other runs as a procedure sees them: those that follow from it, and those that may hold its route."""

from datetime import timedelta

from temporalio import workflow
from temporalio.exceptions import ActivityError

from activities.runs import Runs, StartOrder
from workflows import failures
from workflows.options import READ


async def start(order: StartOrder) -> str | None:
    """Start a procedure that follows from this one, or find it open; → why that did not work, or None."""
    options = {**READ, "schedule_to_close_timeout": timedelta(seconds=10)}
    try:
        await workflow.execute_activity_method(Runs.start, order, summary=f"start {order.workflow_id}"[:200], **options)
    except ActivityError as error:
        return failures.why(error)
    return None


async def is_open(workflow_id: str) -> bool:
    """Whether a run of that id is open; where Temporal does not say, it is taken to be."""
    try:
        found: bool = await workflow.execute_activity_method(
            Runs.is_open, workflow_id, summary=f"is {workflow_id} open?"[:200], **READ
        )
    except ActivityError as error:
        workflow.logger.warning("the holder of a claim is not known", extra={"why": failures.why(error)})
        return True
    return found
