"""A rehearsal on a terminal, in JSON, and in files."""

from collections.abc import Mapping
from pathlib import Path
from textwrap import fill
from typing import Any

from failover.distribution import render
from failover.errors import RequestError
from failover.incident import TimelineEntry
from failover.rehearsal import Asked, ConfigFinding, Everything, Rehearsed, Row
from failover.units import milliseconds
from starter.output import PIPED_WIDTH, alarm, console, table
from starter.rehearsal import page, picture
from starter.rehearsal.words import PREDICTION, clock, headline, unanswered

ROUTINE = ("pass: ", "good: ")
"""What the timeline on a terminal leaves out; pages and JSON have all of it."""

PICTURES = 5
"""Routes whose policy is drawn on a terminal."""


def show(told: Rehearsed) -> None:
    """All of it, to be read within a hundred columns."""
    print(f"Rehearsal: {told.procedure} of {told.subject}")
    for said in (PREDICTION, *told.assumed, *told.notes):
        print(fill(said, PIPED_WIDTH))
    print()
    for route in told.routes()[:PICTURES]:
        print(f"Policy of {route}")
        for line in picture.policy_over_time(told, route):
            console().print(line, soft_wrap=True)
    print()
    _say_end(told)
    _kpis(told)
    _users(told)
    _asked(told)
    _timeline(told)
    for said in told.follows:
        print(fill(said, PIPED_WIDTH))


def _say_end(told: Rehearsed) -> None:
    text = fill(headline(told), PIPED_WIDTH)
    if told.good:
        print(text)
    else:
        alarm(text)
    print(f"{clock(told.took)} of virtual time took {told.wall_seconds:.1f} s here.\n")


def _kpis(told: Rehearsed) -> None:
    met = {True: "met", False: "MISSED", None: "unknown"}
    if rows := [(kpi.name, kpi.render(), kpi.render_target(), met[kpi.met]) for kpi in told.kpis()]:
        table("Predicted indicators", ("indicator", "predicted", "target", ""), rows)


def _users(told: Rehearsed) -> None:
    rows = [
        (
            one.route,
            one.requests,
            one.lost,
            f"{milliseconds(one.latency_p95)} ms" if one.latency_p95 is not None else "",
        )
        for one in told.users
    ]
    table("Users, from the beginning to the end", ("route", "requests", "lost", "P95"), rows)


def _asked(told: Rehearsed) -> None:
    if not told.asked:
        print("Nobody would be asked anything.\n")
        return
    table(
        "What people would be asked",
        ("at", "what", "who may answer", "without an answer", "here"),
        [(clock(one.at - told.began), one.text, _who(one), unanswered(one), _answered(one)) for one in told.asked],
    )


def _who(asked: Asked) -> str:
    quorum = f"{asked.quorum} of " if asked.quorum > 1 else ""
    return quorum + (", ".join(asked.who) or "anybody at the command line")


def _answered(asked: Asked) -> str:
    told = f", told again {asked.reminders} ×" if asked.reminders else ""
    return (asked.answer or "nobody") + told


def _timeline(told: Rehearsed) -> None:
    kept = [entry for entry in told.timeline if not _routine(entry)]
    left = len(told.timeline) - len(kept)
    title = "Timeline" + (f" ({left} samples of gates that passed are left out)" if left else "")
    table(title, ("at", "step", ""), [(clock(entry.at - told.began), entry.step, entry.text) for entry in kept])


def _routine(entry: TimelineEntry) -> bool:
    return entry.text.startswith(ROUTINE)


def show_everything(told: Everything, source: str) -> None:
    """A line each, then what is wrong and what to do."""
    for said in (f"Every rehearsal of {source}.", PREDICTION, told.assumed):
        print(fill(said, PIPED_WIDTH, break_long_words=False, break_on_hyphens=False))
    rows = [(row.what, row.route, row.provider, _mark(row), _time(row), row.how) for row in told.rows]
    table("", ("rehearsed", "route", "provider", "", "time", "how it would end"), rows, whole=3)
    grave = [one for one in told.findings if one.grave]
    for finding in told.findings:
        _say(finding)
    if grave:
        alarm(f"{len(grave)} of these must be put right: not every route could be saved, or not every plan be made.")
    else:
        print("Every route could be saved, and every procedure be carried out.")
    print(f"{len(told.rows)} lines took {told.wall_seconds:.1f} s here.")


def _say(finding: ConfigFinding) -> None:
    print(fill(f"{finding.about}: {finding.problem.rstrip('.')}.", PIPED_WIDTH))
    print(fill(f"→ {finding.remedy}.", PIPED_WIDTH, initial_indent="  ", subsequent_indent="    "))


def _mark(row: Row) -> str:
    return "ok" if row.good else "NOT SAVED" if row.what == "lost provider" else "FAILS"


def _time(row: Row) -> str:
    return f"{row.seconds:.0f} s" if row.seconds < 120 else f"{row.seconds / 60:.0f} min"


def as_data(told: Rehearsed) -> Mapping[str, Any]:
    """The rehearsal as data for machines: what it is, with its verdict as plain values beside it."""
    return {
        "prediction": True,
        "procedure": told.procedure,
        "subject": told.subject,
        "outcome": told.outcome,
        "reason": told.reason,
        "virtual_seconds": round(told.took.total_seconds(), 1),
        "wall_seconds": round(told.wall_seconds, 1),
        "script": told.script.model_dump(mode="json"),
        "detected": told.detected,
        "kpis": [{"name": one.name, "value": one.value, "target": one.target, "unit": one.unit} for one in told.kpis()],
        "policies": [
            {
                "at": clock(one.at - told.began),
                "route": one.route,
                "shares": render(one.distribution),
                "mode": one.mode.value,
                "by": one.by,
            }
            for one in told.policies
        ],
        "users": list(told.users),
        "asked": list(told.asked),
        "follows": list(told.follows),
        "notes": list(told.notes),
        "assumed": list(told.assumed),
        "messages": told.messages,
        "timeline": list(told.timeline),
    }


def check_output(output: Path | None) -> None:
    """Raise RequestError, before anything is rehearsed, if the file's name does not say what it is to be."""
    if output is not None and output.suffix not in (".html", ".svg"):
        raise RequestError(
            f"--output {output}: name a file that ends with .html (the whole rehearsal) or .svg (the plot)."
        )


def write(told: Rehearsed, output: Path) -> None:
    text = page.page(told) if output.suffix == ".html" else page.svg(told, told.routes()[0])
    try:
        output.write_text(text)
    except OSError as error:
        raise RequestError(f"{output} could not be written: {error.strerror}.") from error
