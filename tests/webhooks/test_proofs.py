"""How senders prove themselves at the door, by the bytes that they really send; and how often anybody may knock."""

import asyncio
import base64
import hashlib
import hmac
import time
from typing import Any

import httpx
import pytest
from pydantic import ValidationError
from starlette.requests import Request
from starlette.types import Message

from failover.senders import Sender
from starter.webhooks.answers import Refused, read_body
from starter.webhooks.memory import Answered, Rate
from tests.webhooks.conftest import MakeServer, Server
from tests.webhooks.test_alert_forms import sent


def hexed(secret: str, text: bytes) -> str:
    return hmac.new(secret.encode(), text, hashlib.sha256).hexdigest()


def basic(user: str, password: str) -> dict[str, str]:
    return {"authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


SENDERS: dict[str, Any] = {
    "alertmanager": {"kind": "alertmanager", "secret_env": "ALERTMANAGER_WEBHOOK_TOKEN"},
    "alertmanager-basic": {"kind": "alertmanager", "proof": "basic", "secret_env": "ALERTMANAGER_WEBHOOK_TOKEN"},
    "grafana-signed": {"kind": "grafana", "proof": "signature", "secret_env": "GRAFANA_WEBHOOK_TOKEN"},
    "grafana-timed": {
        "kind": "grafana",
        "proof": "signature",
        "secret_env": "GRAFANA_WEBHOOK_TOKEN",
        "timestamp_header": "X-Grafana-Alerting-Timestamp",
    },
    "pagerduty": {"kind": "pagerduty", "secret_env": "PAGERDUTY_WEBHOOK_SECRET"},
    "datadog": {"kind": "datadog", "secret_env": "DATADOG_WEBHOOK_TOKEN"},
    "generic": {"kind": "generic", "proof": "signature", "secret_env": "GENERIC_WEBHOOK_TOKEN"},
    "unset": {"kind": "generic", "secret_env": "NEVER_SET"},
    "unset-signed": {"kind": "generic", "proof": "signature", "secret_env": "NEVER_SET"},
}


def headers_of(name: str, body: bytes, *, secret: str | None = None, at: float | None = None) -> dict[str, str]:
    """As the sender itself would send them; `secret` and `at` in its place."""
    stamp = str(int(time.time() if at is None else at))
    match name:
        case "alertmanager":
            return bearer(secret or "alertmanager-token")
        case "alertmanager-basic":
            return basic("failover", secret or "alertmanager-token")
        case "grafana-signed":
            return {"x-grafana-alerting-signature": hexed(secret or "grafana-token", body)}
        case "grafana-timed":
            signed = hexed(secret or "grafana-token", f"{stamp}:".encode() + body)
            return {"x-grafana-alerting-signature": signed, "x-grafana-alerting-timestamp": stamp}
        case "pagerduty":
            return {"x-pagerduty-signature": f"v1={'0' * 64},v1={hexed(secret or 'pagerduty-secret', body)}"}
        case "datadog":
            return bearer(secret or "datadog-token")
    signed = hexed(secret or "generic-token", f"{stamp}.".encode() + body)
    return {"x-failover-signature": f"v1={signed}", "x-failover-timestamp": stamp}


def body_of(name: str) -> bytes:
    kind = SENDERS[name]["kind"]
    if kind == "pagerduty":
        stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        return sent(kind).replace(b"2026-11-25T14:07:32.000Z", stamp.encode())
    return sent(kind)


WORKING = [name for name in SENDERS if not name.startswith("unset")]


@pytest.fixture
async def door(make_server: MakeServer) -> Any:
    async with make_server(webhooks={"senders": SENDERS, "refusals_per_minute": 100}).serving() as serving:
        yield serving


async def post(server: Server, name: str, body: bytes, headers: dict[str, str]) -> httpx.Response:
    return await server.http.post(f"/webhooks/{name}", content=body, headers=headers)


@pytest.mark.parametrize("name", WORKING)
async def test_the_sender_itself_is_let_in(door: Server, name: str) -> None:
    """By its own proof, over its own bytes. (Nobody here knows the provider: the alert is ignored, and answered so.)"""
    body = body_of(name)
    answer = await post(door, name, body, headers_of(name, body))
    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize("name", WORKING)
async def test_another_secret_is_refused(door: Server, name: str) -> None:
    """401, which says what is missing and repeats nothing."""
    body = body_of(name)
    answer = await post(door, name, body, headers_of(name, body, secret="another-secret"))
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"]
    assert "another-secret" not in answer.text


@pytest.mark.parametrize("name", WORKING)
async def test_nothing_at_all_is_refused(door: Server, name: str) -> None:
    """No header, and an empty one."""
    body = body_of(name)
    for headers in ({}, dict.fromkeys(headers_of(name, body), "")):
        assert (await post(door, name, body, headers)).status_code == 401


@pytest.mark.parametrize("name", ["grafana-signed", "grafana-timed", "pagerduty", "generic"])
async def test_a_changed_body_is_refused(door: Server, name: str) -> None:
    """One byte is enough."""
    body = body_of(name)
    assert (await post(door, name, body + b" ", headers_of(name, body))).status_code == 401


@pytest.mark.parametrize("name", ["grafana-timed", "generic"])
@pytest.mark.parametrize("away", [-301, 301])
async def test_a_signature_of_another_time_is_refused(door: Server, name: str, away: int) -> None:
    """A recorded delivery cannot be played again later; within the window it counts once."""
    body = body_of(name)
    answer = await post(door, name, body, headers_of(name, body, at=time.time() + away))
    assert answer.status_code == 401
    assert "too far from now" in answer.text
    assert (await post(door, name, body, headers_of(name, body, at=time.time() + away * 0.9))).status_code == 200


@pytest.mark.parametrize("name", ["grafana-timed", "generic"])
@pytest.mark.parametrize("stamp", ["now", "", "１２３", "1e9", "-1", "9" * 40])
async def test_a_timestamp_that_is_no_number_is_refused(door: Server, name: str, stamp: str) -> None:
    """401, and no 500."""
    body, secret = body_of(name), {"grafana-timed": "grafana-token", "generic": "generic-token"}[name]
    raw = stamp.encode("utf-8").decode("latin-1")
    signed = hexed(secret, (raw + (":" if name != "generic" else ".")).encode() + body)
    given = {
        "x-grafana-alerting-signature": signed,
        "x-grafana-alerting-timestamp": raw,
        "x-failover-signature": f"v1={signed}",
        "x-failover-timestamp": raw,
    }
    answer = await door.http.post(
        f"/webhooks/{name}",
        content=body,
        headers=[(key.encode(), value.encode("latin-1")) for key, value in given.items()],
    )
    assert answer.status_code == 401, answer.text


async def test_an_old_event_of_pagerduty_is_refused(door: Server) -> None:
    """Its signature holds no time: the event's own is looked at, for as long as PagerDuty tries again."""
    body = sent("pagerduty").replace(b"2026-11-25T14:07:32.000Z", b"2020-01-01T00:00:00Z")
    answer = await post(door, "pagerduty", body, headers_of("pagerduty", body))
    assert answer.status_code == 401
    assert "max_age" in answer.text


async def test_secrets_are_changed_without_a_gap(door: Server) -> None:
    """The old one and the new one, divided by a space."""
    body = body_of("pagerduty")
    for secret in ("old-secret", "pagerduty-secret"):
        assert (await post(door, "pagerduty", body, headers_of("pagerduty", body, secret=secret))).status_code == 200


async def test_a_sender_whose_secret_is_not_set_is_refused(door: Server) -> None:
    """Also one that comes without any: nothing is open because something was forgotten."""
    body = sent("generic")
    for headers in ({}, bearer("None"), headers_of("generic", body, secret="")):
        assert (await post(door, "unset", body, headers)).status_code == 401
        assert (await post(door, "unset-signed", body, headers)).status_code == 401


async def test_an_unknown_sender_is_no_door(door: Server) -> None:
    """404, with where they are named."""
    answer = await post(door, "nobody", b"{}", {})
    assert answer.status_code == 404
    assert "webhooks.senders" in answer.text


async def test_a_body_that_is_too_long_is_not_read(make_server: MakeServer) -> None:
    """Announced or not; 413 before anything is proved, and the sender hears it."""
    async with make_server(webhooks={"max_body_bytes": 1000}).serving() as server:
        announced = await server.http.post("/webhooks/generic", content=b"x" * 1001)
        assert announced.status_code == 413

        async def unannounced() -> Any:
            for _ in range(20):
                yield b"x" * 100

        assert (await server.http.post("/webhooks/generic", content=unannounced())).status_code == 413
        assert (await server.http.post("/webhooks/generic", content=b"x" * 1000)).status_code == 401


async def test_whoever_guesses_is_slowed_down_and_nobody_else(make_server: MakeServer) -> None:
    """429 with Retry-After for those who prove nothing; the sender behind the same address is let in all the same."""
    async with make_server(webhooks={"refusals_per_minute": 3}).serving() as server:
        guesses = [await server.http.post("/webhooks/generic", json={}, headers=bearer(str(n))) for n in range(5)]
        assert [guess.status_code for guess in guesses] == [401, 401, 401, 429, 429]
        assert int(guesses[-1].headers["retry-after"]) > 0
        assert (await server.alert(provider="nobody")).status_code == 200


async def test_a_sender_that_sends_too_much_is_told_to_try_again(make_server: MakeServer) -> None:
    """By 503: most send again after 5xx only."""
    async with make_server(webhooks={"requests_per_second": 1, "burst": 3}).serving() as server:
        answers = await asyncio.gather(*(server.alert(provider="nobody") for _ in range(60)))
        told = [answer for answer in answers if answer.status_code == 503]
        assert 3 <= len(answers) - len(told) < 60
        assert all(int(answer.headers["retry-after"]) >= 1 for answer in told)


@pytest.mark.parametrize(
    ("sender", "said"),
    [
        ({"kind": "pagerduty", "proof": "bearer"}, "a sender of kind pagerduty proves itself by signature"),
        ({"kind": "alertmanager", "proof": "basic"}, "needs secret_env"),
        ({"kind": "datadog", "topic_arns": ["x"]}, "topic_arns are for senders of kind cloudwatch"),
        ({"kind": "carrier-pigeon"}, "kind"),
        ({"kind": "generic", "secret_env": "$TOKEN"}, "secret_env"),
    ],
)
def test_a_sender_that_could_not_prove_itself_is_no_configuration(sender: dict[str, Any], said: str) -> None:
    """Said when it is loaded."""
    with pytest.raises(ValidationError, match=said):
        Sender.model_validate(sender)


def test_a_rate_is_so_many_at_once_and_so_many_a_second() -> None:
    """By a clock that is turned by hand."""
    now = [100.0]
    rate = Rate(per_second=2, burst=3, clock=lambda: now[0])
    assert [rate.take("a") for _ in range(3)] == [0, 0, 0]
    assert rate.take("a") == pytest.approx(0.5)
    assert rate.take("b") == 0
    now[0] += 0.5
    assert rate.take("a") == 0
    now[0] += 100
    assert [rate.take("a") for _ in range(4)] == [0, 0, 0, pytest.approx(0.5)]


def test_an_answer_is_remembered_for_its_own_time() -> None:
    """By a clock that is turned by hand."""
    now = [100.0]
    answered = Answered(clock=lambda: now[0])
    answered.put("a", "1", "short", 10)
    answered.put("a", "2", "long", 100)
    now[0] += 11
    assert (answered.get("a", "1"), answered.get("a", "2"), answered.get("b", "2")) == (None, "long", None)


async def test_a_body_that_does_not_come_is_not_waited_for() -> None:
    """A sender that trickles holds its connection for so long, and no longer."""

    async def trickle() -> Message:
        await asyncio.sleep(0.02)
        return {"type": "http.request", "body": b"x", "more_body": True}

    request = Request({"type": "http", "method": "POST", "headers": []}, trickle)
    with pytest.raises(Refused, match="did not come within") as refused:
        await asyncio.wait_for(read_body(request, 1_000_000, patience=0.2), timeout=10)
    assert refused.value.status == 408
