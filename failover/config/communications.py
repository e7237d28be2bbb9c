"""Communications: who outside is told, and what is opened there. All of it is off until it is configured."""

from datetime import timedelta
from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from failover.config.automation import unquoted_off
from failover.section import Name, Section
from failover.units import Duration, PositiveDuration

Variable = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
"""Name of an environment variable that holds a secret; never the secret."""

Url = Annotated[str, Field(pattern=r"^https?://\S+$", max_length=2000)]
Line = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\r\n]+$")]
Words = Annotated[str, Field(min_length=1, max_length=4000)]
Address = Annotated[str, Field(pattern=r"^[^\s@]+@[^\s@]+$", max_length=254)]

Procedure = Literal["immediate", "gradual", "canary", "failback", "emergency", "settings", "proposal"]


class ChannelName(StrEnum):
    """Every way out, by the name that commands and reports use."""

    STATUS_PAGE = "status-page"
    AWS_SUPPORT = "aws-support"
    GOOGLE_SUPPORT = "google-support"
    PAGERDUTY = "pagerduty"
    EMAIL = "email"
    WEBHOOK = "webhook"


class StatusPage(Section):
    kind: Annotated[Literal["off", "statuspage", "post"], BeforeValidator(unquoted_off)] = "off"
    """Atlassian Statuspage, or a POST of status and message with a bearer key."""
    url: Url | None = None
    """Of `post`: where to; of `statuspage`: its API, None: Atlassian's own."""
    page_id: Line | None = None
    api_key_env: Variable = "STATUS_API_KEY"
    components: list[Name] = []
    """Of Statuspage: ids of the components that are shown as degraded meanwhile."""
    about: list[Procedure] = ["immediate", "emergency"]
    title: Line = "AI service degraded"
    opened: Words = "Our AI service is degraded: some requests may fail or be late. We are working on it."
    updated: Words = "We are still working on it."
    verified: Words = "Requests are answered by another AI provider now. We are watching how it does."
    unresolved: Words = "Our engineers are working on it."
    resolved: Words = "AI service restored after provider failover"

    @model_validator(mode="after")
    def _can_be_reached(self) -> Self:
        if self.kind == "post" and self.url is None:
            raise ValueError("a status page of kind post needs url, such as https://status.example.com/api/incidents")
        if self.kind == "statuspage" and self.page_id is None:
            raise ValueError("a status page of kind statuspage needs page_id")
        return self


class Cases(StrEnum):
    """Whether support cases are opened."""

    OFF = "off"
    APPROVE = "approve"
    """Once somebody agrees: `failoverctl communications approve`."""
    ACT = "act"
    """By itself where a provider is known to be down; else somebody must agree."""


Open = Annotated[Cases, BeforeValidator(unquoted_off)]


class AwsSupport(Section):
    open: Open = Cases.OFF
    providers: list[Name] = []
    """Whose failures are cases; none: every provider of kind bedrock."""
    subject: Line = "Critical: Bedrock Service Unavailable"
    body: Words = "Production AI service experiencing complete Bedrock outage"
    service_code: Line = "bedrock"
    severity_code: Line = "critical"
    category_code: Line = "service-unavailable"
    cc: list[Address] = Field(default=[], max_length=10)
    language: Line = "en"
    region: Line = "us-east-1"
    """Where the Support API is spoken to; it serves the whole account."""
    url: Url | None = None
    at_end: Literal["update", "resolve"] = "update"
    """That traffic has left a provider does not mean that it is well: a case is closed only where this says so."""


class GoogleSupport(Section):
    open: Open = Cases.OFF
    providers: list[Name] = []
    """Whose failures are cases; none: every provider of kind vertex."""
    subject: Line = "Critical: Vertex AI Service Unavailable"
    body: Words = "Production AI service experiencing Vertex AI outage"
    priority: Literal["P0", "P1", "P2", "P3", "P4"] = "P1"
    project: Line | None = None
    """Whose support is asked; None: the project of the provider."""
    classification: Line = "Vertex AI"
    """Words by which the classification of the case is searched for."""
    classification_id: Line | None = None
    """The classification itself, where the search would find another one."""
    url: Url | None = None
    at_end: Literal["update", "resolve"] = "update"


class Support(Section):
    aws: AwsSupport = AwsSupport()
    google: GoogleSupport = GoogleSupport()
    about: list[Procedure] = ["immediate", "emergency"]
    ask_for: PositiveDuration = timedelta(hours=1)
    """How long a case may be approved; unanswered, it is not opened."""


class PagerDuty(Section):
    enabled: bool = False
    routing_key_env: Variable = "PAGERDUTY_ROUTING_KEY"
    url: Url = "https://events.pagerduty.com/v2/enqueue"
    about: list[Procedure] = ["immediate", "gradual", "canary", "emergency", "proposal"]
    """Of any other procedure only that a person is needed."""


class Email(Section):
    to: list[Address] = []
    """Nobody: no e-mail is sent."""
    sender: Address = "failover@localhost.localdomain"
    host: Line = "localhost"
    port: Annotated[int, Field(ge=1, le=65535)] = 587
    security: Annotated[Literal["starttls", "tls", "none"], BeforeValidator(unquoted_off)] = "starttls"
    user: Line | None = None
    password_env: Variable = "SMTP_PASSWORD"
    about: list[Procedure] = ["immediate", "gradual", "canary", "failback", "emergency", "proposal"]


class Webhook(Section):
    url: Url | None = None
    secret_env: Variable = "OUTGOING_WEBHOOK_SECRET"
    about: list[Procedure] = ["immediate", "gradual", "canary", "failback", "emergency", "settings", "proposal"]


class Communications(Section):
    status_page: StatusPage = StatusPage()
    support: Support = Support()
    pagerduty: PagerDuty = PagerDuty()
    email: Email = Email()
    webhook: Webhook = Webhook()
    in_drills: list[ChannelName] = [
        ChannelName.AWS_SUPPORT,
        ChannelName.GOOGLE_SUPPORT,
        ChannelName.PAGERDUTY,
        ChannelName.EMAIL,
        ChannelName.WEBHOOK,
    ]
    """Who is told of drills too, as drills; support cases are test cases then."""
    timeout: PositiveDuration = timedelta(seconds=10)
    """Of one try."""
    give_up_after: Duration = timedelta(hours=24)
    """How long one piece of news is tried for."""

    @model_validator(mode="after")
    def _no_drill_in_public(self) -> Self:
        if ChannelName.STATUS_PAGE in self.in_drills:
            raise ValueError("in_drills names status-page; drills are never shown to the public")
        return self
