"""What operators decide: the shape of `failover.yaml`, with the runbook's values as defaults.

Providers, routes and chains have no default; everything else does. Parsing a file's text is `failover.config_file`.
"""

import re
from datetime import timedelta
from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, field_validator, model_validator

from failover import steps
from failover.distribution import Shares
from failover.roles import Access
from failover.section import STRICT
from failover.section import Count as Count
from failover.section import Name as Name
from failover.senders import Webhooks
from failover.units import Duration, Percent, PositiveDuration, render_duration

SIMULATOR = "simulator"
"""The endpoint that stands for the built-in provider simulator."""


Bytes = Annotated[int, Field(ge=0)]

Text = Annotated[str, Field(min_length=1, max_length=20_000)]
"""What users read."""


class Section(BaseModel):
    """Base of every section: unknown keys are errors, values never change after loading."""

    model_config = STRICT


def _refuse(why: str | None) -> None:
    """ValueError with the reason, where there is one: pydantic turns it into a complaint with its place."""
    if why is not None:
        raise ValueError(why)


class Capacity(Section):
    requests_per_minute: Count | None = None
    tokens_per_minute: Count | None = None

    @model_validator(mode="after")
    def _sane(self) -> Self:
        requests, tokens = self.requests_per_minute, self.tokens_per_minute
        if requests is not None and tokens is not None and tokens < requests:
            raise ValueError(
                f"tokens_per_minute {tokens} is less than requests_per_minute {requests}, and a request takes a token at least"
            )
        return self


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

    response_time: PositiveDuration = timedelta(milliseconds=1500)
    """P95 of answers."""
    success_percent: Percent = 98
    availability_percent: Percent = 99.9


class ApprovalPoint(StrEnum):
    """Where a ramp waits for a person's word."""

    FIRST_SHIFT = "first_shift"
    EACH_STEP = "each_step"
    FULL = "full"
    """Before the last step, which moves all that is to be moved."""
    DOUBTFUL_ROLLBACK = "doubtful_rollback"
    """Before traffic goes back to a provider whose health is in doubt."""


class Approvals(Section):
    """Who must agree to a ramp, and when; without points nobody is asked."""

    points: list[ApprovalPoint] = []
    quorum: Count = 1
    """How many different people must agree."""
    approver_is_not_requester: bool = False
    deadline: PositiveDuration = timedelta(minutes=30)
    """After it the request counts as rejected: nothing is ever approved by silence."""
    remind_after: list[PositiveDuration] = [timedelta(minutes=1), timedelta(minutes=5)]
    """When an unanswered request is told again, urgently."""


def _off(value: object) -> object:
    """YAML reads a bare `off` as false; nobody who writes it means anything else."""
    return "off" if value is False else value


class Level(StrEnum):
    """What the product may do by itself about a verdict."""

    OFF = "off"
    """Tell people; they start whatever is to be started."""
    PROPOSE = "propose"
    """Ask people first (`detection.automation.deadline`)."""
    ACT = "act"


Automatic = Annotated[Level, BeforeValidator(_off)]


class Levels(Section):
    """Of one route, by verdict; None: as `detection.automation` says."""

    unavailable: Automatic | None = None
    unusable: Automatic | None = None
    invalid_answers: Automatic | None = None
    throttled: Automatic | None = None
    slow: Automatic | None = None
    degraded_quality: Automatic | None = None


class Automation(Section):
    """What may be started without a person, by verdict; a route can differ (`routes.*.automation`)."""

    unavailable: Automatic = Level.ACT
    unusable: Automatic = Level.ACT
    invalid_answers: Automatic = Level.ACT
    throttled: Automatic = Level.ACT
    slow: Automatic = Level.ACT
    degraded_quality: Automatic = Level.ACT
    deadline: PositiveDuration = timedelta(minutes=10)
    """How long a proposal waits for people."""
    at_deadline: Literal["nothing", "act"] = "nothing"
    """What happens to a proposal that nobody answered, where the trouble lasts."""


class Route(Section):
    distribution: Shares
    targets: Targets = Targets()
    chains: dict[Name, list[Name]] = {}
    """Overrides of the top-level chains for this route."""
    failback: Annotated[Literal["auto", "propose", "off"], BeforeValidator(_off)] = "propose"
    """What follows an automatic failover: a watch that returns by itself, one that asks first, or none."""
    automation: Levels = Levels()
    """What may be started for this route without a person, where it differs from `detection.automation`."""
    approvals: Approvals = Approvals()
    template: Text | None = None
    """What its users are answered when nothing better is left; None: the emergency section's."""


class Probe(Section):
    """A real, tiny completion through the exact model mapping."""

    prompt: str = "Reply with only the word PONG"
    expect: str = r"(?i)\bpong\b"
    """Regular expression that a sensible answer matches."""
    max_tokens: Count = 10
    timeout: PositiveDuration = timedelta(seconds=5)
    cadence: PositiveDuration = timedelta(seconds=5)
    """How often each provider is probed."""

    @field_validator("expect")
    @classmethod
    def _is_a_pattern(cls, expect: str) -> str:
        try:
            re.compile(expect)
        except re.error as error:
            raise ValueError(f"it is no regular expression: {error}") from error
        return expect


class PassiveTrigger(Section):
    percent: Percent
    """Above this share of users' tries, the trigger fires."""
    window: PositiveDuration = timedelta(seconds=60)
    minimum_tries: Count = 20


class LatencyTrigger(Section):
    p95: PositiveDuration = timedelta(milliseconds=3000)
    window: PositiveDuration = timedelta(minutes=5)
    minimum_tries: Count = 20


ProcedureName = Literal["immediate", "gradual", "canary", "none"]


class Triggers(Section):
    """Which procedure each verdict starts."""

    unavailable: ProcedureName = "immediate"
    unusable: ProcedureName = "immediate"
    invalid_answers: ProcedureName = "immediate"
    throttled: ProcedureName = "gradual"
    slow: ProcedureName = "gradual"
    degraded_quality: ProcedureName = "canary"


class Accuracy(Section):
    """Golden prompts, put to every provider at a cadence of their own, and compared with a baseline."""

    enabled: bool = True
    suite: Name = "quick"
    cadence: PositiveDuration = timedelta(minutes=15)
    confidence_percent: Annotated[float, Field(gt=0, lt=100)] = 95
    """Of the interval of the drop, which must exclude none at all before a provider is condemned."""
    answered_percent: Percent = 80
    """With fewer of the prompts answered, nothing is concluded."""
    timeout: PositiveDuration = timedelta(seconds=20)
    """Of one prompt."""
    concurrency: Count = 4
    """How many prompts at once."""
    baseline: Literal["first", "people"] = "first"
    """Where there is none: the first complete run is the baseline, or people record one."""
    baseline_max_age: PositiveDuration = timedelta(days=30)
    """An older one still counts; `doctor` says that it is old."""
    suites: dict[Name, str] = {}
    """Name → file of a suite, beside this file; `quick` and `comprehensive` are shipped, and may be replaced."""


class SourceQueries(Section):
    """PromQL in place of the preset's; `{window}`, `{label}` and `{failure_label}` are filled in. "" asks nothing."""

    tries: str | None = None
    """Tries within the window, by `label`."""
    failures: str | None = None
    """Failed ones, by `label` and `failure_label`."""
    p95: str | None = None
    """Of answers, in seconds, by `label`."""
    fresh: str | None = None
    """When the newest sample was taken, in seconds since the epoch, by `label`."""


class Source(Section):
    """Who else counts users' tries. Of the providers that it speaks for, the gateway's own counters are not read."""

    kind: Literal["prometheus", "cloudwatch"]
    providers: dict[Name, str] = Field(min_length=1)
    """Provider → its name there: the label's value in Prometheus, the ModelId in CloudWatch."""
    url: str | None = None
    """Of Prometheus; of CloudWatch only where it is not AWS's own."""
    region: str | None = None
    """CloudWatch only."""
    token_env: str | None = None
    """Prometheus only: the name of the environment variable that holds a bearer token, never the token itself."""
    preset: Literal["gateway", "litellm", "otel_genai"] = "gateway"
    """Whose names and labels; each can be replaced below."""
    label: str | None = None
    failure_label: str | None = None
    queries: SourceQueries = SourceQueries()
    timeout: PositiveDuration = timedelta(seconds=5)
    refresh: PositiveDuration = timedelta(seconds=10)
    """How long a reading is used before it is read anew."""
    stale_after: PositiveDuration | None = None
    """Older samples are no data; None: 90 s in Prometheus, 5 m in CloudWatch, which publishes minutes late."""

    @model_validator(mode="after")
    def _needs(self) -> Self:
        if self.kind == "prometheus" and not self.url:
            raise ValueError("a source of kind prometheus needs a url, such as http://127.0.0.1:9090")
        if self.kind == "cloudwatch" and not self.region:
            raise ValueError("a source of kind cloudwatch needs a region")
        if self.queries.tries and self.queries.fresh is None:
            raise ValueError("a source with a query of its own for tries needs one for fresh: what is old is no data")
        return self


class Detection(Section):
    enabled: bool = True
    schedule_interval: PositiveDuration = timedelta(seconds=30)
    """How often the schedule starts a health check; each watches until the next one is due."""
    schedule_jitter: Duration = timedelta(0)
    """How much later than due a check may be started, at random, where many deployments share a server."""
    failure_threshold: Count = 3
    """Consecutive failed probes that make a provider unhealthy."""
    failure_memory: PositiveDuration = timedelta(seconds=300)
    """A failure older than this no longer counts."""
    probe: Probe = Probe()
    server_errors: PassiveTrigger = PassiveTrigger(percent=5)
    throttling: PassiveTrigger = PassiveTrigger(percent=10)
    latency: LatencyTrigger = LatencyTrigger()
    accuracy_drop_points: Percent = 10
    accuracy: Accuracy = Accuracy()
    sources: dict[Name, Source] = {}
    """Who counts users' tries, where it is not the embedded gateway."""
    triggers: Triggers = Triggers()
    automation: Automation = Automation()
    clear_percent: Percent = 80
    """A rate or latency that condemned a provider acquits it below this part of its limit: a verdict does not flutter."""
    samples_max_bytes: Bytes = 64 * 1024 * 1024
    """Of what the detectors saw, kept in the state directory for `failoverctl replay`; 0 keeps nothing."""
    cool_down: Duration = timedelta(minutes=10)
    """Between automatic runs; never holds traffic on a provider that is down."""
    automatic_switches_per_hour: Count = 4

    @property
    def slowest(self) -> timedelta:
        """From the first bad probe to unhealthy, by probes alone, where each of them hangs until its timeout."""
        return (self.failure_threshold - 1) * self.probe.cadence + self.probe.timeout

    @model_validator(mode="after")
    def _remembers_long_enough(self) -> Self:
        needed = (self.failure_threshold - 1) * self.probe.cadence
        if self.failure_memory <= needed:
            raise ValueError(
                f"failure_memory {render_duration(self.failure_memory)} forgets the first of {self.failure_threshold} failed "
                f"probes {render_duration(self.probe.cadence)} apart: no provider would ever be unhealthy; "
                f"it must be longer than {render_duration(needed)}"
            )
        return self

    @model_validator(mode="after")
    def _jitter_leaves_no_gap(self) -> Self:
        if self.schedule_jitter > self.probe.cadence:
            raise ValueError(
                f"schedule_jitter {render_duration(self.schedule_jitter)} is longer than the probes' cadence "
                f"{render_duration(self.probe.cadence)}: providers would go unwatched between two checks"
            )
        return self


class Immediate(Section):
    verdict_max_age: PositiveDuration = timedelta(seconds=10)
    """A health verdict older than this is not believed; the candidates are probed anew."""
    probe_timeout: PositiveDuration = timedelta(seconds=2)
    """For the deep probe of all candidates at once."""
    write_attempts: Count = 5
    """How often a refused write is read, decided and written again."""
    verify_timeout: PositiveDuration = timedelta(seconds=10)
    validate_timeout: PositiveDuration = timedelta(seconds=60)
    validate_interval: PositiveDuration = timedelta(seconds=2)
    validate_good_samples: Count = 3
    """Good samples in a row that prove the restoration."""
    abort_timeout: PositiveDuration = timedelta(seconds=60)
    """How long a cancelled run may take to put back what it found, before it asks for a person."""

    @model_validator(mode="after")
    def _can_be_validated(self) -> Self:
        needed = (self.validate_good_samples - 1) * self.validate_interval
        if self.validate_timeout < needed:
            raise ValueError(
                f"validate_timeout {render_duration(self.validate_timeout)} is over before {self.validate_good_samples} samples "
                f"{render_duration(self.validate_interval)} apart are taken; it must be {render_duration(needed)} at least"
            )
        return self


class Gating(Section):
    """How gates look at a ramp."""

    sample_interval: PositiveDuration = timedelta(seconds=10)
    window: PositiveDuration = timedelta(seconds=60)
    """What counts as lately; what was counted since the step began is judged beside it."""
    minimum_requests: Count = 50
    """Fewer say nothing: at 98 % one failure of fifty still passes."""
    failures: Count = 2
    """Bad samples in a row that make a gate fail."""
    errors: Count = 4
    """Monitor errors in a row that make a gate blind."""
    ask_deadline: PositiveDuration = timedelta(minutes=30)
    """How long a run in doubt waits for a person before it does what its procedure declares."""
    synthetic_per_sample: Annotated[int, Field(ge=0, le=20)] = 0
    """Requests of our own a sample to the provider under test, where users alone are too few."""
    synthetic_limit: Annotated[int, Field(ge=0)] = 200
    """The most of them in one run."""

    @model_validator(mode="after")
    def _sees_everything(self) -> Self:
        if self.window < self.sample_interval:
            raise ValueError(
                f"window {render_duration(self.window)} is shorter than sample_interval "
                f"{render_duration(self.sample_interval)}: what happens between two windows would not count as lately"
            )
        return self


class Gradual(Section):
    phases: list[list[Percent]] = [[50, 30, 20], [25, 50, 25], [0, 70, 30]]
    """Percent of failed provider, secondary and tertiary in each phase; the failed provider's never rises."""
    settle: Duration = timedelta(seconds=60)
    monitor: Duration = timedelta(minutes=2)
    """Monitored window after each phase but the last."""
    transition: Duration = timedelta(seconds=300)
    """For a given target distribution."""
    minimum_step: PositiveDuration = timedelta(seconds=10)
    maximum_steps: Count = 10
    """Of a transition."""
    on_doubt: Literal["hold", "roll_back"] = "hold"
    """What an unanswered question ends in."""

    @field_validator("phases")
    @classmethod
    def _lead_away(cls, phases: list[list[float]]) -> list[list[float]]:
        _refuse(steps.why_not_phases(phases))
        if phases[-1][0] != 0:
            raise ValueError(f"the last phase leaves the failed provider {phases[-1][0]:g} %; it must leave it 0")
        return phases


def _to_the_end(percents: list[float]) -> list[float]:
    _refuse(steps.why_not_percents(percents))
    if percents[-1] != 100:
        raise ValueError(f"the last percent is {percents[-1]:g}; it must be 100, so that a run that completes is done")
    return percents


Percents = Annotated[list[Percent], AfterValidator(_to_the_end)]
"""Of the share that moves: rising, to the whole of it."""


class Canary(Section):
    initial_percent: Annotated[Percent, Field(gt=0)] = 5
    initial_hold: Duration = timedelta(seconds=300)
    success_threshold_percent: Percent = 98
    failure_threshold_percent: Percent | None = None
    """Below it the canary has failed, between the two nobody can tell; None: the success threshold itself."""
    percents: Percents = [10, 25, 50, 75, 100]
    step_hold: Duration = timedelta(seconds=120)
    manual_deadline: PositiveDuration = timedelta(hours=1)
    """How long a canary that waits for orders waits."""
    on_doubt: Literal["hold", "roll_back"] = "roll_back"

    @model_validator(mode="after")
    def _has_a_band(self) -> Self:
        success, failure = self.success_threshold_percent, self.failure_threshold_percent
        if failure is not None and failure > success:
            raise ValueError(
                f"failure_threshold_percent {failure:g} lies above success_threshold_percent {success:g}; "
                "it may be as high at most"
            )
        return self


class Failback(Section):
    recovery_watch: Duration = timedelta(minutes=30)
    health_threshold_percent: Percent = 99
    watch_interval: PositiveDuration = timedelta(seconds=30)
    """Between two probes of the original provider; up to ten times as much while it stays down."""
    watch_deadline: PositiveDuration = timedelta(days=7)
    validation_probes: Count = 5
    """All of them must be answered well before any traffic returns."""
    percents: Percents = [10, 25, 50, 75, 100]
    step_hold: Duration = timedelta(seconds=180)
    on_doubt: Literal["hold", "step_back"] = "step_back"

    @model_validator(mode="after")
    def _has_time(self) -> Self:
        if self.watch_deadline < self.recovery_watch:
            raise ValueError(
                f"watch_deadline {render_duration(self.watch_deadline)} is over before recovery_watch "
                f"{render_duration(self.recovery_watch)} is: no provider could ever recover in time"
            )
        return self


class Validation(Section):
    sample_size: Count = 100
    success_threshold_percent: Percent = 95
    alert_error_rate_percent: Percent = 2
    """`monitor --user-impact` warns above this."""


class Procedures(Section):
    immediate: Immediate = Immediate()
    gradual: Gradual = Gradual()
    canary: Canary = Canary()
    failback: Failback = Failback()
    validation: Validation = Validation()
    gating: Gating = Gating()


class Emergency(Section):
    cache_ttl: PositiveDuration = timedelta(seconds=7200)
    cache_strategy: Literal["serve_stale_indefinitely"] = "serve_stale_indefinitely"
    serve_stale: bool = True
    request_handling: Literal["queue_and_retry"] = "queue_and_retry"
    queue_size: Count = 10_000
    queue_timeout: PositiveDuration = timedelta(seconds=300)
    user_notification: Literal["service_degradation_banner"] = "service_degradation_banner"
    banner: Annotated[str, Field(min_length=1, max_length=500)] = (
        "Service is degraded: answers may be late, or come from earlier ones. We are working on it."
    )
    """Told with every answer while it lasts."""
    fallback_responses: Literal["static_templates"] = "static_templates"
    template: Text = (
        "We cannot answer right now: none of our AI providers is available. Your request was not processed; "
        "please try again in a few minutes."
    )
    """What users are answered when nothing better is left; a route may have its own."""
    targets: Targets = Targets(response_time=timedelta(milliseconds=5000), success_percent=80, availability_percent=95)
    watch_interval: PositiveDuration = timedelta(seconds=30)
    """Between two looks at every provider; five times as often in the first minutes."""
    good_probes: Count = 2
    """In a row, before a provider counts as back."""
    good_samples: Count = 3
    """Of the users' side, in a row, before service is normal again."""
    update_interval: PositiveDuration = timedelta(minutes=15)
    """How often people are told how it stands."""


class SuccessRates(Section):
    automated_failover_percent: Percent = 95
    manual_failover_percent: Percent = 99
    failback_percent: Percent = 98


class Kpis(Section):
    """Targets of the runbook's key performance indicators."""

    detection: PositiveDuration = timedelta(seconds=30)
    execution: PositiveDuration = timedelta(seconds=60)
    immediate_execution: PositiveDuration = timedelta(seconds=30)
    restoration: PositiveDuration = timedelta(seconds=120)
    total: PositiveDuration = timedelta(seconds=300)
    request_loss_percent: Percent = 1
    user_error_rate_percent: Percent = 5
    degradation_percent: Percent = 20
    success_rates: SuccessRates = SuccessRates()


class Slack(Section):
    channel: str = "#ops-alerts"
    token_env: str = "SLACK_BOT_TOKEN"
    """Name of the environment variable that holds the bot token; without one, messages go to the console."""
    signing_secret_env: str = "SLACK_SIGNING_SECRET"
    """Name of the environment variable that holds the app's signing secret; without one, its buttons are refused."""
    api_url: str | None = None


class Notifications(Section):
    slack: Slack = Slack()
    console: bool = True
    timeout: PositiveDuration = timedelta(seconds=30)
    """How long a message is tried for before the report notes that it failed."""


class AnswerCache(Section):
    max_bytes: Bytes = 64 * 1024 * 1024
    """Of remembered answers, in memory; the least recently used goes first. 0 switches remembering off."""


class WaitingRoom(Section):
    max_bytes: Bytes = 256 * 1024 * 1024
    """Of the bodies that wait in all queues of one gateway together."""


class Gateway(Section):
    try_timeout: PositiveDuration = timedelta(seconds=30)
    """Of one try at one provider: until the first byte of a stream, or the whole answer."""
    request_timeout: PositiveDuration = timedelta(seconds=60)
    """Of all tries of one request together."""
    max_tries: Count = 3
    max_body_bytes: Count = 4 * 1024 * 1024
    cache: AnswerCache = AnswerCache()
    queue: WaitingRoom = WaitingRoom()

    @model_validator(mode="after")
    def _try_fits(self) -> Self:
        if self.try_timeout > self.request_timeout:
            raise ValueError(
                f"try_timeout {render_duration(self.try_timeout)} is longer than request_timeout "
                f"{render_duration(self.request_timeout)}, which is of all tries together"
            )
        return self


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
    access: Access = Access()
    webhooks: Webhooks = Webhooks()

    @model_validator(mode="after")
    def _names_exist(self) -> Self:
        problems = [
            *self._chain_problems(),
            *self._route_problems(),
            *self._promise_problems(),
            *self._source_problems(),
            *self.webhooks.alerts.unknown_names(self.providers, self.routes),
        ]
        if problems:
            raise ValueError("\n".join(problems))
        return self

    def _chain_problems(self) -> list[str]:
        chains = {("failover_chains", provider): chain for provider, chain in self.failover_chains.items()}
        for name, route in self.routes.items():
            chains |= {(f"routes.{name}.chains", provider): chain for provider, chain in route.chains.items()}
        problems = []
        for (where, provider), chain in chains.items():
            unknown = [member for member in [provider, *chain] if member not in self.providers]
            problems += [
                f"{where}.{provider} names {member!r}, which is no provider ({self._known()})" for member in unknown
            ]
            everyone = [provider, *chain]
            twice = sorted({member for member in everyone if everyone.count(member) > 1})
            problems += [
                f"{where}.{provider} names {member!r} twice; a chain names no provider twice" for member in twice
            ]
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

    def _promise_problems(self) -> list[str]:
        slowest, promised = self.detection.slowest, self.kpis.detection
        if not self.detection.enabled or slowest <= promised:
            return []
        return [
            f"detection takes up to {render_duration(slowest)} ({self.detection.failure_threshold} probes, "
            f"{render_duration(self.detection.probe.cadence)} apart, the last with a timeout of "
            f"{render_duration(self.detection.probe.timeout)}), and kpis.detection promises {render_duration(promised)}; "
            "lower detection.failure_threshold, probe.cadence or probe.timeout, or promise less"
        ]

    def _source_problems(self) -> list[str]:
        claimed: dict[str, str] = {}
        problems = []
        for name, source in self.detection.sources.items():
            for provider in source.providers:
                where = f"detection.sources.{name}.providers names {provider!r}"
                if provider not in self.providers:
                    problems.append(f"{where}, which is no provider ({self._known()})")
                elif claimed.setdefault(provider, name) != name:
                    problems.append(f"{where}, for which the source {claimed[provider]!r} speaks already")
        return problems

    def _known(self) -> str:
        return "known: " + ", ".join(sorted(self.providers))

    def chain(self, route: str, failed: str) -> list[str]:
        """Who may take over the failed provider's traffic on a route, best first."""
        override = self.routes[route].chains if route in self.routes else {}
        return list(override.get(failed, self.failover_chains.get(failed, [])))

    def targets(self, route: str) -> Targets:
        """Of a route that the data plane has and the configuration does not name (any more), the usual ones."""
        return self.routes[route].targets if route in self.routes else Targets()

    def template(self, route: str) -> str | None:
        """What the route's users are told when nobody answers; None: as in any emergency."""
        return self.routes[route].template if route in self.routes else None

    def capacities(self) -> dict[str, Capacity]:
        """What each provider declared that it can take."""
        return {name: provider.capacity for name, provider in self.providers.items()}

    def model_id(self, provider: str) -> str:
        """The id that the vendor serves for the provider's model."""
        model = self.providers[provider].model
        return self.model_aliases.get(model, model)
