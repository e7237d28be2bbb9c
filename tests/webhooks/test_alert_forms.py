"""Every sender's form, as it really writes it, read into one shape; and what each then leads to. Nothing runs here."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from failover.alert_forms import ALERT_FORMS, read
from failover.alerts import Alert, Decision, Status, clean, decide, meaning
from failover.config import Config
from failover.config_file import parse
from failover.distribution import Distribution
from failover.errors import ConfigError, RequestError
from failover.senders import Kind

PAYLOADS = Path(__file__).with_name("payloads")

NOW = datetime(2026, 11, 25, 14, 10, tzinfo=UTC)

IN_FORCE: dict[str, Distribution] = {"chat": {"bedrock": 7000, "google": 2000, "meta": 1000}}

AWAY: dict[str, Distribution] = {"chat": {"bedrock": 0, "google": 9000, "meta": 1000}}


def config(alerts: str = "{}", more: str = "") -> Config:
    text = f"""
providers:
  bedrock: {{kind: bedrock, model: m, endpoint: simulator}}
  google: {{kind: vertex, model: m, endpoint: simulator}}
  meta: {{kind: llama, model: m, endpoint: simulator}}
routes:
  chat:
    distribution: {{bedrock: 70, google: 20, meta: 10}}
failover_chains: {{google: [bedrock, meta], bedrock: [google]}}
webhooks:
  alerts: {alerts}
{more}
"""
    return parse(text, "test.yaml").config


def envelope(message: str) -> bytes:
    """An SNS notification around a message; its signature is not looked at here."""
    return json.dumps(
        {
            "Type": "Notification",
            "MessageId": "22b80b92-fdea-4c2c-8f9d-bdfb0c7bf324",
            "TopicArn": "arn:aws:sns:us-east-1:123456789012:failover",
            "Subject": 'ALARM: "bedrock-server-errors" in US East (N. Virginia)',
            "Message": message,
            "Timestamp": "2026-11-25T14:08:05.157Z",
            "SignatureVersion": "1",
            "Signature": "EXAMPLE==",
            "SigningCertURL": "https://sns.us-east-1.amazonaws.com/SimpleNotificationService-0000.pem",
            "UnsubscribeURL": "https://sns.us-east-1.amazonaws.com/?Action=Unsubscribe",
        }
    ).encode()


def payload(name: str) -> bytes:
    text = (PAYLOADS / f"{name}.json").read_bytes()
    return text if name != "cloudwatch" else envelope((PAYLOADS / "cloudwatch_alarm.json").read_text())


def sent(kind: Kind) -> bytes:
    return envelope((PAYLOADS / "cloudwatch_alarm.json").read_text()) if kind == "cloudwatch" else payload(kind)


SHAPES: list[tuple[Kind, int, str, Status, dict[str, str], str]] = [
    ("alertmanager", 0, "LLMProviderServerErrors", Status.FIRING, {"trigger": "unavailable"}, "server errors"),
    ("alertmanager", 1, "LLMProviderThrottled", Status.RESOLVED, {"failover_provider": "google"}, ""),
    ("grafana", 0, "Vertex latency", Status.FIRING, {"gen_ai_provider_name": "gcp.vertex_ai"}, "over 3000 ms"),
    ("pagerduty", 0, "AWS Bedrock: inference is failing", Status.FIRING, {"service": "Bedrock inference"}, ""),
    (
        "cloudwatch",
        0,
        "bedrock-server-errors",
        Status.FIRING,
        {"provider": "bedrock", "metric": "InvocationServerErrors"},
        "Threshold Crossed",
    ),
    ("datadog", 0, "[Triggered] Meta Llama API is throttled", Status.FIRING, {"provider": "meta", "env": "prod"}, ""),
    ("generic", 0, "GoldenPromptsDropped", Status.FIRING, {"route": "chat", "suite": "comprehensive"}, "12 points"),
]


@pytest.mark.parametrize(("kind", "number", "name", "status", "labels", "summary"), SHAPES)
def test_every_senders_form_is_read(
    kind: Kind, number: int, name: str, status: Status, labels: dict[str, str], summary: str
) -> None:
    """Name, status, labels and summary; whatever else the sender writes is let through unread."""
    alert = read(kind, sent(kind), 1000)[number]
    assert (alert.name, alert.status) == (name, status)
    assert labels.items() <= alert.labels.items()
    assert summary in alert.summary


@pytest.mark.parametrize("kind", ALERT_FORMS)
def test_the_same_delivery_has_the_same_key(kind: Kind) -> None:
    """Twice the same is known by it; an end is told from its beginning."""
    first, again = read(kind, sent(kind), 1000), read(kind, sent(kind), 1000)
    assert [alert.key for alert in first] == [alert.key for alert in again]
    assert len({alert.key for alert in first}) == len(first)


@pytest.mark.parametrize(
    ("kind", "key", "value", "status"),
    [
        ("pagerduty", "incident.triggered", "incident.resolved", Status.RESOLVED),
        ("pagerduty", "incident.triggered", "incident.reopened", Status.FIRING),
        ("pagerduty", "incident.triggered", "incident.acknowledged", Status.OTHER),
        ("pagerduty", "incident.triggered", "pagey.ping", Status.OTHER),
        ("datadog", '"Triggered"', '"Recovered"', Status.RESOLVED),
        ("datadog", '"Triggered"', '"Re-Triggered"', Status.FIRING),
        ("datadog", '"Triggered"', '"No Data"', Status.OTHER),
        ("datadog", '"Triggered"', '"Warn"', Status.OTHER),
        ("cloudwatch", r"\"NewStateValue\": \"ALARM\"", r"\"NewStateValue\": \"OK\"", Status.RESOLVED),
        ("cloudwatch", r"\"NewStateValue\": \"ALARM\"", r"\"NewStateValue\": \"INSUFFICIENT_DATA\"", Status.OTHER),
    ],
)
def test_every_state_means_one_thing(kind: Kind, key: str, value: str, status: Status) -> None:
    """No data is not good news, and no alarm either."""
    body = sent(kind).decode()
    assert key in body
    [alert] = read(kind, body.replace(key, value).encode(), 1000)
    assert alert.status is status
    decision = decide(alert, kind, config(), AWAY, NOW)
    assert (status is Status.OTHER) == ("neither an alert nor its end" in decision.reason)


DECISIONS: list[tuple[Kind, int, str, dict[str, Distribution] | None, list[str], str]] = [
    ("alertmanager", 0, "{}", IN_FORCE, ["failover/bedrock"], "bedrock is unavailable"),
    ("alertmanager", 0, "{}", AWAY, [], "chat does not use bedrock"),
    ("alertmanager", 0, "{}", None, ["failover/bedrock"], "bedrock is unavailable"),
    ("grafana", 0, "{provider_values: {gcp.vertex_ai: google}}", IN_FORCE, ["gradual/chat"], "google is slow"),
    ("grafana", 0, "{}", IN_FORCE, [], "'gcp.vertex_ai' is no provider"),
    (
        "grafana",
        0,
        "{provider_values: {gcp.vertex_ai: google}, trigger_values: {slow: unusable}}",
        IN_FORCE,
        ["failover/google"],
        "unusable",
    ),
    ("pagerduty", 0, "{}", IN_FORCE, [], "it names no provider"),
    (
        "pagerduty",
        0,
        "{rules: [{match: {service: 'Bedrock.*', urgency: high}, provider: bedrock, trigger: unavailable}]}",
        IN_FORCE,
        ["failover/bedrock"],
        "bedrock is unavailable",
    ),
    (
        "pagerduty",
        0,
        "{rules: [{match: {alert: 'AWS.*', urgency: low}, trigger: none}, "
        "{match: {sender: pagerduty}, provider: meta, trigger: slow}]}",
        IN_FORCE,
        ["gradual/chat"],
        "meta is slow",
    ),
    ("pagerduty", 0, "{rules: [{match: {sender: pagerduty}, trigger: none}]}", IN_FORCE, [], "a rule says"),
    ("cloudwatch", 0, "{}", IN_FORCE, ["failover/bedrock"], "bedrock is unavailable"),
    ("datadog", 0, "{}", IN_FORCE, ["gradual/chat"], "meta is throttled"),
    ("generic", 0, "{}", IN_FORCE, ["canary/chat"], "google is degraded quality"),
]


@pytest.mark.parametrize(("kind", "number", "alerts", "policies", "starts", "reason"), DECISIONS)
def test_an_alert_leads_to_the_configured_procedure(
    kind: Kind, number: int, alerts: str, policies: dict[str, Distribution] | None, starts: list[str], reason: str
) -> None:
    """From the sender's own bytes to the run that is started, or the sentence why none is."""
    alert = read(kind, sent(kind), 1000)[number]
    decision = decide(alert, kind, config(alerts), policies, NOW)
    assert [order.workflow_id for order in decision.starts] == starts
    assert reason in decision.reason


def firing(**labels: str) -> Alert:
    given = {"provider": "bedrock", "trigger": "unavailable"} | labels
    return Alert(key="k", name="Down", status=Status.FIRING, labels=given)


def test_the_run_is_asked_for_with_the_alert_as_its_verdict() -> None:
    """So that detection is counted from the alert's own beginning, and the provider is known to be down."""
    began = NOW - timedelta(minutes=2)
    alert = Alert(key="k", name="Down", status=Status.FIRING, labels=firing().labels, started_at=began)
    [order] = decide(alert, "alertmanager", config(), IN_FORCE, NOW).starts
    [verdict] = order.request["verdicts"]
    assert (verdict["condition"], verdict["reason"]) == ("unavailable", "alertmanager: Down")
    assert datetime.fromisoformat(verdict["first_bad_at"]) == began
    assert (order.request["trigger"], order.request["requested_by"]) == ("automatic", "alertmanager alert")


@pytest.mark.parametrize("began", [NOW + timedelta(seconds=1), NOW - timedelta(hours=2), None])
def test_a_beginning_that_cannot_be_meant_is_not_counted(began: datetime | None) -> None:
    """A clock that runs ahead, or an alert that fires for hours already."""
    alert = Alert(key="k", name="Down", status=Status.FIRING, labels=firing().labels, started_at=began)
    [order] = decide(alert, "alertmanager", config(), IN_FORCE, NOW).starts
    assert order.request["verdicts"][0]["first_bad_at"] is None


def test_a_named_route_is_the_only_one_that_is_moved() -> None:
    """Without one, the run is about the provider on every route."""
    [every] = decide(firing(), "x", config(), IN_FORCE, NOW).starts
    [one] = decide(firing(route="chat"), "x", config(), IN_FORCE, NOW).starts
    assert (every.request["routes"], one.request["routes"]) == (None, ["chat"])


def over() -> Alert:
    return Alert(key="k", name="Down", status=Status.RESOLVED, labels=firing().labels)


def test_a_resolved_alert_tells_the_runs_that_it_may_have_started_and_offers_the_return() -> None:
    """The offer asks people, whatever the route does by itself."""
    decision = decide(over(), "x", config(), AWAY, NOW)
    assert list(decision.tells) == ["failover/bedrock", "gradual/chat", "canary/chat"]
    [order] = decision.starts
    assert (order.workflow_id, order.request["auto"]) == ("failback/chat", False)


@pytest.mark.parametrize(
    ("alerts", "policies"),
    [("{on_resolved: note}", AWAY), ("{}", IN_FORCE), ("{}", None)],
    ids=["only noted", "nothing was moved", "nobody knows"],
)
def test_a_resolved_alert_offers_nothing_else(alerts: str, policies: dict[str, Distribution] | None) -> None:
    """Where the configuration says so, where all is as configured, where the policies cannot be read."""
    assert not decide(over(), "x", config(alerts), policies, NOW).starts


def test_a_trigger_that_is_switched_off_starts_nothing() -> None:
    """As for the health check."""
    off = config(more="detection: {triggers: {unavailable: none}}")
    assert decide(firing(), "x", off, IN_FORCE, NOW) == Decision(reason="detection.triggers.unavailable is none")


@pytest.mark.parametrize(
    ("kind", "body", "said"),
    [
        ("alertmanager", b"{", "the body is no JSON"),
        ("alertmanager", b"[]", "the body"),
        ("alertmanager", b'{"alerts": []}', "alerts: List should have at least 1 item"),
        ("alertmanager", b'{"alerts": [{"status": "sad", "labels": {}}]}', "alerts.0.status"),
        ("pagerduty", b'{"event": {"id": "secret-value"}}', "event.event_type: Field required"),
        ("datadog", b'{"id": "1"}', "transition: Field required"),
        ("generic", b'{"provder": "bedrock"}', "provder: Extra inputs are not permitted"),
        ("cloudwatch", envelope("no JSON"), "the SNS message is no JSON"),
        ("cloudwatch", envelope('{"AlarmName": "x"}'), "NewStateValue: Field required"),
        ("generic", b"[" * 100_000, "the body is no JSON"),
        ("generic", b"\xff\xfe", "the body is no JSON"),
    ],
)
def test_what_cannot_be_understood_is_said_by_field_never_by_value(kind: Kind, body: bytes, said: str) -> None:
    """The sender's own log says what to mend."""
    with pytest.raises(RequestError) as refused:
        read(kind, body, 1000)
    assert said in str(refused.value)
    assert "secret-value" not in str(refused.value)


def test_a_delivery_of_too_many_alerts_is_refused() -> None:
    """By the bound that the configuration gives."""
    with pytest.raises(RequestError, match="2 alerts, of 1"):
        read("alertmanager", payload("alertmanager"), 1)


@given(st.binary(max_size=300), st.sampled_from(sorted(ALERT_FORMS)))
def test_no_body_breaks_the_reader(body: bytes, kind: Any) -> None:
    """Whatever is sent, it is read or refused."""
    try:
        read(kind, body, 10)
    except RequestError:
        pass


@given(st.text(max_size=400))
def test_what_people_read_is_one_bounded_line(text: str) -> None:
    """An alert cannot forge lines of a log or a timeline."""
    line = clean(text, 100)
    assert len(line) <= 100
    assert all(character.isprintable() for character in line)


@pytest.mark.parametrize(
    ("alerts", "said"),
    [
        ("{rules: [{match: {alert: '('}, provider: bedrock}]}", "no regular expression"),
        ("{rules: [{match: {}, provider: bedrock}]}", "match"),
        ("{rules: [{match: {alert: x}, provider: nobody}]}", "rules.0.provider names 'nobody'"),
        ("{rules: [{match: {alert: x}, route: nowhere}]}", "rules.0.route names 'nowhere'"),
        ("{provider_values: {x: nobody}}", "provider_values names 'nobody'"),
        ("{trigger_values: {x: sad}}", "trigger_values.x"),
    ],
)
def test_a_mapping_that_cannot_be_meant_is_no_configuration(alerts: str, said: str) -> None:
    """Said when it is loaded, not when the alert comes at night."""
    with pytest.raises(ConfigError) as refused:
        config(alerts)
    assert said in str(refused.value)


def test_a_value_is_matched_whole() -> None:
    """A rule for `Bedrock` is none for `NotBedrock`."""
    rules = config("{rules: [{match: {alert: Bedrock}, provider: google, trigger: slow}]}")
    named = Alert(key="k", name="NotBedrock", status=Status.FIRING)
    assert isinstance(meaning(named, "x", rules), str)
