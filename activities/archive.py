"""The archives that hold evidence: a directory, or somewhere far away with a copy here."""

import time
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import structlog

from activities.files import write_whole
from failover.errors import Unavailable
from failover.ports import Archive

log = structlog.get_logger(__name__)

SILENCE = timedelta(seconds=30)
"""How long somebody far away who did not answer is not asked again for a list."""


class DirectoryArchive:
    """Files under a directory. A key is "folder/name"."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def put(self, key: str, content: bytes) -> None:
        path = self._directory / key
        try:
            write_whole(path, content)
        except OSError as error:
            raise Unavailable(f"{path} cannot be written: {error.strerror or error}.") from error

    def get(self, key: str) -> bytes | None:
        path = self._directory / key
        try:
            return path.read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise Unavailable(f"{path} cannot be read: {error.strerror or error}.") from error

    def keys(self, *, folder: str = "*", after: str = "") -> Sequence[str]:
        found = (path.relative_to(self._directory).as_posix() for path in self._directory.glob(f"{folder}/[!.]*"))
        return sorted(key for key in found if key > after)

    def where(self, key: str) -> str:
        return str(self._directory / key) if key else str(self._directory)


class CopiedArchive:
    """An archive far away, with a copy here of all that was written or read here.

    Writing is done once it is far away too; until then the copy is all there is, and whoever writes tries again. What
    never changes once it is there (`settled`, by its name) is read from the copy; everything else from far away, or where
    that does not answer, from the copy.
    """

    def __init__(self, far: Archive, near: DirectoryArchive, settled: str) -> None:
        self._far, self._near, self._settled = far, near, settled
        self._silent_until = 0.0

    def put(self, key: str, content: bytes) -> None:
        self._near.put(key, content)
        self._far.put(key, content)

    def get(self, key: str) -> bytes | None:
        near = self._near.get(key) if key.endswith(f"/{self._settled}") else None
        if near is not None:
            return near
        try:
            content = self._far.get(key)
        except Unavailable as error:
            log.warning("the copy must do", key=key, why=str(error))
            return self._near.get(key)
        if content is not None:
            self._near.put(key, content)
        return content

    def keys(self, *, folder: str = "*", after: str = "") -> Sequence[str]:
        near = set(self._near.keys(folder=folder, after=after))
        if time.monotonic() < self._silent_until:
            return sorted(near)
        try:
            return sorted(near | set(self._far.keys(folder=folder, after=after)))
        except Unavailable as error:
            # Ramps look at records before they plan: they do not wait for somebody silent twice.
            self._silent_until = time.monotonic() + SILENCE.total_seconds()
            log.warning("only what is kept here is listed", why=str(error))
            return sorted(near)

    def where(self, key: str) -> str:
        return self._far.where(key)
