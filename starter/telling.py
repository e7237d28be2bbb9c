"""`failoverctl communications`: what was told of an incident, and the word on its support cases."""

import asyncio
from pathlib import Path
from typing import Any

from temporalio.client import Client, WorkflowExecution, WorkflowHandle, WorkflowUpdateFailedError
from temporalio.service import RPCError

from activities.communications import PREFIX, kept_in
from failover.communications import NAME, CommunicationsState
from failover.driving import Answer
from failover.errors import FailoverError, RequestError, TemporalUnavailable
from failover.told import lines_of
from starter.arguments import operator
from starter.connection import connect
from starter.exit_codes import ExitCode
from starter.output import as_json, confirm, say
from starter.parts import evidence_of
from starter.running import Stack, find
from starter.runs.finding import executions
from starter.runs.following import ASK_PATIENCE
from starter.runs.orders import ANSWER_PATIENCE
from starter.settings import Settings

NONE_YET = "Nobody outside was told of {}; `failoverctl doctor` says what is switched on."


def run_show(settings: Settings, state: Path | None, run: str | None, *, json: bool) -> int:
    """Show what was told, as Temporal knows it, else as it is kept with the evidence."""
    stack = find(settings, state)
    found = asyncio.run(_known(settings, stack, run)) or _kept(stack, settings, run)
    if found is None:
        raise RequestError(NONE_YET.format(run or "any incident"))
    if json:
        as_json("communications", found)
    else:
        incident = found.incident
        print(f"{incident.headline} ({incident.workflow_id}, {incident.at:%Y-%m-%d %H:%M:%S} UTC)")
        print("\n".join(f"  {line.replace('**', '').replace('`', '')}" for line in lines_of(found)))
        if found.waiting:
            print(f"  To open the case: failoverctl communications approve {incident.workflow_id}")
    return 0


async def _known(settings: Settings, stack: Stack, run: str | None) -> CommunicationsState | None:
    try:
        client = await connect(settings, stack)
        newest = await _executions(client, run)
        return await _told(client, newest[0]) if newest else None
    except (FailoverError, RPCError):
        return None  # The evidence is there without Temporal.


async def _told(client: Client, execution: WorkflowExecution) -> CommunicationsState:
    handle: WorkflowHandle[Any, Any] = client.get_workflow_handle(execution.id, run_id=execution.run_id)
    found: CommunicationsState = await handle.query("told", result_type=CommunicationsState, rpc_timeout=ASK_PATIENCE)
    return found


def _kept(stack: Stack, settings: Settings, run: str | None) -> CommunicationsState | None:
    store = evidence_of(settings, stack)
    for folder in store.list():
        kept = kept_in(store, folder)
        if kept is not None and run in (None, kept.incident.workflow_id):
            return kept
    return None


async def _executions(client: Client, run: str | None) -> list[WorkflowExecution]:
    """The runs that tell, newest first; of one run if it is named."""
    found = await executions(client, f'WorkflowType = "{NAME}"', None if run else 1)
    return [one for one in found if run in (None, about(one))]


def about(execution: WorkflowExecution) -> str:
    """The run that it tells of."""
    return execution.id.removeprefix(PREFIX).rpartition("/")[0]


def run_word(
    settings: Settings,
    state: Path | None,
    run: str | None,
    verb: str,
    channel: str | None,
    comment: str,
    actor: str | None,
    *,
    yes: bool,
    json: bool,
) -> int:
    """Exit code 4 where no case waits for a word."""
    message = {"actor": actor or operator(), "comment": comment, "channel": channel}
    answer = asyncio.run(_word(settings, find(settings, state), run, verb, message, yes=yes))
    if json:
        as_json("order", {"verb": verb, "accepted": answer.accepted, "said": answer.said})
    elif answer.accepted:
        print(answer.said)
    else:
        say(answer.said)
    return ExitCode.DONE if answer.accepted else ExitCode.REFUSED


async def _waiting(client: Client, run: str | None) -> list[tuple[WorkflowExecution, str]]:
    """The open ones that wait for a word, each with the channels that do."""
    found = []
    for one in await executions(client, f'WorkflowType = "{NAME}" AND ExecutionStatus = "Running"'):
        if run not in (None, about(one)):
            continue
        try:
            asked = [channel.name.value for channel in (await _told(client, one)).waiting]
        except RPCError as error:
            raise TemporalUnavailable(f"No worker answered about {about(one)}: {error.message}. Try again.") from error
        if asked:
            found.append((one, " and ".join(asked)))
    return found


async def _word(
    settings: Settings, stack: Stack, run: str | None, verb: str, message: dict[str, Any], *, yes: bool
) -> Answer:
    client = await connect(settings, stack)
    waiting = await _waiting(client, run)
    if not waiting:
        return Answer(accepted=False, said="Refused: no support case waits for a word.")
    if len(waiting) > 1:
        raise RequestError(f"Say which run: {', '.join(sorted(about(one) for one, _ in waiting))} wait for a word.")
    ((one, asked),) = waiting
    handle: WorkflowHandle[Any, Any] = client.get_workflow_handle(one.id)
    if verb == "approve":
        confirm(f"Open a case at {asked} for {about(one)}?", yes=yes)
    try:
        answer: Answer = await handle.execute_update(verb, message, result_type=Answer, rpc_timeout=ANSWER_PATIENCE)
    except WorkflowUpdateFailedError as error:
        raise RequestError(f"{handle.id} did not understand it: {error.cause}") from error
    except RPCError as error:
        raise TemporalUnavailable(f"No worker answered: {error.message}. Try again.") from error
    return answer
