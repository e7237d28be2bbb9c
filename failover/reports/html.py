"""A report as one HTML file that needs nothing else: no script, no font, no address is fetched."""

from collections.abc import Sequence
from dataclasses import replace
from html import escape

from failover.reports.charts import colour, numbered, svg
from failover.reports.document import (
    Block,
    Bullets,
    Command,
    Drawing,
    Mark,
    Mono,
    Paragraph,
    Piece,
    Plot,
    Report,
    Section,
    Strong,
    Table,
    Tone,
)
from failover.reports.style import STYLE


def html(report: Report) -> str:
    sections = "\n".join(filter(None, map(_section, report.sections)))
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{escape(report.title)}</title>
<style>{STYLE}</style>
</head>
<body>
<main>
<h1>{escape(report.title)}</h1>
{sections}
</main>
</body>
</html>
"""


def _section(section: Section) -> str:
    blocks = "\n".join(filter(None, map(_block, _told_once(section.blocks))))
    if not blocks:
        return ""
    if section.folded:
        return f"<details><summary>{escape(section.title)}</summary>\n{blocks}\n</details>"
    title = f"<h2>{escape(section.title)}</h2>\n" if section.title else ""
    return f"<section>\n{title}{blocks}\n</section>"


def _told_once(blocks: Sequence[Block]) -> list[Block]:
    """Spell moments that several plots mark out under the first plot only."""
    told: list[Block] = []
    known: Sequence[Mark] = ()
    for block in blocks:
        if isinstance(block, Plot):
            same = list(block.marks) == list(known)
            known = block.marks
            block = replace(block, spelled=not same)
        told.append(block)
    return told


def _block(block: Block) -> str:
    match block:
        case Paragraph():
            return f'<p class="{block.tone.value}">{_line(block.pieces)}</p>'
        case Bullets():
            return f"<ul>\n{''.join(f'<li>{_line(item)}</li>' for item in block.items)}\n</ul>"
        case Command() | Drawing():
            return f"<pre><code>{escape(block.text)}</code></pre>"
        case Table():
            return _table(block)
        case Plot():
            return _plot(block)


def _line(pieces: Sequence[Piece]) -> str:
    return "".join(map(_piece, pieces))


def _piece(piece: Piece) -> str:
    match piece:
        case Strong():
            return f"<strong>{escape(piece.text)}</strong>"
        case Mono():
            return f"<code>{escape(piece.text)}</code>"
    return escape(piece)


def _table(table: Table) -> str:
    head = "".join(f"<th>{escape(cell)}</th>" for cell in table.head)
    rows = "\n".join(_row(table, number) for number in range(len(table.rows)))
    # On a narrow screen a table scrolls by itself, never the page; by keyboard too.
    return f'<div class="wide" tabindex="0"><table><thead><tr>{head}</tr></thead>\n<tbody>{rows}</tbody></table></div>'


def _row(table: Table, number: int) -> str:
    cells, tone = table.rows[number], table.tones.get(number, Tone.PLAIN)
    verdict = table.verdict % len(cells)
    told = (_cell(cell, tone if place == verdict else Tone.PLAIN) for place, cell in enumerate(cells))
    return f"<tr>{''.join(told)}</tr>"


def _cell(cell: str, tone: Tone) -> str:
    kinds = [*(["long"] if len(cell) > 28 else []), *([tone.value] if tone is not Tone.PLAIN else [])]
    return f'<td class="{" ".join(kinds)}">{escape(cell)}</td>' if kinds else f"<td>{escape(cell)}</td>"


def _plot(plot: Plot) -> str:
    drawn = svg(plot)
    if not drawn:
        return ""
    keys = "".join(
        f'<li><span class="key {colour(line, number)}"></span>{escape(line.name)}</li>'
        for number, line in enumerate(plot.lines)
    )
    names: dict[int, list[str]] = {}
    for number, mark in numbered(plot.marks) if plot.spelled else []:
        names.setdefault(number, []).append(f"{mark.name} {mark.at:%H:%M:%S}")
    marks = "".join(f"<li><b>{number}</b> {escape(', '.join(said))}</li>" for number, said in names.items())
    return (
        f"<figure><figcaption>{escape(plot.title)} <small>({escape(plot.unit)})</small></figcaption>\n{drawn}\n"
        f'<ul class="keys">{keys}</ul>' + (f'<ol class="marks">{marks}</ol>' if marks else "") + "</figure>"
    )
