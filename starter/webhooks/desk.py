"""The desk where alerts are started, joined, told, or ignored; each with the sentence that answers the sender.

Alerts that mean the same are taken together: while one batch is with Temporal the next one gathers, so that a storm costs
a few calls, and every answer is given by somebody who looked after the alert had come.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum

import structlog

from activities.drilling import PassedDrills
from activities.hold import HeldAutomation
from activities.runs import StartedRun
from failover.alerts import Alert, Decision, Meaning, Status, author, decide, meaning, told
from failover.config import Config
from failover.distribution import Distribution
from failover.errors import Unavailable
from failover.ports import TrafficPlane
from failover.requests import Note
from failover.starting import StartOrder
from starter.webhooks.memory import Answered
from starter.webhooks.notes import Notes
from starter.webhooks.temporal import Seen, Temporal

log = structlog.get_logger(__name__)

LOOK_SECONDS = 2.0
"""The timeout of reading the policies in force; a slower data plane leaves the looking to the run."""

ROUNDS = 3
"""How often a run that ends just as it is told makes us look again."""


class Did(StrEnum):
    STARTED = "started"
    JOINED = "joined"
    NOTED = "noted"
    IGNORED = "ignored"
    REPEATED = "repeated"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What was done about one alert. `runs`: the ids of the runs that it started, joined or was noted on."""

    alert: str
    did: Did
    said: str
    runs: Sequence[str] = ()


@dataclass(slots=True)
class _Batch:
    """Alerts of one meaning that are acted on together, the first for all of them."""

    task: asyncio.Task[Answer]
    members: list[tuple[str, Alert]] = field(default_factory=list)


Same = tuple[Status, Meaning]


class Desk:
    """Acts on alerts. TemporalUnavailable where it cannot: nothing is remembered then, and the sender tries again."""

    def __init__(
        self,
        config: Config,
        temporal: Temporal,
        plane: TrafficPlane | None,
        hold: HeldAutomation | None = None,
        practised: PassedDrills | None = None,
    ) -> None:
        self._config = config
        self._temporal = temporal
        self._plane = plane
        self._hold = hold or HeldAutomation(None)
        self._practised = practised
        self._notes = Notes(temporal, config.webhooks.note_interval)
        self._answered = Answered()
        self._gathering: dict[Same, _Batch] = {}
        self._working: dict[Same, asyncio.Task[Answer]] = {}

    async def handle(self, sender: str, alerts: Sequence[Alert]) -> list[Answer]:
        """Handle alerts; → one answer each, in order."""
        return list(await asyncio.gather(*(self._one(sender, alert) for alert in alerts)))

    async def finish(self) -> None:
        await self._notes.finish()

    async def _one(self, sender: str, alert: Alert) -> Answer:
        before: Answer | None = self._answered.get(sender, alert.key)
        if before is not None:
            return _again(before)
        meant = meaning(alert, sender, self._config)
        if alert.status is Status.OTHER or isinstance(meant, str):
            return _ignored(alert, decide(alert, sender, self._config, None, _now()))
        answer = replace(await self._with_others((alert.status, meant), sender, alert), alert=alert.name)
        if answer.did is not Did.IGNORED:
            self._answered.put(sender, alert.key, answer, self._kept(alert).total_seconds())
        return answer

    def _kept(self, alert: Alert) -> timedelta:
        """How long the same alert is the same delivery, and no reminder that it still fires."""
        settings = self._config.webhooks
        return settings.replay_window if alert.sent_at is None else settings.max_age

    async def _with_others(self, same: Same, sender: str, alert: Alert) -> Answer:
        batch = self._gathering.get(same)
        if batch is None:
            batch = self._gathering[same] = _Batch(asyncio.create_task(self._work(same, self._working.get(same))))
        batch.members.append((sender, alert))
        first = batch.members[0][1] is alert
        # Whoever hangs up leaves the others their answer.
        answer = await asyncio.shield(batch.task)
        return answer if first or answer.did is not Did.STARTED else _beside(answer)

    async def _work(self, same: Same, before: asyncio.Task[Answer] | None) -> Answer:
        if before is not None:
            await asyncio.wait([before])
        batch = self._gathering.pop(same)
        self._working[same] = batch.task
        try:
            return await self._act(batch.members)
        finally:
            if self._working.get(same) is batch.task:
                del self._working[same]

    async def _act(self, members: Sequence[tuple[str, Alert]]) -> Answer:
        sender, alert = members[0]
        for _ in range(ROUNDS):
            policies, hold = await asyncio.gather(self._policies(), self._hold.known())
            drilled = await self._practised.known() if self._practised else None
            decision = decide(alert, sender, self._config, policies, _now(), hold, drilled)
            answer = await self._tell(decision, members) or await self._start(decision, members)
            if answer is not None:
                return answer
        raise Unavailable("The runs that this alert is about end faster than they can be told; send it again.")

    async def _policies(self) -> Mapping[str, Distribution] | None:
        if self._plane is None:
            return None
        try:
            async with asyncio.timeout(LOOK_SECONDS):
                return {policy.route: policy.distribution for policy in await self._plane.read()}
        except (Unavailable, TimeoutError) as error:
            log.warning("the policies in force could not be read", error=str(error) or "too slow")
            return None

    async def _tell(self, decision: Decision, members: Sequence[tuple[str, Alert]]) -> Answer | None:
        """Tell the open runs that should be told, and no more; None if there are none."""
        seen = await asyncio.gather(*(self._temporal.find(run) for run in decision.tells))
        there = [run.workflow_id for run in seen if run and run.open and run.provider in ("", decision.about)]
        reached = [run for run in there if await self._notes.leave(run, _remarks(members))]
        if not reached:
            return None
        over = members[0][1].status is Status.RESOLVED
        did, verb = (Did.NOTED, "Noted on") if over else (Did.JOINED, "Joined")
        return Answer(alert="", did=did, runs=reached, said=f"{verb} {_runs(reached)}: {decision.reason}.")

    async def _start(self, decision: Decision, members: Sequence[tuple[str, Alert]]) -> Answer | None:
        """Start or join every run that the decision names; None where one ended just now, and all is to be looked at anew."""
        if not decision.starts:
            return _ignored(members[0][1], decision)
        started, joined, repeated = list[str](), list[str](), list[str]()
        for order in decision.starts:
            before = await self._temporal.find(order.workflow_id)
            if before is not None and self._had(before, members):
                repeated.append(order.workflow_id)
                continue
            run = await self._stand(order, before, members)
            rest = members[1:] if run.started else members
            if rest and not await self._notes.leave(order.workflow_id, _remarks(rest)):
                return None
            (started if run.started else joined).append(order.workflow_id)
        return _answer(decision, started, joined, repeated)

    async def _stand(self, order: StartOrder, before: Seen | None, members: Sequence[tuple[str, Alert]]) -> StartedRun:
        if before is None or not before.open:
            return await self._temporal.start(order, _memo(*members[0]))
        missing = set(order.request.get("routes") or ()) - set(before.routes)
        if missing and before.routes:
            raise Unavailable(
                f"{order.workflow_id} is under way for {', '.join(before.routes)} and does not cover "
                f"{', '.join(sorted(missing))}; send it again."
            )
        return StartedRun(workflow_id=order.workflow_id, run_id=before.run_id, started=False)

    def _had(self, run: Seen, members: Sequence[tuple[str, Alert]]) -> bool:
        """Whether a run that is over was started for this very delivery: also by a server before this one.

        Where others came with it, they are news, and what is done for them is done for all.
        """
        if run.open or run.closed_at is None or any(_memo(*member) != run.alert for member in members):
            return False
        return _now() - run.closed_at < self._kept(members[0][1])


def _now() -> datetime:
    return datetime.now(UTC)


def _memo(sender: str, alert: Alert) -> str:
    return f"{sender}/{alert.key}"[:500]


def _remarks(members: Sequence[tuple[str, Alert]]) -> list[Note]:
    def remark(sender: str, alert: Alert) -> Note:
        over = " is over" if alert.status is Status.RESOLVED else ""
        return Note(by=author(sender, alert), text=f"{told(alert)}{over}")

    return [remark(sender, alert) for sender, alert in members]


def _runs(ids: Sequence[str]) -> str:
    return ("run " if len(ids) == 1 else "runs ") + ", ".join(ids)


def _ignored(alert: Alert, decision: Decision) -> Answer:
    return Answer(alert=alert.name, did=Did.IGNORED, said=f"Ignored: {decision.reason}.")


def _again(before: Answer) -> Answer:
    return replace(before, did=Did.REPEATED, said=f"Had already, nothing more was done. Then: {before.said}")


def _beside(answer: Answer) -> Answer:
    """The answer to an alert that came together with the one that started the run."""
    return replace(answer, did=Did.JOINED, said=f"Joined, as one of several that came together. {answer.said}")


def _answer(decision: Decision, started: list[str], joined: list[str], repeated: list[str]) -> Answer:
    parts = [
        *([f"started {_runs(started)}"] if started else []),
        *([f"joined {_runs(joined)}"] if joined else []),
        *([f"{_runs(repeated)} had this alert already, and is over"] if repeated else []),
    ]
    said = "; ".join(parts)
    did = Did.STARTED if started else Did.JOINED if joined else Did.REPEATED
    return Answer(
        alert="", did=did, runs=[*started, *joined, *repeated], said=f"{said[0].upper()}{said[1:]}: {decision.reason}."
    )
