"""Append-only files of one JSON line an entry, bounded, written by several processes at once."""

import fcntl
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Generic, TypeVar

from pydantic import TypeAdapter, ValidationError

T = TypeVar("T")


class JsonLines(Generic[T]):
    """Two files, of which the older one goes when the newer is full: together no more than `max_bytes`."""

    def __init__(self, path: Path, shape: type[T], max_bytes: int) -> None:
        self._path = path
        self._older = path.with_suffix(f"{path.suffix}.1")
        self._shape = TypeAdapter(shape)
        self._most = max_bytes // 2

    def append(self, entry: T, unless: Callable[[Sequence[T]], bool] = lambda _: False) -> bool:
        """Append an entry for good, unless what is there already says that it need not be; → whether it was.

        OSError where the disk refuses.
        """
        with self._alone():
            if unless(list(self.read())):
                return False
            self._write(self._shape.dump_json(entry, exclude_defaults=True) + b"\n")
            return True

    def _write(self, line: bytes) -> None:
        if self._path.exists() and self._path.stat().st_size + len(line) > self._most:
            self._path.replace(self._older)
        with self._path.open("ab+") as file:
            if _is_torn(file):
                file.write(b"\n")
            file.write(line)
            file.flush()
            os.fsync(file.fileno())

    def read(self) -> Iterator[T]:
        """Every entry, oldest first. A line that was cut by a kill is left out."""
        for file in (self._older, self._path):
            try:
                lines = file.read_bytes().splitlines()
            except FileNotFoundError:
                continue
            for line in lines:
                try:
                    yield self._shape.validate_json(line)
                except ValidationError:
                    continue

    @contextmanager
    def _alone(self) -> Iterator[None]:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.with_suffix(".lock").open("ab") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


def _is_torn(file: BinaryIO) -> bool:
    """Whether its last line was cut by a kill: what is written behind it would be lost with it."""
    if not file.seek(0, os.SEEK_END):
        return False
    file.seek(-1, os.SEEK_END)
    return file.read(1) != b"\n"
