"""Golden prompts: what each grader accepts, and suites that can be refused with a sentence."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from failover.config.readiness import RouteReadiness
from failover.errors import ConfigError
from failover.golden import Prompt, parse_suite, prompt_set, why_wrong
from starter.golden import SHIPPED, shipped_suite

SUITE = """
name: mine
prompts:
  - id: sum
    prompt: Add 2 and 2.
    number: {value: 4}
    example: "4"
"""


def prompt(example: str, **graders: Any) -> Prompt:
    return Prompt.model_validate({"id": "p", "prompt": "?", "example": example, **graders})


@pytest.mark.parametrize(
    ("graders", "example", "right", "wrong"),
    [
        ({"exact": "Au"}, "Au", [" Au\n"], ["au", "Au.", "Gold (Au)", ""]),
        ({"contains": ["red", "Blue"]}, "red blue", ["BLUE and RED"], ["red", "   "]),
        ({"regex": r"(?i)^no\b"}, "no", ["No, never."], ["I know", "yes"]),
        (
            {"json_schema": {"type": "object", "required": ["age"], "properties": {"age": {"const": 34}}}},
            '{"age": 34}',
            ['```json\n{"age": 34, "name": "x"}\n```', 'Here it is:\n```\n{"age": 34}\n```'],
            ['{"age": 35}', '{"age": "34"}', "{}", "age is 34", '{"age": 34'],
        ),
        ({"number": {"value": 68}}, "68", ["It is 68.", "80 - 12 = 68"], ["69", "sixty-eight", "68.5"]),
        ({"number": {"value": 1250}}, "1250", ["$1,250", "1.25e3"], ["1,205", "-1250"]),
        ({"number": {"value": 0.3}}, "0.3", ["0.30000000000000004"], ["0.31"]),
        ({"number": {"value": 100, "tolerance": 2}}, "100", ["98", "102"], ["97.9", "102.1"]),
        ({"number": {"value": 200, "tolerance_percent": 1}}, "200", ["198", "202"], ["197.9"]),
        ({"contains": ["four"], "number": {"value": 4}}, "four (4)", ["4, four: 4"], ["four", "4", "four is 5"]),
    ],
)
def test_graders(graders: dict[str, Any], example: str, right: list[str], wrong: list[str]) -> None:
    """Every grader that a prompt has must accept the answer."""
    asked = prompt(example, **graders)
    assert [text for text in right if why_wrong(asked, text)] == []
    assert [text for text in wrong if not why_wrong(asked, text)] == []


@pytest.mark.parametrize("name", SHIPPED)
def test_the_shipped_suites_can_be_used(name: str) -> None:
    """Twenty and sixty questions, each with an example that its grader accepts."""
    suite = parse_suite(shipped_suite(name).read_text(), name)
    assert (suite.name, len(suite.prompts)) == (name, {"quick": 20, "comprehensive": 60}[name])
    answers = {asked.example for asked in suite.prompts}
    assert all(why_wrong(asked, "I would rather talk about lighthouses.") for asked in suite.prompts), answers


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (("number: {value: 4}", ""), "mine.yaml:4: prompts.0: prompt 'sum' has no grader"),
        (('example: "4"', 'example: "5"'), "does not pass its own grader: its number is another one"),
        (('example: "4"', ""), "prompts.0.example: this key is required"),
        (("number: {value: 4}", "regex: '['"), "this is no regular expression"),
        (("number: {value: 4}", "json_schema: {type: numbre}"), "this is no JSON schema"),
        (("number: {value: 4}", "numbr: 4"), "prompts.0.numbr: unknown key; known here: calls, contains, exact"),
        (("name: mine", "nme: mine"), "name: this key is required"),
        (("id: sum", "id: Sum Of"), "prompts.0.id: 'Sum Of' is not allowed"),
    ],
)
def test_a_suite_that_cannot_be_used_is_refused_with_its_line(change: tuple[str, str], complaint: str) -> None:
    """File, line, key and what is allowed."""
    with pytest.raises(ConfigError) as refused:
        parse_suite(SUITE.replace(*change), "mine.yaml")
    assert complaint in str(refused.value) and str(refused.value).startswith("mine.yaml:")


def test_prompts_have_ids_of_their_own() -> None:
    """A miss names its prompt."""
    twice = SUITE + SUITE.split("prompts:\n")[1]
    with pytest.raises(ConfigError, match="share an id: sum"):
        parse_suite(twice, "mine.yaml")


def test_a_schema_that_points_elsewhere_fetches_nothing() -> None:
    """An answer is graded by what stands in the file."""
    remote = {"json_schema": {"$ref": "http://127.0.0.1:9/schema.json"}}
    with pytest.raises(Exception, match=r"Unresolvable|grader"):
        prompt("{}", **remote)


def test_the_digest_changes_with_the_suite() -> None:
    """A baseline is of exactly one version."""
    first, second = parse_suite(SUITE, "a"), parse_suite(SUITE.replace("value: 4}", "value: 4, tolerance: 1}"), "b")
    assert first.digest != second.digest
    assert first.digest == parse_suite(SUITE, "elsewhere").digest
    assert Path(shipped_suite("quick")).name == "quick.yaml"


TOOL = {
    "name": "lookup_order",
    "description": "Looks up an order.",
    "parameters": {"type": "object", "properties": {"number": {"type": "integer"}}, "required": ["number"]},
    "ask": "Where is my order 4711?",
    "example": {"number": 4711},
}


def test_a_prompt_set_is_the_suite_as_the_route_uses_models() -> None:
    """Behind its system prompt, with its tools and a question for each; nothing of it, and the suite is as it was."""
    suite = parse_suite(SUITE, "suite.yaml")
    assert prompt_set(suite, RouteReadiness()).digest == suite.digest
    spoken = prompt_set(suite, RouteReadiness(system_prompt="You are terse."))
    assert all(str(one.system).startswith("You are terse.") for one in spoken.prompts)
    armed = prompt_set(suite, RouteReadiness.model_validate({"tools": [TOOL]}))
    assert [one.id for one in armed.prompts][-1] == "tool-lookup-order" and len(armed.prompts) == len(suite.prompts) + 1
    assert all([tool.name for tool in one.tools] == ["lookup_order"] for one in armed.prompts)
    assert len({suite.digest, spoken.digest, armed.digest}) == 3


def test_a_route_whose_form_the_suite_has_not() -> None:
    """Is found before anything is asked: no answer could ever be right."""
    with pytest.raises(ValidationError, match="does not pass its own grader: its JSON breaks the schema"):
        prompt_set(parse_suite(SUITE, "suite.yaml"), RouteReadiness(json_schema={"type": "object", "required": ["x"]}))


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ('{"tool": "lookup_order", "arguments": {"number": 4711}}', None),
        ('{"tool": "lookup_order", "arguments": {"number": "4711"}}', "break the tool's schema at $.number: type"),
        ('{"tool": "delete_order", "arguments": {"number": 4711}}', "it calls another tool"),
        ("I would look that up.", "it calls no tool"),
        ('{"number": 4711}', "it calls no tool"),
    ],
)
def test_a_call_of_a_tool_is_graded(answer: str, why: str | None) -> None:
    """The right tool, with arguments that it accepts."""
    armed = prompt_set(parse_suite(SUITE, "suite.yaml"), RouteReadiness.model_validate({"tools": [TOOL]}))
    said = why_wrong(armed.prompts[-1], answer)
    assert said is None if why is None else why in (said or "")


def test_a_tool_whose_example_it_would_not_accept() -> None:
    """Is a mistake in the configuration."""
    with pytest.raises(ValidationError, match=r"the example of the tool 'lookup_order' .* \$: required"):
        RouteReadiness.model_validate({"tools": [{**TOOL, "example": {}}]})
