"""From one look at the stack to the answer that stands first."""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from failover.errors import FailoverError
from failover.glance import Glance, Need, Scene, Waiting, glance, left_to_people
from failover.health import Condition, Verdict
from failover.policy import TrafficPolicy
from failover.troubles import RunNow, troubles
from starter.console.seeing import OpenRun, Seen

SETTLING = timedelta(seconds=15)
"""A run that has just begun, or whose worker has just died, is given this long to tell where it stands."""


def answer(seen: Seen) -> Glance:
    """Is it handled, and what do I need to do?"""
    return glance(scene(seen))


def scene(seen: Seen) -> Scene:
    runs = [] if isinstance(seen.runs, FailoverError) else list(seen.runs)
    policies = [] if isinstance(seen.policies, FailoverError) else list(seen.policies)
    verdicts = [] if isinstance(seen.verdicts, FailoverError) else list(seen.verdicts)
    records = [] if isinstance(seen.records, FailoverError) else list(seen.records)
    trouble = troubles(policies, verdicts, [_run_now(run) for run in runs])
    return Scene(
        open_runs=[run.workflow_id for run in runs],
        runs_known=not isinstance(seen.runs, FailoverError),
        waiting=[waiting for run in runs if (waiting := waits(run)) is not None],
        left_to_people=left_to_people(records, policies, seen.at),
        troubles=[one.sentence for one in trouble],
        unattended=[one.sentence for one in trouble if one.run is None],
        unknown=list(dict.fromkeys([*_silent(seen), *_blind(verdicts), *_mute(runs, seen.at)])),
        spared=list(_spared(verdicts, policies)),
        notes=[*_noted(seen), *_unwell(verdicts)],
    )


def _run_now(run: OpenRun) -> RunNow:
    status = run.look.status
    return RunNow(
        workflow_id=run.workflow_id,
        procedure=run.procedure,
        phase=status.phase if status else "",
        provider=status.provider if status else "",
    )


def waits(run: OpenRun) -> Waiting | None:
    """What a run wants of a person; None where it goes on by itself."""
    now = run.look.situation
    if now.approval is not None:
        granted = now.approval.granted
        given = f" {', '.join(granted)} agreed; {now.approval.quorum} must." if granted else ""
        return Waiting(
            run=run.workflow_id,
            need=Need.APPROVAL,
            text=f"{now.approval.text}{given}",
            deadline=now.approval.deadline,
            default="it counts as rejected",
        )
    if now.question is not None:
        default = now.question_default or ""
        return Waiting(
            run=run.workflow_id, need=Need.ANSWER, text=now.question, deadline=now.question_deadline, default=default
        )
    if now.stage == "waiting for orders":
        return Waiting(run=run.workflow_id, need=Need.ORDERS, text=f"{run.workflow_id}: {now.subject}")
    if now.frozen:
        return Waiting(run=run.workflow_id, need=Need.RESUME, text=f"{run.workflow_id}: {now.subject}")
    return None


def _silent(seen: Seen) -> Iterator[str]:
    """Parts that do not answer, and checks that do not complete."""
    for part in (seen.verdicts, seen.policies, seen.runs, seen.watched):
        if isinstance(part, FailoverError):
            yield str(part)
    if not isinstance(seen.watched, FailoverError) and seen.watched.why_red is not None:
        yield f"{seen.watched.why_red}."
    if not isinstance(seen.verdicts, FailoverError) and not seen.verdicts:
        yield "The worker has no verdict about any provider yet."


def _blind(verdicts: Sequence[Verdict]) -> Iterator[str]:
    for verdict in verdicts:
        if verdict.condition is Condition.BLIND:
            yield f"Nobody can tell how {verdict.provider} is: {verdict.reason.rstrip('.')}."


def _mute(runs: Sequence[OpenRun], now: datetime) -> Iterator[str]:
    for run in runs:
        if run.look.status is None and now - run.started_at > SETTLING:
            yield f"{run.workflow_id} does not tell where it stands: no worker answers for it."
        elif now - run.look.at > SETTLING:
            yield f"{run.workflow_id} has told nothing since {run.look.at:%H:%M:%S} UTC: no worker answers for it."


def _noted(seen: Seen) -> Iterator[str]:
    """What does not change the answer, and should be known with it."""
    if isinstance(seen.hold, FailoverError):
        yield f"Whether automation is on hold is not known: {seen.hold}"
    elif seen.hold is not None:
        yield f"{seen.hold}. Nothing starts by itself."
    for part in (seen.served, seen.records):
        if isinstance(part, FailoverError):
            yield str(part)


def _spared(verdicts: Sequence[Verdict], policies: Sequence[TrafficPolicy]) -> Iterator[str]:
    """Providers that are down, and hurt nobody."""
    for verdict in verdicts:
        if verdict.down and policies and not any(policy.distribution.get(verdict.provider) for policy in policies):
            yield f"{verdict.provider} is down, and has no traffic: {verdict.reason.rstrip('.')}."


def _unwell(verdicts: Sequence[Verdict]) -> Iterator[str]:
    for verdict in verdicts:
        if not verdict.down and verdict.condition not in (Condition.HEALTHY, Condition.BLIND):
            yield f"{verdict.provider} is {verdict.condition.value.replace('_', ' ')}: {verdict.reason.rstrip('.')}."
