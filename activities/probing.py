"""Probes: a real, tiny completion through the exact model mapping, and the control plane's word beside it."""

import asyncio
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from temporalio import activity

from activities.clock import SYSTEM
from failover.completion import Completion, Message, Role
from failover.config import Config
from failover.errors import ProviderError
from failover.failure import Failure, FailureKind
from failover.health import Condition, Probe, Verdict, condition_of
from failover.ports import Clock, ProviderClient
from failover.units import milliseconds


@dataclass(frozen=True, slots=True, kw_only=True)
class CandidateProbe:
    """The providers to probe at once, each within `timeout`."""

    providers: Sequence[str]
    timeout: timedelta


class Prober:
    """Sends probes. Streams where the model can, so that a stream that is cut is seen too."""

    def __init__(self, config: Config, clients: Mapping[str, ProviderClient], clock: Clock = SYSTEM) -> None:
        self._clock = clock
        self._config = config
        self._clients = clients
        settings = config.detection.probe
        self._expect = re.compile(settings.expect)
        self.question = Completion(
            messages=[Message(role=Role.USER, text=settings.prompt)], max_tokens=settings.max_tokens
        )

    def makes_sense(self, text: str) -> bool:
        return self._expect.search(text) is not None

    async def probe(self, provider: str, timeout: timedelta, *, ask_control_plane: bool = False) -> Probe:
        """One probe; never raises for what the provider does."""
        began = self._clock.now()
        control = asyncio.create_task(self._control_plane(provider, timeout)) if ask_control_plane else None
        failure = await self._failure(provider, timeout)
        latency = self._clock.now() - began
        up = await control if control else None
        return Probe(provider=provider, at=began, latency=latency, failure=failure, control_plane_up=up)

    async def _control_plane(self, provider: str, timeout: timedelta) -> bool:
        return (await self._clients[provider].check_service(timeout=timeout)).reachable

    async def _failure(self, provider: str, timeout: timedelta) -> Failure | None:
        try:
            async with asyncio.timeout(timeout.total_seconds()):
                text = await self._answer(provider, timeout)
        except ProviderError as error:
            return error.failure
        except TimeoutError:
            detail = f"no whole answer within {milliseconds(timeout)} ms"
            return Failure(kind=FailureKind.TIMEOUT, provider=provider, detail=detail)
        if self.makes_sense(text):
            return None
        said = "an answer that makes no sense" if text.strip() else "an empty answer"
        return Failure(kind=FailureKind.INVALID_ANSWER, provider=provider, detail=f"{said} to the probe")

    async def _answer(self, provider: str, timeout: timedelta) -> str:
        client = self._clients[provider]
        if not self._config.providers[provider].streaming:
            return (await client.invoke(self.question, timeout=timeout)).text
        return "".join([chunk.text async for chunk in client.stream(self.question, timeout=timeout)])


class Probing:
    """The probe activities of procedures."""

    def __init__(self, prober: Prober) -> None:
        self._prober = prober

    @activity.defn(name="probe.candidates")
    async def candidates(self, order: CandidateProbe) -> list[Verdict]:
        """One deep probe of every candidate, all at once; a single failed one counts, since there is no time for three."""
        probes = await asyncio.gather(*(self._prober.probe(name, order.timeout) for name in order.providers))
        return [verdict_of(probe) for probe in probes]


def verdict_of(probe: Probe) -> Verdict:
    """What one deep probe says of a provider."""
    if probe.failure is None:
        condition, reason = Condition.HEALTHY, f"a deep probe was answered in {milliseconds(probe.latency)} ms"
    else:
        # Throttled: it serves, only not us, not now. That neither condemns nor recommends it.
        condition = Condition.BLIND if probe.inconclusive else condition_of(probe.failure.kind)
        reason = f"a deep probe failed: {probe.failure}"
    return Verdict(provider=probe.provider, condition=condition, reason=reason, at=probe.at, cause=probe.failure)
