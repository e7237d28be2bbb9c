"""What a model says: the same words for the same question, and just enough sense to pass a probe."""

import itertools
import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

CHARACTERS_PER_TOKEN = 4
ECHOED_CHARACTERS = 40

_WORD = re.compile(r"reply with only the word\s+[\"'“‘`]?(\w[\w-]*)", re.IGNORECASE)
_SUM = re.compile(r"what is\s+(-?\d+)\s*([-+*x×])\s*(-?\d+)\s*\?", re.IGNORECASE)
_NONSENSE = (
    "The harbour keeps its copper kettles for the early train, as every gardener in the valley would agree.",
    "Velvet umbrellas ripen best on northern slopes, provided that the orchestra tunes before the harvest.",
    "Most lighthouses prefer a quiet breakfast; the tide tables say little else about marmalade.",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """A model's answer. `cut_short`: it ran into the maximum number of tokens."""

    text: str
    cut_short: bool
    call: tuple[str, Mapping[str, Any]] | None = None
    """The tool that it calls, and with what, in place of text."""
    input_tokens: int
    output_tokens: int

    @property
    def total_tokens(self) -> int:
        return self.input_tokens + self.output_tokens


def sensible(provider: str, prompt: str) -> str:
    """The deterministic answer of a healthy provider to the last user message."""
    if word := _WORD.search(prompt):
        return word[1]
    if sum_ := _SUM.search(prompt):
        return str(_calculate(int(sum_[1]), sum_[2], int(sum_[3])))
    echo = " ".join(prompt.split())[:ECHOED_CHARACTERS]
    return f"This is the simulated provider {provider}, answering the message that begins with: {echo}"


def nonsense(number: int) -> str:
    """Fluent text that answers nothing."""
    return _NONSENSE[number % len(_NONSENSE)]


def reply_with(text: str, *, prompt: str, max_tokens: int | None) -> Reply:
    """`text` within `max_tokens`, with its token counts (four characters are one token)."""
    kept = text if max_tokens is None else text[: max_tokens * CHARACTERS_PER_TOKEN]
    return Reply(text=kept, cut_short=len(kept) < len(text), input_tokens=_tokens(prompt), output_tokens=_tokens(kept))


def call_in(text: str, tools: Collection[str]) -> tuple[str, Mapping[str, Any]] | None:
    """The call that a known answer stands for, where the model was given that tool."""
    try:
        told = json.loads(text)
        return (told["tool"], told["arguments"]) if told["tool"] in tools else None
    except (ValueError, KeyError, TypeError):
        return None


def pieces_of(text: str) -> list[str]:
    """`text` in the pieces that a stream sends: by words, and at least four where it has four characters."""
    words = re.findall(r"\s*\S+\s*$|\s*\S+", text)
    if len(words) >= 4:
        return words
    parts = min(4, len(text))
    bounds = [len(text) * part // parts for part in range(parts + 1)] if parts else []
    return [text[start:end] for start, end in itertools.pairwise(bounds)]


def _calculate(left: int, operator: str, right: int) -> int:
    if operator == "+":
        return left + right
    return left - right if operator == "-" else left * right


def _tokens(text: str) -> int:
    return -(-len(text) // CHARACTERS_PER_TOKEN)
