"""What commands print: tables for people (colour on terminals only), JSON for machines, progress on stderr."""

import dataclasses
import json
import os
import sys
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

PIPED_WIDTH = 100
"""Columns where nobody tells how many there are."""

SHAPE = 1
"""Version of everything that `--json` prints. Fields are only added to it; what else changes makes it another."""


def console(*, stderr: bool = False) -> "Console":
    """A console that respects NO_COLOR and pipes; piped output is as wide as promised, whatever COLUMNS says."""
    from rich.console import Console

    class Plain(Console):
        def on_broken_pipe(self) -> None:
            """Raise, as print() does: rich would end the process itself, with a code that says failed."""
            raise BrokenPipeError

    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() else PIPED_WIDTH
    return Plain(file=stream, width=width, highlight=False, soft_wrap=False)


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]], *, whole: int = 1) -> None:
    """A plain table on stdout, its first `whole` columns never folded; cells are text, never markup."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    grid = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
    for number, column in enumerate(columns):
        grid.add_column(column, overflow="fold", no_wrap=number < whole)
    for row in rows:
        grid.add_row(*(Text("" if cell is None else str(cell)) for cell in row))
    console().print(grid)


def sentence(text: str) -> None:
    """A line of the answer below a table, wrapped between words; cell by cell it would be a tower of syllables."""
    from rich.padding import Padding
    from rich.text import Text

    console().print(Padding(Text(text), (0, 0, 0, 1)))


def as_json(kind: str, value: Any) -> None:
    """The answer for machines, in the envelope that every verb shares."""
    print(json.dumps(enveloped(kind, value), default=plain, indent=2))


def as_json_line(kind: str, value: Any) -> None:
    """The same on one line, for answers that come one after another."""
    print(json.dumps(enveloped(kind, value), default=plain), flush=True)


def enveloped(kind: str, value: Any) -> dict[str, Any]:
    return {"version": SHAPE, "kind": kind, "data": value}


def plain(value: Any) -> Any:
    """Values as they cross every other boundary: shares in percents, moments in ISO 8601, durations as ISO 8601 too."""
    if dataclasses.is_dataclass(value):
        from pydantic import TypeAdapter

        return TypeAdapter(type(value)).dump_python(value, mode="json")
    return value.isoformat() if isinstance(value, datetime) else str(value)


def alarm(text: str) -> None:
    """A line of the answer that must not be overlooked: red on a terminal."""
    from rich.text import Text

    console().print(Text(text, style="bold red"))


def say(text: str) -> None:
    """Print progress and remarks, apart from the answer."""
    print(text, file=sys.stderr, flush=True)


def interactive() -> bool:
    """Whether a person sits at both ends."""
    return sys.stdin.isatty() and sys.stdout.isatty() and os.environ.get("TERM") != "dumb"


def confirm(question: str, *, yes: bool) -> None:
    """Ask a person, once, naming what will happen; typer.Abort where the answer is no. No terminal, no question."""
    if yes or not interactive():
        return
    import typer

    typer.confirm(question, abort=True)
