"""Starting procedures over HTTP: by whom, in whose name, and never without the approvals that a route demands."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from tests.webhooks.conftest import MakeServer, Server
from tests.webhooks.test_runs_door import OPERATORS, token


class Desk:
    """A server that starts, with nobody at work."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.route = server.names.chat
        self.provider = server.names.bedrock

    async def start(self, who: str, procedure: str, key: str = "", **request: Any) -> httpx.Response:
        headers = token(who) | ({"idempotency-key": key} if key else {})
        return await self.server.http.post("/runs", json={"procedure": procedure, "request": request}, headers=headers)

    async def gradual(self, who: str, **more: Any) -> httpx.Response:
        return await self.start(who, "gradual", route=self.route, failed_provider=self.provider, **more)


@pytest.fixture
async def desk(make_server: MakeServer) -> AsyncIterator[Desk]:
    async with make_server(access={"operators": OPERATORS}).serving() as server:
        yield Desk(server)


async def test_a_run_is_started_in_the_name_of_who_asks(desk: Desk) -> None:
    """Manual, by the recognised person; the id is the one that everybody else joins."""
    answer = await desk.start("stan", "immediate", failed_provider=desk.provider, reason="AWS says so")
    run = desk.server.failover
    assert (answer.status_code, answer.json()["did"], answer.json()["run"]) == (200, "started", run)
    history = await desk.server.run(run).fetch_history()
    given = history.events[0].workflow_execution_started_event_attributes.input.payloads[0].data.decode()
    assert '"requested_by":"stan"' in given
    assert '"trigger":"manual"' in given
    again = await desk.start("olga", "immediate", failed_provider=desk.provider)
    assert (again.status_code, again.json()["did"]) == (200, "joined")
    await desk.server.end(run)


@pytest.mark.parametrize(
    ("who", "status"), [("vera", 403), ("anna", 403), ("nobody", 401), ("stan", 200), ("olga", 200)]
)
async def test_starting_needs_the_role(desk: Desk, who: str, status: int) -> None:
    """Looking and approving do not suffice."""
    answer = await desk.gradual(who)
    assert answer.status_code == status
    run = f"gradual/{desk.route}"
    assert await desk.server.runs(run) == 0 if status != 200 else True
    if status == 200:
        await desk.server.end(run)


@pytest.mark.parametrize(
    "skipping",
    [
        {"emergency": True},
        {"approvals": {"points": []}},
        {"approvals": {"points": ["first_shift"], "quorum": 1}},
        {"enforce_gates": False},
    ],
    ids=["emergency", "no points", "other points", "no gates"],
)
async def test_a_request_does_not_drop_what_the_route_demands(desk: Desk, skipping: dict[str, Any]) -> None:
    """Of whoever may only start; the role override may."""
    refused = await desk.gradual("stan", **skipping)
    assert refused.status_code == 403
    assert "needs the role override" in refused.text
    allowed = await desk.gradual("olga", **skipping)
    assert allowed.status_code == 200, allowed.text
    await desk.server.end(f"gradual/{desk.route}")


async def test_an_immediate_failover_in_emergency_mode_needs_override_too(desk: Desk) -> None:
    """One rule for all of them."""
    answer = await desk.start("stan", "immediate", failed_provider=desk.provider, emergency=True)
    assert answer.status_code == 403


async def test_a_second_ramp_is_refused_and_a_repetition_is_the_first(desk: Desk) -> None:
    """409 names the run that is there; with a key of the sender's own, twice is once."""
    first = await desk.start("stan", "gradual", "1", route=desk.route, failed_provider=desk.provider)
    assert first.json()["did"] == "started"
    again = await desk.start("stan", "gradual", "1", route=desk.route, failed_provider=desk.provider)
    assert (again.status_code, again.json()["did"]) == (200, "repeated")
    other = await desk.start("stan", "gradual", "2", route=desk.route, failed_provider=desk.provider)
    assert other.status_code == 409
    assert f"gradual/{desk.route} is under way already" in other.text
    await desk.server.end(f"gradual/{desk.route}")
    over = await desk.start("stan", "gradual", "1", route=desk.route, failed_provider=desk.provider)
    assert over.json()["did"] == "repeated", "also once it is over"


async def test_a_plan_changes_nothing_and_is_joined_by_nobody(desk: Desk) -> None:
    """A dry run has an id of its own."""
    answer = await desk.gradual("stan", dry_run=True)
    assert answer.status_code == 200
    assert answer.json()["run"] != f"gradual/{desk.route}"
    await desk.server.end(answer.json()["run"])


@pytest.mark.parametrize(
    ("procedure", "request_", "said"),
    [
        ("immediate", {}, "failed_provider: Field required"),
        ("immediate", {"failed_provider": "nobody"}, "nobody"),
        ("immediate", {"failed_provider": "b", "requested_by": "ceo"}, "requested_by is not the sender's to say"),
        ("immediate", {"failed_provider": "b", "trigger": "automatic"}, "trigger is not the sender's to say"),
        ("immediate", {"failed_provider": "b", "verdicts": []}, "verdicts is not the sender's to say"),
        ("gradual", {"route": "nowhere", "failed_provider": "b"}, "There is no route 'nowhere'"),
        ("gradual", {"carried": {}}, "carried is not the sender's to say"),
        ("service", {"route": "nowhere", "cache": "on"}, "nowhere"),
        ("HealthCheck", {}, "procedure"),
        ("emergency", {"surprise": 1}, "surprise"),
    ],
)
async def test_what_cannot_be_meant_is_a_sentence(
    desk: Desk, procedure: str, request_: dict[str, Any], said: str
) -> None:
    """Before anything is started."""
    answer = await desk.start("olga", procedure, **request_)
    assert answer.status_code == 422
    assert said in answer.text


async def test_a_form_of_another_page_starts_nothing(desk: Desk) -> None:
    """As with orders."""
    body = b'{"procedure": "emergency", "request": {}}'
    answer = await desk.server.http.post("/runs", content=body, headers=token("olga") | {"content-type": "text/plain"})
    assert answer.status_code == 415
