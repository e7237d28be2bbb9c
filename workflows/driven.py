"""The doors through which people drive a run: each order is an Update, and a Signal of the same name.

The Update answers (a refusal too: a rejected Update would leave no trace); the Signal is for the `temporal` CLI and the Web
UI, and its answer stands in the timeline. Handlers check, note and return; the run's own loop acts.
"""

import asyncio
from collections.abc import Callable
from typing import Any

from temporalio import workflow
from temporalio.common import RawValue
from temporalio.exceptions import ApplicationError

from failover.driving import Abort, Answer, Decide, Driving, Order, SetPercent, Verb
from workflows.journal import Visible
from workflows.payloads import MALFORMED, understand

SHAPES: dict[Verb, type[Order]] = {
    Verb.APPROVE: Decide,
    Verb.REJECT: Decide,
    Verb.ABORT: Abort,
    Verb.SET_PERCENT: SetPercent,
}
"""What each verb must be told; the others are plain orders."""


def _update(verb: Verb, description: str) -> Any:
    @workflow.update(name=verb.value, description=description)
    def order(self, message: RawValue) -> Answer:  # type: ignore[no-untyped-def]  # the SDK skips only a bare self
        answer: Answer = self.take(verb, message)
        return answer

    @order.validator
    def check(self, message: RawValue) -> None:  # type: ignore[no-untyped-def]
        said = understand(message, SHAPES.get(verb, Order))
        if isinstance(said, str):
            raise ApplicationError(f"Malformed input: {said}. Nothing was changed.", type=MALFORMED)

    return order


def _signal(verb: Verb, description: str) -> Callable[..., None]:
    @workflow.signal(name=verb.value, description=description)
    def order(self, message: RawValue) -> None:  # type: ignore[no-untyped-def]  # the SDK skips only a bare self
        self.take(verb, message)

    return order


class Driven(Visible):
    """Base of every procedure that people can drive."""

    driving: Driving
    forward: asyncio.Task[Any] | None = None
    """What goes on by itself; an abort stops it."""

    approve = _update(Verb.APPROVE, "Agree to the step that waits (actor, step, digest)")
    approve_by_signal = _signal(Verb.APPROVE, "Agree to the step that waits (actor, step, digest)")
    reject = _update(Verb.REJECT, "Refuse the step that waits (actor, step, digest)")
    reject_by_signal = _signal(Verb.REJECT, "Refuse the step that waits (actor, step, digest)")
    abort = _update(Verb.ABORT, "End the run: mode restore (default) or hold (actor)")
    abort_by_signal = _signal(Verb.ABORT, "End the run: mode restore (default) or hold (actor)")
    pause = _update(Verb.PAUSE, "Freeze the plan; gates are still watched (actor)")
    pause_by_signal = _signal(Verb.PAUSE, "Freeze the plan; gates are still watched (actor)")
    resume = _update(Verb.RESUME, "Go on after a pause (actor)")
    resume_by_signal = _signal(Verb.RESUME, "Go on after a pause (actor)")
    advance = _update(Verb.ADVANCE, "End the present wait (actor)")
    advance_by_signal = _signal(Verb.ADVANCE, "End the present wait (actor)")
    escalate = _update(Verb.ESCALATE, "Straight to the last step, without waits or approvals (actor)")
    escalate_by_signal = _signal(Verb.ESCALATE, "Straight to the last step, without waits or approvals (actor)")
    retry = _update(Verb.RETRY, "Try the failed or doubtful step again (actor)")
    retry_by_signal = _signal(Verb.RETRY, "Try the failed or doubtful step again (actor)")
    set_percent = _update(Verb.SET_PERCENT, "Where a canary goes next (actor, percent)")
    set_percent_by_signal = _signal(Verb.SET_PERCENT, "Where a canary goes next (actor, percent)")

    def take(self, verb: Verb, message: RawValue) -> Answer:
        """One order: understood, accepted or refused, and told in the timeline."""
        said = understand(message, SHAPES.get(verb, Order))
        if isinstance(said, str):
            self.note_dropped(verb.value, said)
            return Answer(accepted=False, said=f"Malformed input: {said}.")
        update = workflow.current_update_info()
        order = said.model_copy(update={"id": update.id}) if update and not said.id else said
        answer = self.driving.answered(verb, order)
        if answer is not None:
            return answer
        answer = self.driving.take(verb, order, workflow.now())
        comment = f" ({order.comment})" if order.comment else ""
        self.journal.note(f"{order.actor}, {verb.value}{comment}: {answer.said}")
        if verb is Verb.ABORT and answer.accepted and self.forward is not None:
            self.forward.cancel()
        return answer
