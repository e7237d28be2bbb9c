"""`failoverctl analyze` and `failoverctl deploys`."""

import asyncio
import getpass
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from activities.analyzing import LOGS, Gatherer, Sources, places_of, recent
from activities.deploys import DeployLog
from activities.evidence import EvidenceStore
from activities.samples import SampleLog
from activities.statuses import StatusLog
from failover.analysis.case import Deploy
from failover.analysis.deploys import DeployNote
from failover.analysis.findings import Analysis
from failover.analysis.render import markdown, text
from failover.config import Config
from failover.config.analysis import Analysis as AnalysisSettings
from failover.errors import BadInput, RequestError
from failover.incident import RunRecord
from failover.kinds import EMERGENCY, FAILOVERS
from failover.senders import Webhooks
from providers.status_page import StatusPages
from starter.configuration import at_hand, load
from starter.logs import configure
from starter.output import as_json, say, table
from starter.parts import SAMPLES, evidence_store, secrets_of
from starter.recorded import run_ids
from starter.reporting import write
from starter.running import DEFAULT_HOME, Stack, find
from starter.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What is to be analysed, and how it is shown. `logs`: their directory; None: the state directory's."""

    run: str | None
    include_logs: bool
    logs: Path | None
    offline: bool
    output: Path | None
    config: Path | None
    state: Path | None
    json: bool


def run_analyze(settings: Settings, wanted: Wanted) -> int:
    configure("console", "warning")  # The answer alone is for stdout.
    stack = find(settings, wanted.state)
    home = stack.state or stack.home
    config = _config(settings, stack, wanted.config)
    store = evidence_store(config, home)
    record = _record(store, wanted.run)
    gatherer = Gatherer(_sources(settings, stack, store, home, config, wanted))
    analysis = asyncio.run(gatherer.analysis(record, ask=not wanted.offline))
    if config is None:
        say("failoverctl: no configuration is known, so regions and models are not shown; name it with --config.")
    if wanted.output:
        write(wanted.output, markdown(analysis))
        say(f"Analysis of {record.workflow_id} written to {wanted.output}.")
    if wanted.json:
        as_json("analysis", _machine(analysis))
    elif not wanted.output:
        print(text(analysis), end="")
    return 0


def _record(store: EvidenceStore, run: str | None) -> RunRecord:
    """The latest incident, or the latest record of the run that is named. BadInput where there is none."""
    records = recent(store)
    if not records:
        raise BadInput(f"There is no incident in {store.where} yet; name another directory with --state.")
    found = _meant(records, run)
    if not found and run is None:
        raise BadInput("No failover is on record; name another run with --run, as `failoverctl runs` shows them.")
    if not found:
        known = ", ".join(dict.fromkeys(record.workflow_id for record in records[:10]))
        raise RequestError(f"There is no record of a run {run!r}. On record are: {known}.")
    return max(found, key=lambda record: record.moments.closed or record.moments.decided)


def _meant(records: Sequence[RunRecord], run: str | None) -> list[RunRecord]:
    if run is None:
        return [one for one in records if one.procedure in (*FAILOVERS, EMERGENCY) and not one.is_drill]
    meant = run_ids(records, run)
    return [record for record in records if record.run_id in meant]


def _config(settings: Settings, stack: Stack, named: Path | None) -> Config | None:
    """The configuration as named, of the running stack, or of the environment; None if nobody knows one."""
    path = at_hand(settings, named or stack.config)
    return load(path).config if path else None


def _sources(
    settings: Settings, stack: Stack, store: EvidenceStore, home: Path, config: Config | None, wanted: Wanted
) -> Sources:
    own = config.analysis if config else AnalysisSettings()
    pages = StatusPages(own.status_timeout.total_seconds())
    return Sources(
        settings=own,
        evidence=store,
        samples=SampleLog(home / SAMPLES, 0),
        deploys=deploy_log(home, config),
        statuses=StatusLog(own, pages, home),
        places=places_of(config) if config else {},
        secrets=secrets_of(config, settings.environ, stack.api_token),
        logs=(wanted.logs or home / LOGS) if wanted.include_logs else None,
    )


def deploy_log(home: Path, config: Config | None) -> DeployLog:
    own, webhooks = (config.analysis, config.webhooks) if config else (AnalysisSettings(), Webhooks())
    return DeployLog(home, own.deploys_max_bytes, webhooks.replay_window)


def _machine(analysis: Analysis) -> dict[str, object]:
    """The analysis as data, with what is computed of it."""
    from pydantic import TypeAdapter

    told: dict[str, object] = TypeAdapter(Analysis).dump_python(analysis, mode="json")
    claims = [
        {**claim, "points": found.points, "strength": found.strength.value}
        for claim, found in zip(told["claims"], analysis.claims, strict=True)  # type: ignore[call-overload]
    ]
    return {"headline": analysis.headline, **told, "claims": claims}


# Deploys


def run_note(
    settings: Settings, service: str, version: str, *, at: str | None, by: str | None, state: Path | None, json: bool
) -> int:
    stack = find(settings, state)
    home = stack.state or state or settings.state or DEFAULT_HOME
    log = deploy_log(home, _config(settings, stack, None))
    note = _note(service, version, at, by or getpass.getuser())
    deploy, new = log.note(note, "failoverctl", datetime.now(UTC))
    if json:
        as_json("deploy", {"deploy": deploy, "new": new})
    else:
        say(f"{'Noted' if new else 'It was noted already'}: {deploy.told}, {deploy.at:%Y-%m-%d %H:%M:%S} UTC.")
    return 0


def _note(service: str, version: str, at: str | None, by: str) -> DeployNote:
    from pydantic import ValidationError

    try:
        return DeployNote.model_validate({"service": service, "version": version, "at": at, "by": by})
    except ValidationError as error:
        problems = "; ".join(f"{problem['loc'][0]}: {problem['msg']}" for problem in error.errors(include_url=False))
        raise RequestError(f"Nothing was noted: {problems}.") from error


def run_list(settings: Settings, *, state: Path | None, json: bool) -> int:
    configure("console", "warning")  # The answer alone is for stdout.
    stack = find(settings, state)
    home = stack.state or state or settings.state or DEFAULT_HOME
    deploys = deploy_log(home, None).read()
    if json:
        as_json("deploys", deploys)
    elif not deploys:
        print(f"No deploy was noted in {home}.")
    else:
        table("Deploys", ("at (UTC)", "service", "version", "by", "told by"), map(_row, deploys))
    return 0


def _row(deploy: Deploy) -> tuple[str, ...]:
    return (f"{deploy.at:%Y-%m-%d %H:%M:%S}", deploy.service, deploy.version, deploy.by, deploy.noted_by)
