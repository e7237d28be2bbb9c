"""`failoverctl demo`: one real incident, from steady traffic to the report; the exit code says whether it went right."""

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from activities.evidence import EvidenceStore
from failover.config import Config
from failover.distribution import users_of
from failover.errors import FailoverError, RequestError
from failover.health import Verdict
from failover.incident import RunRecord
from starter.configuration import demo_config, load, simulated
from starter.connection import Http, connect
from starter.demo.conclusion import Result, conclude, tell
from starter.demo.expectations import Expectation, Seen, expected, injected_kind, known
from starter.demo.live import View, view
from starter.demo.observer import Observer, Snapshot
from starter.demo.users import Users
from starter.embedded.stack import ANY_PORTS, RunningStack, StackPlan, running, temporal_cli
from starter.foreground import ENDED_BY_SIGNAL, until_signal
from starter.parts import EVIDENCE, closing, plane_of
from starter.running import DEFAULT_HOME
from starter.settings import Settings

BASELINE = timedelta(seconds=10)
"""The time of steady traffic before the fault: what is normal, to judge degradation by."""

MOVE_DEADLINE = timedelta(seconds=28)
"""The most time from the fault to the end of the run that it must start."""

STAY = timedelta(seconds=13)
"""How long traffic must stay where it must not move: long enough for three probes, a window and a next health check."""

AFTERWARDS = timedelta(seconds=5)
"""How long the moved traffic is watched after the run is over: whether it stays where it should."""

INTERRUPTED = 130

LOOK_EVERY = 0.25
"""Seconds between two looks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoOptions:
    fault: str
    provider: str
    config: Path | None
    rate: float
    detection: bool
    keep_open: bool
    output: Path | None
    json: bool


def run_demo(settings: Settings, options: DemoOptions) -> int:
    """0: the expected outcome was seen and the targets were met; 1: not; 130: interrupted."""
    path = options.config or demo_config()
    config = load(path).config
    expectation = _why_possible(options, config)
    screen = view(config.kpis, json=options.json)
    screen.say(f"Fault: {options.fault} at {options.provider}. Expected: {options.provider} is {expectation.sentence}.")
    for kpi, why in expectation.excused.items():
        screen.say(f"Not counted against it: {kpi.value.replace('_', ' ')}, since {why}.")
    state = DEFAULT_HOME / "demo" / f"{datetime.now(UTC):%Y%m%d-%H%M%S}"
    plan = StackPlan(
        config=path,
        state=state,
        durable=False,
        cli=temporal_cli(settings, screen.say),
        ports=ANY_PORTS,
        schedules=options.detection,
    )
    demo = _Demo(settings, options, plan, config, expectation, screen)
    code = until_signal(demo.run())
    if code != ENDED_BY_SIGNAL:
        return code
    # A stack that was kept open is ended by a signal; what the demo found stands.
    return INTERRUPTED if demo.found is None else int(not demo.found.good)


def _why_possible(options: DemoOptions, config: Config) -> Expectation:
    """What must happen; RequestError for a fault or provider that is not there."""
    expectation = expected(options.fault)
    if expectation is None:
        raise RequestError(f"There is no fault {options.fault!r}; known are {', '.join(known())}.")
    providers = simulated(config)
    if options.provider not in providers:
        raise RequestError(
            f"{options.provider!r} is no simulated provider of this configuration; those are {', '.join(providers)}."
        )
    return expectation


def _route(config: Config, provider: str) -> str:
    """The route that users ask: one on which the provider's fault is felt."""
    users = users_of(provider, {name: route.distribution for name, route in config.routes.items()})
    if not users:
        raise RequestError(f"No route of this configuration sends traffic to {provider!r}, so nobody would notice.")
    return config.default_route if config.default_route in users else users[0]


class _Demo:
    """One demo: what it was asked, and what it has seen so far."""

    def __init__(
        self,
        settings: Settings,
        options: DemoOptions,
        plan: StackPlan,
        config: Config,
        expectation: Expectation,
        screen: View,
    ) -> None:
        self._settings = settings
        self._options = options
        self._plan = plan
        self._route = _route(config, options.provider)
        self._expectation = expectation
        self._screen = screen
        self._fault_at: datetime | None = None
        self._verdicts: list[Verdict] = []
        self.found: Result | None = None

    async def run(self) -> int:
        async with running(self._plan, self._settings, self._screen.say) as stack:
            # Whichever comes first: the demo's end, or the end of a part of the stack.
            incident = asyncio.create_task(self._incident(stack))
            broken = asyncio.create_task(stack.until_broken())
            try:
                await asyncio.wait({incident, broken}, return_when=asyncio.FIRST_COMPLETED)
                if not incident.done():
                    raise FailoverError(f"{await broken}\nThe demo ends with it; nothing was restarted.")
                self.found = incident.result()
            finally:
                self._screen.close()
                await _end(incident, broken)
            tell(self.found, json=self._options.json, links=self._options.keep_open)
            if self._options.keep_open:
                self._screen.say("The stack stays up until Ctrl-C.")
                raise FailoverError(f"{await stack.until_broken()}\nThe stack ends with it; nothing was restarted.")
        return int(not self.found.good)

    async def _incident(self, stack: RunningStack) -> Result:
        found = stack.as_found()
        client = await connect(self._settings, found)
        async with AsyncExitStack() as parts:
            plane = await parts.enter_async_context(closing(plane_of(found)))
            users = await parts.enter_async_context(
                Users(f"{stack.addresses.gateway}/v1", self._route, self._options.rate).coming()
            )
            observer = Observer(found, plane, client, users, route=self._route, provider=self._options.provider)
            before = await self._baseline(observer)
            self._fault_at = await self._break(stack, observer)
            evidence = EvidenceStore(Path(stack.addresses.state) / EVIDENCE)
            last, record = await self._watch(observer, evidence)
            seen = await self._seen(observer, before, last, record)
            felt = users.experience(self._fault_at)
            return conclude(self._expectation, seen, stack.addresses, self._options.output, self._fault_at, felt)

    async def _baseline(self, observer: Observer) -> Snapshot:
        """What is normal."""
        self._screen.say(
            f"Steady traffic for {BASELINE.total_seconds():.0f} s, {self._options.rate:g} requests a second."
        )
        began = datetime.now(UTC)
        while True:
            snapshot = await self._look(observer)
            if datetime.now(UTC) - began >= BASELINE:
                return snapshot

    async def _break(self, stack: RunningStack, observer: Observer) -> datetime:
        """Inject the fault → when, by the gateway's clock."""
        kind, provider = injected_kind(self._options.fault), self._options.provider
        self._screen.say(f"Now the fault: at {provider}, {kind.description}.")
        at = (await observer.look()).at
        async with Http("simulator", stack.as_found().need("simulator")) as simulator:
            await simulator.put(f"/faults/{provider}", {"kind": kind, **self._expectation.options})
        return at

    async def _watch(self, observer: Observer, evidence: EvidenceStore) -> tuple[Snapshot, RunRecord | None]:
        """Watch until the run that must come is over and its effect can be counted, or for as long as none may come."""
        assert self._fault_at is not None
        until = self._fault_at + (MOVE_DEADLINE if self._expectation.moves else STAY)
        closed: RunRecord | None = None
        while True:
            snapshot = await self._look(observer)
            self._verdicts += [one for one in snapshot.verdicts if one.provider == self._options.provider]
            if closed is None and (closed := self._record(evidence)) is not None and self._expectation.moves:
                until = snapshot.at + AFTERWARDS
            if snapshot.at >= until:
                return snapshot, closed

    def _record(self, evidence: EvidenceStore) -> RunRecord | None:
        """The record of the faulty provider's own run."""
        record = evidence.latest()
        return record if record is not None and record.provider == self._options.provider else None

    async def _look(self, observer: Observer) -> Snapshot:
        await asyncio.sleep(LOOK_EVERY)
        snapshot = await observer.look()
        self._screen.show(snapshot, self._fault_at)
        return snapshot

    async def _seen(self, observer: Observer, before: Snapshot, last: Snapshot, record: RunRecord | None) -> Seen:
        assert self._fault_at is not None
        provider = self._options.provider
        # The shift's own moment, on the clock of who counts: every first try since is evidence.
        since = max(last.policy.changed_at, self._fault_at)
        return Seen(
            provider=provider,
            verdicts=[one for one in self._verdicts if one.at >= self._fault_at],
            share_before=before.policy.distribution.get(provider, 0),
            policy_share=last.policy.distribution.get(provider, 0),
            first_tries=await observer.first_tries_since(since),
            record=record,
            failure=await observer.why_run_failed(),
        )


async def _end(*tasks: "asyncio.Task[object]") -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
