"""Validation: does the route serve again, from the users' side?"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from temporalio import activity

from activities.probing import Prober
from failover import restoration
from failover.config import Config
from failover.errors import DataPlaneUnavailable, ProviderError
from failover.incident import Impact, Sample
from failover.policy import Mode
from failover.ports import TrafficPlane
from failover.restoration import Asked
from failover.telemetry import TICK, Telemetry, floored

ASKED_ROUTES = 5
"""How many routes get a question of their own a sample; more would be load, not evidence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleOrder:
    """The routes to look at, since when (the data plane's clock), and which provider must not serve which of them."""

    routes: Sequence[str]
    since: datetime
    window: timedelta
    evacuated: str
    moved: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class ImpactOrder:
    """The impact from the first bad sample on; `in_force`: when the change was, `restored`: when users' side was good.

    `to_the_end`: the requests of that time are waited for until they have ended, not only for a moment.
    """

    routes: Sequence[str]
    first_bad: datetime
    in_force: datetime
    restored: datetime
    to_the_end: bool = False


MINUTE = timedelta(minutes=1)

A_MOMENT, AT_MOST = timedelta(seconds=2), timedelta(seconds=90)
"""How long requests that have not ended are waited for: those of a well service end in a moment, none lasts for ever."""

TURN = timedelta(milliseconds=500)


class Restoration:
    """Samples of the users' side. One reading an activity: the waits between are the workflow's."""

    def __init__(self, config: Config, plane: TrafficPlane, prober: Prober) -> None:
        self._config = config
        self._plane = plane
        self._prober = prober

    @activity.defn(name="validate.sample")
    async def sample(self, order: SampleOrder) -> Sample:
        """What users got in the last window, and what the routes answer when asked."""
        asked, telemetry = await asyncio.gather(self._ask(order.routes[:ASKED_ROUTES]), self._observe(order))
        modes = {policy.route: policy.mode for policy in await self._plane.read(order.routes)}
        targets = {
            route: self._config.emergency.targets if modes.get(route) is Mode.DEGRADED else self._config.targets(route)
            for route in order.routes
        }
        return restoration.judge_sample(telemetry, asked, targets, order.evacuated, order.moved)

    async def _observe(self, order: SampleOrder) -> Telemetry:
        telemetry = await self._plane.observe(window=order.window)
        if telemetry is not None and telemetry.since < order.since:
            telemetry = await self._plane.observe(since=order.since)
        if telemetry is None:
            raise DataPlaneUnavailable("The data plane cannot tell what users get; validation waits for it.")
        return telemetry

    async def _ask(self, routes: Sequence[str]) -> list[Asked]:
        return await asyncio.gather(*(self._ask_one(route) for route in routes))

    async def _ask_one(self, route: str) -> Asked:
        timeout = self._config.detection.probe.timeout
        try:
            served_by, answer = await self._plane.ask(route, self._prober.question, timeout=timeout)
        except ProviderError as error:
            return Asked(route=route, served_by=None, complaint=f"a question was not answered: {error}")
        sensible = self._prober.makes_sense(answer.text)
        complaint = None if sensible else f"{served_by} gave an answer that makes no sense"
        return Asked(route=route, served_by=served_by, complaint=complaint)

    @activity.defn(name="validate.impact")
    async def impact(self, order: ImpactOrder) -> Impact | None:
        """What users felt, from the data plane's counters; None where it does not count."""
        loop = asyncio.get_running_loop()
        patience = min(self._config.gateway.request_timeout, AT_MOST) if order.to_the_end else A_MOMENT
        end = loop.time() + patience.total_seconds()
        while (found := await self._felt(order)) is not None and not found.settled and loop.time() < end:
            activity.heartbeat()
            await asyncio.sleep(TURN.total_seconds())
        return found

    async def is_remembered(self, since: datetime) -> bool:
        """Whether the data plane still knows what it counted then."""
        told = await self._plane.observe(since=since, until=since + TICK)
        return told is not None and told.since <= since

    async def _felt(self, order: ImpactOrder) -> Impact | None:
        began = floored(order.first_bad)
        during, before, after = await asyncio.gather(
            self._plane.observe(since=began, until=order.restored),
            self._plane.observe(since=began - MINUTE, until=began),
            # What was begun before the change still suffered from what the change cured.
            self._plane.observe(
                since=max(order.in_force, order.restored - timedelta(seconds=10)), until=order.restored
            ),
        )
        if during is None or after is None:
            return None
        return restoration.impact(during, before, after, order.routes)
