"""`failoverctl baseline`: what a provider's golden prompts scored while people knew it to be good."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path

from activities.accuracy import BaselineStore
from failover.accuracy import Baseline, age
from starter.arguments import operator
from starter.checking.context import CheckContext
from starter.logs import configure
from starter.output import as_json, say, table
from starter.parts import BASELINES, examiner
from starter.settings import Settings


def run_record(
    settings: Settings, state: Path | None, provider: str, suite: str | None, by: str | None, *, json: bool
) -> int:
    """Examine the provider now, and compare every later examination with this one."""
    context = CheckContext.find(settings, state)
    configure("console", "warning")
    asked = suite or context.config.detection.accuracy.suite
    say(f"Putting the suite {asked} to {context.config.model_id(context.provider(provider))} of {provider}.")
    baseline = asyncio.run(_record(context, provider, asked, by or operator()))
    if json:
        as_json("baseline", baseline)
        return 0
    print(f"{_told(baseline)}, from now on the baseline of {provider} for workers whose state is in {context.home}.")
    return 0


async def _record(context: CheckContext, provider: str, suite: str, by: str) -> Baseline:
    async with context.clients([provider]) as clients:
        return await examiner(context.loaded, clients, context.home).record_baseline(provider, suite, by)


def run_list(settings: Settings, state: Path | None, *, json: bool) -> int:
    """Every baseline of the state directory, those of models and suites that are no longer asked included."""
    context = CheckContext.find(settings, state)
    found = BaselineStore(context.home / BASELINES).list()
    if json:
        as_json("baselines", found)
        return 0
    now = datetime.now(UTC)
    rows = [(one.provider, one.model, one.suite, _score(one), age(one, now), one.recorded_by) for one in found]
    table("Baselines of golden prompts", ("provider", "model", "suite", "right", "age", "by"), rows)
    return 0


def _told(baseline: Baseline) -> str:
    return f"{_score(baseline)} prompts ({baseline.suite}) were answered right"


def _score(baseline: Baseline) -> str:
    return f"{baseline.score.passed} of {baseline.score.answered}"
