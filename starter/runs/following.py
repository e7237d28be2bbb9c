"""Following one run to its end: what it says as it goes, and how it ended, whoever knows that."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol
from urllib.parse import quote

from temporalio.client import WorkflowFailureError, WorkflowHandle, WorkflowQueryFailedError
from temporalio.exceptions import ApplicationError, CancelledError, TerminatedError
from temporalio.exceptions import TimeoutError as TimedOutError
from temporalio.service import RPCError, RPCStatusCode

from failover.distribution import render, same
from failover.errors import RequestError, TemporalUnavailable, Unavailable
from failover.incident import TimelineEntry
from failover.policy import TrafficPolicy
from failover.ports import TrafficPlane
from failover.requests import RunResult, RunStatus
from starter.exit_codes import OF_OUTCOMES, ExitCode
from starter.runs.situation import Look

LOOK_EVERY = 0.25
"""Seconds between two looks at a run."""

ASK_PATIENCE = timedelta(seconds=2)
"""The timeout of one answer of a run; a worker that is gone must not hold the picture up."""

RUN = " Run: "
"""The text between what a run that needs a person says and its command in the failure (`workflows.ending.close`)."""

Run = WorkflowHandle[Any, RunResult]


@dataclass(frozen=True, slots=True, kw_only=True)
class Closed:
    """How a run ended. `outcome`: its own, or TERMINATED, TIMED_OUT, BAD_INPUT, FAILED, as Temporal knows."""

    workflow_id: str
    outcome: str
    reason: str
    result: RunResult | None = None

    @property
    def code(self) -> ExitCode:
        # A drill that failed has told so itself; any other failure is a run that broke.
        return ExitCode.NOT_PROVED if self.outcome == "FAILED" and self.result else OF_OUTCOMES[self.outcome]

    @property
    def command(self) -> str:
        """What a run that needs a person left them to run: its message ends with that; "" where it left nothing."""
        _, _, command = self.reason.rpartition(RUN)
        return command if command.startswith("failoverctl ") else ""

    @property
    def said(self) -> str:
        """The reason without that command."""
        return self.reason.removesuffix(f"{RUN}{self.command}") if self.command else self.reason

    def sentence(self) -> str:
        """Everything that is to be said about it."""
        result = self.result
        shifts = result.routes if result else ()
        where = "".join(
            f"\n  {shift.route}: {render(shift.before)} → {render(shift.after)}"
            for shift in shifts
            if not same(shift.before, shift.after)
        )
        evidence = f"\nEvidence: {result.evidence}" if result and result.evidence else ""
        return f"{self.outcome}: {self.reason}{where}{evidence}"


class View(Protocol):
    """Shows a run as it goes."""

    def show(self, look: Look) -> None: ...

    def close(self) -> None: ...


class Silent:
    """Shows nothing."""

    def show(self, look: Look) -> None:
        pass

    def close(self) -> None:
        pass


async def follow(
    run: Run, view: View, *, plane: TrafficPlane | None = None, until: Callable[[Look], bool] | None = None
) -> Closed | None:
    """Show the run until it is over → how it ended; None where `until` came true before."""
    result = asyncio.create_task(closed(run))
    try:
        while True:
            over = bool((await asyncio.wait({result}, timeout=LOOK_EVERY))[0])
            look = await look_at(run, plane)
            view.show(look)
            if over:
                return await result
            if until is not None and until(look):
                return None
    finally:
        view.close()
        # A poll that is cut off while the process ends can abort it in the SDK's native code.
        result.cancel()
        await asyncio.gather(result, return_exceptions=True)


async def look_at(run: Run, plane: TrafficPlane | None = None) -> Look:
    """What can be seen of it now; what does not answer is left out."""
    asked = await asyncio.gather(ask(run, "status", RunStatus), ask(run, "timeline", list[TimelineEntry]))
    status: RunStatus | None = asked[0]
    policies = await _policies(plane, status.routes) if plane is not None and status and status.routes else ()
    return Look(
        workflow_id=run.id,
        at=datetime.now(UTC),
        status=status,
        timeline=asked[1] or (),
        policies=policies,
    )


async def ask(run: Run, query: str, shape: Any) -> Any:
    """A run's answer to a query; None where it has none, or nobody gives it in time."""
    try:
        # The SDK tries again after a timeout of its own, and so takes more than twice as long where no worker is.
        async with asyncio.timeout(ASK_PATIENCE.total_seconds()):
            return await run.query(query, result_type=shape, rpc_timeout=ASK_PATIENCE)
    except (RPCError, WorkflowQueryFailedError, TimeoutError):
        return None


async def _policies(plane: TrafficPlane, routes: Sequence[str]) -> Sequence[TrafficPolicy]:
    try:
        return await plane.read(routes)
    except (Unavailable, RequestError):
        return ()


async def closed(run: Run) -> Closed:
    """Wait for its end; how it ended, in the words of whoever knows them."""
    try:
        result = await run.result()
    except WorkflowFailureError as error:
        return await _failed(run, error)
    except RPCError as error:
        if error.status is RPCStatusCode.NOT_FOUND:
            raise RequestError(f"Temporal knows no run {run.id!r}; `failoverctl runs` lists what there is.") from error
        raise TemporalUnavailable(f"Temporal stopped telling about {run.id}: {error.message}.") from error
    return Closed(workflow_id=run.id, outcome=result.outcome.value, reason=result.reason, result=result)


_NAMES = {"NeedsHuman": "NEEDS_HUMAN", "RequestError": "BAD_INPUT", "MalformedInput": "BAD_INPUT"}


async def _failed(run: Run, error: WorkflowFailureError) -> Closed:
    cause = root_cause(error)
    if isinstance(error.cause, CancelledError):
        status = await ask(run, "status", RunStatus)
        outcome = status.outcome.value if status and status.outcome else "ABORTED"
        return Closed(workflow_id=run.id, outcome=outcome, reason=(status and status.reason) or "It was cancelled.")
    if isinstance(error.cause, TerminatedError):
        reason = "It was terminated: the policy stands as it is. Put back what was good: `failoverctl restore ROUTE`."
        return Closed(workflow_id=run.id, outcome="TERMINATED", reason=reason)
    if isinstance(error.cause, TimedOutError):
        reason = "Temporal ended it at its deadline: the policy stands as it is. Look at `failoverctl status`."
        return Closed(workflow_id=run.id, outcome="TIMED_OUT", reason=reason)
    kind = cause.type if isinstance(cause, ApplicationError) else None
    message = cause.message if isinstance(cause, ApplicationError) else str(cause)
    return Closed(workflow_id=run.id, outcome=_NAMES.get(kind or "", "FAILED"), reason=message)


def root_cause(error: BaseException) -> BaseException:
    cause = error
    while cause.__cause__ is not None:
        cause = cause.__cause__
    return cause


def web_link(ui: str, namespace: str | None, workflow_id: str, run_id: str | None = None) -> str:
    """The run's page. Without its run id the page looks the id up among indexed runs: one that has just begun is a 404."""
    run = f"/{run_id}/history" if run_id else ""
    return f"{ui}/namespaces/{namespace or 'default'}/workflows/{quote(workflow_id, safe='')}{run}"
