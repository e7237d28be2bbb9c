"""The forms in which senders write alerts, each read into the one shape of `failover.alerts`. Pure.

Only what is used is required; whatever else a sender adds, now or later, is let through unread.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from failover.alerts import Alert, Status, clean
from failover.analysis.deploys import DeployNote
from failover.errors import RequestError
from failover.senders import Kind


def _aware(moment: datetime) -> datetime:
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


Moment = Annotated[datetime, AfterValidator(_aware)]

Word = Annotated[str, Field(min_length=1, max_length=1000)]

Labels = dict[str, str]


Shape = TypeVar("Shape", bound=BaseModel)


class Form(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


# Alertmanager, and Grafana, which writes the same and more


class PrometheusAlert(Form):
    status: Literal["firing", "resolved"]
    labels: Labels
    annotations: Labels = {}
    startsAt: Moment | None = None
    endsAt: Moment | None = None
    fingerprint: str = ""

    def read(self) -> Alert:
        began = self.startsAt.isoformat() if self.startsAt else ""
        ended = self.endsAt.isoformat() if self.endsAt and self.status == "resolved" else ""
        print_ = self.fingerprint or _digest(sorted(self.labels.items()))
        return Alert(
            key=f"{print_}/{began}/{ended or self.status}",
            name=clean(self.labels.get("alertname", "alert"), 200),
            status=Status(self.status),
            summary=clean(self.annotations.get("summary") or self.annotations.get("description", ""), 500),
            labels=self.labels,
            started_at=self.startsAt,
        )


class Prometheus(Form):
    """A group of alerts, as Alertmanager's and Grafana's webhooks send it."""

    alerts: list[PrometheusAlert] = Field(min_length=1)

    def read(self) -> list[Alert]:
        return [alert.read() for alert in self.alerts]


# PagerDuty v3


class Named(Form):
    id: str = ""
    summary: str = ""


class Incident(Form):
    id: str = ""
    title: str = ""
    urgency: str = ""
    incident_key: str | None = None
    service: Named | None = None
    priority: Named | None = None
    created_at: Moment | None = None


class Event(Form):
    id: Word
    event_type: Word
    occurred_at: Moment
    data: Incident = Incident()


class PagerDuty(Form):
    """One event of a PagerDuty webhook subscription, version 3."""

    event: Event

    def read(self) -> list[Alert]:
        event, incident = self.event, self.event.data
        labels = {
            "event_type": event.event_type,
            "title": incident.title,
            "urgency": incident.urgency,
            "incident_key": incident.incident_key or "",
            "service": incident.service.summary if incident.service else "",
            "service_id": incident.service.id if incident.service else "",
            "priority": incident.priority.summary if incident.priority else "",
        }
        status = {
            "incident.triggered": Status.FIRING,
            "incident.reopened": Status.FIRING,
            "incident.resolved": Status.RESOLVED,
        }.get(event.event_type, Status.OTHER)
        return [
            Alert(
                key=event.id,
                name=clean(incident.title or event.event_type, 200),
                status=status,
                labels={name: value for name, value in labels.items() if value},
                started_at=incident.created_at,
                sent_at=event.occurred_at,
                says=clean(event.event_type, 100),
            )
        ]


# CloudWatch over SNS


class Dimension(Form):
    name: str
    value: str


class AlarmMetric(Form):
    MetricName: str = ""
    Namespace: str = ""
    Dimensions: list[Dimension] = []


class Alarm(Form):
    """The message within an SNS notification of a CloudWatch alarm."""

    AlarmName: Word
    NewStateValue: Word
    AlarmDescription: str | None = None
    NewStateReason: str = ""
    Region: str = ""
    AWSAccountId: str = ""
    StateChangeTime: str = ""
    Trigger: AlarmMetric = AlarmMetric()


class SnsMessage(BaseModel):
    """The envelope of every SNS message; its signature is checked before anything in it is believed."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    Type: Literal["Notification", "SubscriptionConfirmation", "UnsubscribeConfirmation"]
    MessageId: Word
    TopicArn: Word
    Message: Annotated[str, Field(max_length=300_000)]
    Timestamp: Moment
    SignatureVersion: Literal["1", "2"]
    Signature: Word
    SigningCertURL: Word
    Subject: str | None = None
    SubscribeURL: str | None = None
    Token: str | None = None

    def signed_text(self, given: Mapping[str, Any]) -> bytes:
        """What the signature covers: the fields in SNS's order, as they were `given` in the envelope."""
        names = ["Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"]
        if self.Type != "Notification":
            names = ["Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"]
        return "".join(f"{name}\n{given[name]}\n" for name in names if given.get(name) is not None).encode()

    def read(self) -> list[Alert]:
        alarm = _validated(Alarm, _json(self.Message.encode(), "the SNS message"))
        description = alarm.AlarmDescription or ""
        labels = {
            # An alarm has no labels of its own: pairs in its description stand for them.
            **dict(re.findall(r"([A-Za-z_][A-Za-z0-9_]*)=([^\s,;]+)", description)),
            **{dimension.name: dimension.value for dimension in alarm.Trigger.Dimensions},
            **{"metric": alarm.Trigger.MetricName, "namespace": alarm.Trigger.Namespace, "region": alarm.Region},
        }
        status = {"ALARM": Status.FIRING, "OK": Status.RESOLVED}.get(alarm.NewStateValue, Status.OTHER)
        return [
            Alert(
                key=self.MessageId,
                name=clean(alarm.AlarmName, 200),
                status=status,
                summary=clean(alarm.NewStateReason, 500),
                labels={name: value for name, value in labels.items() if value},
                started_at=_amazon_time(alarm.StateChangeTime),
                sent_at=self.Timestamp,
                says=clean(alarm.NewStateValue, 100),
            )
        ]


def _amazon_time(text: str) -> datetime | None:
    try:
        return datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%f%z")
    except ValueError:
        return None


# Datadog, by the template that docs/webhooks.md gives


class Datadog(Form):
    """A Datadog webhook whose payload is the documented template."""

    id: Word
    cycle: str = ""
    transition: Word
    title: str = ""
    tags: str = ""
    date: str = ""

    def read(self) -> list[Alert]:
        tags = (tag.strip().partition(":") for tag in self.tags.split(","))
        status = {
            "Triggered": Status.FIRING,
            "Re-Triggered": Status.FIRING,
            "Recovered": Status.RESOLVED,
        }.get(self.transition, Status.OTHER)
        return [
            Alert(
                key=f"{self.cycle or self.id}/{self.transition}/{self.date}",
                name=clean(self.title or self.id, 200),
                status=status,
                labels={name: value for name, colon, value in tags if colon and value},
                started_at=_epoch(self.date),
                says=clean(self.transition, 100),
            )
        ]


def _epoch(milliseconds: str) -> datetime | None:
    try:
        return datetime.fromtimestamp(int(milliseconds) / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        return None


# Anybody else


class Generic(BaseModel):
    """One alert in our own form. Whoever writes it writes it for us, so what is unknown is a mistake."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    alert: Word = "alert"
    """Its name."""
    status: Literal["firing", "resolved"] = "firing"
    provider: Word | None = None
    route: Word | None = None
    trigger: Word | None = None
    summary: Annotated[str, Field(max_length=5000)] = ""
    labels: Labels = {}
    id: Word | None = None
    """The same when the same happening is sent again; without one, equal alerts within the replay window are one."""
    started_at: Moment | None = None

    def read(self) -> list[Alert]:
        said = {"provider": self.provider, "route": self.route, "trigger": self.trigger}
        return [
            Alert(
                key=f"{self.id or _digest(self.model_dump(mode='json'))}/{self.status}",
                name=clean(self.alert, 200),
                status=Status(self.status),
                summary=clean(self.summary, 500),
                labels={**self.labels, **{name: value for name, value in said.items() if value is not None}},
                started_at=self.started_at,
            )
        ]


ALERT_FORMS: Mapping[Kind, type[Prometheus | PagerDuty | SnsMessage | Datadog | Generic]] = {
    "alertmanager": Prometheus,
    "grafana": Prometheus,
    "pagerduty": PagerDuty,
    "cloudwatch": SnsMessage,
    "datadog": Datadog,
    "generic": Generic,
}

FORMS: Mapping[Kind, type[BaseModel]] = {**ALERT_FORMS, "deploy": DeployNote}
"""What each kind of sender writes."""


def read(kind: Kind, body: bytes, most: int) -> list[Alert]:
    """The alerts of one delivery. RequestError, naming fields and never values, where it cannot be understood."""
    alerts = _validated(ALERT_FORMS[kind], _json(body, "the body")).read()
    if len(alerts) > most:
        raise RequestError(f"The delivery holds {len(alerts)} alerts, of {most} that are taken at once; group fewer.")
    return alerts


def read_deploy(body: bytes) -> DeployNote:
    """One deploy. RequestError as above."""
    return _validated(DeployNote, _json(body, "the body"))


def envelope(body: bytes) -> tuple[SnsMessage, dict[str, Any]]:
    """An SNS message, and the fields as they were given."""
    given = _json(body, "the body")
    return _validated(SnsMessage, given), given if isinstance(given, dict) else {}


def _json(body: bytes, what: str) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise RequestError(f"Nothing was done: {what} is no JSON.") from error


def _validated(shape: type[Shape], given: Any) -> Shape:
    try:
        return shape.model_validate(given)
    except ValidationError as error:
        problems = error.errors(include_url=False, include_input=False, include_context=False)
        said = "; ".join(
            f"{'.'.join(map(str, problem['loc'])) or 'the body'}: {problem['msg']}" for problem in problems[:5]
        )
        raise RequestError(f"Nothing was done: {said}.") from None


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:24]
