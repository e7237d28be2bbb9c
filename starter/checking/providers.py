"""Providers asked afresh, with their own clients: is it up, does it list our model, does it answer?"""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from activities.probing import Prober, verdict_of
from failover.completion import Answer
from failover.errors import BadInput, FailoverError, ProviderError
from failover.gates import Judgement
from failover.health import Health
from failover.ports import ProviderClient
from failover.units import milliseconds
from starter.checking.checks import Check, failed, passed, told, unknown
from starter.checking.context import CheckContext
from starter.exit_codes import ExitCode
from starter.output import as_json, say
from starter.settings import Settings

CONTROL_PLANES = {
    "bedrock": "ListFoundationModels",
    "vertex": "GetPublisherModel",
    "llama": "GET /models",
    "openai": "GET /models",
}
"""What the control plane is asked by, for each kind of provider."""

_CODES = {
    Health.HEALTHY: ExitCode.DONE,
    Health.UNHEALTHY: ExitCode.NOT_PROVED,
    Health.UNKNOWN: ExitCode.UNREACHABLE,
}


def run_health_only(settings: Settings, state: Path | None, provider: str, *, json: bool) -> int:
    """One fresh probe. Exactly one word on stdout, for scripts; why, on stderr."""
    context = CheckContext.find(settings, state)
    health, why = asyncio.run(_health(context, context.provider(provider)))
    if json:
        as_json("health", {"provider": provider, "health": health.value, "reason": why})
    else:
        say(f"{provider}: {why}")
        print(health.value.upper())
    return _CODES[health]


async def _health(context: CheckContext, provider: str) -> tuple[Health, str]:
    """The provider's health and why; UNKNOWN if we ourselves could not ask: that says nothing of the provider."""
    try:
        async with context.clients([provider]) as clients:
            probe = await Prober(context.config, clients).probe(provider, context.config.detection.probe.timeout)
    except FailoverError as error:
        return Health.UNKNOWN, f"it could not be asked: {error}"
    verdict = verdict_of(probe)
    return verdict.health, verdict.reason


def run_comprehensive(settings: Settings, state: Path | None, provider: str | None, *, json: bool) -> int:
    """Every check of a provider, or of all of them."""
    context = CheckContext.find(settings, state)
    names = [context.provider(provider)] if provider is not None else list(context.config.providers)
    say(f"Asking {', '.join(names)} …")
    checks = asyncio.run(checked(context, names))
    return told("provider-checks", f"Checks of {', '.join(names)}", checks, json=json)


async def checked(context: CheckContext, names: Sequence[str]) -> list[Check]:
    """All checks of these providers, at once."""
    async with context.clients(names) as clients:
        asked = await asyncio.gather(*(_checks(context, clients[name]) for name in names))
    return [check for checks in asked for check in checks]


async def _checks(context: CheckContext, client: ProviderClient) -> list[Check]:
    service, whole, deep = await asyncio.gather(
        _service(context, client), _whole(context, client), _probe(context, client)
    )
    return [*service, whole, deep]


async def _service(context: CheckContext, client: ProviderClient) -> list[Check]:
    """The control plane; whether it lists our model is told and decides nothing: inference profiles are in no such list."""
    key, model = client.key, context.config.model_id(client.key)
    status = await client.check_service(timeout=context.config.detection.probe.timeout)
    about, by = f"{key} control plane", CONTROL_PLANES[context.config.providers[key].kind]
    judged = {True: Judgement.PASS, False: Judgement.FAIL, None: Judgement.INCONCLUSIVE}[status.model_listed]
    said = {True: "is listed", False: "is not listed here", None: "may be listed: it does not tell"}
    listed = Check(about=f"{key} model", judgement=judged, said=f"{model} {said[status.model_listed]}", decides=False)
    up = (
        passed(about, f"{by}: {_took(status.latency)}") if status.reachable else failed(about, f"{by}: {status.detail}")
    )
    return [up, listed]


async def _whole(context: CheckContext, client: ProviderClient) -> Check:
    """The runbook's own test: one small completion, not streamed."""
    prober, timeout, began = Prober(context.config, {}), context.config.detection.probe.timeout, datetime.now(UTC)
    about = f"{client.key} completion"
    try:
        async with asyncio.timeout(timeout.total_seconds()):
            answer: Answer = await client.invoke(prober.question, timeout=timeout)
    except ProviderError as error:
        return failed(about, str(error))
    except TimeoutError:
        return failed(about, f"no whole answer within {milliseconds(timeout)} ms")
    if not prober.makes_sense(answer.text):
        return failed(about, "the answer makes no sense")
    return passed(about, _took(datetime.now(UTC) - began))


async def _probe(context: CheckContext, client: ProviderClient) -> Check:
    """What the health check does: a stream, where the model can stream."""
    probe = await Prober(context.config, {client.key: client}).probe(client.key, context.config.detection.probe.timeout)
    about = f"{client.key} probe"
    return passed(about, _took(probe.latency)) if probe.failure is None else failed(about, str(probe.failure))


def _took(latency: timedelta) -> str:
    return f"answered in {milliseconds(latency)} ms"


async def serving(context: CheckContext, shares: dict[str, int]) -> list[Check]:
    """A fresh probe of every provider; one that carries no traffic is told, and decides nothing.

    `shares`: the largest share that each provider has of any route.
    """
    found = []
    for provider, (health, why) in zip(
        context.config.providers,
        await asyncio.gather(*(_health(context, provider) for provider in context.config.providers)),
        strict=True,
    ):
        judged = {Health.HEALTHY: passed, Health.UNHEALTHY: failed, Health.UNKNOWN: unknown}[health]
        share = shares.get(provider, 0)
        check = judged(f"{provider} probe", f"{why}; it has {share / 100:g} % of traffic")
        found.append(
            check if share else Check(about=check.about, judgement=check.judgement, said=check.said, decides=False)
        )
    return found


def no_provider(option: str) -> BadInput:
    return BadInput(f"{option} is about one provider; name it with --provider.")
