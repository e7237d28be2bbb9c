"""The store of audits and certificates, and what automatic runs are to heed of them."""

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from pydantic import TypeAdapter, ValidationError

from activities.files import write_whole
from failover.certificates import UNREADABLE, Certificate, Certification, Wanted, certification, uncertified
from failover.config import Config
from failover.errors import Unavailable
from failover.golden import Suite
from failover.ports import ReadinessStore
from failover.readiness import Audit, Picture

T = TypeVar("T")

_AUDIT = TypeAdapter(Audit)
_CERTIFICATES = TypeAdapter(list[Certificate])
_PICTURE = TypeAdapter(Picture)


class FileReadinessStore:
    """A directory: audits/, one file each, certificates.json and told.json; each written whole or not at all."""

    def __init__(self, directory: Path, keep_audits: int = 100) -> None:
        self._directory = directory
        self._audits = directory / "audits"
        self._keep_audits = keep_audits

    def keep(self, audit: Audit, certificates: Sequence[Certificate]) -> None:
        try:
            # The audit first: no certificate may be of an audit that is not there.
            write_whole(self._audits / f"{audit.id}.json", _AUDIT.dump_json(audit, indent=2))
            write_whole(self._directory / "certificates.json", _CERTIFICATES.dump_json(list(certificates), indent=2))
            for old in self.audits()[self._keep_audits :]:
                (self._audits / f"{old}.json").unlink(missing_ok=True)
        except OSError as error:
            raise Unavailable(
                f"The readiness audit cannot be kept in {self._directory}: {error.strerror or error}."
            ) from error

    def latest(self) -> Audit | None:
        return next((found for one in self.audits() if (found := self.find(one)) is not None), None)

    def audits(self) -> Sequence[str]:
        return sorted((path.stem for path in self._audits.glob("*.json")), reverse=True)

    def find(self, audit: str) -> Audit | None:
        return _load(self._audits / f"{audit}.json", _AUDIT)

    def certificates(self) -> Sequence[Certificate]:
        return _load(self._directory / "certificates.json", _CERTIFICATES) or []

    def told(self) -> Picture | None:
        return _load(self._directory / "told.json", _PICTURE)

    def keep_told(self, picture: Picture) -> None:
        try:
            write_whole(self._directory / "told.json", _PICTURE.dump_json(picture, indent=2))
        except OSError as error:
            raise Unavailable(f"{self._directory} cannot be written: {error.strerror or error}.") from error


def _load(path: Path, adapter: TypeAdapter[T]) -> T | None:
    try:
        return adapter.validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValidationError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is none of this version"
        raise Unavailable(f"{path} cannot be read: {why}.") from error


class Certificates:
    """The certified providers of the routes whose automatic runs are to choose by certificates.

    `prompt_sets`: route → the golden prompts that a certificate of it must be of.
    """

    def __init__(self, config: Config, prompt_sets: Mapping[str, Suite], store: ReadinessStore | None) -> None:
        self._config = config
        self._prompt_sets = prompt_sets
        self._store = store

    async def of(self, routes: Sequence[str]) -> Mapping[str, Certification]:
        """Route → what is to be heeded, of those that demand certificates. What cannot be read certifies nobody; what is
        over is for whoever knows the time."""
        demanding = [route for route in routes if self._config.only_certified(route)]
        if not demanding:
            return {}
        try:
            kept = await asyncio.to_thread(self._store.certificates) if self._store else []
        except Unavailable:
            kept = None
        return {route: self._certification(route, kept) for route in demanding}

    def _certification(self, route: str, kept: Sequence[Certificate] | None) -> Certification:
        wanted, ask = self._wanted(route), self._config.asks_without_certificate(route)
        if kept is None:
            return uncertified(wanted, UNREADABLE, ask=ask)
        return certification(route, kept, wanted, ask=ask)

    def _wanted(self, route: str) -> Mapping[str, Wanted]:
        suite = self._prompt_sets.get(route)
        digest = suite.digest if suite else ""
        return {name: Wanted(model=self._config.model_id(name), digest=digest) for name in self._config.providers}
