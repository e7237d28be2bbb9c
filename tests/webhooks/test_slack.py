"""Approvals in Slack, end to end: a real ramp asks, a stand-in of Slack's API shows what the unmodified SDK sends, and
presses of the buttons come back signed as Slack signs them."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qsl, urlencode

import httpx
import pytest
from slack_sdk.signature import SignatureVerifier
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from temporalio.client import Client

from activities.notifiers.slack import SlackNotifier
from failover.messages import BUTTONS, Asked, progress
from gateway.process import listening
from tests.webhooks.conftest import FAST, SECRETS, MakeServer, Names, Server
from workflows.payloads import data_converter

ANNA, BEN, VERA, STRANGER = "U0ANNA", "U0BEN", "U0VERA", "U0NOBODY"

ACCESS = {
    "operators": {
        "anna": {"roles": ["approve"], "slack_user": ANNA},
        "ben": {"roles": ["approve", "start"], "slack_user": BEN},
        "vera": {"roles": ["view"], "slack_user": VERA},
    }
}


@dataclass
class Slack:
    """What the stand-in was told, oldest first; `limited` calls are asked for patience before one is taken."""

    posted: list[dict[str, Any]] = field(default_factory=list)
    updated: list[dict[str, Any]] = field(default_factory=list)
    whispered: list[dict[str, Any]] = field(default_factory=list)
    limited: int = 0

    async def call(self, request: Request) -> JSONResponse:
        assert request.headers["authorization"] == f"Bearer {SECRETS['SLACK_BOT_TOKEN']}"
        if self.limited:
            self.limited -= 1
            return JSONResponse({"ok": False, "error": "ratelimited"}, 429, {"Retry-After": "1"})
        body = await request.json() if request.headers["content-type"].startswith("application/json") else {}
        match request.path_params["method"]:
            case "chat.postMessage":
                body |= {"ts": f"1000.{len(self.posted)}"}
                self.posted.append(body)
                return JSONResponse({"ok": True, "channel": "C1", "ts": body["ts"]})
            case "chat.update":
                self.updated.append(body)
            case "chat.postEphemeral":
                self.whispered.append(body)
            case "conversations.replies":
                asked = dict(parse_qsl((await request.body()).decode()))
                thread = [one for one in self.posted if asked["ts"] in (one["ts"], one.get("thread_ts"))]
                return JSONResponse({"ok": True, "messages": thread})
        return JSONResponse({"ok": True})

    def asking(self) -> list[dict[str, Any]]:
        """Messages that have buttons."""
        return [message for message in self.posted if any(block["type"] == "actions" for block in message["blocks"])]

    def of(self, *messages: dict[str, Any]) -> list[dict[str, Any]]:
        """What these were changed into."""
        return [update for update in self.updated if update["ts"] in [message["ts"] for message in messages]]


async def until(good: Callable[[], Any], patience: float = 30) -> Any:
    async with asyncio.timeout(patience):
        while not (found := good()):
            await asyncio.sleep(0.05)
    return found


def form(payload: dict[str, Any]) -> bytes:
    return urlencode({"payload": json.dumps(payload)}).encode()


def signed(body: bytes, *, secret: str = SECRETS["SLACK_SIGNING_SECRET"], at: str | None = None) -> dict[str, str]:
    """The headers that Slack sends with a body."""
    stamp = str(int(time.time())) if at is None else at
    return {
        "x-slack-request-timestamp": stamp,
        "x-slack-signature": str(SignatureVerifier(secret).generate_signature(timestamp=stamp, body=body)),
        "content-type": "application/x-www-form-urlencoded",
    }


def pressed(message: dict[str, Any], verb: str, user: str) -> dict[str, Any]:
    """What Slack tells of a press, made of the very message that was posted."""
    [actions] = [block for block in message["blocks"] if block["type"] == "actions"]
    [button] = [element for element in actions["elements"] if element["action_id"] == f"{BUTTONS}.{verb}"]
    return {
        "type": "block_actions",
        "user": {"id": user, "username": "somebody", "team_id": "T1"},
        "container": {"type": "message", "message_ts": message["ts"], "channel_id": "C1", "is_ephemeral": False},
        "trigger_id": f"12466734323.{time.time()}",
        "team": {"id": "T1", "domain": "acme"},
        "channel": {"id": "C1", "name": "ops-alerts"},
        "message": {
            "ts": message["ts"],
            "thread_ts": message.get("thread_ts"),
            "text": message["text"],
            "type": "message",
        },
        "response_url": "https://hooks.slack.com/actions/T1/1/x",
        "actions": [{**button, "type": "button", "block_id": actions["block_id"], "action_ts": str(time.time())}],
    }


class Scene:
    """A webhook server, a worker that asks in Slack, and Slack."""

    def __init__(self, server: Server, slack: Slack) -> None:
        self.server = server
        self.slack = slack
        self.names = server.names
        self.ramp = f"gradual/{server.names.chat}"

    async def press(self, message: dict[str, Any], verb: str, user: str) -> httpx.Response:
        body = form(pressed(message, verb, user))
        return await self.server.http.post("/slack/interactive", content=body, headers=signed(body))

    async def asked(self, **approvals: Any) -> dict[str, Any]:
        """A ramp that asks before its first shift; → the message that asks."""
        before = len(self.slack.asking())
        request = {
            "route": self.names.chat,
            "failed_provider": self.names.bedrock,
            "requested_by": "ben",
            "approvals": {"points": ["first_shift"], "deadline": "30s"} | approvals,
        }
        await self.server.client.start_workflow(
            "GradualFailover", request, id=self.ramp, task_queue=self.server.task_queue
        )
        await until(lambda: len(self.slack.asking()) > before)
        return self.slack.asking()[-1]

    async def result(self) -> dict[str, Any]:
        async with asyncio.timeout(30):
            return dict(await self.server.run(self.ramp).result())


@asynccontextmanager
async def staged(make_server: MakeServer, **sections: Any) -> AsyncIterator[Scene]:
    slack = Slack()
    app = Starlette(routes=[Route("/api/{method}", slack.call, methods=["POST"])])
    async with AsyncExitStack() as held:
        api = await held.enter_async_context(listening(app, "127.0.0.1", 0)) + "/api"
        server = make_server(access=ACCESS, notifications={"slack": {"api_url": api}}, procedures=FAST, **sections)
        server.notifier = SlackNotifier(
            SECRETS["SLACK_BOT_TOKEN"], "#ops-alerts", api_url=api, timeout=timedelta(seconds=5)
        )
        await held.enter_async_context(server.serving())
        await held.enter_async_context(server.working())
        yield Scene(server, slack)


@pytest.fixture
async def scene(make_server: MakeServer) -> AsyncIterator[Scene]:
    async with staged(make_server) as scene:
        yield scene


async def test_an_approval_is_asked_for_in_the_thread_and_given_by_a_button(scene: Scene) -> None:
    """Block Kit in the incident's thread; the run goes on in the operator's name; the message says who decided."""
    message = await scene.asked()
    assert message["thread_ts"] == scene.slack.posted[0]["ts"], "in the incident's thread"
    labels = [element["text"]["text"] for element in message["blocks"][-1]["elements"]]
    assert labels == ["Approve", "Reject", "Abort"]
    assert (await scene.press(message, "approve", ANNA)).status_code == 200
    assert (await scene.result())["outcome"] == "COMPLETED"
    said = await scene.server.said(scene.ramp)
    assert any("anna, approve (by Slack): Approved step-1" in text for text in said)
    changed = await until(lambda: scene.slack.of(message))
    assert "step-1 is approved by anna." in json.dumps(changed[-1]["blocks"])
    assert all(block["type"] != "actions" for block in changed[-1]["blocks"]), "nothing is left to be pressed"


async def test_a_rejection_ends_the_run_and_moves_nothing(scene: Scene) -> None:
    """By the button beside."""
    message = await scene.asked()
    await scene.press(message, "reject", ANNA)
    assert (await scene.result())["outcome"] == "REJECTED"
    assert scene.server.plane.distribution(scene.names.chat)[scene.names.bedrock] == 7000
    changed = await until(lambda: scene.slack.of(message))
    assert "anna rejected step-1." in json.dumps(changed[-1])


async def test_an_abort_ends_the_run(scene: Scene) -> None:
    """It asks once more, in Slack itself, since it is easily pressed."""
    message = await scene.asked()
    assert message["blocks"][-1]["elements"][-1]["confirm"]
    await scene.press(message, "abort", ANNA)
    assert (await scene.result())["outcome"] == "ABORTED"


async def test_a_double_click_is_one_order(scene: Scene) -> None:
    """Of one of two who must agree: pressing twice does not make two people of one."""
    message = await scene.asked(quorum=2)
    await asyncio.gather(*(scene.press(message, "approve", ANNA) for _ in range(4)))
    changed = await until(lambda: [update for update in scene.slack.updated if "so far" in json.dumps(update)])
    assert "Approved by anna so far" in json.dumps(changed[-1]["blocks"])
    assert changed[-1]["blocks"][-1]["type"] == "actions", "the other one must still be able to press"
    said = await scene.server.said(scene.ramp)
    assert sum("anna, approve" in text for text in said) == 1
    assert scene.slack.whispered == []
    await scene.press(message, "approve", BEN)
    assert (await scene.result())["outcome"] == "COMPLETED"


@pytest.mark.parametrize(
    ("user", "why"), [(STRANGER, "You are no operator here"), (VERA, "needs the role approve or override")]
)
async def test_who_may_not_decide_is_told_so_alone(scene: Scene, user: str, why: str) -> None:
    """With what is missing; the message stays as it is, for those who may."""
    message = await scene.asked()
    await scene.press(message, "approve", user)
    [whisper] = await until(lambda: scene.slack.whispered)
    assert why in whisper["text"]
    assert (whisper["user"], whisper["thread_ts"]) == (user, message["thread_ts"])
    assert all(update["ts"] != message["ts"] for update in scene.slack.updated)
    await scene.press(message, "reject", ANNA)
    assert (await scene.result())["outcome"] == "REJECTED"


async def test_whoever_asked_may_not_approve_where_the_route_says_so(scene: Scene) -> None:
    """The run refuses it, whichever door it came through; the button stays for somebody else."""
    message = await scene.asked(approver_is_not_requester=True)
    await scene.press(message, "approve", BEN)
    [whisper] = await until(lambda: scene.slack.whispered)
    assert "somebody else's approval" in whisper["text"]
    await scene.press(message, "approve", ANNA)
    assert (await scene.result())["outcome"] == "COMPLETED"


async def test_a_button_of_yesterday_says_that_it_is_over(scene: Scene) -> None:
    """After the run, and for a plan that is no longer the one: nothing is done, and the buttons go away."""
    old = await scene.asked()
    await scene.server.run(scene.ramp).execute_update("reject", _decide(old, "carol"))
    assert (await scene.result())["outcome"] == "REJECTED"
    await scene.press(old, "approve", ANNA)
    changed = await until(lambda: [update for update in scene.slack.updated if "No longer open" in json.dumps(update)])
    assert changed[-1]["ts"] == old["ts"]
    assert all(block["type"] != "actions" for block in changed[-1]["blocks"])
    new = await scene.asked(quorum=2)
    assert _value(new)["digest"] != _value(old)["digest"]
    await scene.press(old, "reject", ANNA)
    whisper = await until(lambda: [one for one in scene.slack.whispered if "another plan" in one["text"]])
    assert whisper
    await scene.press(new, "reject", ANNA)
    assert (await scene.result())["outcome"] == "REJECTED"


def _value(message: dict[str, Any]) -> dict[str, str]:
    found: dict[str, str] = json.loads(message["blocks"][-1]["elements"][0]["value"])
    return found


def _decide(message: dict[str, Any], actor: str) -> dict[str, str]:
    value = _value(message)
    return {"actor": actor, "step": value["step"], "digest": value["digest"]}


@pytest.mark.parametrize(
    ("verb", "said"),
    [("approve", "step-1 is approved by carol."), ("reject", "carol rejected step-1."), ("abort", "Aborted by carol.")],
)
async def test_who_decided_elsewhere_is_told_where_it_was_asked(scene: Scene, verb: str, said: str) -> None:
    """By the command line, say: every message that asked loses its buttons, reminders too."""
    await scene.asked(remind_after=["100ms"])
    first, reminder = await until(lambda: scene.slack.asking() if len(scene.slack.asking()) == 2 else None)
    order = {"actor": "carol"} if verb == "abort" else _decide(first, "carol")
    await scene.server.run(scene.ramp).execute_update(verb, order)
    await scene.result()
    await until(lambda: len(scene.slack.of(first, reminder)) == 2)
    for changed in scene.slack.of(first, reminder):
        assert said in json.dumps(changed["blocks"])
        assert all(block["type"] != "actions" for block in changed["blocks"])


async def test_an_approval_that_nobody_gave_in_time_is_told_where_it_was_asked(scene: Scene) -> None:
    """The deadline decides too."""
    message = await scene.asked(deadline="500ms")
    assert (await scene.result())["outcome"] == "REJECTED"
    [changed] = await until(lambda: scene.slack.of(message))
    assert "Nobody approved step-1 within 500ms." in json.dumps(changed["blocks"])


async def test_slacks_patience_is_kept(scene: Scene) -> None:
    """After its own Retry-After people are told all the same; the order itself waited for nothing."""
    message = await scene.asked()
    scene.slack.limited = 1
    await scene.press(message, "reject", STRANGER)
    await until(lambda: scene.slack.whispered)
    scene.slack.limited = 1
    await scene.press(message, "reject", ANNA)
    changed = await until(lambda: scene.slack.of(message))
    assert "anna rejected step-1." in json.dumps(changed[-1])
    assert (await scene.result())["outcome"] == "REJECTED"
    assert scene.slack.limited == 0


async def test_while_temporal_is_down_whoever_pressed_is_told_to_press_again(
    make_server: MakeServer, names: Names
) -> None:
    """Slack itself is answered at once, and does not send it again."""
    slack = Slack()
    app = Starlette(routes=[Route("/api/{method}", slack.call, methods=["POST"])])
    nowhere = await Client.connect("127.0.0.1:1", lazy=True, data_converter=data_converter)
    async with listening(app, "127.0.0.1", 0) as url:
        server = make_server(
            access=ACCESS,
            notifications={"slack": {"api_url": f"{url}/api"}},
            webhooks={"temporal_timeout": "1s"},
        )
        async with server.serving(client=nowhere):
            asks = Asked(run=f"gradual/{names.chat}", step="step-1", digest="d")
            message = progress("k", names.chat, "approve?", None, asks=asks)
            body = form(pressed({"ts": "1", "text": message.text, "blocks": message.blocks()}, "approve", ANNA))
            answer = await server.http.post("/slack/interactive", content=body, headers=signed(body))
            assert answer.status_code == 200
            [whisper] = await until(lambda: slack.whispered)
            assert "Temporal does not answer" in whisper["text"]
            assert "Press the button again." in whisper["text"]


BODY = form({"type": "block_actions", "user": {"id": ANNA}})


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (BODY, {}),
        (BODY, signed(BODY, secret="another")),
        (BODY + b"&x=1", signed(BODY)),
        (BODY, signed(BODY, at=str(int(time.time()) - 301))),
        (BODY, signed(BODY, at="now")),
        (BODY, signed(BODY, at="")),
        (BODY, signed(BODY) | {"x-slack-request-timestamp": "1e5"}),
        (BODY, signed(BODY) | {"x-slack-request-timestamp": "9" * 400}),
        (b"payload=\xff\xfe", signed(BODY)),
    ],
    ids=["none", "another secret", "changed", "old", "no number", "empty", "a float", "huge", "no text"],
)
async def test_what_slack_did_not_sign_is_refused(
    make_server: MakeServer, body: bytes, headers: dict[str, str]
) -> None:
    """401, never 500: the SDK's verifier raises where a timestamp is no number."""
    async with make_server().serving() as server:
        answer = await server.http.post("/slack/interactive", content=body, headers=headers)
        assert answer.status_code == 401, answer.text


async def test_a_signature_that_is_no_text_is_refused(server: Server) -> None:
    """Bytes beyond ASCII in the header."""
    given = [(b"x-slack-request-timestamp", str(int(time.time())).encode()), (b"x-slack-signature", b"v0=\xe4\xf6")]
    assert (await server.http.post("/slack/interactive", content=BODY, headers=given)).status_code == 401


async def test_without_a_signing_secret_every_button_is_refused(make_server: MakeServer) -> None:
    """And the variable that is missing is named."""
    async with make_server().serving(secrets={}) as server:
        answer = await server.http.post("/slack/interactive", content=BODY, headers=signed(BODY))
        assert answer.status_code == 401
        assert "SLACK_SIGNING_SECRET" in answer.text


@pytest.mark.parametrize(
    "body",
    [b"", b"x=1", b"payload=", b"payload=[]", b"payload={", form({"type": "block_actions"})],
)
async def test_a_signed_form_that_is_no_interaction_is_a_sentence(server: Server, body: bytes) -> None:
    """422, never 500."""
    assert (await server.http.post("/slack/interactive", content=body, headers=signed(body))).status_code == 422


@pytest.mark.parametrize(
    "payload",
    [
        {"type": "view_submission", "user": {"id": ANNA}},
        {
            "type": "block_actions",
            "user": {"id": ANNA},
            "channel": {"id": "C1"},
            "message": {"ts": "1"},
            "actions": [{"action_id": "another.app's", "value": "x"}],
        },
    ],
)
async def test_other_interactions_of_the_same_app_are_none_of_ours(server: Server, payload: dict[str, Any]) -> None:
    """200, and nothing happens."""
    body = form(payload)
    assert (await server.http.post("/slack/interactive", content=body, headers=signed(body))).status_code == 200


def test_an_alert_cannot_call_a_whole_channel(names: Names) -> None:
    """What others wrote is shown as they wrote it, and is no markup."""
    message = progress(
        "k", names.chat, "<!channel> & <https://evil.example|click>", None, asks=Asked(run="r", step="s", digest="d")
    )
    shown = json.dumps([*message.blocks(), *message.headline_blocks()])
    assert "<" not in shown
    assert "&lt;!channel&gt; &amp; &lt;https" in shown


@pytest.mark.parametrize(
    ("verb", "outcome", "said", "started"),
    [
        ("approve", "COMPLETED", "anna approved it", 1),
        ("reject", "REJECTED", "anna rejected it. Nothing was started.", 0),
        ("abort", "ABORTED", "the proposal was withdrawn", 0),
    ],
)
async def test_a_proposal_is_answered_by_the_same_buttons(
    make_server: MakeServer, verb: str, outcome: str, said: str, started: int
) -> None:
    """What was asked is started, or not; the message that asked says who decided, and has no buttons any more."""
    async with staged(make_server, detection={"automation": {"unavailable": "propose"}}) as scene:
        answer = (await scene.server.alert()).json()["alerts"][0]
        proposal = f"proposal/{scene.server.failover}"
        assert (answer["did"], answer["runs"]) == ("started", [proposal])
        [message] = await until(scene.slack.asking)
        assert (await scene.press(message, verb, ANNA)).status_code == 200
        async with asyncio.timeout(30):
            assert (await scene.server.run(proposal).result())["outcome"] == outcome
        changed = await until(lambda: scene.slack.of(message))
        assert said in json.dumps(changed[-1]["blocks"])
        assert all(block["type"] != "actions" for block in changed[-1]["blocks"])
        if started:
            async with asyncio.timeout(30):
                assert (await scene.server.run(scene.server.failover).result())["outcome"] == "COMPLETED"
        else:
            assert await scene.server.runs(scene.server.failover) == 0
