"""An alert is no person: what it starts is automatic, and obeys the hold and the levels; its sender is told so."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

from failover.automation import Hold
from failover.config.automation import Level
from failover.distribution import Distribution
from tests.webhooks.conftest import API_TOKEN, MakeServer, Server
from tests.webhooks.test_answers import only

NOW = datetime.now(UTC)

HELD = Hold(by="anna", why="a migration of Bedrock", since=NOW)


async def look(server: Server) -> dict[str, Any]:
    answer = await server.http.get("/runs", headers={"Authorization": f"Bearer {API_TOKEN}"})
    return dict(answer.json())


async def test_a_hold_stops_what_alerts_start_and_the_answer_says_whose(server: Server) -> None:
    """At once, and no longer than it lasts; an alert that was ignored for it is taken when it is sent again."""
    server.plane.held = HELD
    answer = only(await server.alert(id="1"))
    assert (answer["did"], answer["runs"]) == ("ignored", [])
    assert "Automation is on hold" in answer["said"] and "by anna: a migration of Bedrock" in answer["said"]
    assert await server.runs(server.failover) == 0
    ready = await server.http.get("/readyz")
    assert (ready.status_code, ready.json()["automation_held"]) == (200, True)
    assert "anna" not in ready.text, "who and why is for operators"
    assert "by anna: a migration" in (await look(server))["automation_hold"]
    server.plane.held = Hold(by="anna", why="over", since=NOW - timedelta(hours=2), until=NOW - timedelta(hours=1))
    assert only(await server.alert(id="1"))["did"] == "started"
    assert (await server.http.get("/readyz")).json()["automation_held"] is False
    assert (await look(server))["automation_hold"] is None
    await server.end(server.failover)


async def test_a_run_that_is_open_is_told_all_the_same(server: Server) -> None:
    """The hold stops beginnings, not news."""
    assert only(await server.alert(id="1"))["did"] == "started"
    server.plane.held = HELD
    answer = only(await server.alert(id="2"))
    assert (answer["did"], answer["runs"]) == ("joined", [server.failover])
    await server.end(server.failover)


async def test_a_return_is_not_begun_under_a_hold(make_server: MakeServer) -> None:
    """Nor is one offered: the end of an alert is no person either."""
    server = make_server()
    config = server.config.model_copy(deep=True)
    config.routes[server.names.chat] = config.routes[server.names.chat].model_copy(update={"failback": "propose"})
    server.config = config
    moved: Distribution = {server.names.google: 10_000}
    server.plane.put(server.names.chat, moved)
    server.plane.held = HELD
    async with server.serving():
        answer = only(await server.alert(status="resolved"))
        assert (answer["did"], "a return to" in answer["said"]) == ("ignored", True)
        server.plane.held = None
        assert only(await server.alert(status="resolved"))["did"] == "started"
        await server.end(f"failback/{server.names.chat}")


async def test_a_store_that_does_not_answer_leaves_what_was_known_last(server: Server) -> None:
    """A hold that was seen stands; and nobody waits long for it."""
    server.plane.held = HELD
    assert only(await server.alert(id="1"))["did"] == "ignored"
    server.plane.unavailable = True
    async with asyncio.timeout(10):
        answer = only(await server.alert(id="2"))
    assert "on hold" in answer["said"]
    server.plane.unavailable = False


async def test_a_level_of_off_leaves_it_to_people(make_server: MakeServer) -> None:
    """The answer names the level's verdict and the routes."""
    async with make_server(detection={"automation": {"unavailable": "off"}}).serving() as server:
        answer = only(await server.alert())
        assert answer["did"] == "ignored"
        assert f"Automation is off for unavailable on {server.names.chat}" in answer["said"]


async def test_routes_that_ask_first_are_asked_about(make_server: MakeServer) -> None:
    """One run moves the routes that may be moved, another asks about the others; again, and both are joined."""
    server = make_server()
    config = server.config.model_copy(deep=True)
    shares = {server.names.bedrock: 5000, server.names.google: 5000}
    search = config.routes[server.names.search]
    propose = search.automation.model_copy(update={"unavailable": Level.PROPOSE})
    config.routes[server.names.search] = search.model_copy(update={"automation": propose})
    server.config = config
    server.plane.put(server.names.search, shares)
    async with server.serving():
        asked = f"proposal/{server.failover}"
        first = only(await server.alert(id="1"))
        assert (first["did"], first["runs"]) == ("started", [server.failover, asked])
        again = only(await server.alert(id="2"))
        assert (again["did"], again["runs"]) == ("joined", [server.failover, asked])
        started = (await server.run(server.failover).fetch_history()).events[0]
        given = started.workflow_execution_started_event_attributes.input.payloads[0].data.decode()
        assert f'"routes":["{server.names.chat}"]' in given.replace(" ", "")
        await server.end(server.failover, asked)


async def test_nobody_is_asked_about_what_is_under_way(make_server: MakeServer) -> None:
    """A person started it; the alert is news to that run."""
    async with make_server(detection={"automation": {"unavailable": "propose"}}).serving() as server:
        await server.client.start_workflow(
            "ImmediateFailover",
            {"failed_provider": server.names.bedrock},
            id=server.failover,
            task_queue=server.task_queue,
        )
        answer = only(await server.alert())
        assert (answer["did"], answer["runs"]) == ("joined", [server.failover])
        await server.end(server.failover)
