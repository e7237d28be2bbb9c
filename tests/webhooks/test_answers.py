"""What an alert leads to, and what its sender is answered: over a real Temporal and a real worker."""

import asyncio
from typing import Any

import httpx
import pytest
from temporalio.client import Client

from tests.webhooks.conftest import PATIENCE, MakeServer, Server
from workflows.payloads import data_converter


def only(response: httpx.Response) -> dict[str, Any]:
    """The one alert's answer."""
    assert response.status_code == 200, response.text
    [answer] = response.json()["alerts"]
    return dict(answer)


async def test_an_alert_starts_its_procedure_joins_it_and_is_ignored_once_nothing_is_left_to_move(
    make_server: MakeServer,
) -> None:
    """Started, joined with a note, and once the provider is out of every route ignored, without a run."""
    server = make_server()
    async with server.serving():
        first = only(await server.alert(alert="BedrockDown", summary="5xx over 5 %"))
        assert (first["did"], first["runs"]) == ("started", [server.failover])
        second = only(await server.alert(alert="BedrockSlow", id="2"))
        assert (second["did"], second["runs"]) == ("joined", [server.failover])
        async with server.working():
            result = await server.run(server.failover).result()
            assert result["outcome"] == "COMPLETED", result
            assert server.plane.distribution(server.names.chat)[server.names.google] == 10_000
            assert any("BedrockSlow" in text for text in await server.said(server.failover))
        third = only(await server.alert(alert="BedrockDown", id="3"))
        assert third["did"] == "ignored"
        assert f"no route uses {server.names.bedrock}" in third["said"]


async def test_the_run_knows_who_asked_and_why(server: Server) -> None:
    """The sender, and the operator whose token the alert came with; the alert itself is the reason."""
    await server.http.post(
        "/webhooks/generic",
        json={"provider": server.names.bedrock, "trigger": "unavailable", "summary": "told by hand"},
        headers={"Authorization": "Bearer the-stack's-own-token"},
    )
    history = await server.run(server.failover).fetch_history()
    started = history.events[0].workflow_execution_started_event_attributes.input.payloads[0].data.decode()
    assert '"requested_by":"generic alert sent by api-token"' in started
    assert "told by hand" in started
    assert '"trigger":"automatic"' in started
    await server.end(server.failover)


async def test_a_delivery_that_comes_twice_is_one_run(make_server: MakeServer) -> None:
    """Also after the run is over, and also at a server that was started anew."""
    server = make_server()
    async with server.serving():
        assert only(await server.alert(id="7"))["did"] == "started"
        assert only(await server.alert(id="7"))["did"] == "repeated"
        await server.end(server.failover)
        again = only(await server.alert(id="7"))
        assert again["did"] == "repeated"
        assert "Started run" in again["said"]
    async with server.serving():
        anew = only(await server.alert(id="7"))
        assert (anew["did"], anew["runs"]) == ("repeated", [server.failover])
        assert only(await server.alert(id="8"))["did"] == "started", "another alert is not held up by it"
    await server.end(server.failover)


async def test_a_storm_of_500_alerts_in_5_seconds_is_one_run(make_server: MakeServer) -> None:
    """Every one is answered, one run is started, and the run is told in a handful of notes."""
    server = make_server(webhooks={"note_interval": "1s"})
    async with server.serving(), server.working():
        began = asyncio.get_running_loop().time()

        async def one(number: int) -> str:
            await asyncio.sleep(number / 100)
            return str(only(await server.alert(alert=f"Alert{number}", id=str(number)))["did"])

        did = await asyncio.gather(*(one(number) for number in range(500)))
        lasted = asyncio.get_running_loop().time() - began
        assert did.count("started") == 1
        assert set(did) <= {"started", "joined", "ignored"}, "ignored: the run is over, the provider out of every route"
        await server.run(server.failover).result()
        history = await server.run(server.failover).fetch_history()
        signals = [event for event in history.events if event.HasField("workflow_execution_signaled_event_attributes")]
        assert len(signals) <= lasted + 5, "one a second"
        async with asyncio.timeout(PATIENCE.total_seconds()):
            while await server.runs(server.failover) != 1:
                await asyncio.sleep(0.1)


async def test_news_that_comes_with_an_old_delivery_is_acted_on(make_server: MakeServer) -> None:
    """A group that holds an alert which a run was started for, and another one since."""
    server = make_server()

    def alert(number: int) -> dict[str, Any]:
        labels = {"alertname": f"A{number}", "provider": server.names.bedrock, "trigger": "unavailable"}
        return {"status": "firing", "labels": labels, "startsAt": "2026-01-01T00:00:00Z", "fingerprint": f"{number}"}

    async def send(*numbers: int) -> list[str]:
        answer = await server.http.post(
            "/webhooks/alertmanager",
            json={"alerts": [alert(number) for number in numbers]},
            headers={"Authorization": "Bearer alertmanager-token"},
        )
        return [one["did"] for one in answer.json()["alerts"]]

    async with server.serving():
        assert await send(1) == ["started"]
        await server.end(server.failover)
    async with server.serving():
        assert await send(1) == ["repeated"]
    async with server.serving():
        assert "started" in await send(1, 2)
        await server.end(server.failover)


async def test_alerts_that_come_together_are_one_run_and_one_note(server: Server) -> None:
    """The first of a group starts the run, the others join it."""
    alerts = [
        {
            "status": "firing",
            "labels": {"alertname": f"A{number}", "provider": server.names.bedrock, "trigger": "unavailable"},
            "annotations": {},
            "startsAt": "2026-01-01T00:00:00Z",
            "fingerprint": f"{number}",
        }
        for number in range(20)
    ]
    answer = await server.http.post(
        "/webhooks/alertmanager", json={"alerts": alerts}, headers={"Authorization": "Bearer alertmanager-token"}
    )
    did = [alert["did"] for alert in answer.json()["alerts"]]
    assert did == ["started"] + ["joined"] * 19
    await server.end(server.failover)


async def test_a_throttled_provider_is_left_by_a_ramp_of_each_route(make_server: MakeServer) -> None:
    """As detection.triggers says; a run that takes everything off the provider is told of it instead."""
    server = make_server()
    async with server.serving():
        gradual = f"gradual/{server.names.chat}"
        assert only(await server.alert("throttled"))["runs"] == [gradual]
        assert only(await server.alert("throttled", id="2"))["did"] == "joined"
        assert only(await server.alert("degraded_quality"))["runs"] == [f"canary/{server.names.chat}"]
        assert only(await server.alert("unavailable"))["did"] == "started"
        lesser = only(await server.alert("throttled", id="3"))
        assert (lesser["did"], lesser["runs"]) == ("joined", [server.failover])
        await server.end(gradual, f"canary/{server.names.chat}", server.failover)


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"provider": "nobody"}, "'nobody' is no provider of this deployment"),
        ({"route": "nowhere"}, "'nowhere' is no route"),
        ({"trigger": "sad"}, "'sad' is no trigger"),
        ({"trigger": None}, "it names no trigger"),
    ],
)
async def test_what_cannot_be_meant_is_ignored_and_answered_why(
    server: Server, fields: dict[str, Any], why: str
) -> None:
    """A sender's alert about something else is not its mistake: 200, and the reason."""
    answer = only(
        await server.http.post(
            "/webhooks/generic",
            json={"provider": server.names.bedrock, "trigger": "unavailable", **fields},
            headers={"Authorization": "Bearer generic-token"},
        )
    )
    assert answer["did"] == "ignored"
    assert why in answer["said"]


async def test_a_run_for_one_route_is_not_joined_by_an_alert_about_another(make_server: MakeServer, names: Any) -> None:
    """It would not be acted on: the sender is told to try again, and succeeds once that run is over."""
    shares = {names.bedrock: 70, names.google: 30}
    routes = {name: {"distribution": shares, "failback": "off"} for name in (names.chat, names.search)}
    server = make_server(routes=routes)
    async with server.serving():
        assert only(await server.alert(route=names.chat))["did"] == "started"
        busy = await server.alert(route=names.search)
        assert busy.status_code == 503
        assert busy.headers["retry-after"]
        assert f"does not cover {names.search}" in busy.json()["error"]["message"]
        async with server.working():
            await server.run(server.failover).result()
        assert server.plane.distribution(names.search)[names.bedrock] == 7000
        assert only(await server.alert(route=names.search))["did"] == "started"
        await server.end(server.failover)


async def test_a_resolved_alert_is_noted_on_the_run_and_later_offers_a_failback(
    make_server: MakeServer, names: Any
) -> None:
    """While the failover goes on it is a remark; once traffic is away, a failback that asks people is begun."""
    shares = {names.bedrock: 70, names.google: 30}
    server = make_server(routes={names.chat: {"distribution": shares}}, detection={"triggers": {"slow": "none"}})
    failback = f"failback/{names.chat}"
    async with server.serving():
        assert only(await server.alert(alert="Down"))["did"] == "started"
        noted = only(await server.alert(alert="Down", status="resolved"))
        assert (noted["did"], noted["runs"]) == ("noted", [server.failover])
        async with server.working():
            await server.run(server.failover).result()
            assert any("Down is over" in text for text in await server.said(server.failover))
            # The failover has begun a watch by itself: it is joined; were it not there, it would be started.
            joined = only(await server.alert(alert="Down", status="resolved", id="2"))
            assert (joined["did"], joined["runs"]) == ("joined", [failback])
            await server.end(failback)
            offered = only(await server.alert(alert="Down", status="resolved", id="3"))
            assert (offered["did"], offered["runs"]) == ("started", [failback])
            history = await server.run(failback).fetch_history()
            started = history.events[0].workflow_execution_started_event_attributes.input.payloads[0].data.decode()
            assert '"auto":false' in started
            await server.end(failback)
        assert only(await server.alert("slow"))["said"].startswith("Ignored: detection.triggers.slow is none")


async def test_the_end_of_an_alert_is_noted_on_runs_about_its_own_provider_alone(
    make_server: MakeServer, names: Any
) -> None:
    """The route's ramp leaves another provider: it is none of its business."""
    server = make_server()
    gradual = f"gradual/{names.chat}"
    async with server.serving(), server.working():
        assert only(await server.alert("throttled"))["runs"] == [gradual]
        async with asyncio.timeout(PATIENCE.total_seconds()):
            while not await server.said(gradual):
                await asyncio.sleep(0.05)
        other = only(await server.alert("throttled", provider=names.google, status="resolved"))
        assert other["did"] == "ignored", other
        own = only(await server.alert("throttled", status="resolved"))
        assert (own["did"], own["runs"]) == ("noted", [gradual])
        await server.end(gradual)


async def test_nobody_is_sent_back_when_an_alert_ends_that_moved_nothing(server: Server) -> None:
    """The provider has all its traffic: there is nothing to return."""
    assert only(await server.alert(status="resolved"))["did"] == "ignored"


async def test_while_temporal_is_down_senders_are_told_to_try_again(make_server: MakeServer) -> None:
    """503 with Retry-After, readiness red, and the same alert works once it is back."""
    server = make_server(webhooks={"temporal_timeout": "1s"})
    nowhere = await Client.connect("127.0.0.1:1", lazy=True, data_converter=data_converter)
    async with server.serving(client=nowhere):
        down = await server.alert(id="1")
        assert down.status_code == 503
        assert int(down.headers["retry-after"]) > 0
        assert "Temporal does not answer" in down.json()["error"]["message"]
        assert (await server.http.get("/readyz")).status_code == 503
        assert (await server.http.get("/healthz")).status_code == 200
    async with server.serving():
        assert (await server.http.get("/readyz")).status_code == 200
        assert only(await server.alert(id="1"))["did"] == "started"
        await server.end(server.failover)


async def test_a_data_plane_that_does_not_answer_leaves_the_looking_to_the_run(make_server: MakeServer) -> None:
    """An alert is not lost because the gateway is."""
    server = make_server()
    server.plane.unavailable = True
    async with server.serving():
        assert only(await server.alert())["did"] == "started"
        await server.end(server.failover)
