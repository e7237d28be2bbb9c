"""What operators decide: the shape of `failover.yaml`, with the runbook's values as defaults.

Providers, routes and chains have no default; everything else does. Parsing a file's text is `failover.config_file`.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, model_validator

from failover import distribution
from failover.errors import RequestError
from failover.units import Duration, Percent, PositiveDuration

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$")]
"""A provider's or route's key: letters, digits, dot, dash and underscore; 63 characters at most."""

SIMULATOR = "simulator"
"""The endpoint that stands for the built-in provider simulator."""


def _to_basis_points(value: Any) -> Any:
    if not isinstance(value, Mapping):
        raise ValueError("a distribution is a mapping of provider to percent, such as {bedrock: 70, google: 30}")
    try:
        return distribution.from_percents(value)
    except RequestError as error:
        raise ValueError(str(error)) from error


def _to_percents(shares: Mapping[str, int]) -> dict[str, float]:
    return {provider: points / 100 for provider, points in shares.items()}


Shares = Annotated[
    dict[str, int],
    BeforeValidator(_to_basis_points),
    PlainSerializer(_to_percents, return_type=dict[str, float]),
]
"""A distribution: percents in files and in JSON, basis points in code."""


class Section(BaseModel):
    """Base of every section: unknown keys are errors, values never change after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class Capacity(Section):
    requests_per_minute: int | None = Field(None, gt=0)
    tokens_per_minute: int | None = Field(None, gt=0)


class Provider(Section):
    kind: Literal["bedrock", "vertex", "llama", "openai"]
    """Which client speaks to it; `openai` is any OpenAI-compatible endpoint."""
    model: str
    """The vendor's model id, or one of `model_aliases`."""
    region: str | None = None
    project: str | None = None
    """Vertex only: the Google Cloud project."""
    endpoint: str | None = None
    """Base URL; None: the vendor's own; "simulator": the built-in simulator."""
    api: Literal["converse", "invoke"] = "converse"
    """Bedrock only: which runtime call the model needs."""
    transport: Literal["rest", "grpc"] = "rest"
    """Vertex only."""
    api_key_env: str | None = None
    """Name of the environment variable that holds the API key (llama, openai); never the key itself."""
    streaming: bool = True
    """Whether the model can stream; probes use a stream where it can."""
    capacity: Capacity = Capacity()
    emergency_contact: str | None = None

    @model_validator(mode="after")
    def _needs(self) -> Self:
        simulated = self.endpoint == SIMULATOR
        if self.kind == "openai" and not self.endpoint:
            raise ValueError("a provider of kind openai needs an endpoint, such as https://api.openai.com/v1")
        if self.kind == "vertex" and not simulated and not (self.project and self.region):
            raise ValueError("a provider of kind vertex needs project and region")
        if self.kind == "bedrock" and not simulated and not self.region:
            raise ValueError("a provider of kind bedrock needs a region")
        return self


class Targets(Section):
    """What a route owes its users."""

    response_time: PositiveDuration = Field("1500ms", validate_default=True)
    """P95 of answers."""
    success_percent: Percent = 98
    availability_percent: Percent = 99.9


class Route(Section):
    distribution: Shares
    targets: Targets = Targets()
    chains: dict[Name, list[Name]] = {}
    """Overrides of the top-level chains for this route."""
    failback: Literal["auto", "propose", "off"] = "propose"


class Probe(Section):
    """A real, tiny completion through the exact model mapping."""

    prompt: str = "Reply with only the word PONG"
    expect: str = r"(?i)\bpong\b"
    """Regular expression that a sensible answer matches."""
    max_tokens: int = Field(10, gt=0)
    timeout: PositiveDuration = Field("5s", validate_default=True)
    cadence: PositiveDuration = Field("5s", validate_default=True)
    """How often each provider is probed."""


class PassiveTrigger(Section):
    percent: Percent
    """Above this share of users' tries, the trigger fires."""
    window: PositiveDuration = Field("60s", validate_default=True)
    minimum_tries: int = Field(20, gt=0)


class LatencyTrigger(Section):
    p95: PositiveDuration = Field("3000ms", validate_default=True)
    window: PositiveDuration = Field("5m", validate_default=True)
    minimum_tries: int = Field(20, gt=0)


ProcedureName = Literal["immediate", "gradual", "canary", "none"]


class Triggers(Section):
    """Which procedure each verdict starts."""

    unavailable: ProcedureName = "immediate"
    unusable: ProcedureName = "immediate"
    invalid_answers: ProcedureName = "immediate"
    throttled: ProcedureName = "gradual"
    slow: ProcedureName = "gradual"
    degraded_quality: ProcedureName = "canary"


class Detection(Section):
    enabled: bool = True
    schedule_interval: PositiveDuration = Field("30s", validate_default=True)
    """How often the schedule starts a health check; each watches until the next one is due."""
    failure_threshold: int = Field(3, gt=0)
    """Consecutive failed probes that make a provider unhealthy."""
    failure_memory: PositiveDuration = Field("300s", validate_default=True)
    """A failure older than this no longer counts."""
    probe: Probe = Probe()
    server_errors: PassiveTrigger = PassiveTrigger(percent=5)
    throttling: PassiveTrigger = PassiveTrigger(percent=10)
    latency: LatencyTrigger = LatencyTrigger()
    accuracy_drop_points: Percent = 10
    triggers: Triggers = Triggers()
    cool_down: Duration = Field("10m", validate_default=True)
    """Between automatic runs; never holds traffic on a provider that is down."""
    automatic_switches_per_hour: int = Field(4, gt=0)


class Immediate(Section):
    verdict_max_age: PositiveDuration = Field("10s", validate_default=True)
    """A health verdict older than this is not believed; the candidates are probed anew."""
    probe_timeout: PositiveDuration = Field("2s", validate_default=True)
    """For the deep probe of all candidates at once."""
    write_attempts: int = Field(5, gt=0)
    """How often a refused write is read, decided and written again."""
    verify_timeout: PositiveDuration = Field("10s", validate_default=True)
    validate_timeout: PositiveDuration = Field("60s", validate_default=True)
    validate_interval: PositiveDuration = Field("2s", validate_default=True)
    validate_good_samples: int = Field(3, gt=0)
    """Good samples in a row that prove the restoration."""


class Gradual(Section):
    phases: list[list[Percent]] = [[50, 30, 20], [25, 50, 25], [0, 70, 30]]
    """Percent of failed provider, secondary and tertiary in each phase."""
    settle: Duration = Field("60s", validate_default=True)
    monitor: Duration = Field("2m", validate_default=True)
    """Monitored window after each phase but the last."""
    transition: Duration = Field("300s", validate_default=True)
    """For a given target distribution."""
    minimum_step: PositiveDuration = Field("10s", validate_default=True)


class Canary(Section):
    initial_percent: Percent = 5
    initial_hold: Duration = Field("300s", validate_default=True)
    success_threshold_percent: Percent = 98
    percents: list[Percent] = [10, 25, 50, 75, 100]
    step_hold: Duration = Field("120s", validate_default=True)


class Failback(Section):
    recovery_watch: Duration = Field("30m", validate_default=True)
    health_threshold_percent: Percent = 99
    percents: list[Percent] = [10, 25, 50, 75, 100]
    step_hold: Duration = Field("180s", validate_default=True)


class Validation(Section):
    sample_size: int = Field(100, gt=0)
    success_threshold_percent: Percent = 95
    alert_error_rate_percent: Percent = 2
    """`monitor --user-impact` warns above this."""


class Procedures(Section):
    immediate: Immediate = Immediate()
    gradual: Gradual = Gradual()
    canary: Canary = Canary()
    failback: Failback = Failback()
    validation: Validation = Validation()


class Emergency(Section):
    cache_ttl: PositiveDuration = Field("7200s", validate_default=True)
    cache_strategy: Literal["serve_stale_indefinitely"] = "serve_stale_indefinitely"
    serve_stale: bool = True
    request_handling: Literal["queue_and_retry"] = "queue_and_retry"
    queue_size: int = Field(10_000, gt=0)
    queue_timeout: PositiveDuration = Field("300s", validate_default=True)
    user_notification: Literal["service_degradation_banner"] = "service_degradation_banner"
    fallback_responses: Literal["static_templates"] = "static_templates"
    targets: Targets = Targets(response_time="5000ms", success_percent=80, availability_percent=95)


class SuccessRates(Section):
    automated_failover_percent: Percent = 95
    manual_failover_percent: Percent = 99
    failback_percent: Percent = 98


class Kpis(Section):
    """Targets of the runbook's key performance indicators."""

    detection: PositiveDuration = Field("30s", validate_default=True)
    execution: PositiveDuration = Field("60s", validate_default=True)
    immediate_execution: PositiveDuration = Field("30s", validate_default=True)
    restoration: PositiveDuration = Field("120s", validate_default=True)
    total: PositiveDuration = Field("300s", validate_default=True)
    request_loss_percent: Percent = 1
    user_error_rate_percent: Percent = 5
    degradation_percent: Percent = 20
    success_rates: SuccessRates = SuccessRates()


class Slack(Section):
    channel: str = "#ops-alerts"
    token_env: str = "SLACK_BOT_TOKEN"
    """Name of the environment variable that holds the bot token; without one, messages go to the console."""
    api_url: str | None = None


class Notifications(Section):
    slack: Slack = Slack()
    console: bool = True
    timeout: PositiveDuration = Field("30s", validate_default=True)
    """How long a message is tried for before the report notes that it failed."""


class Gateway(Section):
    try_timeout: PositiveDuration = Field("30s", validate_default=True)
    """Of one try at one provider: until the first byte of a stream, or the whole answer."""
    request_timeout: PositiveDuration = Field("60s", validate_default=True)
    """Of all tries of one request together."""
    max_tries: int = Field(3, gt=0)
    max_body_bytes: int = Field(4 * 1024 * 1024, gt=0)


class Config(Section):
    """All of `failover.yaml`."""

    providers: dict[Name, Provider] = Field(min_length=1)
    routes: dict[Name, Route] = Field(min_length=1)
    failover_chains: dict[Name, list[Name]] = {}
    """Provider → who takes over from it, in order of preference."""
    model_aliases: dict[str, str] = {}
    """Names that people use → the ids that the vendors serve."""
    default_route: Name | None = None
    detection: Detection = Detection()
    procedures: Procedures = Procedures()
    emergency: Emergency = Emergency()
    kpis: Kpis = Kpis()
    notifications: Notifications = Notifications()
    gateway: Gateway = Gateway()

    @model_validator(mode="after")
    def _names_exist(self) -> Self:
        problems = [*self._chain_problems(), *self._route_problems()]
        if problems:
            raise ValueError("; ".join(problems))
        return self

    def _chain_problems(self) -> list[str]:
        chains = {("failover_chains", provider): chain for provider, chain in self.failover_chains.items()}
        for name, route in self.routes.items():
            chains |= {(f"routes.{name}.chains", provider): chain for provider, chain in route.chains.items()}
        problems = []
        for (where, provider), chain in chains.items():
            unknown = [member for member in [provider, *chain] if member not in self.providers]
            problems += [f"{where}.{provider} names {member!r}, which is no provider ({self._known()})" for member in unknown]
            everyone = [provider, *chain]
            twice = sorted({member for member in everyone if everyone.count(member) > 1})
            problems += [f"{where}.{provider} names {member!r} twice; a chain names no provider twice" for member in twice]
        return problems

    def _route_problems(self) -> list[str]:
        problems = [
            f"routes.{name}.distribution names {provider!r}, which is no provider ({self._known()})"
            for name, route in self.routes.items()
            for provider in route.distribution
            if provider not in self.providers
        ]
        if self.default_route is not None and self.default_route not in self.routes:
            problems.append(f"default_route is {self.default_route!r}, which is no route ({', '.join(self.routes)})")
        return problems

    def _known(self) -> str:
        return "known: " + ", ".join(sorted(self.providers))

    def chain(self, route: str, failed: str) -> list[str]:
        """Who may take over the failed provider's traffic on a route, best first."""
        override = self.routes[route].chains if route in self.routes else {}
        return list(override.get(failed, self.failover_chains.get(failed, [])))

    def model_id(self, provider: str) -> str:
        """The id that the vendor serves for the provider's model."""
        model = self.providers[provider].model
        return self.model_aliases.get(model, model)
