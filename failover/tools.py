"""Tools that a route's model may call, and the JSON schemas of what it answers."""

import json
from collections.abc import Mapping
from typing import Annotated, Any, Self

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError
from pydantic import Field, field_validator, model_validator
from referencing import Registry

from failover.completion import Tool, ToolCall
from failover.section import Section


def check_schema(value: dict[str, Any] | None) -> dict[str, Any] | None:
    """The schema itself; ValueError where it is none."""
    try:
        Draft202012Validator.check_schema(value if value is not None else {})
    except SchemaError as error:
        raise ValueError(f"this is no JSON schema: {error.message}") from error
    return value


def breach(schema: Mapping[str, Any], value: Any) -> str | None:
    """The place where a value breaks a schema, and the rule; never the value. References elsewhere are not fetched."""
    error = next(Draft202012Validator(schema, registry=Registry()).iter_errors(value), None)
    return None if error is None else f"{error.json_path}: {error.validator}"


class ToolSpec(Section):
    """A tool, a question that must make a model call it, and arguments that would be right."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_-]{0,62}$")]
    description: Annotated[str, Field(min_length=1, max_length=2000)]
    parameters: dict[str, Any]
    """JSON schema of its arguments."""
    ask: Annotated[str, Field(min_length=1, max_length=10_000)]
    example: dict[str, Any]

    @field_validator("parameters")
    @classmethod
    def _is_schema(cls, value: dict[str, Any]) -> dict[str, Any]:
        check_schema(value)
        return value

    @model_validator(mode="after")
    def _accepts_its_example(self) -> Self:
        if (why := breach(self.parameters, self.example)) is not None:
            raise ValueError(f"the example of the tool {self.name!r} is not what its parameters accept, at {why}")
        return self

    def tool(self) -> Tool:
        return Tool(name=self.name, description=self.description, parameters=self.parameters)


def call_text(call: ToolCall) -> str:
    """A call as the text of an answer: what golden prompts are graded by."""
    return json.dumps({"tool": call.name, "arguments": call.arguments}, sort_keys=True)
