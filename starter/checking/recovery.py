"""`failoverctl monitor --recovery-mode`: is the provider back? Only probes can tell, since it carries no traffic."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta

from activities.probing import Prober
from failover.health import Probe
from failover.units import milliseconds, render_duration
from starter.checking.checks import Check, failed, passed, told, unknown
from starter.checking.context import CheckContext
from starter.exit_codes import ExitCode
from starter.output import as_json_line, say


def run_recovery(
    context: CheckContext,
    provider: str,
    duration: timedelta,
    interval: timedelta,
    threshold: float | None,
    *,
    json: bool,
) -> ExitCode:
    """Probe until the time is over → recovered, or not (yet)."""
    least = context.config.procedures.failback.health_threshold_percent if threshold is None else threshold
    say(f"Probing {provider} for {render_duration(duration)}; recovered at {least:g} % of good answers.")
    probes = asyncio.run(_probed(context, provider, duration, interval, json=json))
    check = _judged(provider, probes, least, context.config.detection.failure_threshold)
    return told("recovery", f"Recovery of {provider}", [check], json=json, lines=True)


async def _probed(
    context: CheckContext, provider: str, duration: timedelta, interval: timedelta, *, json: bool
) -> list[Probe]:
    probes: list[Probe] = []
    timeout = context.config.detection.probe.timeout
    async with context.clients([provider]) as clients:
        prober, loop = Prober(context.config, clients), asyncio.get_running_loop()
        deadline = loop.time() + duration.total_seconds()
        while True:
            due = loop.time() + interval.total_seconds()
            probes.append(probe := await prober.probe(provider, timeout))
            _show(probe, probes, json=json)
            if due > deadline:
                return probes
            await asyncio.sleep(max(0.0, due - loop.time()))


def _show(probe: Probe, probes: Sequence[Probe], *, json: bool) -> None:
    good = sum(one.failure is None for one in probes)
    said = str(probe.failure) if probe.failure else f"answered in {milliseconds(probe.latency)} ms"
    if json:
        sample = {"at": probe.at, "healthy": probe.failure is None, "reason": said, "good": good, "probes": len(probes)}
        as_json_line("monitor-sample", sample)
    else:
        print(f"{probe.at:%H:%M:%S}  {probe.provider} {said}  ({good} of {len(probes)} good)", flush=True)


def _judged(provider: str, probes: Sequence[Probe], least: float, needed: int) -> Check:
    """The share of good answers, and the last one: who was well and is not any more has not recovered."""
    good, about = sum(one.failure is None for one in probes), f"{provider} recovery"
    said = f"{100 * good / len(probes):.1f} % of {len(probes)} probes were answered well, recovered at {least:g} %"
    last = probes[-1].failure
    if last is not None:
        return failed(about, f"{said}; the last one failed: {last}")
    if 100 * good / len(probes) < least:
        return failed(about, said)
    if len(probes) < needed:
        return unknown(about, f"{said}; {needed} probes are needed to tell")
    return passed(about, said)
