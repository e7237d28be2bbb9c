"""`failoverctl report`: the latest incident, in Markdown or as its indicators."""

from pathlib import Path

from pydantic import TypeAdapter

from activities.evidence import EvidenceStore
from failover.communications import CommunicationsState
from failover.errors import BadInput
from failover.incident import RunRecord
from failover.kpis import Kpi, measure
from failover.report import markdown
from starter.output import as_json, say
from starter.parts import EVIDENCE
from starter.running import find
from starter.settings import Settings

_RECORD = TypeAdapter(RunRecord)
_COMMUNICATIONS = TypeAdapter(CommunicationsState | None)


def run_report(settings: Settings, *, output: Path | None, state: Path | None, json: bool) -> int:
    stack = find(settings, state)
    # A stack that has ended leaves its incidents behind; they can still be read.
    home = stack.state or stack.home
    store = EvidenceStore(home / EVIDENCE)
    record = store.latest()
    if record is None:
        raise BadInput(f"There is no incident under {home / EVIDENCE} yet; name another directory with --state.")
    communications = store.communications(store.folder_of(record))
    text = markdown(record, communications)
    if output:
        write(output, text)
        say(f"Report of {record.workflow_id} written to {output}.")
    if json:
        as_json(
            "report",
            {
                "record": _RECORD.dump_python(record, mode="json"),
                "kpis": [as_row(kpi) for kpi in measure(record)],
                "communications": _COMMUNICATIONS.dump_python(communications, mode="json"),
            },
        )
    elif not output:
        print(text, end="")
    return 0


def write(output: Path, text: str) -> None:
    """BadInput where the file cannot be written."""
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_text(text)
    except OSError as error:
        raise BadInput(f"{output} cannot be written: {error.strerror or error}.") from error


def as_row(kpi: Kpi) -> dict[str, object]:
    return {"name": kpi.name, "value": kpi.value, "target": kpi.target, "unit": kpi.unit, "met": kpi.met}
