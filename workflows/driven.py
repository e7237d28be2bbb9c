"""What people can do with a procedure while it goes: approve, reject, abort, pause and the like; its own loop acts on it."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from datetime import timedelta
from typing import Any, NoReturn, TypeVar

from pydantic import TypeAdapter
from temporalio import workflow
from temporalio.common import RawValue
from temporalio.exceptions import ApplicationError, is_cancelled_exception

from failover.driving import Abort, Answer, ApprovalRequest, Decide, Driving, Order, SetPercent, Stage, Verb
from failover.incident import Outcome, RunRecord
from failover.messages import Asked
from failover.requests import LongRequest
from workflows.doors import by_signal, by_update, order_in
from workflows.ending import Ended, close, undisturbed
from workflows.herald import Herald
from workflows.journal import Visible
from workflows.payloads import MALFORMED

T = TypeVar("T")

LONG_HISTORY = 1_200
"""Events after which a run that waits continues as a new one: it stays under 2,000 whatever its last step costs."""


def continue_with(request: LongRequest, carried: Any) -> NoReturn:
    """Go on as a new run that knows all this one does."""
    left = TypeAdapter(type(carried)).dump_python(carried, mode="json")
    workflow.continue_as_new(request.model_copy(update={"carried": left}))


def carried_by(request: LongRequest, shape: type[T]) -> T | None:
    """What the run before this one left; None for the first. Nobody else may hand a run its memory."""
    if request.carried is None:
        return None
    if workflow.info().continued_run_id is None:
        why = "carried: only a run that continues another may be given it"
        raise ApplicationError(f"Malformed input: {why}. Nothing was changed.", type=MALFORMED, non_retryable=True)
    return TypeAdapter(shape).validate_python(request.carried)


def grown_long() -> bool:
    """Whether this run should go on as a new one at the next good moment."""
    info = workflow.info()
    return info.get_current_history_length() >= LONG_HISTORY or info.is_continue_as_new_suggested()


SHAPES: dict[Verb, type[Order]] = {
    Verb.APPROVE: Decide,
    Verb.REJECT: Decide,
    Verb.ABORT: Abort,
    Verb.SET_PERCENT: SetPercent,
}
"""What each verb must be told; the others are plain orders."""


def _update(verb: Verb, description: str) -> Any:
    return by_update(verb, SHAPES.get(verb, Order), description)


class Driven(Visible):
    """Base of every procedure that people can drive."""

    driving: Driving
    herald: Herald
    forward: asyncio.Task[Ended] | None = None
    """What goes on by itself; an abort stops it."""
    _orders_seen = 0
    _early: Sequence[tuple[Verb, Order]] = ()
    """Orders that came before the procedure began: with the first task of a run that goes on for another."""

    approve = _update(Verb.APPROVE, "Agree to the step that waits (actor, step, digest)")
    approve_by_signal = by_signal(Verb.APPROVE, "Agree to the step that waits (actor, step, digest)")
    reject = _update(Verb.REJECT, "Refuse the step that waits (actor, step, digest)")
    reject_by_signal = by_signal(Verb.REJECT, "Refuse the step that waits (actor, step, digest)")
    abort = _update(Verb.ABORT, "End the run: mode restore (default) or hold (actor)")
    abort_by_signal = by_signal(Verb.ABORT, "End the run: mode restore (default) or hold (actor)")
    pause = _update(Verb.PAUSE, "Freeze the plan; gates are still watched (actor)")
    pause_by_signal = by_signal(Verb.PAUSE, "Freeze the plan; gates are still watched (actor)")
    resume = _update(Verb.RESUME, "Go on after a pause (actor)")
    resume_by_signal = by_signal(Verb.RESUME, "Go on after a pause (actor)")
    advance = _update(Verb.ADVANCE, "End the present wait (actor)")
    advance_by_signal = by_signal(Verb.ADVANCE, "End the present wait (actor)")
    escalate = _update(Verb.ESCALATE, "Straight to the last step, without waits or approvals (actor)")
    escalate_by_signal = by_signal(Verb.ESCALATE, "Straight to the last step, without waits or approvals (actor)")
    retry = _update(Verb.RETRY, "Try the failed or doubtful step again (actor)")
    retry_by_signal = by_signal(Verb.RETRY, "Try the failed or doubtful step again (actor)")
    set_percent = _update(Verb.SET_PERCENT, "Where a canary goes next (actor, percent)")
    set_percent_by_signal = by_signal(Verb.SET_PERCENT, "Where a canary goes next (actor, percent)")

    async def abortable(
        self,
        work: Coroutine[Any, Any, Ended],
        abandon: Callable[[], Coroutine[Any, Any, Ended]],
        record: Callable[[Ended], RunRecord],
        *,
        dry_run: bool = False,
    ) -> Ended:
        """How the work ended; an abort or a cancellation stops it at whatever it does, and `abandon` ends it instead.

        A cancelled run is closed here and leaves as canceled.
        """
        self.forward = asyncio.create_task(work)
        try:
            ended = await self.forward
            # An order that came with the last breath of the procedure is an order all the same.
            if not self._is_ordered_to_stop() or ended.outcome is Outcome.SUPERSEDED:
                self.driving.stage = Stage.CLOSED
                return ended
        except BaseException as error:
            if not is_cancelled_exception(error):
                raise
        # Once begun it is not disturbed: somebody who aborts, and then cancels too, must not stop the restore.
        ended = await undisturbed(abandon())
        self.driving.stage = Stage.CLOSED
        if self.driving.abort is None:
            await close(self.herald, record(ended), dry_run=dry_run)
            raise asyncio.CancelledError
        return ended

    def stop_if_ordered(self) -> None:
        """A cancellation that arrives together with an activity's result is lost: what was ordered is looked at too."""
        if self._is_ordered_to_stop():
            raise asyncio.CancelledError

    def _is_ordered_to_stop(self) -> bool:
        return self.driving.abort is not None or workflow.cancellation_reason() is not None

    async def wait(self, timeout: timedelta, summary: str) -> None:
        """Wait until an order comes, or the time is over."""
        self.stop_if_ordered()
        # Compared with the end of the last wait: an order that came while something was looked at is obeyed at once.
        try:
            await workflow.wait_condition(
                lambda: self.driving.orders != self._orders_seen, timeout=timeout, timeout_summary=summary
            )
        except TimeoutError:
            pass
        self._orders_seen = self.driving.orders

    def settle(self, text: str) -> None:
        """The approval is decided, or no longer wanted: people are told, also where they were asked."""
        asked, self.driving.approval = self.driving.approval, None
        if asked is not None:
            self.herald.update(text, settles=reference(asked))

    def take(self, verb: Verb, message: RawValue) -> Answer:
        """Take one order: understood, accepted or refused, and told in the timeline."""
        order = order_in(message, SHAPES.get(verb, Order))
        if isinstance(order, str):
            self.note_dropped(verb.value, order)
            return Answer(accepted=False, said=f"Malformed input: {order}.")
        if self.forward is None:
            self._early = [*self._early, (verb, order)]
        return self._given(verb, order)

    def take_again(self) -> None:
        """Take the orders that came before this run knew what the run before it left: nobody else holds them."""
        for verb, order in self._early:
            self._given(verb, order)

    def _given(self, verb: Verb, order: Order) -> Answer:
        answer = self.driving.answered(verb, order)
        if answer is not None:
            return answer
        answer = self.driving.take(verb, order, workflow.now())
        comment = f" ({order.comment})" if order.comment else ""
        self.journal.note(f"{order.actor}, {verb.value}{comment}: {answer.said}")
        if verb is Verb.ABORT and answer.accepted and self.forward is not None:
            self.forward.cancel()
        return answer


def reference(asked: ApprovalRequest) -> Asked:
    """The reference to one question that ties the buttons that ask it to the message that takes them away again."""
    return Asked(run=workflow.info().workflow_id, step=asked.step, digest=asked.digest)


def plain_approval(asked: ApprovalRequest | None) -> dict[str, Any] | None:
    """An approval that is waited for, as the `status` query tells it."""
    if asked is None:
        return None
    return {
        "step": asked.step,
        "digest": asked.digest,
        "text": asked.text,
        "granted": list(asked.granted),
        "quorum": asked.quorum,
        "deadline": asked.deadline.isoformat(),
    }
