"""Histories of real runs, replayed: a workflow whose commands changed would break the runs that are open."""

import json
from pathlib import Path

import pytest
from temporalio.client import WorkflowHistory
from temporalio.worker import Replayer

from failover.errors import FailoverError
from starter import worker_parts as composition
from workflows.payloads import RefuseMalformed, data_converter

HISTORIES = sorted(Path(__file__).with_name("histories").glob("*/*.json"))


@pytest.mark.parametrize("file", HISTORIES, ids=lambda file: f"{file.parent.name}/{file.stem}")
async def test_a_recorded_history_replays(file: Path) -> None:
    """Command for command as it was; a change after a release goes behind workflow.patched."""
    replayer = Replayer(
        workflows=composition.WORKFLOWS,
        data_converter=data_converter,
        workflow_runner=composition.workflow_runner(),
        interceptors=[RefuseMalformed()],
        workflow_failure_exception_types=[FailoverError],
    )
    recorded = json.loads(file.read_text())
    # A drill acts by its own id: it is the one that it was recorded under.
    workflow_id = recorded["events"][0]["workflowExecutionStartedEventAttributes"]["workflowId"]
    history = WorkflowHistory.from_json(workflow_id, recorded)
    await replayer.replay_workflow(history)


def test_every_workflow_has_a_recorded_history() -> None:
    """A new procedure is recorded before it is released."""
    recorded = {file.parent.name for file in HISTORIES}
    assert recorded == {workflow.__name__ for workflow in composition.WORKFLOWS}
