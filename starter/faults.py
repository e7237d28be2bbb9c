"""`failoverctl fault`: work the simulator's faults."""

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from failover.errors import RequestError
from simulator.faults import FaultKind, options_of
from starter.connection import Http
from starter.output import as_json, say, table
from starter.running import find
from starter.settings import Settings


def run_fault(
    settings: Settings,
    target: str,
    kind: str | None,
    *,
    options: Sequence[str],
    named: Mapping[str, float | None],
    state: Path | None,
    json: bool,
) -> int:
    """`target` is a provider, or one of the words `clear` and `list`."""
    control = find(settings, state).need("simulator")
    given = {name: value for name, value in named.items() if value is not None} | _pairs(options)
    if target in ("clear", "list") and given:
        raise RequestError(f"`fault {target}` takes no fault options, but {', '.join(given)} came with it.")
    faults = asyncio.run(_work(control, target, kind, given))
    if json:
        as_json("faults", faults)
    elif target == "list":
        _show(faults)
    elif target == "clear":
        say(f"{kind or 'Every provider'} answers as it should again.")
    else:
        say(
            f"{target} now has the fault {kind}: {FaultKind(str(kind)).description}. Heal it: `failoverctl fault clear`."
        )
    return 0


async def _work(control: str, target: str, kind: str | None, options: Mapping[str, float]) -> dict[str, Any]:
    async with Http("simulator", control) as simulator:
        if target == "clear":
            await simulator.delete(f"/faults/{kind}" if kind else "/faults")
        elif target != "list":
            await _inject(simulator, target, kind, options)
        faults: dict[str, Any] = await simulator.get("/faults")
        return faults


async def _inject(simulator: Http, provider: str, kind: str | None, options: Mapping[str, float]) -> None:
    if kind is None:
        raise RequestError(f"Which fault should {provider} have? Kinds are {', '.join(FaultKind)}.")
    await simulator.put(f"/faults/{provider}", {"kind": kind, **options})


def _pairs(options: Sequence[str]) -> dict[str, float]:
    pairs = {}
    for option in options:
        name, sign, value = option.partition("=")
        try:
            pairs[name.strip()] = float(value)
        except ValueError:
            sign = ""
        if not sign:
            raise RequestError(f"--option {option!r} is not of the form name=number, such as status=503.")
    return pairs


def _show(faults: Mapping[str, Any]) -> None:
    rows = [
        (provider, fault["kind"] if fault else "none", _described(fault) if fault else "")
        for provider, fault in faults.items()
    ]
    table("Faults in force", ("provider", "fault", "options"), rows)
    kinds = [(kind.value, kind.description, ", ".join(options_of(kind))) for kind in FaultKind]
    table("Kinds", ("kind", "what breaks", "options"), kinds)


def _described(fault: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={value}" for name, value in fault.items() if name != "kind" and value is not None)
