"""The people of a rehearsal: hear every message, keep what is asked of them, and answer at once as the rehearsal says."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from enum import StrEnum
from typing import Any

from temporalio.client import Client

from failover.config import Config
from failover.messages import IncidentMessage, MessageRef
from failover.ports import Clock
from failover.rehearsal import Asked, who_may_answer
from failover.requests import RunStatus
from starter.runs.situation import Approval, Situation, situation

SOMEBODY = "somebody"
"""The name of whoever answers if the configuration names no operators."""


class Answer(StrEnum):
    """What people say to whatever they are asked."""

    APPROVE = "approve"
    REJECT = "reject"
    NOBODY = "nobody"


class People:
    """A notifier. Nothing leaves the process."""

    def __init__(self, client: Callable[[], Client], config: Config, clock: Clock, answer: Answer) -> None:
        self._client = client
        self._config = config
        self._clock = clock
        self._answer = answer
        self._asked: dict[tuple[str, ...], Asked] = {}
        self.messages: list[IncidentMessage] = []

    @property
    def asked(self) -> list[Asked]:
        return list(self._asked.values())

    async def post(self, message: IncidentMessage, *, retried: bool) -> MessageRef:
        del retried
        self.messages.append(message)
        if message.urgent:
            await self._hear(message.key.rsplit("/", 2)[0], approval=message.asks is not None)
        return message.thread or MessageRef(channel="rehearsal", id=message.key)

    async def _hear(self, run: str, *, approval: bool) -> None:
        """What the run waits for, if for anything, answered."""
        handle = self._client().get_workflow_handle(run)
        status = await handle.query("status", result_type=RunStatus)
        now = situation(status.details)
        order: tuple[str, Mapping[str, Any]] | None = None
        if now.approval is not None:
            order = self._approval(run, now.approval) if approval else None
        elif now.question is not None:
            order = self._question(run, now)
        if order is None:
            return
        verb, told = order
        for name in self._voices(run, now):
            await handle.signal(verb, {**told, "actor": name, "comment": "rehearsal"})

    def _approval(self, run: str, asked: Approval) -> tuple[str, Mapping[str, Any]] | None:
        key = (run, asked.step, asked.digest)
        one = Asked(
            at=self._clock.now(),
            run=run,
            step=asked.step,
            text=asked.text,
            who=self._who(run),
            quorum=asked.quorum,
            deadline=asked.deadline,
            default="it counts as rejected",
            answer=None,
        )
        if not self._note(key, one):
            return None
        bound = {"step": asked.step, "digest": asked.digest}
        return None if self._answer is Answer.NOBODY else (self._answer.value, bound)

    def _question(self, run: str, now: Situation) -> tuple[str, Mapping[str, Any]] | None:
        step = now.steps[now.step] if now.step < len(now.steps) else ""
        one = Asked(
            at=self._clock.now(),
            run=run,
            step=step.split("  ")[0],
            text=now.question or "",
            who=self._who(run),
            deadline=now.question_deadline,
            default=now.question_default or "",
            answer=None,
        )
        if not self._note((run, "question", str(now.question_deadline)), one):
            return None
        verbs = {Answer.APPROVE: "advance", Answer.REJECT: "abort"}
        return None if self._answer is Answer.NOBODY else (verbs[self._answer], {})

    def _note(self, key: tuple[str, ...], asked: Asked) -> bool:
        """Whether it is new; else it is a reminder."""
        if key in self._asked:
            self._asked[key] = replace(self._asked[key], reminders=self._asked[key].reminders + 1)
            return False
        said = None if self._answer is Answer.NOBODY else self._answer.value
        self._asked[key] = replace(asked, answer=said)
        return True

    def _who(self, run: str) -> list[str]:
        """The people who may answer a ramp's approval, by its route's rules; otherwise everybody who may approve."""
        route = self._config.routes.get(run.rpartition("/")[2])
        return who_may_answer(self._config, SOMEBODY, route.approvals if route else None)

    def _voices(self, run: str, now: Situation) -> list[str]:
        """The names of as many people as must agree, of those who may; if nobody is named, anybody at the machine."""
        wanted = now.approval.quorum if now.approval is not None and self._answer is Answer.APPROVE else 1
        named = self._who(run) if self._config.access.operators else [f"{SOMEBODY}-{n + 1}" for n in range(wanted)]
        return named[:wanted]
