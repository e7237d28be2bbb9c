"""An analysis for people: as Markdown, and as text of a terminal's width."""

import textwrap
from collections.abc import Iterator, Sequence
from datetime import datetime

from failover.analysis.case import PolicyChange, ProviderStatus, clock, seconds
from failover.analysis.findings import Analysis, Claim, FailureRow
from failover.distribution import percent, render

WIDTH = 100
"""Columns of a terminal."""

SHOWN_CHANGES = 10

Part = tuple[str, Sequence[str]]
"""A heading and its lines; two spaces before a line put it under the one above."""


def file_name(analysis: Analysis) -> str:
    """ "failover-analysis-20260131-120000.md", of the moment of the first bad sample or the decision."""
    at = analysis.first_bad.at if analysis.first_bad else analysis.span.onset
    return f"failover-analysis-{at:%Y%m%d-%H%M%S}.md"


def text(analysis: Analysis, width: int = WIDTH) -> str:
    """Render an analysis as plain text, with no line longer than `width`."""
    lines = [*_wrapped(_title(analysis), width), *_wrapped(_answer(analysis), width)]
    for heading, told in _parts(analysis):
        lines += ["", heading]
        for line in told:
            indent = " " * (2 + len(line) - len(line.lstrip()))
            lines += _wrapped(line.lstrip(), width, indent)
    return "\n".join(lines) + "\n"


def _wrapped(line: str, width: int, indent: str = "") -> list[str]:
    return textwrap.wrap(
        line, width, initial_indent=indent, subsequent_indent=f"{indent}  ", break_on_hyphens=False
    ) or [""]


def markdown(analysis: Analysis) -> str:
    """Render an analysis as Markdown for a report; what others wrote is shown as text, never as markup."""
    sections = [f"# {_escaped(_title(analysis))}", f"**{_escaped(_answer(analysis))}**"]
    for heading, told in _parts(analysis):
        if heading.startswith("Log lines"):
            body = "\n".join(["```text", *(line.replace("```", "'''") for line in told), "```"])
        else:
            body = "\n".join(_item(line) for line in told)
        sections.append(f"## {heading}\n\n{body}")
    return "\n\n".join(sections) + "\n"


def _item(line: str) -> str:
    depth = len(line) - len(line.lstrip())
    return f"{' ' * depth}- {_escaped(line.lstrip())}"


def _escaped(line: str) -> str:
    for mark in ("\\", "`", "*", "_", "<", "[", "]", "|"):
        line = line.replace(mark, f"\\{mark}")
    return line


def _title(analysis: Analysis) -> str:
    span = f"{analysis.span.onset:%Y-%m-%d %H:%M:%S} to {analysis.span.until:%H:%M:%S} UTC"
    return f"Root cause of {analysis.workflow_id} ({analysis.procedure}, {analysis.outcome}), {span}"


def _answer(analysis: Analysis) -> str:
    first = analysis.claims[0] if analysis.claims else None
    how = f" Evidence: {first.strength.value}, {first.points} of 100." if first else ""
    return f"{analysis.headline}{how}"


def _parts(analysis: Analysis) -> Iterator[Part]:
    yield "First bad sample", [_first_bad(analysis)]
    yield "What the evidence says, strongest first", list(_claims(analysis.claims))
    yield "Failures by provider, region and model", [_row(row) for row in analysis.failures] or ["none was sampled"]
    yield "What changed before it", list(_changes(analysis))
    if analysis.excluded:
        yield "What it was not", [f"not {one.what}: {one.why}" for one in analysis.excluded]
    if analysis.unknown:
        yield "Not known", list(analysis.unknown)
    if analysis.doubts:
        yield "Doubts", list(analysis.doubts)
    if analysis.statuses:
        yield "What the providers said of themselves", list(_statuses(analysis))
    if analysis.lines:
        more = f" ({analysis.more_lines} more were left out)" if analysis.more_lines else ""
        lines = [f"{_milli(line.at)} {line.source} {line.level}: {line.text}" for line in analysis.lines]
        yield f"Log lines of that time{more}", lines


def _first_bad(analysis: Analysis) -> str:
    bad = analysis.first_bad
    if bad is None:
        return "none is on record"
    return f"{_milli(bad.at)} UTC: {bad.text or 'by the record of the run; what it was is not kept'}"


def _milli(at: datetime) -> str:
    return f"{at:%H:%M:%S}.{at.microsecond // 1000:03}"


def _claims(claims: Sequence[Claim]) -> Iterator[str]:
    if not claims:
        yield "nothing that was recorded speaks for any cause"
    for number, claim in enumerate(claims, start=1):
        yield f"{number}. {claim.text} ({claim.cause.value}: {claim.strength.value}, {claim.points})"
        for sign in claim.signs:
            yield f"   {sign.points:+d} {sign.text}"


def _row(row: FailureRow) -> str:
    where = ", ".join(part for part in (row.region or "region not configured", row.model) if part)
    codes = f" ({', '.join(row.codes)})" if row.codes else ""
    counts = [f"{row.probes} of {row.of_probes} probes"] if row.of_probes else []
    counts += [f"{row.tries} of {row.of_tries} counted tries"] if row.of_tries else []
    when = f"; {clock(row.first)} to {clock(row.last)}" if row.first and row.last else ""
    return f"{row.provider} ({where}): {row.kind}{codes}: {', '.join(counts)}{when}"


def _changes(analysis: Analysis) -> Iterator[str]:
    for change in analysis.changes[-SHOWN_CHANGES:]:
        yield _change(change)
    for deploy in analysis.deploys[:SHOWN_CHANGES]:
        told = f", told by {deploy.noted_by}" if deploy.noted_by else ""
        yield f"{clock(deploy.at)} deploy of {deploy.told}{told}"
    if not analysis.changes and not analysis.deploys:
        yield "nothing that was recorded; see what it was not, and what is not known"


def _change(change: PolicyChange) -> str:
    whole = sum(change.after.values()) == 10_000
    shares = (
        f"{render(change.before)} → {render(change.after)}"
        if whole
        else ", ".join(
            f"{name} {percent(change.before.get(name, 0))} → {percent(share)} %" for name, share in change.after.items()
        )
    )
    who = f"by {change.by}" if change.by else "by whom was not recorded"
    seen = f", seen within {seconds(change.within)}" if change.within else ""
    why = f": {change.reason}" if change.reason else ""
    return f"{clock(change.at)} policy of {change.route}: {shares}, {who}{seen}{why}"


def _statuses(analysis: Analysis) -> Iterator[str]:
    for status in analysis.statuses:
        yield f"{status.provider}, asked at {status.asked_at:%H:%M:%S} ({_when(status, analysis)}): {_word(status)}"
        for trouble in status.troubles:
            since = f" since {trouble.since:%Y-%m-%d %H:%M}" if trouble.since else ""
            until = f" until {trouble.until:%Y-%m-%d %H:%M}" if trouble.until else ", not over then"
            yield f"  {trouble.name} ({trouble.impact or 'impact not told'}){since}{until}"


def _when(status: ProviderStatus, analysis: Analysis) -> str:
    """Say whether a status was kept at the time of the incident or asked afterwards."""
    return "kept at the time" if status.asked_at <= analysis.span.until else "asked afterwards"


def _word(status: ProviderStatus) -> str:
    return status.why_not or status.said or f"{len(status.troubles)} troubles listed"
