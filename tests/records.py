"""The record of a run, for tests that are about something else than most of what it holds."""

from typing import Any

from failover.incident import Moments, Outcome, RunRecord, Trigger


def run_record(moments: Moments, **changes: Any) -> RunRecord:
    """Build the record of an automatic failover of bedrock that completed, with these fields changed."""
    usual: dict[str, Any] = {
        "procedure": "ImmediateFailover",
        "workflow_id": "failover/bedrock",
        "run_id": "run-1",
        "trigger": Trigger.AUTOMATIC,
        "requested_by": "health-check",
        "request_reason": "",
        "provider": "bedrock",
        "verdict": None,
        "outcome": Outcome.COMPLETED,
        "reason": "Done.",
        "command": None,
    }
    return RunRecord(moments=moments, **(usual | changes))
