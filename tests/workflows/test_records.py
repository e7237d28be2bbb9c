"""What runs leave on record: the policy over time and what was counted; and records made anew from Temporal's history."""

import shutil
from dataclasses import replace
from pathlib import Path

from pydantic import TypeAdapter
from temporalio.client import Client

from failover.incident import Outcome, RunRecord, Trigger
from failover.policy import Mode
from failover.reports.incident import incident
from failover.reports.markdown import markdown
from failover.reports.plan import taken
from starter import worker_parts as composition
from starter.recovering import made_anew
from tests.workflows.conftest import FOUND, Ramps, ended, order, outcome_of, until, until_details
from traffic.memory import MemoryPlane


def record(parts: composition.Parts) -> RunRecord:
    found = parts.evidence.latest()
    assert found is not None
    return found


async def test_an_immediate_failover_keeps_its_change(ramps: Ramps, ramp_parts: composition.Parts) -> None:
    """When, where, and the shares since; and what the data plane counted from a minute before to the end."""
    await ended(await ramps.immediate())
    kept = record(ramp_parts)
    [write] = kept.writes
    assert (write.route, write.step, write.shares) == ("chat", "shift", {"bedrock": 0, "google": 9000, "meta": 1000})
    assert kept.moments.in_force is not None and write.at <= kept.moments.in_force
    assert kept.concerns == ["chat"] and kept.course
    assert {one.provider for one in kept.course[0].providers} == {"google", "meta"}
    assert kept.course[0].since < kept.moments.decided


async def test_a_ramp_keeps_its_plan_and_every_step(ramps: Ramps, ramp_parts: composition.Parts) -> None:
    """Each step as planned and as set; claim and release too."""
    await ended(await ramps.canary())
    kept = record(ramp_parts)
    steps = [step.name for step in kept.steps]
    assert [write.step for write in kept.writes] == ["claim", *steps, "release"]
    assert [step.went for step in taken(kept)] == ["as planned"] * len(steps)
    assert kept.targets is not None and kept.targets.success_percent == 98


async def test_an_aborted_ramp_keeps_how_it_went_back(ramps: Ramps, ramp_parts: composition.Parts) -> None:
    """And reports it."""
    run = await ramps.canary()
    await until(run, "Verified")
    await order(run, "abort")
    assert await outcome_of(run) is Outcome.ABORTED
    kept = record(ramp_parts)
    assert kept.writes[-1].step == "put-back" and kept.writes[-1].shares == FOUND
    assert "put back" in [step.went for step in taken(kept)]
    assert "put-back" in markdown(incident(kept))


async def test_a_run_that_moved_nothing_says_what_it_was_about(ramps: Ramps, ramp_parts: composition.Parts) -> None:
    """Rejected before its first step: its route, and what users got meanwhile, are on record all the same."""
    run = await ramps.canary(approvals={"points": ["first_shift"], "deadline": "20s"})
    await until(run, "claimed")
    asked = (await until_details(run, lambda found: bool(found.get("approval"))))["approval"]
    await order(run, "reject", step=asked["step"], digest=asked["digest"])
    await ended(run)
    kept = record(ramp_parts)
    assert kept.outcome is Outcome.REJECTED and kept.concerns == ["chat"] and kept.course
    assert {write.step for write in kept.writes} == {"claim", "release"}


async def test_evidence_is_kept_without_counters(
    ramps: Ramps, ramp_parts: composition.Parts, ramp_plane: MemoryPlane
) -> None:
    """Counters that do not answer hold up no record; that they did not is noted."""
    run = await ramps.canary()
    await until(run, "Verified")
    ramp_plane.dark = True
    await order(run, "abort")
    assert await outcome_of(run) is Outcome.NEEDS_HUMAN
    kept = record(ramp_parts)
    assert kept.course == [] and kept.writes[-1].step == "put-back"
    assert any("What was counted over the run could not be read" in note for note in kept.notes)


async def test_a_lost_record_is_made_anew(
    ramps: Ramps, ramp_parts: composition.Parts, temporal_client: Client, tmp_path: Path
) -> None:
    """From what the run meant to keep: the same in everything, and it says so."""
    run = await ramps.canary()
    await ended(run)
    kept = record(ramp_parts)
    shutil.rmtree(tmp_path / "incidents")
    [execution] = [one async for one in temporal_client.list_workflows(f'WorkflowId = "{run.id}"')]
    made = await made_anew(temporal_client, execution)
    assert made is not None and "made anew" in made.notes[-1]
    told = TypeAdapter(RunRecord)
    assert told.dump_json(replace(made, notes=kept.notes)) == told.dump_json(kept)


async def test_a_terminated_run_gets_a_record(ramps: Ramps, temporal_client: Client) -> None:
    """What it wrote by its history, what it said by itself; and that nobody closed it."""
    run = await ramps.canary(trigger="automatic", requested_by="alice", reason="a trial")
    await until(run, "Verified")
    await run.terminate("killed")
    [execution] = [one async for one in temporal_client.list_workflows(f'WorkflowId = "{run.id}"')]
    made = await made_anew(temporal_client, execution)
    assert made is not None
    assert (made.outcome, made.trigger, made.requested_by, made.request_reason) == (
        Outcome.NEEDS_HUMAN,
        Trigger.AUTOMATIC,
        "alice",
        "a trial",
    )
    assert "TERMINATED" in made.reason and made.concerns == ["chat"]
    assert [write.step for write in made.writes][:2] == ["claim", "step-1"]
    assert made.writes[0].mode in (None, Mode.NORMAL)
    assert made.timeline and made.moments.closed is not None
    assert "A person is needed" in markdown(incident(made))


async def test_what_changed_nothing_gets_no_record(ramps: Ramps, temporal_client: Client) -> None:
    """A dry run."""
    run = await ramps.canary(dry_run=True)
    await ended(run)
    [execution] = [one async for one in temporal_client.list_workflows(f'WorkflowId = "{run.id}"')]
    assert await made_anew(temporal_client, execution) is None
