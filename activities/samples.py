"""What the detectors saw and did, kept for a while: bounded files of one line a turn."""

import asyncio
from collections.abc import Iterator
from datetime import datetime
from itertools import pairwise
from pathlib import Path

import structlog
from pydantic import TypeAdapter, ValidationError

from failover.replay import DetectorSample

log = structlog.get_logger(__name__)

SEGMENTS = 8
"""Files that the samples are divided among; the oldest goes when all of them are full."""

_SAMPLE = TypeAdapter(DetectorSample)


class SampleLog:
    """A directory of samples, oldest first. `max_bytes` bounds all of it; 0 keeps none."""

    def __init__(self, directory: Path, max_bytes: int) -> None:
        self._directory = directory
        self._max_bytes = max_bytes
        self._lock = asyncio.Lock()
        self._segment: Path | None = None
        self._size = 0

    async def keep(self, sample: DetectorSample) -> None:
        """Append one. A full disk costs samples, never a watch."""
        if not self._max_bytes:
            return
        line = _SAMPLE.dump_json(sample, exclude_defaults=True) + b"\n"
        async with self._lock:
            try:
                await asyncio.to_thread(self._append, sample.at, line)
            except OSError as error:
                log.warning("a detector sample could not be kept", error=error.strerror)

    def _append(self, at: datetime, line: bytes) -> None:
        if self._segment is None:
            self._go_on()
        if self._segment is None or self._size + len(line) > self._max_bytes // SEGMENTS:
            self._directory.mkdir(parents=True, exist_ok=True)
            for old in self.segments()[: -(SEGMENTS - 1)]:
                old.unlink(missing_ok=True)
            self._segment, self._size = self._directory / f"{at:%Y%m%dT%H%M%S%f}.jsonl", 0
        with self._segment.open("ab") as file:
            file.write(line)
        self._size += len(line)

    def _go_on(self) -> None:
        """Go on with the last file of the process before this one: restarts must not use up the files."""
        last = self.segments()[-1:]
        if last:
            self._segment, self._size = last[0], last[0].stat().st_size

    def segments(self) -> list[Path]:
        return sorted(self._directory.glob("*.jsonl"))

    def read(self, since: datetime | None = None) -> Iterator[DetectorSample]:
        """Every sample that is kept, since a moment. A line that was cut by a kill is left out."""
        for segment in self._since(since):
            for line in segment.read_bytes().splitlines():
                try:
                    sample = _SAMPLE.validate_json(line)
                except ValidationError:
                    continue
                if since is None or sample.at >= since:
                    yield sample

    def _since(self, since: datetime | None) -> list[Path]:
        """The files without those that were over before: a file's name is when it began, and ends the one before it."""
        segments = self.segments()
        if since is None:
            return segments
        begun = f"{since:%Y%m%dT%H%M%S%f}"
        over = {one for one, following in pairwise(segments) if following.stem <= begun}
        return [one for one in segments if one not in over]
