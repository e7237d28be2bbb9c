"""`failoverctl canary --validation-mode`: real requests through the route, as a user sends them."""

import asyncio
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from activities.probing import Prober
from failover.accuracy import wilson
from failover.errors import ProviderError, RequestError
from failover.ports import TrafficPlane
from failover.units import milliseconds
from starter.arguments import percent
from starter.checking.checks import Check, failed, passed, told
from starter.checking.context import CheckContext
from starter.output import say
from starter.settings import Settings

AT_ONCE = 8
"""How many of our requests are under way together: a sample, no load test."""

MOST = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Got:
    """One answer: by whom ("" nobody), how late, and what was wrong with it."""

    by: str
    latency: timedelta
    complaint: str | None


def run_sample(
    settings: Settings, state: Path | None, route: str | None, size: int | None, threshold: str | None, *, json: bool
) -> int:
    context = CheckContext.find(settings, state)
    validation = context.config.procedures.validation
    least, count = percent("--success-threshold", threshold), size or validation.sample_size
    if count > MOST:
        raise RequestError(f"--sample-size: {count} is more than {MOST}, which is no sample any more.")
    named = context.default_route(route)
    say(f"Sending {count} requests through route {named} …")
    got = asyncio.run(_sample(context, named, count))
    check = _judged(named, got, validation.success_threshold_percent if least is None else least)
    return told("sample", f"Sample of route {named}", [check], json=json)


async def _sample(context: CheckContext, route: str, count: int) -> list[Got]:
    turn = asyncio.Semaphore(AT_ONCE)
    async with context.plane() as plane:

        async def one() -> Got:
            async with turn:
                return await _ask(context, plane, route)

        return list(await asyncio.gather(*(one() for _ in range(count))))


async def _ask(context: CheckContext, plane: TrafficPlane, route: str) -> Got:
    prober, began = Prober(context.config, {}), datetime.now(UTC)
    try:
        by, answer = await plane.ask(route, prober.question, timeout=context.config.gateway.request_timeout)
    except ProviderError as error:
        return Got(by="", latency=datetime.now(UTC) - began, complaint=str(error))
    complaint = None if prober.makes_sense(answer.text) else f"{by} gave an answer that makes no sense"
    return Got(by=by, latency=datetime.now(UTC) - began, complaint=complaint)


def _judged(route: str, got: Sequence[Got], least: float) -> Check:
    """The point estimate decides; its interval is told, so that nobody takes it for more than it is."""
    good = [one for one in got if one.complaint is None]
    share, interval = 100 * len(good) / len(got), wilson(len(good), len(got))
    by = ", ".join(f"{name or 'remembered'} {times}" for name, times in sorted(Counter(one.by for one in good).items()))
    said = (
        f"{math.floor(share * 10) / 10:.1f} % of {len(got)} requests got a good answer ({interval.low:.1f} to "
        f"{interval.high:.1f} at 95 % confidence), passes at {least:g} %; P95 {_p95(good)}; by {by or 'nobody'}"
    )
    complaints = Counter(one.complaint for one in got if one.complaint)
    said += "".join(f"; {times}× {what}" for what, times in complaints.most_common(3))
    return passed(f"{route} answers", said) if share >= least else failed(f"{route} answers", said)


def _p95(got: Sequence[Got]) -> str:
    latencies = sorted(one.latency for one in got)
    return f"{milliseconds(latencies[math.ceil(0.95 * len(latencies)) - 1])} ms" if latencies else "unknown"
