"""What a report says, before it is Markdown or HTML: both are made of the same blocks, so that neither says less."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any


class Tone(StrEnum):
    """How a reader is to take it. Said in words too: colour alone tells nothing."""

    GOOD = "good"
    BAD = "bad"
    PLAIN = "plain"


@dataclass(frozen=True, slots=True)
class Strong:
    text: str


@dataclass(frozen=True, slots=True)
class Mono:
    text: str


Piece = str | Strong | Mono


@dataclass(frozen=True, slots=True)
class Paragraph:
    pieces: Sequence[Piece]
    tone: Tone = Tone.PLAIN


@dataclass(frozen=True, slots=True)
class Bullets:
    items: Sequence[Sequence[Piece]]


@dataclass(frozen=True, slots=True)
class Command:
    """What a person runs."""

    text: str


@dataclass(frozen=True, slots=True)
class Drawing:
    """Lines of text that only mean something in one width of letters."""

    text: str


@dataclass(frozen=True, slots=True)
class Table:
    """Cells are text. `tones`: of rows, by number, shown in the column `verdict`."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    tones: Mapping[int, Tone] = field(default_factory=dict)
    verdict: int = -1


@dataclass(frozen=True, slots=True)
class Mark:
    """A moment that is marked in a plot."""

    at: datetime
    name: str


@dataclass(frozen=True, slots=True)
class Line:
    """Values over time; None: not known, and the line is broken there. `colour` 1 to 6; None: by its place."""

    name: str
    points: Sequence[tuple[datetime, float | None]]
    colour: int | None = None


@dataclass(frozen=True, slots=True)
class Plot:
    """A plot, drawn in HTML only: Markdown has the same figures in its tables.

    `stacked`: shares that sum to 100, each kept until the next point. `limit`: what the values should stay below.
    `spelled`: whether it tells what the marks mean. `span`: of the axis of time; None: as the lines and marks have it.
    """

    title: str
    unit: str
    lines: Sequence[Line]
    marks: Sequence[Mark] = ()
    stacked: bool = False
    limit: float | None = None
    spelled: bool = True
    span: tuple[datetime, datetime] | None = None


Block = Paragraph | Bullets | Command | Drawing | Table | Plot


@dataclass(frozen=True, slots=True)
class Section:
    """`title` "": what stands first, under the title of the whole. `folded`: for those who want to know more."""

    title: str
    blocks: Sequence[Block]
    folded: bool = False


@dataclass(frozen=True, slots=True)
class Report:
    """A report: for people as sections, for machines as figures (JSON as it stands)."""

    title: str
    sections: Sequence[Section]
    figures: Mapping[str, Any]
    file_name: str
    """The file's name without its ending."""


def text(words: str) -> Paragraph:
    return Paragraph([words])
