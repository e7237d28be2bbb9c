"""The OpenAPI document: what the server says of itself holds, whatever is sent to it."""

import asyncio
import itertools
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import CHECKS, load_all_checks
from schemathesis.core.result import Ok

from failover.driving import Verb
from tests.webhooks.conftest import API_TOKEN, MakeServer, Server

EXAMPLES = 15
"""Of each operation, as the document wants it and as it does not, with and without credentials."""

NOTHING_TO_GET_WRONG = [f"GET {path}" for path in ("/runs", "/healthz", "/readyz", "/metrics", "/openapi.json")]
"""They take neither body nor parameters."""

CHECKED = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
    "unsupported_method",
)

pytestmark = pytest.mark.timeout(300)


async def test_the_document_is_openapi_and_names_every_door(server: Server) -> None:
    """By the specification's own validator; senders are those that are configured, orders those that runs know."""
    document = (await server.http.get("/openapi.json")).json()
    schemathesis.openapi.from_dict(document).validate()
    assert {f"/webhooks/{name}" for name in server.config.webhooks.senders} <= set(document["paths"])
    assert {f"/runs/{{run}}/{verb.value}" for verb in Verb} <= set(document["paths"])
    shown = document["components"]["schemas"]["Decide"]["properties"]
    assert set(shown) == {"step", "digest", "comment"}, "who orders is not the sender's to say"


@pytest.mark.parametrize("headers", [{}, {"Authorization": f"Bearer {API_TOKEN}"}], ids=["nobody", "the stack's token"])
async def test_whatever_is_sent_is_answered_as_the_document_says(
    make_server: MakeServer, headers: dict[str, str]
) -> None:
    """Fuzzed by schemathesis, bounded: no 500, no status and no body that is not documented."""
    server = make_server(webhooks={"refusals_per_minute": 100_000, "burst": 100_000})
    async with server.serving():
        await asyncio.to_thread(fuzz, server.url, headers)


def fuzz(url: str, headers: dict[str, str]) -> None:
    load_all_checks()
    schema = schemathesis.openapi.from_url(f"{url}/openapi.json")
    checks = [CHECKS.get_one(name) for name in CHECKED]
    operations = [found.ok() for found in schema.get_all_operations() if isinstance(found, Ok)]
    assert len(operations) >= 20
    for operation, mode in itertools.product(operations, GenerationMode):
        if mode is GenerationMode.NEGATIVE and operation.label in NOTHING_TO_GET_WRONG:
            continue

        @settings(
            max_examples=EXAMPLES,
            deadline=None,
            database=None,
            derandomize=True,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy(generation_mode=mode))
        def sent(case: Any) -> None:
            case.call_and_validate(headers=headers, checks=checks)

        sent()
