"""Golden prompts: questions whose right answers are known, in suites that operators write in YAML. Grading is pure."""

import hashlib
import json
import re
from typing import Annotated, Any, Self

from pydantic import Field, field_validator, model_validator

from failover.completion import ToolCall
from failover.config.readiness import RouteReadiness
from failover.config_file import checked
from failover.section import Count, Section
from failover.tools import ToolSpec, breach, call_text, check_schema

LONGEST = 20_000
"""Characters of an answer that are looked at."""

_NUMBER = re.compile(r"-?\d[\d,]*(?:\.\d+)?(?:[eE][-+]?\d+)?")
_FENCE = re.compile(r"```(?:json)?\s*\n(.*?)```", re.DOTALL)


class Number(Section):
    """The answer's last number is this one, give or take `tolerance`, or `tolerance_percent` of it."""

    value: float
    tolerance: Annotated[float, Field(ge=0)] = 0
    tolerance_percent: Annotated[float, Field(ge=0)] = 0

    def accepts(self, found: float) -> bool:
        # A hair's breadth for numbers that are not whole: 0.1 + 0.2 is no wrong answer.
        allowed = max(self.tolerance, abs(self.value) * self.tolerance_percent / 100, abs(self.value) * 1e-9)
        return abs(found - self.value) <= allowed


class Prompt(Section):
    """One question and what a right answer is: every grader that is given must accept it."""

    id: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")]
    prompt: Annotated[str, Field(min_length=1, max_length=10_000)]
    system: str | None = None
    max_tokens: Count = 200
    exact: str | None = None
    """The whole answer, without the white space around it."""
    contains: list[str] = Field(default_factory=list)
    """All of these, in any case of letters."""
    regex: str | None = None
    """Found somewhere in the answer."""
    json_schema: dict[str, Any] | None = None
    """The answer, or the block of code in it, is JSON that this schema accepts."""
    number: Number | None = None
    tools: list[ToolSpec] = Field(default_factory=list)
    """What the model may call."""
    calls: str | None = None
    """The tool that must be called, with arguments that it accepts."""
    example: Annotated[str, Field(min_length=1)]
    """A right answer. It must pass, so that a grader which accepts nothing is found when the file is read."""

    @field_validator("regex")
    @classmethod
    def _compiles(cls, value: str | None) -> str | None:
        try:
            re.compile(value or "")
        except re.error as error:
            raise ValueError(f"this is no regular expression: {error}") from error
        return value

    @field_validator("json_schema")
    @classmethod
    def _is_schema(cls, value: dict[str, Any] | None) -> dict[str, Any] | None:
        return check_schema(value)

    @model_validator(mode="after")
    def _accepts_its_example(self) -> Self:
        graders = (self.exact, self.contains, self.regex, self.json_schema, self.number, self.calls)
        if all(part in (None, []) for part in graders):
            raise ValueError(
                f"prompt {self.id!r} has no grader: give exact, contains, regex, json_schema, number or calls"
            )
        if self.calls is not None and self.calls not in {tool.name for tool in self.tools}:
            raise ValueError(f"prompt {self.id!r} calls {self.calls!r}, which is none of its tools")
        if (why := why_wrong(self, self.example)) is not None:
            raise ValueError(f"the example of prompt {self.id!r} does not pass its own grader: {why}")
        return self


class Suite(Section):
    """Golden prompts that are asked together."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")]
    temperature: Annotated[float, Field(ge=0, le=2)] | None = 0
    """None, for models that take none."""
    prompts: list[Prompt] = Field(min_length=1)

    @model_validator(mode="after")
    def _ids_are_unique(self) -> Self:
        ids = [prompt.id for prompt in self.prompts]
        if twice := sorted({one for one in ids if ids.count(one) > 1}):
            raise ValueError(f"prompts share an id: {', '.join(twice)}")
        return self

    @property
    def digest(self) -> str:
        """Twelve characters that change when the suite does: a baseline is of exactly one suite."""
        return hashlib.sha256(self.model_dump_json(exclude_defaults=True).encode()).hexdigest()[:12]


def parse_suite(text: str, source: str) -> Suite:
    """The checked suite; ConfigError with one line per complaint."""
    return checked(text, source, Suite)[0]


def prompt_set(suite: Suite, route: RouteReadiness) -> Suite:
    """The suite as one route uses models: behind its system prompt, with its tools, in its form of answers.

    ValueError where an example of the suite is none of the route's form.
    """
    prompts = [_as_route(prompt, route) for prompt in suite.prompts] + [_calling(tool, route) for tool in route.tools]
    return Suite(name=suite.name, temperature=suite.temperature, prompts=prompts)


def _as_route(prompt: Prompt, route: RouteReadiness) -> Prompt:
    return Prompt(
        **{
            **dict(prompt),
            "system": "\n\n".join(part for part in (route.system_prompt, prompt.system) if part) or None,
            "json_schema": prompt.json_schema if prompt.json_schema is not None or prompt.calls else route.json_schema,
            "tools": [*prompt.tools, *route.tools],
        }
    )


def _calling(tool: ToolSpec, route: RouteReadiness) -> Prompt:
    return Prompt(
        id=f"tool-{tool.name.lower().replace('_', '-')}",
        prompt=tool.ask,
        system=route.system_prompt,
        tools=route.tools,
        calls=tool.name,
        example=call_text(ToolCall(name=tool.name, arguments=tool.example)),
    )


def why_wrong(prompt: Prompt, answer: str) -> str | None:
    """What is wrong with an answer, by the first grader that does not accept it; None where it is right."""
    text = answer[:LONGEST].strip()
    if not text:
        return "the answer is empty"
    for grade in (_exact, _contains, _regex, _json, _number, _calls):
        if (why := grade(prompt, text)) is not None:
            return why
    return None


def _exact(prompt: Prompt, text: str) -> str | None:
    wrong = prompt.exact is not None and text != prompt.exact.strip()
    return "it is not the exact answer" if wrong else None


def _contains(prompt: Prompt, text: str) -> str | None:
    missing = [part for part in prompt.contains if part.casefold() not in text.casefold()]
    return f"it does not contain {missing[0]!r}" if missing else None


def _regex(prompt: Prompt, text: str) -> str | None:
    wrong = prompt.regex is not None and re.search(prompt.regex, text) is None
    return "it does not match the expression" if wrong else None


def _json(prompt: Prompt, text: str) -> str | None:
    if prompt.json_schema is None:
        return None
    fenced = _FENCE.search(text)
    try:
        value = json.loads(fenced[1] if fenced else text)
    except ValueError:
        return "it is no JSON"
    where = breach(prompt.json_schema, value)
    return None if where is None else f"its JSON breaks the schema at {where}"


def _number(prompt: Prompt, text: str) -> str | None:
    if prompt.number is None:
        return None
    found = _NUMBER.findall(text)
    if not found:
        return "there is no number in it"
    return None if prompt.number.accepts(float(found[-1].replace(",", ""))) else "its number is another one"


def _calls(prompt: Prompt, text: str) -> str | None:
    if prompt.calls is None:
        return None
    parameters = next(tool.parameters for tool in prompt.tools if tool.name == prompt.calls)
    try:
        told = json.loads(text)
        name, arguments = told["tool"], told["arguments"]
    except (ValueError, KeyError, TypeError):
        return "it calls no tool"
    if name != prompt.calls:
        return "it calls another tool"
    where = breach(parameters, arguments)
    return None if where is None else f"the arguments of its call break the tool's schema at {where}"
