"""A report in Markdown."""

from collections.abc import Iterable, Sequence

from failover.reports.document import (
    Block,
    Bullets,
    Command,
    Drawing,
    Mono,
    Paragraph,
    Piece,
    Plot,
    Report,
    Section,
    Strong,
    Table,
)


def markdown(report: Report) -> str:
    """All of it but the plots."""
    told = [f"# {_flat(report.title)}", *filter(None, map(_section, report.sections))]
    return "\n\n".join(told) + "\n"


def _section(section: Section) -> str:
    blocks = [said for block in section.blocks if (said := _block(block))]
    if not blocks:
        return ""
    return "\n\n".join([f"## {section.title}", *blocks] if section.title else blocks)


def _block(block: Block) -> str:
    match block:
        case Paragraph():
            return _line(block.pieces)
        case Bullets():
            return "\n".join(f"- {_line(item)}" for item in block.items)
        case Command():
            return f"```bash\n{block.text}\n```"
        case Drawing():
            return f"```text\n{block.text}\n```"
        case Table():
            return _table(block.head, block.rows)
        case Plot():
            return ""


def _line(pieces: Sequence[Piece]) -> str:
    return "".join(map(_piece, pieces))


def _piece(piece: Piece) -> str:
    match piece:
        case Strong():
            return f"**{_flat(piece.text)}**"
        case Mono():
            return f"`{_flat(piece.text)}`"
    return _flat(piece)


def _flat(words: str) -> str:
    """Put words on one line: nobody's words may look like a heading of ours."""
    return words.replace("\r", " ").replace("\n", " ")


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(_flat(cell).replace("|", "\\|") for cell in cells) + " |"

    return "\n".join([line(head), "|" + " --- |" * len(head), *map(line, rows)])
