"""CloudWatch over SNS: envelopes signed by a certificate of ours, which stands for Amazon's, at the real door."""

import base64
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA1, SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from failover.errors import Unavailable
from starter.webhooks.sns import Sns
from tests.webhooks.conftest import MakeServer, Names, Server

TOPIC = "arn:aws:sns:eu-west-1:123456789012:failover"

CERTIFICATE = "https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-0123456789abcdef.pem"

CONFIRM = "https://sns.eu-west-1.amazonaws.com/?Action=ConfirmSubscription&TopicArn=x&Token=2336412f37"

KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)


def certificate(*, days: int = 30) -> bytes:
    """Signed by itself: whose certificate it is, the address that it is fetched from tells."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sns.amazonaws.com")])
    now = datetime.now(UTC)
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(KEY.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=60))
        .not_valid_after(now + timedelta(days=days))
        .sign(KEY, SHA256())
    )
    return built.public_bytes(Encoding.PEM)


class Amazon:
    """What answers at Amazon's addresses, and what was asked of it."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.pem = certificate()
        self.down = False

    async def get(self, url: str) -> bytes:
        self.asked.append(url)
        if self.down:
            raise Unavailable("sns.eu-west-1.amazonaws.com does not answer.")
        return self.pem


def signed(version: str = "2", **fields: Any) -> dict[str, Any]:
    """An envelope as SNS makes it: the fields in SNS's order, each on a line of its own, under its value."""
    envelope: dict[str, Any] = {
        "Type": "Notification",
        "MessageId": "22b80b92-fdea-4c2c-8f9d-bdfb0c7bf324",
        "TopicArn": TOPIC,
        "Subject": "ALARM",
        "Message": "{}",
        "Timestamp": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z"),
        "SignatureVersion": version,
        "SigningCertURL": CERTIFICATE,
    } | fields
    envelope = {name: value for name, value in envelope.items() if value is not None}
    names = ["Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"]
    if envelope["Type"] != "Notification":
        names = ["Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"]
    text = "".join(f"{name}\n{envelope[name]}\n" for name in names if name in envelope).encode()
    signature = KEY.sign(text, PKCS1v15(), SHA256() if version == "2" else SHA1())
    return envelope | {"Signature": base64.b64encode(signature).decode()}


@pytest.fixture
def amazon() -> Amazon:
    return Amazon()


@pytest.fixture
async def door(make_server: MakeServer, amazon: Amazon) -> AsyncIterator[Server]:
    senders = {"cloudwatch": {"kind": "cloudwatch", "topic_arns": [TOPIC]}, "none": {"kind": "cloudwatch"}}
    server = make_server(webhooks={"senders": senders})
    async with server.serving(sns=Sns(amazon.get)):
        yield server


async def post(server: Server, envelope: dict[str, Any], name: str = "cloudwatch") -> httpx.Response:
    return await server.http.post(
        f"/webhooks/{name}", content=json.dumps(envelope), headers={"content-type": "text/plain; charset=UTF-8"}
    )


def alarm(names: Names, **fields: Any) -> str:
    text = json.loads((Path(__file__).with_name("payloads") / "cloudwatch_alarm.json").read_text())
    description = f"provider={names.bedrock} trigger=unavailable"
    return json.dumps(text | {"AlarmDescription": description} | fields)


@pytest.mark.parametrize("version", ["1", "2"])
@pytest.mark.parametrize("subject", ["ALARM", None])
async def test_a_signed_alarm_starts_a_run(
    door: Server, amazon: Amazon, names: Names, version: str, subject: str | None
) -> None:
    """Both of SNS's signatures, with and without a subject; the certificate is fetched once."""
    answer = await post(door, signed(version, Message=alarm(names), Subject=subject))
    assert answer.status_code == 200, answer.text
    assert answer.json()["alerts"][0]["did"] == "started"
    again = await post(door, signed(version, Message=alarm(names), Subject=subject))
    assert again.json()["alerts"][0]["did"] == "repeated", "the same message id"
    assert amazon.asked == [CERTIFICATE]
    await door.end(door.failover)


async def test_a_subscription_is_confirmed_by_itself(door: Server, amazon: Amazon) -> None:
    """Signed, of a topic of ours, at Amazon's address."""
    answer = await post(
        door,
        signed(Type="SubscriptionConfirmation", SubscribeURL=CONFIRM, Token="2336412f37", Subject=None, Message="x"),
    )
    assert answer.json()["said"] == "The subscription is confirmed."
    assert amazon.asked == [CERTIFICATE, CONFIRM]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"Message": "changed"}, "signature is not Amazon's"),
        ({"Subject": "changed"}, "signature is not Amazon's"),
        ({"Signature": "AAAA"}, "signature is not Amazon's"),
        ({"Signature": "no base64"}, "signature is not Amazon's"),
        ({"TopicArn": TOPIC + "2"}, "its topic is none of"),
        ({"SigningCertURL": "https://sns.eu-west-1.amazonaws.com.evil.example/x.pem"}, "SigningCertURL"),
        ({"SigningCertURL": "https://evil.example/sns.eu-west-1.amazonaws.com/x.pem"}, "SigningCertURL"),
        ({"SigningCertURL": "https://user@sns.eu-west-1.amazonaws.com/x.pem"}, "SigningCertURL"),
        ({"SigningCertURL": "https://sns.eu-west-1.amazonaws.com:8443/x.pem"}, "SigningCertURL"),
        ({"SigningCertURL": "http://sns.eu-west-1.amazonaws.com/x.pem"}, "SigningCertURL"),
        ({"SigningCertURL": "https://sns.us-east-1.amazonaws.com/x.pem"}, "SigningCertURL"),
        ({"SigningCertURL": "https://sns.eu-west-1.amazonaws.com:none/x.pem"}, "SigningCertURL"),
    ],
)
async def test_what_amazon_did_not_sign_is_refused(
    door: Server, amazon: Amazon, names: Names, change: dict[str, str], why: str
) -> None:
    """401; and nobody but Amazon is ever asked for a certificate."""
    answer = await post(door, signed(Message=alarm(names)) | change)
    assert answer.status_code == 401
    assert why in answer.text
    assert set(amazon.asked) <= {CERTIFICATE}


async def test_a_subscription_to_elsewhere_is_not_followed(door: Server, amazon: Amazon) -> None:
    """Though it were signed."""
    envelope = signed(
        Type="SubscriptionConfirmation",
        SubscribeURL="https://evil.example/?Token=x",
        Token="x",
        Subject=None,
        Message="x",
    )
    assert (await post(door, envelope)).status_code == 401
    assert amazon.asked == [CERTIFICATE]


async def test_an_old_message_is_refused(door: Server, names: Names) -> None:
    """A recorded one cannot be played again."""
    old = (datetime.now(UTC) - timedelta(minutes=61)).strftime("%Y-%m-%dT%H:%M:%S.000Z")
    answer = await post(door, signed(Message=alarm(names), Timestamp=old))
    assert answer.status_code == 401
    assert "max_age" in answer.text


async def test_a_certificate_that_has_expired_proves_nothing(door: Server, amazon: Amazon, names: Names) -> None:
    """Nor does what is no certificate."""
    for pem in (certificate(days=-1), b"no certificate"):
        amazon.pem = pem
        assert (await post(door, signed(Message=alarm(names)))).status_code == 401


async def test_a_sender_that_names_no_topic_takes_none(door: Server, amazon: Amazon, names: Names) -> None:
    """Anybody has an AWS account; the signature alone says nothing."""
    answer = await post(door, signed(Message=alarm(names)), "none")
    assert answer.status_code == 401
    assert "topic_arns" in answer.text
    assert amazon.asked == []


async def test_while_amazon_does_not_answer_it_is_asked_to_send_again(
    door: Server, amazon: Amazon, names: Names
) -> None:
    """503: SNS tries again."""
    amazon.down = True
    assert (await post(door, signed(Message=alarm(names)))).status_code == 503
    amazon.down = False
    assert (await post(door, signed(Message=alarm(names)))).status_code == 200
    await door.end(door.failover)
