"""What a ramp tells of itself: the checklist of the Web UI, the details that tools read, and the record of its end."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

from failover.config.kpis import Kpis
from failover.driving import ApprovalRequest, Driving, Stage
from failover.gates import would_have_failed
from failover.incident import PlannedStep, RouteShift, RunRecord
from failover.ramp import describe
from failover.requests import RampRequest
from failover.units import render_duration
from workflows.driven import plain_approval
from workflows.ending import Ended
from workflows.journal import Journal
from workflows.ramp_state import RampState
from workflows.signing import me


def approve_command(asked: ApprovalRequest) -> str:
    """How a person agrees to the step that waits."""
    return f"failoverctl approve {me()} --step {asked.step} --digest {asked.digest}"


def checklist(state: RampState | None, driving: Driving, journal: Journal) -> list[str]:
    """What the Web UI shows first: the steps, the present one and what it waits for, and how to drive it."""
    if state is None:
        return [f"- [ ] {journal.procedure}: {journal.phase}"]
    lines = [f"**{state.plan.subject}**, plan `{state.plan.digest}`", ""]
    for number, step in enumerate(state.plan.steps):
        done = "x" if number < state.index else " "
        here = " ← now" if number == state.index and journal.outcome is None else ""
        lines.append(f"- [{done}] {step.name}: {describe(step)}{here}")
    gates = [f"- gate {one.last.value}: {one.reason}" for one in state.gates]
    # Markdown runs lines together; a blank one keeps each sentence a line of its own, and the gates a list.
    return [*lines, "", "\n\n".join(_situation(state, driving)), "", *gates]


def _situation(state: RampState, driving: Driving) -> list[str]:
    lines = []
    if driving.approval is not None:
        lines.append(f"**Waiting for approval** of {driving.approval.step}: `{approve_command(driving.approval)}`")
    if driving.question is not None:
        asked = driving.question
        lines.append(f"**In doubt**: {asked.text}. At {asked.deadline:%H:%M:%S} UTC: {asked.default}.")
    if driving.paused:
        lines.append("**Paused.**")
    left = state.settle_left + state.left
    if driving.stage is Stage.HOLDING and left:
        lines.append(
            f"Next step in {render_duration(timedelta(seconds=round(left.total_seconds())))} if the gates pass."
        )
    waited = timedelta(seconds=round(state.waited.total_seconds()))
    lines.append(f"Waited for people {render_duration(waited)}. Orders taken now: {', '.join(driving.accepted_now())}.")
    return lines


def details(state: RampState | None, driving: Driving) -> dict[str, Any]:
    """What `failoverctl watch` and the tools of others read."""
    if state is None:
        return {"accepted_now": driving.accepted_now()}
    return {
        "subject": state.plan.subject,
        "digest": state.plan.digest,
        "steps": state.plan.describe(),
        "step": state.index,
        "distribution": {name: points / 100 for name, points in state.now.items()},
        "left_seconds": (state.settle_left + state.left).total_seconds(),
        "paused": driving.paused,
        "stage": driving.stage.value,
        "gates": [{"name": g.name, "verdict": g.last.value, "reason": g.reason} for g in state.gates],
        "approval": plain_approval(driving.approval),
        "question": driving.question.text if driving.question else None,
        "question_deadline": driving.question.deadline.isoformat() if driving.question else None,
        "question_default": driving.question.default if driving.question else None,
        "waited_seconds": state.waited.total_seconds(),
        "accepted_now": driving.accepted_now(),
        "samples": [
            {"requests": s.requests, "failed": s.failed, "first_tries": dict(s.first_tries)}
            for s in state.samples[-60:]
        ],
    }


def record(request: RampRequest, state: RampState | None, journal: Journal, ended: Ended) -> RunRecord:
    """The whole run, closed now."""
    journal.close(ended.outcome, ended.reason)
    notes = [*journal.notes, *(state.notes if state else [])]
    if state:
        gates = state.plan.steps[min(state.index, len(state.plan.steps) - 1)].gates
        notes += would_have_failed(gates, {one.name: one for one in state.gates}) if state.gates else []
    return replace(
        journal.record(request, ended.outcome, ended.reason, ended.command),
        subject=state.plan.subject if state else request.route,
        verdict=next((v for v in state.verdicts if v.provider == journal.provider), None) if state else None,
        waited_for_people=state.waited if state else timedelta(0),
        routes=_route_shifts(state),
        samples=state.samples if state else [],
        notes=notes,
        kpis=state.brief.kpis if state else Kpis(),
        plan=state.plan.describe() if state else [],
        digest=state.plan.digest if state else "",
        undoes=state.brief.origin.workflow_id if state and state.brief.origin else "",
        steps=[
            PlannedStep(name=step.name, shares=dict(step.distribution), hold=step.settle + step.hold)
            for step in state.plan.steps
        ]
        if state
        else [],
        targets=state.brief.targets if state else None,
    )


def _route_shifts(state: RampState | None) -> list[RouteShift]:
    if state is None or state.read_back is None:
        return []
    return [
        RouteShift(
            route=state.plan.route,
            before=dict(state.plan.found.distribution),
            after=dict(state.read_back.distribution),
            target=None,
            revision=str(state.read_back.revision),
        )
    ]
