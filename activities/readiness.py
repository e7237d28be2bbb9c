"""The looks of a readiness audit. Each asks one part of the world, changes nothing, and says what it could not see."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from temporalio import activity

from activities.accuracy import Examiner
from activities.checks import data_plane, providers
from activities.probing import Prober
from failover import auditing
from failover.capacity import MINUTE
from failover.certificates import renewed
from failover.completion import Completion, Message, Role
from failover.config import Config
from failover.errors import DataPlaneUnavailable, ProviderError, Unavailable
from failover.failure import FailureKind
from failover.findings import Finding, Health, failed, unknown
from failover.golden import Suite
from failover.health import Probe
from failover.policy import TrafficPolicy
from failover.ports import Directory, ProviderClient, Reachable, ReadinessStore, TrafficPlane
from failover.readiness import Check, Looked, News, Picture, Standing, Target, assemble, news, pair, picture, worst
from failover.telemetry import Telemetry

PROBES = 3
"""One failed probe is no finding; so many in a row are."""

SETTLING = timedelta(seconds=1)
"""How long an instance of the data plane may be behind a change that was made just now."""

CHARACTERS_PER_TOKEN = 4
"""Characters per token of English text, roughly, at every vendor."""

FILLER = "The quick brown fox jumps over the lazy dog. "


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditPlan:
    """What to look at, and for how long. `needs`: route → tokens that its longest prompt has; `context`: what is known of
    the windows of its targets, by `pair`; `successors`: route → whoever serves it → who may take over from it."""

    targets: Sequence[Target]
    routes: Sequence[str]
    needs: Mapping[str, int]
    context: Mapping[str, Finding]
    timeout: timedelta
    prompt_timeout: timedelta
    successors: Mapping[str, Mapping[str, Sequence[str]]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderLook:
    """What was found of a provider, whatever the route."""

    found: Mapping[Check, Finding]
    expires: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class GoldenOrder:
    """The prompt set of a route, put to a provider."""

    provider: str
    route: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ContextOrder:
    provider: str
    tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TrafficLook:
    """`routes`: route → the data plane's part; `capacity`: route → provider → what it could take."""

    routes: Mapping[str, Finding]
    capacity: Mapping[str, Mapping[str, Finding]]


@dataclass(frozen=True, slots=True, kw_only=True)
class PeopleLook:
    """`routes`: route → whoever must agree; `notifications`: of the whole deployment."""

    routes: Mapping[str, Finding]
    notifications: Finding


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """What became of an audit: its score, how each route stands, the news, and what to remember once they are told."""

    score: float
    checks: int
    standings: Mapping[str, Standing]
    news: News | None
    picture: Picture


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditParts:
    """What audits look through. `prompt_sets`: route → its golden prompts, as the route uses models."""

    config: Config
    clients: Mapping[str, ProviderClient]
    plane: TrafficPlane
    prober: Prober
    examiner: Examiner | None = None
    prompt_sets: Mapping[str, Suite] = field(default_factory=dict)
    store: ReadinessStore | None = None
    channels: Mapping[str, Reachable] = field(default_factory=dict)
    directory: Directory | None = None


class Auditing:
    """The activities of a readiness audit."""

    def __init__(self, parts: AuditParts) -> None:
        self._parts = parts
        self._config = parts.config

    @activity.defn(name="readiness.plan")
    async def plan(self) -> AuditPlan:
        """Every route and everybody who may have to take over on it, as configured."""
        config, routes = self._config, sorted(self._config.routes)
        needs = {route: need for route in routes if (need := config.routes[route].readiness.context_tokens)}
        targets = [self._target(route, provider) for route in routes for provider in config.targets_of(route)]
        return AuditPlan(
            targets=targets,
            routes=routes,
            needs=needs,
            context={pair(one): self._window(one, needs[one.route]) for one in targets if one.route in needs},
            timeout=config.readiness.timeout,
            prompt_timeout=config.detection.accuracy.timeout,
            successors={route: config.successors_of(route) for route in routes},
        )

    def _target(self, route: str, provider: str) -> Target:
        suite = self._parts.prompt_sets.get(route)
        return Target(
            route=route,
            provider=provider,
            model=self._config.model_id(provider),
            suite=suite.name if suite else "",
            digest=suite.digest if suite else "",
        )

    def _window(self, target: Target, needed: int) -> Finding:
        configured = self._config.providers[target.provider].context_tokens
        return auditing.context(target.provider, target.model, needed, configured)

    @activity.defn(name="readiness.provider")
    async def provider(self, name: str) -> ProviderLook:
        """Check credentials, when they end, and a real completion; none of them depends on a route."""
        config, client = self._config, self._parts.clients[name]
        timeout, configured = config.detection.probe.timeout, config.providers[name].credentials_expire
        told, service = await asyncio.gather(client.credentials(timeout=timeout), client.check_service(timeout=timeout))
        probe = await self._probed(name)
        model = providers.answers(Check.MODEL, config, name, probe, service)
        if probe.failure is not None and probe.failure.kind is FailureKind.THROTTLED:
            model = unknown(Check.MODEL, model.said, model.repair)
        found = {
            Check.CREDENTIALS: auditing.credentials(probe.failure, told),
            Check.EXPIRY: auditing.expiry(name, told, configured, config.readiness.expiry_warning, datetime.now(UTC)),
            Check.MODEL: model,
        }
        return ProviderLook(found=found, expires=auditing.expires_at(told, configured))

    async def _probed(self, name: str) -> Probe:
        """The first good probe, or the last bad one."""
        settings = self._config.detection.probe
        for attempt in range(1, PROBES + 1):
            probe = await self._parts.prober.probe(name, settings.timeout)
            activity.heartbeat()
            if probe.failure is None or attempt == PROBES:
                break
            await asyncio.sleep(settings.cadence.total_seconds())
        return probe

    @activity.defn(name="readiness.golden")
    async def golden(self, order: GoldenOrder) -> Finding:
        """The golden prompts of a route; a few at once, since users come first."""
        settings = self._config.readiness
        answered = self._config.detection.accuracy.answered_percent
        suite = self._parts.prompt_sets.get(order.route)
        if suite is None or self._parts.examiner is None:
            return auditing.golden(None, "this worker has no golden prompts", settings.pass_percent, answered)
        found = await self._parts.examiner.examine(
            order.provider, suite, told=activity.heartbeat, concurrency=settings.concurrency
        )
        calls = [prompt.id for prompt in suite.prompts if prompt.calls]
        return auditing.golden(found, "", settings.pass_percent, answered, calls)

    @activity.defn(name="readiness.context")
    async def context(self, order: ContextOrder) -> Finding:
        """A prompt as long as the routes need: it costs what it costs, and is sent only where that was asked for."""
        question = self._parts.prober.question
        filler = FILLER * (order.tokens * CHARACTERS_PER_TOKEN // len(FILLER))
        completion = Completion(
            messages=[Message(role=Role.USER, text=f"{filler}\n\n{question.messages[-1].text}")],
            max_tokens=question.max_tokens,
        )
        timeout = self._config.gateway.request_timeout
        try:
            answer = await self._parts.clients[order.provider].invoke(completion, timeout=timeout)
        except ProviderError as error:
            return auditing.unanswered_context(order.tokens, error.failure)
        if not self._parts.prober.makes_sense(answer.text):
            return auditing.proved_context(order.tokens, None, "an answer that makes no sense")
        return auditing.proved_context(order.tokens, answer.usage.input_tokens or None, None)

    @activity.defn(name="readiness.traffic")
    async def traffic(self) -> TrafficLook:
        """Check that routes are there, obeyed and writable, and if targets could take the load of now. Changes nothing."""
        plane, config = self._parts.plane, self._config
        policies = await self._settled()
        instances = await plane.obeyed()
        behind, writable = data_plane.laggards(instances, policies), await data_plane.writable(plane, policies)
        telemetry = await self._demand()
        known = {policy.route for policy in policies}
        return TrafficLook(
            routes={route: _of_route(route, known, bool(instances), behind, writable) for route in config.routes},
            capacity={route: self._capacity(route, policies, telemetry) for route in config.routes},
        )

    async def _settled(self) -> Sequence[TrafficPolicy]:
        policies = await self._parts.plane.read(sorted(self._config.routes))
        if data_plane.laggards(await self._parts.plane.obeyed(), policies):
            await asyncio.sleep(SETTLING.total_seconds())
            policies = await self._parts.plane.read(sorted(self._config.routes))
        return policies

    async def _demand(self) -> Telemetry | None:
        try:
            return await self._parts.plane.observe(window=MINUTE)
        except DataPlaneUnavailable:
            return None

    def _capacity(
        self, route: str, policies: Sequence[TrafficPolicy], telemetry: Telemetry | None
    ) -> Mapping[str, Finding]:
        targets = self._config.targets_of(route)
        return {name: auditing.capacity(route, name, policies, telemetry, self._config) for name in targets}

    @activity.defn(name="readiness.people")
    async def people(self) -> PeopleLook:
        """Check who must agree, and whether they and everybody else could be told. Nobody is."""
        gone, why = await self._gone()
        routes = {route: auditing.approvers(self._config, route, gone, why) for route in self._config.routes}
        looks = await asyncio.gather(*(channel.reachable() for channel in self._parts.channels.values()))
        found = worst(looks) or failed(Check.NOTIFICATIONS, "no channel is configured", "configure notifications")
        said = found.said if found.health is not Health.OK else "; ".join(one.said for one in looks)
        notifications = Finding(about=Check.NOTIFICATIONS, health=found.health, said=said, repair=found.repair)
        return PeopleLook(routes=routes, notifications=notifications)

    async def _gone(self) -> tuple[Mapping[str, str | None], str | None]:
        """Operator → why Slack cannot reach them (None: it can); and why nothing is known of anybody."""
        members = {name: one.slack_user for name, one in self._config.access.operators.items() if one.slack_user}
        if self._parts.directory is None:
            return {}, "there is no Slack token"
        try:
            missing = await self._parts.directory.missing(sorted(members.values()))
        except Unavailable as error:
            return {}, str(error)
        return {name: missing.get(member) for name, member in members.items()}, None

    @activity.defn(name="readiness.keep")
    async def keep(self, looked: Looked) -> Kept:
        """Keep the audit and its certificates; → what is new. Again for the same audit changes nothing more."""
        return await asyncio.to_thread(self._keep, looked)

    def _keep(self, looked: Looked) -> Kept:
        store, lifetime = self._parts.store, self._config.readiness.certificate_lifetime
        if store is None:
            raise Unavailable("This worker keeps no audits.")
        audit = assemble(looked, datetime.now(UTC))
        store.keep(audit, renewed(store.certificates(), audit, lifetime, looked.expiries))
        return Kept(
            score=audit.score,
            checks=len(audit.every()),
            standings={route: audit.route_standing(route) for route in sorted(audit.routes)},
            news=news(store.told(), audit),
            picture=picture(audit),
        )

    @activity.defn(name="readiness.told")
    async def told(self, now: Picture) -> None:
        """Keep what people know now; the same is not told again."""
        if self._parts.store is not None:
            await asyncio.to_thread(self._parts.store.keep_told, now)


def _of_route(
    route: str,
    known: set[str],
    alive: bool,
    behind: Mapping[str, Sequence[str]],
    writable: Mapping[str, Finding],
) -> Finding:
    about = Check.DATA_PLANE
    if route not in known:
        said = "the data plane does not know this route"
        return failed(about, said, "restart the gateways with this configuration")
    if not alive:
        return failed(about, "no live instance of the data plane reports", "start a gateway")
    if behind.get(route):
        said = f"not on the policy in force: {', '.join(behind[route][:5])}"
        return failed(about, said, "look at their logs, or restart them")
    found = writable[route]
    return Finding(about=about, health=found.health, said=found.said, repair=found.repair)
