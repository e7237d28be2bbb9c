"""What the health watch does about a verdict: start the procedure from within the worker, or tell people."""

from collections.abc import Callable, Sequence

import structlog
from temporalio.client import Client
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError

from activities.notify import Notifier
from activities.runs import TASK_TIMEOUT
from failover.health import Condition, Verdict
from failover.incident import Trigger
from failover.messages import verdict_changed
from failover.requests import (
    CanaryFailoverRequest,
    GradualFailoverRequest,
    ImmediateFailoverRequest,
    Note,
    RampRequest,
)
from failover.triggers import Response, first_healthy

log = structlog.get_logger(__name__)

REQUESTED_BY = "health-check"


class TemporalResponder:
    """Starts procedures by the worker's own client: only then does a run begin without a round trip through the queue.

    `chain` tells who may take over from a provider on a route, best first.
    """

    def __init__(
        self, client: Client, task_queue: str, notifier: Notifier, chain: Callable[[str, str], Sequence[str]]
    ) -> None:
        self._client = client
        self._task_queue = task_queue
        self._notifier = notifier
        self._chain = chain

    async def start(self, procedure: str, verdict: Verdict, others: Sequence[Verdict], routes: Sequence[str]) -> bool:
        """One run a provider: while one is open, the verdict is a note on it."""
        if procedure == "gradual":
            return await self._start_gradual(verdict, routes)
        if procedure == "canary":
            return await self._start_canaries(verdict, others, routes)
        run_id = f"failover/{verdict.provider}"
        try:
            await self._start_immediate(run_id, verdict, others)
        except WorkflowAlreadyStartedError:
            return await self._join(run_id, verdict)
        except RPCError as error:
            log.error("the failover could not be started", workflow_id=run_id, error=str(error))
            return False
        log.info("failover started", workflow_id=run_id, reason=verdict.reason)
        return True

    async def _start_immediate(self, run_id: str, verdict: Verdict, others: Sequence[Verdict]) -> None:
        request = ImmediateFailoverRequest(
            failed_provider=verdict.provider,
            reason=verdict.reason[:1000],
            requested_by=REQUESTED_BY,
            trigger=Trigger.AUTOMATIC,
            emergency=True,
            verdicts=[verdict, *others],
        )
        await self._client.start_workflow(
            "ImmediateFailover",
            request,
            id=run_id,
            task_queue=self._task_queue,
            task_timeout=TASK_TIMEOUT,
            request_eager_start=True,
            static_summary=f"{verdict.provider} is {_words(verdict)}"[:200],
        )

    async def _start_gradual(self, verdict: Verdict, routes: Sequence[str]) -> bool:
        """One ramp a route that uses the provider; of a throttled one only the throttled share goes elsewhere."""
        throttled = verdict.share_percent if verdict.condition is Condition.THROTTLED else None
        requests = [
            GradualFailoverRequest(
                route=route,
                failed_provider=verdict.provider,
                throttled_share_percent=throttled,
                reason=verdict.reason[:1000],
                requested_by=REQUESTED_BY,
                trigger=Trigger.AUTOMATIC,
            )
            for route in routes
        ]
        return all([await self._start_ramp("GradualFailover", "gradual", one, verdict) for one in requests])

    async def _start_canaries(self, verdict: Verdict, others: Sequence[Verdict], routes: Sequence[str]) -> bool:
        """One canary a route that uses the provider, to the first of its chain that is known to be well."""
        targets = {route: first_healthy(self._chain(route, verdict.provider), others) for route in routes}
        started = True
        for route, target in targets.items():
            if target is None:
                log.warning("nobody who is well could take over", route=route, provider=verdict.provider)
                continue
            request = CanaryFailoverRequest(
                route=route,
                source_provider=verdict.provider,
                target_provider=target,
                reason=verdict.reason[:1000],
                requested_by=REQUESTED_BY,
                trigger=Trigger.AUTOMATIC,
            )
            started = await self._start_ramp("CanaryFailover", "canary", request, verdict) and started
        return started

    async def _start_ramp(self, workflow: str, procedure: str, request: RampRequest, verdict: Verdict) -> bool:
        """One ramp of a kind and route at a time: while it is open, the verdict is a note on it."""
        run_id = f"{procedure}/{request.route}"
        try:
            await self._client.start_workflow(
                workflow,
                request,
                id=run_id,
                task_queue=self._task_queue,
                task_timeout=TASK_TIMEOUT,
                static_summary=f"{request.route}: {verdict.provider} is {_words(verdict)}"[:200],
            )
        except WorkflowAlreadyStartedError:
            return await self._join(run_id, verdict)
        except RPCError as error:
            log.error("a ramp could not be started", workflow_id=run_id, error=str(error))
            return False
        log.info("ramp started", workflow_id=run_id, reason=verdict.reason)
        return True

    async def _join(self, run_id: str, verdict: Verdict) -> bool:
        note = Note(by=REQUESTED_BY, text=verdict.reason[:1000])
        try:
            await self._client.get_workflow_handle(run_id).signal("note", note)
        except RPCError as error:
            log.warning("the run that was there is over already", workflow_id=run_id, error=str(error))
            return False
        return True

    async def tell(self, verdict: Verdict, response: Response) -> None:
        """Once, and as well as it goes: the next change is told again."""
        if response.procedure in ("immediate", "gradual"):
            return  # The run speaks for itself.
        text = response.reason
        if response.procedure is not None:
            text += f". A {response.procedure} begins on each route where somebody of its chain is known to be well"
        try:
            await self._notifier.post(verdict_changed(verdict, text), retried=False)
        except Exception as error:  # noqa: BLE001 (a helper's failure never stops a watch)
            log.warning("people could not be told", provider=verdict.provider, error=str(error))


def _words(verdict: Verdict) -> str:
    return verdict.condition.value.replace("_", " ")
