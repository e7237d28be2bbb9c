"""`failoverctl dashboard create`: the dashboard and its alert rules, as files and in a Grafana."""

import json as jsonlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from failover.errors import BadInput, RequestError
from failover.units import parse_duration
from starter.dashboards.grafana import Pushed, push
from starter.dashboards.panels import SECTIONS, dashboard, uid
from starter.dashboards.rules import chosen, known_alerts
from starter.exit_codes import ExitCode
from starter.output import as_json
from starter.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What was asked for; None: all of them, or the usual one. `token_env` names the variable of Grafana's token."""

    name: str
    metrics: str | None
    alerts: str | None
    output: Path | None
    outage: str
    grafana: str | None
    token_env: str
    folder: str | None


def run_create(settings: Settings, wanted: Wanted, *, json: bool) -> int:
    """Create a dashboard; nothing is written before everything that was asked for is known to be meant."""
    if not uid(wanted.name):
        raise RequestError(f"--name {wanted.name!r} has no letter and no digit; a dashboard's address is made of it.")
    metrics = _known("--metrics", wanted.metrics, list(SECTIONS))
    alerts = _known("--alerts", wanted.alerts, known_alerts())
    try:
        outage = parse_duration(wanted.outage)
    except ValueError as error:
        raise RequestError(f"--extended-outage: {error}.") from error
    token = settings.environ.get(wanted.token_env, "") if wanted.grafana else ""
    if wanted.grafana and not token:
        raise RequestError(f"--grafana needs a service account's token in {wanted.token_env}, which is not set.")

    made = dashboard(wanted.name, metrics, alerts)
    file = wanted.output or Path(f"{uid(wanted.name)}.json")
    rules = file.with_suffix(".rules.yaml")
    _write(file, jsonlib.dumps(made, indent=2) + "\n")
    _write(rules, chosen(alerts, outage))
    pushed = push(wanted.grafana, token, wanted.token_env, made, wanted.folder) if wanted.grafana else None
    if json:
        told = {"dashboard": file, "rules": rules, "uid": made["uid"], "metrics": metrics, "alerts": alerts}
        as_json("dashboard", told | {"grafana": pushed})
    else:
        _tell(file, rules, metrics, alerts, pushed)
    return ExitCode.DONE


def _known(option: str, asked: str | None, known: Sequence[str]) -> list[str]:
    """The names asked for, once each; all of them where none was."""
    if asked is None:
        return list(known)
    names = [name.strip() for name in asked.split(",") if name.strip()]
    unknown = [name for name in names if name not in known]
    if unknown or not names:
        what = f"does not know {', '.join(map(repr, unknown))}" if unknown else "names none"
        raise RequestError(f"{option} {what}; known are {', '.join(known)}. Nothing was written.")
    return list(dict.fromkeys(names))


def _write(file: Path, text: str) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    except OSError as error:
        raise BadInput(f"{file} cannot be written: {error.strerror or error}.") from error


def _tell(file: Path, rules: Path, metrics: Sequence[str], alerts: Sequence[str], pushed: Pushed | None) -> None:
    print(f"Dashboard: {file} ({', '.join(metrics)})")
    print(f"Alerts:    {rules} ({', '.join(alerts)})")
    if pushed is not None:
        print(f"Grafana:   {pushed.url} ({'made' if pushed.created else f'updated, version {pushed.version}'})")
    else:
        print("Import the dashboard in Grafana, or push it with --grafana URL.")
    print("Name the rules in Prometheus's rule_files, and reload it.")
