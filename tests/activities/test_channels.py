"""The destinations outside, each against a real server on this machine: HTTP ones, and a real SMTP server."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from email.message import Message
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.smtp import SMTP, AuthResult, Envelope
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from activities.channels.email import EmailChannel
from activities.channels.http import retry_after
from activities.channels.pagerduty import PagerDutyChannel
from activities.channels.status_page import PostedStatusChannel, StatuspageChannel
from activities.channels.webhook import DELIVERY_HEADER, WebhookChannel
from failover.communications import Channel, Delivery, Incident, News, Stage
from failover.config.communications import ChannelName, Email, PagerDuty, StatusPage
from failover.errors import ChannelFailed
from failover.incident import Outcome
from failover.signatures import why_not_generic
from gateway.process import listening

NOW = datetime(2026, 1, 31, 3, 0, tzinfo=UTC)
SECRET = "very-secret-key"
SHORT = timedelta(seconds=5)

INCIDENT = Incident(
    workflow_id="failover/bedrock",
    run_id="r1",
    procedure="ImmediateFailover",
    subject="bedrock",
    text="70 % from bedrock to google",
    at=NOW,
    providers=["bedrock"],
    contacts={"bedrock": "1-800"},
)


def said(stage: Stage, number: int = 1, reference: str = "", incident: Incident = INCIDENT, **more: Any) -> Delivery:
    told = News(stage=stage, text=f"internal: {stage.value}", at=NOW, number=number, **more)
    return Delivery(channel=ChannelName.WEBHOOK, incident=incident, news=told, reference=reference)


OPENED = said(Stage.OPENED)
VERIFIED = said(Stage.UPDATED, 2, verified=True)
DONE = said(Stage.CLOSED, 3, outcome=Outcome.COMPLETED)
NEEDS_PERSON = said(Stage.CLOSED, 3, outcome=Outcome.NEEDS_HUMAN, command="failoverctl restore chat --yes")


@dataclass
class Receiver:
    """Keeps what it is sent; `refuse`: what it answers instead, once each."""

    got: list[tuple[str, str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    refuse: list[Response] = field(default_factory=list)
    answers: dict[tuple[str, str], Any] = field(default_factory=dict)
    url: str = ""

    async def call(self, request: Request) -> Response:
        content = await request.body()
        self.bodies.append(content)
        self.headers.append(dict(request.headers))
        self.got.append((request.method, request.url.path, json.loads(content) if content else None))
        if self.refuse:
            return self.refuse.pop(0)
        return JSONResponse(self.answers.get((request.method, request.url.path), {}))


@asynccontextmanager
async def receiving() -> AsyncIterator[Receiver]:
    receiver = Receiver()
    app = Starlette(routes=[Route("/{path:path}", receiver.call, methods=["GET", "POST", "PATCH"])])
    async with listening(app, "127.0.0.1", 0) as url:
        receiver.url = url
        yield receiver


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as one:
        yield one


# Statuspage

UNRESOLVED = ("GET", "/v1/pages/p1/incidents/unresolved")


@pytest.fixture
def statuspage(receiver: Receiver) -> StatuspageChannel:
    settings = StatusPage.model_validate(
        {"kind": "statuspage", "page_id": "p1", "url": f"{receiver.url}/v1", "components": ["c1"]}
    )
    receiver.answers = {UNRESOLVED: [], ("POST", "/v1/pages/p1/incidents"): {"id": "inc-1"}}
    return StatuspageChannel(settings, SECRET, timeout=SHORT)


async def test_a_statuspage_incident_is_opened_updated_and_resolved(
    receiver: Receiver, statuspage: StatuspageChannel
) -> None:
    """With the key in Statuspage's own form, components, and public words alone."""
    reference = await statuspage.deliver(OPENED)
    assert reference == "inc-1"
    await statuspage.deliver(replace(VERIFIED, reference=reference))
    await statuspage.deliver(replace(DONE, reference=reference))
    posted = [(method, path, body["incident"]) for method, path, body in receiver.got if body]
    assert [(method, path) for method, path, _ in posted] == [
        ("POST", "/v1/pages/p1/incidents"),
        ("PATCH", "/v1/pages/p1/incidents/inc-1"),
        ("PATCH", "/v1/pages/p1/incidents/inc-1"),
    ]
    assert [one["status"] for _, _, one in posted] == ["identified", "monitoring", "resolved"]
    assert [one["components"]["c1"] for _, _, one in posted] == ["degraded_performance"] * 2 + ["operational"]
    assert posted[2][2]["body"] == "AI service restored after provider failover"
    assert {headers["authorization"] for headers in receiver.headers} == {f"OAuth {SECRET}"}
    assert b"internal" not in b"".join(receiver.bodies) and b"bedrock to" not in b"".join(receiver.bodies)


async def test_an_incident_that_a_dead_attempt_opened_is_found(
    receiver: Receiver, statuspage: StatuspageChannel
) -> None:
    """By its metadata; and another's is left alone."""
    receiver.answers[UNRESOLVED] = [
        {"id": "other", "metadata": {"failover": {"key": "x"}}},
        {"id": "bare", "metadata": None},
        {"id": "ours", "metadata": {"failover": {"key": INCIDENT.key}}},
    ]
    assert await statuspage.deliver(OPENED) == "ours"
    assert [method for method, _, _ in receiver.got] == ["GET"]


async def test_the_posted_form_is_the_runbooks(receiver: Receiver) -> None:
    """Status and message, nothing else, under a bearer key; headers tell twice from once."""
    settings = StatusPage.model_validate({"kind": "post", "url": f"{receiver.url}/api/incidents"})
    page = PostedStatusChannel(settings, SECRET, timeout=SHORT)
    reference = await page.deliver(OPENED)
    await page.deliver(replace(DONE, reference=reference))
    assert receiver.got[1] == (
        "POST",
        "/api/incidents",
        {"status": "resolved", "message": "AI service restored after provider failover"},
    )
    assert receiver.headers[1]["authorization"] == f"Bearer {SECRET}"
    assert [headers["idempotency-key"] for headers in receiver.headers] == [OPENED.key, DONE.key]


# What an answer means


@pytest.mark.parametrize(
    ("answer", "permanent", "wait", "words"),
    [
        (Response(status_code=429, headers={"Retry-After": "7"}), False, 7, "asks for patience for 7 s"),
        (Response(status_code=420), False, None, "asks for patience"),
        (Response(status_code=503, headers={"Retry-After": "3"}), False, 3, "in trouble itself: 503"),
        (Response(status_code=302, headers={"Location": "/x"}), True, None, "refused it: 302"),
        (Response(status_code=401), True, None, "put a valid key into STATUS_API_KEY"),
        (JSONResponse({"error": f"no {SECRET} here"}, 422), True, None, "no … here"),
    ],
)
async def test_whether_and_when_another_try_helps(
    receiver: Receiver, answer: Response, permanent: bool, wait: float | None, words: str
) -> None:
    """Rate limits keep their time; what a person must repair is not tried again; the key is in no error."""
    settings = StatusPage.model_validate({"kind": "post", "url": receiver.url})
    receiver.refuse.append(answer)
    with pytest.raises(ChannelFailed) as failed:
        await PostedStatusChannel(settings, SECRET, timeout=SHORT).deliver(OPENED)
    assert failed.value.permanent is permanent
    assert failed.value.wait == (timedelta(seconds=wait) if wait else None)
    assert words in str(failed.value) and SECRET not in str(failed.value)


async def test_nobody_there_is_tried_again() -> None:
    settings = StatusPage.model_validate({"kind": "post", "url": "http://127.0.0.1:1"})
    with pytest.raises(ChannelFailed, match="does not answer: ConnectError") as failed:
        await PostedStatusChannel(settings, SECRET, timeout=SHORT).deliver(OPENED)
    assert not failed.value.permanent


def test_retry_after_may_be_a_date() -> None:
    assert retry_after({"Retry-After": "Sat, 31 Jan 2026 03:00:30 GMT"}, NOW) == timedelta(seconds=30)
    assert retry_after({"Retry-After": "soon"}, NOW) is None and retry_after({}, NOW) is None


# PagerDuty


async def test_pagerduty_is_triggered_acknowledged_and_resolved_under_one_key(receiver: Receiver) -> None:
    channel = PagerDutyChannel(PagerDuty(enabled=True, url=f"{receiver.url}/v2/enqueue"), SECRET, timeout=SHORT)
    for delivery in (OPENED, VERIFIED, DONE):
        assert await channel.deliver(delivery) == INCIDENT.key
    events = [body for _, _, body in receiver.got]
    assert [(one["event_action"], one["dedup_key"]) for one in events] == [
        ("trigger", INCIDENT.key),
        ("acknowledge", INCIDENT.key),
        ("resolve", INCIDENT.key),
        ("resolve", f"{INCIDENT.key}/person"),
    ]
    assert {one["routing_key"] for one in events} == {SECRET}
    assert (events[0]["payload"]["severity"], events[0]["payload"]["custom_details"]["contacts"]) == (
        "warning",
        {"bedrock": "1-800"},
    )


async def test_who_is_needed_is_paged_by_an_alert_that_nothing_has_acknowledged(receiver: Receiver) -> None:
    """Critical, with the command; and it stays open."""
    channel = PagerDutyChannel(PagerDuty(enabled=True, url=f"{receiver.url}/v2/enqueue"), SECRET, timeout=SHORT)
    await channel.deliver(NEEDS_PERSON)
    events = [body for _, _, body in receiver.got]
    assert [(one["event_action"], one["dedup_key"]) for one in events] == [
        ("trigger", f"{INCIDENT.key}/person"),
        ("resolve", INCIDENT.key),
    ]
    assert events[0]["payload"]["severity"] == "critical"
    assert events[0]["payload"]["custom_details"]["command"] == "failoverctl restore chat --yes"
    await channel.deliver(replace(NEEDS_PERSON, incident=replace(INCIDENT, is_drill=True)))
    assert receiver.got[2][2]["payload"]["severity"] == "info"
    assert receiver.got[2][2]["payload"]["summary"].startswith("[DRILL]")


# The webhook


async def test_a_delivery_is_signed_as_our_own_door_demands(receiver: Receiver) -> None:
    """At the moment of the attempt; a changed body, another secret or an old time is refused."""
    channel = WebhookChannel(f"{receiver.url}/hook", SECRET, timeout=SHORT, clock=lambda: NOW)
    await channel.deliver(NEEDS_PERSON)
    headers, body = receiver.headers[0], receiver.bodies[0]
    window = timedelta(minutes=5)
    assert why_not_generic(headers, body, [SECRET], window, NOW) is None
    assert why_not_generic(headers, body + b" ", [SECRET], window, NOW) is not None
    assert why_not_generic(headers, body, ["another"], window, NOW) is not None
    assert why_not_generic(headers, body, [SECRET], window, NOW + timedelta(hours=1)) is not None
    assert headers[DELIVERY_HEADER] == NEEDS_PERSON.key
    told = json.loads(body)
    assert (told["event"], told["outcome"], told["needs_person"], told["drill"], told["test"]) == (
        "incident.closed",
        "NEEDS_HUMAN",
        True,
        False,
        False,
    )


# E-mail


@dataclass
class Mailbox:
    """What a real SMTP server took; `refuse`: what it answers to every recipient."""

    messages: list[Message] = field(default_factory=list)
    refuse: str = ""

    async def handle_RCPT(self, server: Any, session: Any, envelope: Envelope, address: str, options: Any) -> str:
        if self.refuse:
            return self.refuse
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Envelope) -> str:
        assert isinstance(envelope.content, bytes)
        self.messages.append(message_from_bytes(envelope.content))
        return "250 OK"


@asynccontextmanager
async def mail_server(mailbox: Any, **options: Any) -> AsyncIterator[int]:
    """A real SMTP server; → its port."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: SMTP(mailbox, loop=loop, **options), "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


def email(port: int, **changes: Any) -> Email:
    plain = {"to": ["a@example.com", "b@example.com"], "host": "127.0.0.1", "port": port, "security": "none"}
    return Email.model_validate(plain | changes)


async def test_an_incident_is_one_thread_and_a_repeated_message_has_one_id() -> None:
    mailbox = Mailbox()
    async with mail_server(mailbox) as port:
        channel = EmailChannel(email(port), None, timeout=SHORT)
        for delivery in (OPENED, NEEDS_PERSON, NEEDS_PERSON):
            await channel.deliver(delivery)
    opened, closed, again = mailbox.messages
    assert opened["References"] == closed["References"] and opened["Message-ID"] != closed["Message-ID"]
    assert closed["Message-ID"] == again["Message-ID"]
    assert (opened["To"], closed["Importance"]) == ("a@example.com, b@example.com", "high")
    assert "ACT NOW, NEEDS_HUMAN" in closed["Subject"].replace("\r\n", "")
    text = closed.get_payload(decode=True)
    assert isinstance(text, bytes) and b"Run: failoverctl restore chat --yes" in text


@pytest.mark.parametrize(("answer", "permanent"), [("450 busy", False), ("550 no such user", True)])
async def test_a_mail_server_that_refuses_says_whether_to_come_back(answer: str, permanent: bool) -> None:
    async with mail_server(Mailbox(refuse=answer)) as port:
        with pytest.raises(ChannelFailed, match="refused every recipient") as failed:
            await EmailChannel(email(port), None, timeout=SHORT).deliver(OPENED)
    assert failed.value.permanent is permanent


async def test_a_wrong_password_is_explained_without_it() -> None:
    options = {"authenticator": lambda *_: AuthResult(success=False, handled=False), "auth_require_tls": False}
    async with mail_server(Mailbox(), **options) as port:
        with pytest.raises(ChannelFailed, match="SMTP_PASSWORD") as failed:
            await EmailChannel(email(port, user="me"), SECRET, timeout=SHORT).check()
    assert failed.value.permanent and SECRET not in str(failed.value)


async def test_a_server_without_starttls_gets_no_message_in_the_clear() -> None:
    mailbox = Mailbox()
    async with mail_server(mailbox) as port:
        with pytest.raises(ChannelFailed, match="knows no STARTTLS"):
            await EmailChannel(email(port, security="starttls"), None, timeout=SHORT).deliver(OPENED)
    assert not mailbox.messages


async def test_the_certificate_of_the_server_is_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By STARTTLS: one that nobody vouches for is refused; one that is vouched for is used, and the login works."""
    certificate = _certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    options = {"tls_context": context, "authenticator": lambda *_: AuthResult(success=True)}
    mailbox = Mailbox()
    async with mail_server(mailbox, **options) as port:
        channel = EmailChannel(email(port, host="localhost", security="starttls", user="me"), SECRET, timeout=SHORT)
        with pytest.raises(ChannelFailed, match="does not answer"):
            await channel.deliver(OPENED)
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        await channel.deliver(OPENED)
    assert len(mailbox.messages) == 1


def _certificate(folder: Path) -> Path:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path = folder / "localhost.pem"
    path.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    return path


async def test_a_mail_server_that_hangs_costs_one_timeout() -> None:
    """It takes the connection and never says a word."""

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async with await asyncio.start_server(silent, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        channel: Channel = EmailChannel(email(port), None, timeout=timedelta(milliseconds=200))
        with pytest.raises(ChannelFailed, match="does not answer") as failed:
            await channel.deliver(OPENED)
    assert not failed.value.permanent
