"""Who may send alerts, how each proves itself, and what its labels mean: the `webhooks` section of `failover.yaml`."""

import re
from collections.abc import Collection
from datetime import timedelta
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, Field, model_validator

from failover.section import STRICT, Count, Name
from failover.units import PositiveDuration

Kind = Literal["alertmanager", "grafana", "pagerduty", "cloudwatch", "datadog", "generic", "deploy"]
Proof = Literal["bearer", "basic", "signature", "sns"]
TriggerName = Literal["unavailable", "unusable", "invalid_answers", "throttled", "slow", "degraded_quality"]

PROOFS: dict[Kind, tuple[Proof, ...]] = {
    "alertmanager": ("bearer", "basic"),
    "grafana": ("bearer", "basic", "signature"),
    "pagerduty": ("signature",),
    "cloudwatch": ("sns",),
    "datadog": ("bearer", "basic"),
    "generic": ("bearer", "basic", "signature"),
    "deploy": ("bearer", "basic", "signature"),
}
"""How each kind of sender can prove itself; the first is the usual way."""

Variable = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
Header = Annotated[str, Field(pattern=r"^[A-Za-z0-9-]+$")]


def _compiles(pattern: str) -> str:
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"{pattern!r} is no regular expression: {error}") from error
    return pattern


Pattern = Annotated[str, AfterValidator(_compiles)]
"""A regular expression that a whole value must match."""


class Sender(BaseModel):
    """One source of alerts, or (kind deploy) of deploys; it posts to /webhooks/ and its name."""

    model_config = STRICT

    kind: Kind
    proof: Proof | None = None
    """How it proves itself; None: the usual way of its kind."""
    secret_env: Variable | None = None
    """Name of the environment variable that holds the token, password or signing secret; several, divided by spaces, are
    all accepted, so that a secret is changed without a gap."""
    user: str = "failover"
    """Basic only: the user's name."""
    timestamp_header: Header | None = None
    """Grafana's signatures only: the header in which it was told to put the time; None: it signs none."""
    topic_arns: list[str] = []
    """CloudWatch only: the SNS topics whose messages are taken."""

    @model_validator(mode="after")
    def _proof_of_its_kind(self) -> Self:
        if self.proof is not None and self.proof not in PROOFS[self.kind]:
            raise ValueError(f"a sender of kind {self.kind} proves itself by {' or '.join(PROOFS[self.kind])}")
        if self.kind != "cloudwatch" and self.topic_arns:
            raise ValueError("topic_arns are for senders of kind cloudwatch")
        if self.how in ("basic", "signature") and self.secret_env is None:
            raise ValueError(f"a sender that proves itself by {self.how} needs secret_env")
        return self

    @property
    def how(self) -> Proof:
        return self.proof or PROOFS[self.kind][0]


class Rule(BaseModel):
    """What alerts with these labels mean; what a rule leaves out, the alert's own labels say."""

    model_config = STRICT

    match: dict[str, Pattern] = Field(min_length=1)
    """Label → regular expression that its whole value must match; all of them must. `alert` is the alert's name, `sender`
    the sender's."""
    provider: Name | None = None
    route: Name | None = None
    trigger: TriggerName | Literal["none"] | None = None
    """`none`: such alerts start nothing."""


class Alerts(BaseModel):
    """From an alert's labels to a provider, a route and a trigger."""

    model_config = STRICT

    provider_labels: list[str] = ["provider", "failover_provider", "gen_ai_provider_name"]
    """The first of these labels that an alert has names the provider."""
    route_labels: list[str] = ["route", "failover_route"]
    """And this the route; without one, an alert is about the provider on every route."""
    trigger_labels: list[str] = ["trigger", "failover_trigger"]
    """And this the trigger: unavailable, unusable, invalid_answers, throttled, slow or degraded_quality."""
    provider_values: dict[str, Name] = {}
    """Other people's names of providers → ours, such as aws.bedrock: bedrock."""
    trigger_values: dict[str, TriggerName] = {}
    """Other people's words → triggers, such as down: unavailable."""
    rules: list[Rule] = []
    """The first one that matches decides, before any label."""
    on_resolved: Literal["offer", "note"] = "offer"
    """What a resolved alert does: note it on the run that is open, or else offer a failback (as the route wants it) too."""

    def unknown_names(self, providers: Collection[str], routes: Collection[str]) -> list[str]:
        """Complaints about names that are no provider or route."""
        named = [("provider_values", "provider", name, providers) for name in self.provider_values.values()]
        for number, rule in enumerate(self.rules):
            named.append((f"rules.{number}.provider", "provider", rule.provider or "", providers))
            named.append((f"rules.{number}.route", "route", rule.route or "", routes))
        return [
            f"webhooks.alerts.{where} names {name!r}, which is no {what} (known: {', '.join(sorted(known))})"
            for where, what, name, known in named
            if name and name not in known
        ]


def _usual_senders() -> dict[str, Sender]:
    return {
        "alertmanager": Sender(kind="alertmanager", proof="bearer", secret_env="ALERTMANAGER_WEBHOOK_TOKEN"),
        "grafana": Sender(kind="grafana", proof="bearer", secret_env="GRAFANA_WEBHOOK_TOKEN"),
        "pagerduty": Sender(kind="pagerduty", proof="signature", secret_env="PAGERDUTY_WEBHOOK_SECRET"),
        "cloudwatch": Sender(kind="cloudwatch", proof="sns"),
        "datadog": Sender(kind="datadog", proof="bearer", secret_env="DATADOG_WEBHOOK_TOKEN"),
        "generic": Sender(kind="generic", proof="bearer", secret_env="GENERIC_WEBHOOK_TOKEN"),
        "deploys": Sender(kind="deploy", proof="bearer", secret_env="DEPLOYS_WEBHOOK_TOKEN"),
    }


class Webhooks(BaseModel):
    """The webhook server: alerts in, runs out; Slack's buttons; the doors that drive a run over HTTP."""

    model_config = STRICT

    senders: dict[Name, Sender] = Field(default_factory=_usual_senders)
    """By the last part of the address. One whose secret is not set, or whose topics are not named, is refused."""
    alerts: Alerts = Alerts()
    max_body_bytes: Count = 1024 * 1024
    max_alerts: Count = 1000
    """In one delivery."""
    replay_window: PositiveDuration = timedelta(minutes=5)
    """A signature made longer ago, or as far ahead, is refused; within it a delivery that comes twice counts once."""
    max_age: PositiveDuration = timedelta(hours=1)
    """Of messages whose sender tries again for long under the first attempt's time (SNS, PagerDuty)."""
    requests_per_second: Count = 200
    """Of each sender and operator."""
    burst: Count = 1000
    refusals_per_minute: Count = 30
    """From one address: whoever fails to prove who they are more often is told to wait."""
    note_interval: PositiveDuration = timedelta(seconds=1)
    """A run is told of further alerts at most so often: a storm is a handful of notes."""
    temporal_timeout: PositiveDuration = timedelta(seconds=5)
    """After it a sender is told to try again."""
