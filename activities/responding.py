"""What the health watch does about a verdict: start the procedure from within the worker, or tell people."""

from collections.abc import Sequence

import structlog
from temporalio.client import Client
from temporalio.service import RPCError

from activities.certificates import Certificates
from activities.notify import Notifier
from activities.runs import start_or_join
from failover import kinds
from failover.automation import Permission, gate
from failover.config import Config
from failover.health import Verdict
from failover.messages import verdict_changed
from failover.requests import Note
from failover.starting import StartOrder, orders_for
from failover.triggers import Response, takers

log = structlog.get_logger(__name__)

REQUESTED_BY = "health-check"


class TemporalResponder:
    """Starts procedures by the worker's own client: only then does a run begin without a round trip through the queue."""

    def __init__(
        self, client: Client, task_queue: str, notifier: Notifier, config: Config, certificates: Certificates
    ) -> None:
        self._client = client
        self._task_queue = task_queue
        self._notifier = notifier
        self._config = config
        self._certificates = certificates

    async def start(
        self,
        procedure: str,
        verdict: Verdict,
        others: Sequence[Verdict],
        routes: Sequence[str],
        allowed: Permission,
    ) -> bool:
        """Start one run a provider, or one ramp a route: while one is open, the verdict is a note on it.

        For routes of which people are to be asked first, start a run that asks them.
        """
        heeded = {name: one.at(verdict.at) for name, one in (await self._certificates.of(routes)).items()}
        able = {
            route: takers(self._config.chain(route, verdict.provider), others, heeded.get(route)) for route in routes
        }
        orders = orders_for(procedure, verdict, others=others, routes=routes, requested_by=REQUESTED_BY, takers=able)
        return await self._begin(
            gate(orders, allowed, verdict.provider, verdict.reason, REQUESTED_BY, self._config), verdict
        )

    async def _begin(self, orders: Sequence[StartOrder], verdict: Verdict) -> bool:
        if not orders:
            log.warning("nothing could be started", provider=verdict.provider, reason=verdict.reason)
        started = [await self._start(order, verdict) for order in orders]
        return all(started)

    async def _start(self, order: StartOrder, verdict: Verdict) -> bool:
        note = Note(by=REQUESTED_BY, text=verdict.reason[:1000])
        # Ramps read and plan first: a round trip more or less is nothing to them.
        eager = order.procedure == kinds.IMMEDIATE
        try:
            run = await start_or_join(self._client, self._task_queue, order, note, eager=eager)
        except RPCError as error:
            log.error("the run could not be started or told", workflow_id=order.workflow_id, error=str(error))
            return False
        if run.started:
            log.info("started", workflow_id=order.workflow_id, reason=verdict.reason)
        return True

    async def tell(self, verdict: Verdict, response: Response) -> None:
        """Tell people once, and as well as it goes: the next change is told again."""
        if response.procedure in ("immediate", "gradual"):
            return  # The run speaks for itself.
        text = response.reason
        if response.procedure is not None:
            text += f". A {response.procedure} begins on each route where somebody of its chain is known to be well"
        try:
            await self._notifier.post(verdict_changed(verdict, text), retried=False)
        except Exception as error:  # noqa: BLE001 (a helper's failure never stops a watch)
            log.warning("people could not be told", provider=verdict.provider, error=str(error))
