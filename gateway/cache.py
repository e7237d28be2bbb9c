"""Answers that are remembered for the case that nobody can give new ones."""

import hashlib
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from cachetools import LRUCache

from failover.completion import Answer, Completion, FinishReason

_OVERHEAD = 1_000
"""Bytes of one entry beside its text, measured and rounded up: objects, key, and the place in two dictionaries."""


@dataclass(frozen=True, slots=True)
class Remembered:
    """An answer, when it was given and by whom."""

    answer: Answer
    provider: str
    at: datetime

    def age(self, now: datetime) -> timedelta:
        return max(now - self.at, timedelta(0))


class AnswerCache:
    """A cache bounded in bytes; the least recently used goes first. Keys are digests: no prompt, no user's name is kept."""

    def __init__(self, max_bytes: int) -> None:
        self.is_on = max_bytes > 0
        self._entries: LRUCache[bytes, Remembered] = LRUCache(max_bytes, getsizeof=_size)

    def remember(self, key: bytes, remembered: Remembered) -> None:
        """Remember an answer if it is good and complete; one that alone would not fit is forgotten."""
        fits = _size(remembered) <= self._entries.maxsize
        if self.is_on and fits and remembered.answer.finish is FinishReason.STOP and remembered.answer.text:
            self._entries[key] = remembered

    def recall(self, key: bytes) -> Remembered | None:
        return self._entries.get(key)

    @property
    def bytes(self) -> int:
        return int(self._entries.currsize)

    def __len__(self) -> int:
        return len(self._entries)


def _size(remembered: Remembered) -> int:
    return sys.getsizeof(remembered.answer.text) + _OVERHEAD


_CANONICAL = json.JSONEncoder(sort_keys=True, ensure_ascii=False)


def key_of(route: str, completion: Completion, others: Mapping[str, Any]) -> bytes:
    """A digest of the route, of all that is carried to a provider, and of `others`: what else tells requests apart.

    Equal only for requests that ask the same thing in the same user's name; nothing can be read back from it.
    """
    asked = [
        route,
        [[message.role, message.text] for message in completion.messages],
        completion.max_tokens,
        completion.temperature,
        completion.top_p,
        list(completion.stop),
        others,
    ]
    return hashlib.sha256(_CANONICAL.encode(asked).encode("utf-8", "surrogatepass")).digest()
