"""The name of a run to others, and how it signs what it sends them."""

from temporalio import workflow

from failover.policy import ChangedBy


def me() -> str:
    """The name of this run to others: its workflow id."""
    return workflow.info().workflow_id


def key(number: int) -> str:
    """The key by which one change or message of this run is known for good: sent again under it, it changes nothing."""
    info = workflow.info()
    return f"{info.workflow_id}/{info.run_id}/{number}"


def signature(requested_by: str, step: str) -> ChangedBy:
    """The signature under a change: whose it is, and which step of this run it belongs to."""
    info = workflow.info()
    return ChangedBy(actor=requested_by or "failover", workflow_id=info.workflow_id, run_id=info.run_id, step=step)
