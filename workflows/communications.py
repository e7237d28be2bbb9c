"""Communications: everybody outside is told of one incident, each at its own pace, however long it takes.

It outlives the run that it tells of, and nothing that traffic depends on waits for it.
"""

import asyncio
from dataclasses import dataclass
from datetime import datetime, timedelta

from temporalio import workflow
from temporalio.common import RawValue
from temporalio.exceptions import ActivityError, ApplicationError
from temporalio.exceptions import TimeoutError as NoAnswer

from activities.communications import Communicating
from failover.communications import (
    NAME,
    CaseVerb,
    CaseWord,
    ChannelState,
    CommunicationsRequest,
    CommunicationsState,
    Delivery,
    News,
    Stage,
    Word,
)
from failover.driving import Answer
from failover.told import lines_of
from failover.units import render_duration
from workflows import failures, other_runs
from workflows.doors import by_signal, by_update
from workflows.driven import grown_long
from workflows.options import HELPER, delivering
from workflows.payloads import understand

FIRST_ROUND = 3
"""Timeouts long. Tries come in rounds, so that what is still on its way is seen; each is twice as long as the one before."""

LONGEST_ROUND = timedelta(hours=1)

WATCH = timedelta(minutes=10)
"""How often a run that says nothing is looked for."""


@dataclass(slots=True)
class Trouble:
    """A channel that takes nothing: since when, and how many rounds were in vain."""

    since: datetime
    rounds: int = 0


WORDS = {CaseVerb.APPROVE: Word.APPROVED, CaseVerb.DECLINE: Word.DECLINED}


@workflow.defn(name=NAME)
class Communications:
    """A pump for each channel. What is told, and what is not, is kept with the evidence."""

    @workflow.init
    def __init__(self, request: CommunicationsRequest) -> None:
        self._request = request
        self._state = request.state
        self._troubles: dict[str, Trouble] = {}
        self._leaving = False
        self._changes, self._kept = 0, -1

    @workflow.run
    async def run(self, request: CommunicationsRequest) -> CommunicationsState:
        keeping = asyncio.create_task(self._keep())
        await asyncio.gather(
            *(self._pump(channel) for channel in self._state.channels), self._watch_the_run(), self._wait_for_words()
        )
        if self._leaving and not self._is_over():
            keeping.cancel()
            workflow.continue_as_new(request.model_copy(update={"state": self._state}))
        self._state.over = True
        self._changed()
        await keeping
        return self._state

    # What is told

    async def _pump(self, channel: ChannelState) -> None:
        """Tell one piece of news after the other, in order; whatever another channel does."""
        while True:
            await workflow.wait_condition(
                lambda: self._leaving or self._is_done(channel) or self._next(channel) is not None
            )
            news = None if self._leaving else self._next(channel)
            if news is None:
                return
            await self._tell(channel, news)
            self._leaving = self._leaving or grown_long()

    def _next(self, channel: ChannelState) -> News | None:
        return channel.next_news(self._state.news)

    def _is_done(self, channel: ChannelState) -> bool:
        """Whether nothing will come any more: the incident is closed, and no word is waited for."""
        over = self._state.closing is not None and not channel.waits_for_word and self._next(channel) is None
        return channel.silent or over

    def _is_over(self) -> bool:
        return self._state.closing is not None and all(map(self._is_done, self._state.channels))

    async def _tell(self, channel: ChannelState, news: News) -> None:
        """Make one round of tries; what fails is noted, and the next round tells what is the newest then."""
        order = Delivery(
            channel=channel.name,
            incident=self._state.incident,
            news=news,
            reference=channel.reference,
            providers=channel.providers,
        )
        trouble = self._troubles.setdefault(channel.name, Trouble(workflow.now()))
        left = self._request.give_up_after - (workflow.now() - trouble.since)
        round_ = min(FIRST_ROUND * self._request.timeout * 2 ** min(trouble.rounds, 20), LONGEST_ROUND, left)
        try:
            reference = await workflow.execute_activity_method(
                Communicating.deliver,
                order,
                summary=f"{channel.name.value}: {news.stage.value}",
                **delivering(self._request.timeout, round_),
            )
        except ActivityError as error:
            await self._missed(channel, news, trouble, error)
        else:
            self._troubles.pop(channel.name)
            channel.was_told(news, reference, workflow.now())
            self._changed()

    async def _missed(self, channel: ChannelState, news: News, trouble: Trouble, error: ActivityError) -> None:
        failed = error.cause if isinstance(error.cause, ApplicationError) else None
        wait = max((failed.next_retry_delay if failed else None) or timedelta(0), self._request.timeout)
        trouble.rounds += 1
        left = self._request.give_up_after - (workflow.now() - trouble.since)
        given_up = (failed is not None and failed.non_retryable) or wait > left
        channel.was_missed(news, self._why(error), workflow.now(), given_up=given_up)
        self._changed()
        if given_up:
            self._troubles.pop(channel.name)
        else:
            await workflow.sleep(wait, summary=f"{channel.name.value}: until the next round")

    def _why(self, error: ActivityError) -> str:
        why = failures.why(error)
        if isinstance(error.cause, NoAnswer):
            return f"It did not answer within {render_duration(self._request.timeout)}."
        return error.cause.message if isinstance(error.cause, ApplicationError) else why

    # What is waited for

    async def _watch_the_run(self) -> None:
        """A run that vanished without a word must not leave everybody waiting."""
        incident = self._state.incident
        while not (self._state.closing or self._leaving):
            try:
                await workflow.wait_condition(
                    lambda: self._state.closing is not None or self._leaving,
                    timeout=WATCH,
                    timeout_summary="until the run says more",
                )
            except TimeoutError:
                self._leaving = self._leaving or grown_long()
                if not await other_runs.is_open(incident.workflow_id):
                    text = f"{incident.workflow_id} is over, and did not say how it ended. Look at its routes."
                    self._hear(News(stage=Stage.CLOSED, text=text, at=workflow.now(), urgent=True))

    async def _wait_for_words(self) -> None:
        """A case that nobody approves in time is not opened."""
        state = self._state
        if not state.waiting:
            return
        until = state.ask_until = state.ask_until or workflow.now() + self._request.ask_for
        try:
            await workflow.wait_condition(
                lambda: not state.waiting or self._leaving,
                timeout=until - workflow.now(),
                timeout_summary="until a case is approved",
            )
        except TimeoutError:
            for channel in state.waiting:
                channel.word = Word.EXPIRED
            self._changed()

    async def _keep(self) -> None:
        """What was told lies with the run's evidence as soon as there is any; each change once more."""
        while not (self._state.over and self._kept == self._changes):
            await workflow.wait_condition(
                lambda: self._kept != self._changes and (self._state.closing is not None or self._state.over)
            )
            seen = self._changes
            try:
                await workflow.execute_activity_method(
                    Communicating.keep, self._state, summary="keep what was told", **HELPER
                )
            except ActivityError as error:
                workflow.logger.error("what was told could not be kept", extra={"why": failures.why(error)})
            self._kept = seen

    def _changed(self) -> None:
        self._changes += 1
        workflow.set_current_details("\n".join(f"- {line}" for line in lines_of(self._state))[:18_000])

    def _hear(self, news: News) -> None:
        self._state.hear(news)
        self._changed()

    # What is said to it

    @workflow.signal
    def tell(self, message: RawValue) -> None:
        """Take news that the run wants to be known, its end above all."""
        said = understand(message, News)
        if isinstance(said, str):
            self.note_dropped("tell", said)
        else:
            self._hear(said)

    approve = by_update(CaseVerb.APPROVE, CaseWord, "Open the support cases that wait for a word (actor, channel)")
    approve_by_signal = by_signal(CaseVerb.APPROVE, "Open the support cases that wait for a word (actor, channel)")
    decline = by_update(CaseVerb.DECLINE, CaseWord, "Open no support case (actor, channel)")
    decline_by_signal = by_signal(CaseVerb.DECLINE, "Open no support case (actor, channel)")

    @workflow.query
    def told(self) -> CommunicationsState:
        """Who was told what, and what did not get through."""
        return self._state

    def note_dropped(self, name: str, why: str) -> None:
        workflow.logger.warning("a malformed message was dropped", extra={"message_name": name, "why": why})

    def take(self, verb: CaseVerb, message: RawValue) -> Answer:
        """Take one word on the cases: understood, obeyed or refused."""
        said = understand(message, CaseWord)
        if isinstance(said, str):
            self.note_dropped(verb.value, said)
            return Answer(accepted=False, said=f"Malformed input: {said}.")
        answer = self._state.decide(said.channel, WORDS[verb], said.actor)
        self._changed()
        return answer
