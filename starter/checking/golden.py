"""Golden prompts by command: `validate --test-suite` of a provider, `offline` of a model."""

import asyncio
from dataclasses import dataclass
from pathlib import Path

from failover.accuracy import Quality, wilson
from failover.errors import FailoverError, RequestError
from failover.units import render_duration
from starter.arguments import percent
from starter.checking.checks import Check, failed, passed, told, unknown
from starter.checking.context import CheckContext, policy_of
from starter.examining import Examined, examine
from starter.logs import configure
from starter.output import say
from starter.settings import Settings

ACTIVE = "current-active-model"
"""The model with the largest share of the route now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asking:
    """The provider and suite to ask, and the least share of right answers; None: as the configuration says."""

    provider: str
    suite: str
    threshold: float | None = None


def run_offline(
    settings: Settings,
    state: Path | None,
    model: str,
    *,
    quick: bool,
    route: str | None,
    threshold: str | None,
    json: bool,
) -> int:
    """A model by itself, without the route: golden prompts through its provider's own client."""
    context = CheckContext.find(settings, state)
    least = percent("--success-threshold", threshold)
    provider = asyncio.run(_provider_of(context, model, route))
    asking = Asking(provider=provider, suite="quick" if quick else "comprehensive", threshold=least)
    say(f"{model}: {context.config.model_id(provider)} of {provider}.")
    check = asyncio.run(graded(context, asking))
    return told("offline", f"Offline validation of {context.config.model_id(provider)}", [check], json=json)


async def _provider_of(context: CheckContext, model: str, route: str | None) -> str:
    """Find a provider by the shares of now, by its name, by an alias, or by the vendor's id."""
    config = context.config
    if model == ACTIVE:
        async with context.plane() as plane:
            shares = (await policy_of(plane, context.default_route(route))).distribution
        return max(shares, key=lambda name: shares[name])
    named = [key for key, provider in config.providers.items() if model in (key, provider.model, config.model_id(key))]
    if not named:
        known = ", ".join([ACTIVE, *(config.model_id(key) for key in config.providers)])
        raise RequestError(f"--model-id: no provider serves {model!r}; known are {known}.")
    return named[0]


async def graded(context: CheckContext, asking: Asking) -> Check:
    """Put the suite to the provider; its answers are judged by the threshold and, where there is one, its baseline."""
    least = context.config.procedures.validation.success_threshold_percent
    least = least if asking.threshold is None else asking.threshold
    about = f"{asking.provider} {asking.suite} suite"
    configure("console", "warning")  # The answer alone is for stdout.
    try:
        found = await examine(context.settings, context.loaded, context.home, asking.provider, asking.suite)
    except RequestError:
        raise
    except FailoverError as error:
        return unknown(about, f"it could not be asked: {error}")
    return _judged(about, found, least, context.config.detection.accuracy.answered_percent)


def _judged(about: str, found: Examined, least: float, answered_percent: float) -> Check:
    score, against = found.examination.score, found.assessment
    if not score.answered or score.answered * 100 < answered_percent * score.asked:
        return failed(about, against.reason)
    interval, share = wilson(score.passed, score.answered), score.percent or 0.0
    missed = "; ".join(f"{miss.prompt}: {miss.reason}" for miss in found.examination.misses[:3])
    said = (
        f"{share:.1f} % right ({interval.low:.1f} to {interval.high:.1f}) in {render_duration(found.examination.took)}, "
        f"passes at {least:g} %; {against.reason}"
    )
    said += f"; wrong: {missed}" if missed else ""
    return passed(about, said) if share >= least and against.quality is not Quality.DEGRADED else failed(about, said)
