"""Doors through which people reach a run: each order is an Update and a Signal of the same name.

The Update answers (a refusal too: a rejected Update would leave no trace); the Signal is for the `temporal` CLI and the Web
UI. Both end in the run's own `take(verb, message)`, which checks, notes and returns; the run's loop acts.
"""

from collections.abc import Callable
from enum import StrEnum
from typing import Any, TypeVar

from temporalio import workflow
from temporalio.common import RawValue
from temporalio.exceptions import ApplicationError

from failover.driving import Answer, Order
from workflows.payloads import MALFORMED, understand

Given = TypeVar("Given", bound=Order)


def by_update(verb: StrEnum, shape: type[Any], description: str) -> Any:
    """What cannot be understood as `shape` is refused before it leaves a trace."""

    @workflow.update(name=verb.value, description=description)
    def order(self, message: RawValue) -> Answer:  # type: ignore[no-untyped-def]  # the SDK skips only a bare self
        answer: Answer = self.take(verb, message)
        return answer

    @order.validator
    def check(self, message: RawValue) -> None:  # type: ignore[no-untyped-def]
        said = understand(message, shape)
        if isinstance(said, str):
            raise ApplicationError(f"Malformed input: {said}. Nothing was changed.", type=MALFORMED)

    return order


def by_signal(verb: StrEnum, description: str) -> Callable[..., None]:
    @workflow.signal(name=verb.value, description=description)
    def order(self, message: RawValue) -> None:  # type: ignore[no-untyped-def]  # the SDK skips only a bare self
        self.take(verb, message)

    return order


def order_in(message: RawValue, shape: type[Given]) -> Given | str:
    """The order, known by the Update's own id where it has none; or why it cannot be understood."""
    said = understand(message, shape)
    update = workflow.current_update_info()
    if isinstance(said, str) or update is None or said.id:
        return said
    return said.model_copy(update={"id": update.id})
