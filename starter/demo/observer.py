"""What can be seen of a running stack at a moment: health, shares, users, the run's steps."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from temporalio.client import Client, WorkflowExecutionStatus, WorkflowFailureError
from temporalio.service import RPCError

from failover import kinds
from failover.errors import FailoverError
from failover.health import Verdict
from failover.incident import Moments, TimelineEntry
from failover.policy import TrafficPolicy
from failover.ports import TrafficPlane
from failover.requests import RunStatus
from failover.telemetry import Telemetry
from starter.demo.users import Experience, Users
from starter.running import Stack
from starter.runs.following import root_cause
from starter.status import verdicts

WINDOW = timedelta(seconds=3)
"""The window over which the live shares and the users' experience are counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """One look. `first_tries` by provider in the last seconds: what the weights really do, retries apart.

    `timeline` and `moments` are of the faulty provider's run; empty and None until there is one.
    """

    at: datetime
    verdicts: Sequence[Verdict]
    policy: TrafficPolicy
    first_tries: Mapping[str, int]
    experience: Experience
    timeline: Sequence[TimelineEntry]
    moments: Moments | None


class Observer:
    """Looks at one route and one provider of a stack."""

    def __init__(
        self, stack: Stack, plane: TrafficPlane, client: Client, users: Users, *, route: str, provider: str
    ) -> None:
        self._stack = stack
        self._plane = plane
        self._users = users
        self._route = route
        self._run = client.get_workflow_handle(kinds.run_id(kinds.IMMEDIATE, provider))
        self._status: RunStatus | None = None

    async def look(self) -> Snapshot:
        found, policies, telemetry, status = await asyncio.gather(
            self._verdicts(), self._plane.read([self._route]), self.telemetry(window=WINDOW), self._run_status()
        )
        return Snapshot(
            at=telemetry.at,
            verdicts=found,
            policy=policies[0],
            first_tries=telemetry.first_tries(self._route),
            experience=self._users.experience(telemetry.at - WINDOW),
            timeline=status.timeline if status else (),
            moments=status.moments if status else None,
        )

    async def first_tries_since(self, since: datetime) -> Mapping[str, int]:
        return (await self.telemetry(since=since)).first_tries(self._route)

    async def why_run_failed(self) -> str | None:
        """The reason of the failure in the run's own words; None if it did not fail, or there was none."""
        try:
            if (await self._run.describe()).status is not WorkflowExecutionStatus.FAILED:
                return None
            await self._run.result(rpc_timeout=timedelta(seconds=2))
        except WorkflowFailureError as error:
            return str(root_cause(error))
        except RPCError:
            pass
        return None

    async def telemetry(self, **when: Any) -> Telemetry:
        telemetry = await self._plane.observe(**when)
        if telemetry is None:
            raise FailoverError("The gateway does not count what it serves, so nothing can be shown or proved.")
        return telemetry

    async def _verdicts(self) -> list[Verdict]:
        return await verdicts(self._stack)

    async def _run_status(self) -> RunStatus | None:
        """The status of the faulty provider's run; the last one while it cannot be asked, None before it exists."""
        try:
            self._status = await self._run.query("status", result_type=RunStatus, rpc_timeout=timedelta(seconds=2))
        except RPCError:
            pass
        return self._status
