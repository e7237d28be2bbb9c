"""What crosses into workflows, and what happens to what may not.

By default a start or message that cannot be decoded fails the workflow *task*, which Temporal retries for ever: the
starter sees a run that never moves. Here it becomes an error that ends the run at once, or a message that is dropped with
a note in the timeline. Field names and reasons are told, values never.
"""

import inspect
from collections.abc import Callable, Sequence
from dataclasses import is_dataclass, replace
from typing import Any, Self, TypeVar, get_type_hints

from pydantic import BaseModel, ValidationError
from temporalio import workflow
from temporalio.api.common.v1 import Payload
from temporalio.common import RawValue
from temporalio.contrib.pydantic import PydanticJSONPlainPayloadConverter
from temporalio.converter import (
    ActivitySerializationContext,
    CompositePayloadConverter,
    DataConverter,
    DefaultFailureConverterWithEncodedAttributes,
    DefaultPayloadConverter,
    EncodingPayloadConverter,
    JSONPlainPayloadConverter,
    PayloadCodec,
    SerializationContext,
    WithSerializationContext,
)
from temporalio.exceptions import ApplicationError
from temporalio.worker import (
    ExecuteWorkflowInput,
    HandleSignalInput,
    HandleUpdateInput,
    Interceptor,
    WorkflowInboundInterceptor,
    WorkflowInterceptorClassInput,
)

T = TypeVar("T")

MALFORMED = "MalformedInput"
"""Type of the error that malformed input becomes."""


class TypedJson(PydanticJSONPlainPayloadConverter):
    """Pydantic's JSON, written by the same types that read it: the SDK's own ignores how fields are to be serialised."""

    def to_payload(self, value: Any) -> Payload | None:
        data = self._type_adapter(_type_of(value)).dump_json(value)
        return Payload(metadata={"encoding": self.encoding.encode()}, data=data)


def _type_of(value: Any) -> Any:
    if isinstance(value, list) and value and len({type(item) for item in value}) == 1:
        return list[type(value[0])]  # type: ignore[misc]
    return type(value) if is_dataclass(value) or isinstance(value, BaseModel) else Any


ENCRYPTED = "binary/encrypted"
"""Encoding of a payload that a codec made. One that arrives here was not opened."""

KEY_ID = "encryption-key-id"
"""Metadata that names the key, in the clear; the seal covers it."""

PROBLEM = "encryption-problem"
"""Metadata in which a codec leaves the sentence of why it could not open a payload."""


class Unreadable(Exception):
    """An encrypted payload that this process cannot open. `passing`: another process, or this one with its key, may."""

    def __init__(self, why: str, *, passing: bool) -> None:
        super().__init__(why)
        self.passing = passing


class Sealed(EncodingPayloadConverter, WithSerializationContext):
    """Refuses what no codec opened.

    What a run was sent is malformed input then. What its own steps were given or answered was sealed by our own workers: it is
    waited for until one with the key comes, since a key that one worker lacks must not end a run in the middle of its work.
    """

    def __init__(self, *, passing: bool = False) -> None:
        self._passing = passing

    @property
    def encoding(self) -> str:
        return ENCRYPTED

    def to_payload(self, value: Any) -> Payload | None:
        return None

    def from_payload(self, payload: Payload, type_hint: type | None = None) -> Any:
        why = payload.metadata.get(PROBLEM, b"").decode() or "it is encrypted, and no codec key is configured here"
        raise Unreadable(why, passing=self._passing)

    def with_context(self, context: SerializationContext) -> Self:
        return type(self)(passing=isinstance(context, ActivitySerializationContext))


class StrictPayloadConverter(CompositePayloadConverter):
    """JSON by types, with what cannot be decoded as an error that is not retried."""

    def __init__(self) -> None:
        typed = TypedJson()
        kept = DefaultPayloadConverter.default_encoding_payload_converters
        super().__init__(*(typed if isinstance(c, JSONPlainPayloadConverter) else c for c in kept), Sealed())

    def from_payloads(self, payloads: Sequence[Payload], type_hints: list[type] | None = None) -> list[Any]:
        try:
            return super().from_payloads(payloads, type_hints)
        except ApplicationError:
            raise
        except Unreadable as error:
            if error.passing:
                raise
            raise _malformed(str(error)) from None
        except Exception as error:  # noqa: BLE001 (whatever a decoder raises, the task must not retry it)
            raise _malformed(explain(error)) from None


data_converter = replace(DataConverter.default, payload_converter_class=StrictPayloadConverter)
"""The converter of every client and worker of the product that encrypts nothing."""


def encrypting(codec: PayloadCodec) -> DataConverter:
    """The same with a codec; what errors say is encrypted too, since it may quote what was asked."""
    return replace(
        data_converter,
        payload_codec=codec,
        failure_converter_class=DefaultFailureConverterWithEncodedAttributes,
    )


def understand(message: RawValue, shape: type[T]) -> T | str:
    """What a message says, or why it cannot be understood. Whatever was sent, a message never harms a run."""
    try:
        said = workflow.payload_converter().from_payload(message.payload, shape)
    except Exception as error:  # noqa: BLE001 (decoders raise what they like)
        return explain(error)
    return said if isinstance(said, shape) else f"it must be a JSON object of the fields of {shape.__name__}"


def explain(error: BaseException) -> str:
    """Fields and reasons, without a value in sight."""
    if isinstance(error, ApplicationError) and error.type == MALFORMED and error.details:
        return str(error.details[0])
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, ValidationError):
        cause = cause.__cause__ or cause.__context__
    if cause is None:
        return "the input could not be decoded as JSON"
    problems = cause.errors(include_url=False, include_context=False)
    return "; ".join(
        f"{_field(problem['loc'])}: {_blind(problem['msg'], problem['input'])}" for problem in problems[:10]
    )


def _blind(reason: str, value: object) -> str:
    """Hide values in a reason: our validators tell them, for a configuration file; here nobody's value is repeated."""
    for text in sorted(_texts(value), key=len, reverse=True):
        for shown in (repr(text), text):
            reason = reason.replace(shown, "…")
    return reason.removeprefix("Value error, ")


def _texts(value: object) -> set[str]:
    """Every text within that could be recognised, names of fields and providers included."""
    match value:
        case str():
            return {value} if len(value) > 1 else set()
        case dict():
            return {text for pair in value.items() for one in pair for text in _texts(one)}
        case list() | tuple():
            return {text for one in value for text in _texts(one)}
    return set()


def _field(location: tuple[int | str, ...]) -> str:
    return ".".join(str(part) for part in location) or "the input"


def _malformed(why: str) -> ApplicationError:
    said = f"Malformed input: {why}. Nothing was changed."
    return ApplicationError(said, why, type=MALFORMED, non_retryable=True)


def why_not_callable(function: Callable[..., Any], args: Sequence[Any]) -> str | None:
    """Why a workflow's run or handler cannot be called with these arguments; None where it can."""
    function = getattr(function, "func", function)  # handlers come bound to their instance
    signature = inspect.signature(function)
    parameters = [parameter for name, parameter in signature.parameters.items() if name != "self"]
    required = [parameter for parameter in parameters if parameter.default is inspect.Parameter.empty]
    if not len(required) <= len(args) <= len(parameters):
        expected = ", ".join(parameter.name for parameter in parameters) or "no input"
        return f"{len(args)} inputs were given; expected is one JSON object ({expected})"
    hints = get_type_hints(function)
    for parameter, value in zip(parameters, args, strict=False):
        expected_type = hints.get(parameter.name)
        if isinstance(expected_type, type) and not isinstance(value, expected_type):
            return f"{parameter.name} must be a JSON object of the fields of {expected_type.__name__}"
    return None


class RefuseMalformed(Interceptor):
    """Checks number and type of what a run or a signal is given, before any of our code sees it."""

    def workflow_interceptor_class(self, input: WorkflowInterceptorClassInput) -> type[WorkflowInboundInterceptor]:
        return _Inbound


class _Inbound(WorkflowInboundInterceptor):
    async def execute_workflow(self, input: ExecuteWorkflowInput) -> Any:
        why = why_not_callable(input.run_fn, input.args)
        if why is not None:
            raise _malformed(why)
        return await super().execute_workflow(input)

    def handle_update_validator(self, input: HandleUpdateInput) -> None:
        handler = workflow.get_update_handler(input.update)
        why = why_not_callable(handler, input.args) if handler else None
        if why is not None:
            raise _malformed(why)
        super().handle_update_validator(input)

    async def handle_signal(self, input: HandleSignalInput) -> None:
        handler = workflow.get_signal_handler(input.signal)
        why = why_not_callable(handler, input.args) if handler else None
        if why is None:
            await super().handle_signal(input)
            return
        instance = workflow.instance()
        workflow.logger.warning("malformed signal dropped", extra={"signal": input.signal, "why": why})
        if hasattr(instance, "note_dropped"):
            instance.note_dropped(input.signal, why)
