"""Deploys over HTTP: proved like any delivery, kept once, and starting nothing."""

import json
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from failover.signatures import SIGNATURE_HEADER, TIMESTAMP_HEADER, sign
from tests.webhooks.conftest import API_TOKEN, MakeServer, Server

NOTED = {"service": "gateway", "version": "v1.4.2", "by": "ci"}


async def post(server: Server, body: Any, token: str = "deploys-token") -> httpx.Response:
    return await server.http.post("/webhooks/deploys", json=body, headers={"Authorization": f"Bearer {token}"})


async def test_a_deploy_is_kept_with_who_told_it(server: Server) -> None:
    began = datetime.now(UTC)
    answer = await post(server, NOTED)
    assert (answer.status_code, answer.json()["said"]) == (200, "Noted: gateway v1.4.2 by ci.")
    [kept] = server.deploys
    assert (kept.service, kept.version, kept.by, kept.noted_by) == ("gateway", "v1.4.2", "ci", "deploys")
    assert began <= kept.at <= datetime.now(UTC)
    assert not [run async for run in server.client.list_workflows(f"WorkflowId = '{server.failover}'")]


async def test_twice_is_once(server: Server) -> None:
    """By its time where one is told, else within the replay window; another version is another deploy."""
    timed = {**NOTED, "at": "2026-01-31T12:00:00Z"}
    for body in (NOTED, NOTED, timed, timed, {**NOTED, "version": "v1.4.3"}):
        assert (await post(server, body)).status_code == 200
    assert [(one.version, one.at.year == 2026 and one.at.month == 1) for one in server.deploys] == [
        ("v1.4.2", False),
        ("v1.4.2", True),
        ("v1.4.3", False),
    ]


async def test_an_operators_token_will_do_and_is_named(server: Server) -> None:
    assert (await post(server, NOTED, API_TOKEN)).status_code == 200
    assert server.deploys[0].noted_by == "deploys (api-token)"


async def test_nobody_is_refused(server: Server) -> None:
    for token in ("another", "generic-token"):
        assert (await post(server, NOTED, token)).status_code == 401
    assert server.deploys == []


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"service": "gateway"}, "version"),
        ({**NOTED, "servce": "x"}, "servce"),
        ({**NOTED, "at": "yesterday"}, "at"),
        ({**NOTED, "service": "\u200b\n"}, "service"),
        ({**NOTED, "at": (datetime.now(UTC) + timedelta(hours=1)).isoformat()}, "future"),
        ([NOTED], "body"),
    ],
)
async def test_what_cannot_be_meant_is_refused_with_its_field(server: Server, body: Any, field: str) -> None:
    answer = await post(server, body)
    assert answer.status_code == 422 and field in answer.json()["error"]["message"]
    assert server.deploys == []


async def test_a_signature_will_do(make_server: MakeServer) -> None:
    """The generic form's."""
    senders = {"deploys": {"kind": "deploy", "proof": "signature", "secret_env": "DEPLOYS_WEBHOOK_TOKEN"}}
    async with make_server(webhooks={"senders": senders}).serving() as server:
        body, stamp = json.dumps(NOTED).encode(), str(int(time.time()))
        headers = {SIGNATURE_HEADER: sign("deploys-token", body, stamp), TIMESTAMP_HEADER: stamp}
        assert (await server.http.post("/webhooks/deploys", content=body, headers=headers)).status_code == 200
        assert (await server.http.post("/webhooks/deploys", content=body + b" ", headers=headers)).status_code == 401
        assert len(server.deploys) == 1
