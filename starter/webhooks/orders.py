"""What is sent to the doors at /runs: JSON objects of known shapes, or a sentence of what is wrong with them."""

import json
from typing import Any

from pydantic import ValidationError
from starlette.requests import Request

from starter.webhooks.answers import Refused, read_body

MOST_BYTES = 64 * 1024


def refuse_unless_json(request: Request) -> None:
    """A form that another page makes a browser send is never JSON."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise Refused(415, "Orders are sent as application/json.")


async def json_of(request: Request) -> dict[str, Any]:
    """The body, {} where there is none."""
    try:
        given = json.loads(await read_body(request, MOST_BYTES) or b"{}")
    except (ValueError, RecursionError) as error:
        raise Refused(422, "The body is no JSON.") from error
    if not isinstance(given, dict):
        raise Refused(422, "The body must be a JSON object.")
    return given


def validated(shape: Any, given: dict[str, Any]) -> Any:
    try:
        return shape.model_validate(given)
    except ValidationError as error:
        problems = error.errors(include_url=False, include_input=False, include_context=False)
        said = "; ".join(f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}" for problem in problems[:5])
        raise Refused(422, f"Nothing was done: {said}.") from error
