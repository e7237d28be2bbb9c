"""Driving a run over HTTP: by a recognised person, within their roles, once however often it is sent."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from failover.roles import hashed
from tests.webhooks.conftest import API_TOKEN, PATIENCE, MakeServer, Server

OPERATORS = {
    name: {"roles": roles, "token": hashed(f"{name}'s token")}
    for name, roles in {
        "vera": ["view"],
        "stan": ["start"],
        "anna": ["approve"],
        "olga": ["override"],
    }.items()
}


def token(name: str) -> dict[str, str]:
    return {"authorization": f"Bearer {name}'s token"}


class Scene:
    """A ramp that waits for an approval, and the server that it can be driven through."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.ramp = f"gradual/{server.names.chat}"

    async def begin(self) -> dict[str, Any]:
        """→ the approval that is asked for."""
        request = {
            "route": self.server.names.chat,
            "failed_provider": self.server.names.bedrock,
            "approvals": {"points": ["first_shift"], "deadline": "60s"},
        }
        await self.server.client.start_workflow(
            "GradualFailover", request, id=self.ramp, task_queue=self.server.task_queue
        )
        async with asyncio.timeout(PATIENCE.total_seconds()):
            while (asked := await self._asked()) is None:
                await asyncio.sleep(0.05)
        return asked

    async def _asked(self) -> dict[str, Any] | None:
        looked = await self.server.http.get(f"/runs/{self.ramp}", headers=token("vera"))
        assert looked.status_code == 200, looked.text
        found: dict[str, Any] | None = looked.json()["details"].get("approval")
        return found

    async def order(self, verb: str, name: str, **said: Any) -> httpx.Response:
        key = said.pop("key", "")
        headers = token(name) | ({"idempotency-key": key} if key else {})
        return await self.server.http.post(f"/runs/{self.ramp}/{verb}", json=said, headers=headers)


@pytest.fixture
async def scene(make_server: MakeServer) -> AsyncIterator[Scene]:
    server = make_server(access={"operators": OPERATORS})
    async with server.serving(), server.working():
        yield Scene(server)


async def test_a_run_is_seen_and_approved_by_who_may(scene: Scene) -> None:
    """The actor is whom the token says, never what the body says."""
    asked = await scene.begin()
    binding = {"step": asked["step"], "digest": asked["digest"]}
    listed = await scene.server.http.get("/runs", headers=token("vera"))
    assert listed.status_code == 200
    forged = await scene.order("approve", "anna", **binding, actor="ben")
    assert forged.status_code == 422
    assert "actor is not the sender's to say" in forged.text
    refused = await scene.order("approve", "stan", **binding)
    assert refused.status_code == 403
    assert "needs the role approve or override" in refused.text
    given = await scene.order("approve", "anna", **binding, comment="looks right")
    assert given.status_code == 200
    assert given.json()["said"] == "Approved step-1."
    result = await scene.server.run(scene.ramp).result()
    assert result["outcome"] == "COMPLETED"
    assert any("anna, approve (looks right)" in text for text in await scene.server.said(scene.ramp))


async def test_an_order_is_refused_with_what_would_be_taken(scene: Scene) -> None:
    """409, the run's own words; and the same key gets the same answer, once in the timeline."""
    asked = await scene.begin()
    wrong = await scene.order("approve", "anna", step=asked["step"], digest="another")
    assert wrong.status_code == 409
    assert "it is another plan" in wrong.json()["said"]
    assert "approve" in wrong.json()["accepted_now"]
    paused = [await scene.order("pause", "stan", key="1") for _ in range(3)]
    assert [answer.status_code for answer in paused] == [200, 200, 200]
    assert sum("stan, pause" in text for text in await scene.server.said(scene.ramp)) == 1
    again = await scene.order("pause", "stan", key="2")
    assert (again.status_code, again.json()["said"]) == (409, "Refused: the run is paused already")
    assert (await scene.order("escalate", "stan")).status_code == 403
    assert (await scene.order("note", "stan", text="AWS confirms")).json()["said"] == "Noted."
    assert (await scene.order("abort", "olga")).status_code == 200
    assert (await scene.server.run(scene.ramp).result())["outcome"] == "ABORTED"
    over = await scene.order("abort", "olga")
    assert over.status_code == 404
    assert any("stan: AWS confirms" in text for text in await scene.server.said(scene.ramp))


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        ({"authorization": "Bearer nobody's"}, 401),
        ({"authorization": "Basic dmVyYTp4"}, 401),
        ({"authorization": "Bearer " + hashed("olga's token")}, 401),
        ({"x-forwarded-user": "olga"}, 401),
        (token("vera"), 403),
        (token("olga"), 404),
        ({"authorization": f"Bearer {API_TOKEN}"}, 404),
    ],
    ids=["nobody", "unknown", "basic", "the hash", "a header", "view alone", "override", "the stack's token"],
)
async def test_nothing_is_changed_by_nobody(scene: Scene, headers: dict[str, str], status: int) -> None:
    """401, 403, and 404 only for who may know what runs there are."""
    assert (await scene.server.http.post("/runs/gradual/nothing/abort", json={}, headers=headers)).status_code == status
    assert (await scene.server.http.get("/runs/gradual/nothing", headers=headers)).status_code == (
        404 if status != 401 else 401
    )


async def test_a_trusted_proxy_says_who_asks(make_server: MakeServer) -> None:
    """From where it stands only; and what a header says of where a connection comes from is not believed."""
    operators = {"olga": {"roles": ["override"], "proxy_name": "olga@example.com"}}
    named = {"x-forwarded-user": "olga@example.com"}
    for network, status in (("127.0.0.1/32", 404), ("10.0.0.0/8", 401)):
        access = {"operators": operators, "proxy_header": "X-Forwarded-User", "proxy_networks": [network]}
        async with make_server(access=access).serving() as server:
            asked = await server.http.post("/runs/gradual/x/abort", json={}, headers=named)
            assert asked.status_code == status
            forged = await server.http.post(
                "/runs/gradual/x/abort", json={}, headers=named | {"x-forwarded-for": "10.0.0.1"}
            )
            assert forged.status_code == status


async def test_a_form_of_another_page_is_no_order(scene: Scene) -> None:
    """A browser sends forms anywhere, with the proxy's blessing; it never sends JSON so."""
    answer = await scene.server.http.post(
        "/runs/gradual/x/abort", content=b"{}", headers=token("olga") | {"content-type": "text/plain"}
    )
    assert answer.status_code == 415


async def test_what_is_no_procedure_is_no_run(scene: Scene) -> None:
    """A health check answers no questions, and takes no orders: a sentence, and no 500."""
    check = f"check-{scene.server.task_queue}"
    await scene.server.client.start_workflow("HealthCheck", {}, id=check, task_queue=scene.server.task_queue)
    looked = await scene.server.http.get(f"/runs/{check}", headers=token("vera"))
    assert (looked.status_code, "no run" in looked.text) == (404, True)
    ordered = await scene.server.http.post(f"/runs/{check}/abort", json={}, headers=token("olga"))
    assert (ordered.status_code, "takes no such order" in ordered.text) == (409, True)
    await scene.server.end(check)


async def test_a_run_that_nobody_works_on_answers_later(make_server: MakeServer) -> None:
    """503 with Retry-After, for orders and for looks: the order may have arrived, and is the same with the same key."""
    server = make_server(access={"operators": OPERATORS}, webhooks={"temporal_timeout": "1s"})
    ramp = f"gradual/{server.names.chat}"
    async with server.serving():
        request = {"route": server.names.chat, "failed_provider": server.names.bedrock}
        await server.client.start_workflow("GradualFailover", request, id=ramp, task_queue=server.task_queue)
        for answer in (
            await server.http.post(f"/runs/{ramp}/abort", json={}, headers=token("olga")),
            await server.http.get(f"/runs/{ramp}", headers=token("vera")),
        ):
            assert answer.status_code == 503, answer.text
            assert answer.headers["retry-after"]
        await server.end(ramp)


@pytest.mark.parametrize(
    ("verb", "body", "status"),
    [
        ("approve", {}, 422),
        ("approve", {"step": "s"}, 422),
        ("abort", {"mode": "sideways"}, 422),
        ("set_percent", {"percent": 101}, 422),
        ("pause", {"surprise": 1}, 422),
        ("pause", [], 422),
        ("look", {}, 404),
        ("start", {}, 404),
        ("explode", {}, 404),
    ],
)
async def test_an_order_that_cannot_be_meant_is_a_sentence(scene: Scene, verb: str, body: Any, status: int) -> None:
    """Before any run is asked."""
    answer = await scene.server.http.post(f"/runs/gradual/x/{verb}", json=body, headers=token("olga"))
    assert answer.status_code == status
    assert answer.json()["error"]["message"]
