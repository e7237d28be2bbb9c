"""`failoverctl rehearse`: from what the operator says to what is rehearsed, and its exit code."""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

from temporalio.testing import WorkflowEnvironment

from failover.config import Config
from failover.config_file import LoadedConfig, checked
from failover.errors import ConfigError, RequestError
from failover.rehearsal import Rehearsed
from failover.units import parse_duration
from failover.world import Fault, FaultKind, Script
from starter.arguments import route_of
from starter.configuration import load, named
from starter.embedded.temporal_server import find_test_server
from starter.exit_codes import OF_OUTCOMES, ExitCode
from starter.logs import configure
from starter.output import as_json, say
from starter.rehearsal import showing
from starter.rehearsal.everything import jobs_by_default, rehearse_all
from starter.rehearsal.people import Answer
from starter.rehearsal.running import Procedure, Wanted, rehearse, server, usual_script
from starter.rehearsal.words import clock
from starter.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What the operator said. Durations and traffic as they are written."""

    procedure: str | None
    everything: bool
    provider: str | None
    target: str | None
    route: str | None
    fault: str | None
    fault_at: str | None
    recovers_after: str | None
    fault_percent: float | None
    script: Path | None
    traffic: Sequence[str]
    answer: str
    limit: str
    jobs: int | None


def run_rehearse(settings: Settings, asked: Asked, config: Path | None, output: Path | None, *, json: bool) -> int:
    """Rehearse, show, write → exit code: of the outcome that is predicted, or NOT_PROVED where `--all` finds a fault."""
    loaded = load(named(settings, config))
    # What fails in a rehearsal is its result, not this process's trouble; and the answer alone is for stdout.
    configure("console", "error")
    logging.getLogger("temporalio").setLevel(logging.CRITICAL)
    showing.check_output(output)
    _check(asked, output)
    believed = replace(loaded, config=_with_traffic(loaded.config, asked.traffic))
    if asked.everything:
        return _everything(settings, believed, asked.jobs or jobs_by_default(), json=json)
    wanted = wanted_of(asked, believed.config)
    told = asyncio.run(_one(find_test_server(settings.cache_directory(), say), believed.config, wanted))
    if json:
        as_json("rehearsal", showing.as_data(told))
    else:
        showing.show(told)
    if output is not None:
        showing.write(told, output)
        say(f"Written: {output}")
    return _code(told)


def _code(told: Rehearsed) -> int:
    if told.outcome == "NOTHING":
        return ExitCode.DONE
    return OF_OUTCOMES.get(told.outcome, ExitCode.NOT_PROVED)


def _check(asked: Asked, output: Path | None) -> None:
    if asked.everything == (asked.procedure is not None):
        raise RequestError(f"Name a procedure ({', '.join(Procedure)}), or --all of them.")
    one_only = (asked.provider, asked.target, asked.route, asked.fault, asked.script, output)
    if asked.everything and any(value is not None for value in one_only):
        raise RequestError(
            "--all takes every route, provider and procedure: give it only --traffic, --jobs and --config."
        )
    if asked.script is not None and asked.fault is not None:
        raise RequestError("--fault and --script both say what goes wrong: give one of them.")
    if asked.fault is None and (asked.fault_at or asked.fault_percent):
        raise RequestError("--fault-at and --fault-percent say more of a --fault: name one.")


async def _one(test_server: Path, config: Config, wanted: Wanted) -> Rehearsed:
    async with server(test_server, config) as environment:
        work = asyncio.create_task(rehearse(environment, config, wanted))
        await _told_of(environment, work)
        return await work


async def _told_of(environment: WorkflowEnvironment, work: "asyncio.Task[Rehearsed]") -> None:
    """Every few seconds how far the virtual time has come."""
    began = await environment.get_current_time()
    while not (await asyncio.wait({work}, timeout=5))[0]:
        now = await environment.get_current_time()
        say(f"  {clock(now - began)} of virtual time …")


def _everything(settings: Settings, loaded: LoadedConfig, jobs: int, *, json: bool) -> int:
    test_server = find_test_server(settings.cache_directory(), say)
    told = asyncio.run(rehearse_all(test_server, loaded.config, jobs, say))
    if json:
        as_json("rehearsals", {"prediction": True, "passed": told.passed, **_plain(told)})
    else:
        showing.show_everything(told, loaded.source)
    return ExitCode.DONE if told.passed else ExitCode.NOT_PROVED


def _plain(told: object) -> Mapping[str, object]:
    from pydantic import TypeAdapter

    plain: Mapping[str, object] = TypeAdapter(type(told)).dump_python(told, mode="json")
    return plain


def wanted_of(asked: Asked, config: Config) -> Wanted:
    """The rehearsal that is meant; RequestError where it names what is not there."""
    assert asked.procedure is not None
    procedure = Procedure(asked.procedure)
    for option, name in (("--provider", asked.provider), ("--to", asked.target)):
        if name is not None and name not in config.providers:
            raise RequestError(f"{option}: {name!r} is no provider; they are {', '.join(config.providers)}.")
    wide = procedure in (Procedure.IMMEDIATE, Procedure.EMERGENCY)
    route = asked.route if wide and asked.route is None else route_of(config, asked.route)
    shares = config.routes[route or next(iter(config.routes))].distribution
    provider = asked.provider or max(shares, key=lambda name: shares[name])
    if asked.target == provider:
        raise RequestError(f"--to names {provider}, which is who the traffic leaves.")
    return Wanted(
        procedure=procedure,
        provider=provider,
        target=asked.target,
        route=route,
        script=_script(asked, config, procedure, provider),
        answer=Answer(asked.answer),
        limit=_duration("--limit", asked.limit),
    )


def _script(asked: Asked, config: Config, procedure: Procedure, provider: str) -> Script:
    if asked.script is not None:
        return read_script(asked.script, config)
    usual = usual_script(procedure, config, provider, _fault(asked, procedure, provider))
    if asked.fault is None and asked.recovers_after is not None:
        # Of a procedure's usual fault: who is to come back is down from the start.
        lasts = _duration("--recovers-after", asked.recovers_after)
        faults = usual.faults or (Fault(provider=provider, fault=FaultKind.UNAVAILABLE, at=timedelta(0)),)
        usual = Script(faults=[fault.model_copy(update={"lasts": lasts}) for fault in faults])
    return usual


def _fault(asked: Asked, procedure: Procedure, provider: str) -> Fault | None:
    if asked.fault is None:
        return None
    at = "0s" if procedure is Procedure.FAILBACK else "1m"
    kind = FaultKind(asked.fault)
    share = 50 if kind is FaultKind.THROTTLE else 100
    return Fault(
        provider=provider,
        fault=kind,
        at=_duration("--fault-at", asked.fault_at or at),
        lasts=_duration("--recovers-after", asked.recovers_after) if asked.recovers_after else None,
        percent=asked.fault_percent or share,
    )


def read_script(path: Path, config: Config) -> Script:
    """Read a script from a YAML file; ConfigError with file and line if it says what it may not."""
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"The script {path} cannot be read.") from error
    script, _ = checked(text, str(path), Script)
    unknown = sorted({fault.provider for fault in script.faults} - set(config.providers))
    unknown += sorted(set(script.traffic) - set(config.routes))
    if unknown:
        raise ConfigError(
            f"{path} names {', '.join(map(repr, unknown))}; the providers are {', '.join(config.providers)}, "
            f"the routes {', '.join(config.routes)}."
        )
    return script


def _with_traffic(config: Config, given: Sequence[str]) -> Config:
    """ "600" for every route, "chat=600" for one."""
    changes: dict[str, object] = {}
    routes = dict(config.rehearsal.route_requests_per_minute)
    for text in given:
        route, named_one, number = text.rpartition("=")
        if not number.isdigit() or int(number) == 0:
            raise RequestError(f"--traffic {text}: write requests a minute, such as 600, or of one route: chat=600.")
        if named_one and route not in config.routes:
            raise RequestError(f"--traffic: there is no route {route!r}; the routes are {', '.join(config.routes)}.")
        if named_one:
            routes[route] = int(number)
        else:
            changes["requests_per_minute"], routes = int(number), {}
    return config.model_copy(
        update={"rehearsal": config.rehearsal.model_copy(update={**changes, "route_requests_per_minute": routes})}
    )


def _duration(option: str, text: str) -> timedelta:
    try:
        found = parse_duration(text)
    except ValueError as error:
        raise RequestError(f"{option}: {error}.") from error
    return found
