"""The policy store of one gateway: a file, replaced whole before a change is answered."""

import asyncio
import fcntl
import os
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Protocol

from pydantic import TypeAdapter, ValidationError

from failover.automation import Hold
from failover.distribution import Distribution
from failover.errors import ConfigError, DataPlaneUnavailable
from failover.policy import Change, ChangedBy, ChangeResult, Revision, RouteRecord, TrafficPolicy, apply


class PolicyStore(Protocol):
    """The store in which the policies live and are compared and set: the one truth."""

    @property
    def policies(self) -> Mapping[str, TrafficPolicy]:
        """Route → the policy that this process obeys now."""
        ...

    async def read(self) -> Mapping[str, TrafficPolicy]:
        """Route → the policy in force, which changes are compared with. Raises DataPlaneUnavailable."""
        ...

    async def apply(self, changes: Sequence[Change]) -> Sequence[ChangeResult]:
        """Apply changes; → one result each, in order; kept for good before it returns."""
        ...

    async def obeyed(self) -> Mapping[str, Mapping[str, str]]:
        """Live instance → route → the revision that it obeys."""
        ...

    async def hold(self) -> Hold | None:
        """The automation hold, in force or over. Raises DataPlaneUnavailable."""
        ...

    async def keep_hold(self, hold: Hold | None) -> None:
        """Set or end it; kept for good before it returns. Raises DataPlaneUnavailable."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """What the file holds. A store that is made anew has another epoch."""

    epoch: str
    records: Mapping[str, RouteRecord] = field(default_factory=dict)
    hold: Hold | None = None


_CONTENTS = TypeAdapter(Contents)


class FileStore:
    """Policies in one JSON file: written beside, synced, renamed. One batch of changes is one sync."""

    def __init__(self, path: Path, contents: Contents, clock: Callable[[], datetime]) -> None:
        self._path = path
        self._clock = clock
        self._lock = asyncio.Lock()
        self._obey(contents)

    @classmethod
    def open(cls, path: Path, initial: Mapping[str, Distribution], clock: Callable[[], datetime]) -> "FileStore":
        """The store at `path`; routes that it does not know yet begin with their initial distribution.

        ConfigError where the file cannot be read: starting anew in silence would forget what was decided.
        """
        contents = _read(path) if path.exists() else Contents(epoch=secrets.token_hex(4))
        now = clock()
        new = {route: first_record(route, shares, contents.epoch, now) for route, shares in initial.items()}
        contents = replace(contents, records={**new, **contents.records})
        path.parent.mkdir(parents=True, exist_ok=True)
        _write(path, contents)
        return cls(path, contents, clock)

    @property
    def policies(self) -> Mapping[str, TrafficPolicy]:
        return self._policies

    def policy(self, route: str) -> TrafficPolicy:
        return self._contents.records[route].policy

    async def read(self) -> Mapping[str, TrafficPolicy]:
        return self._policies

    async def apply(self, changes: Sequence[Change]) -> Sequence[ChangeResult]:
        # Shielded with its lock: whoever gives up must not let the next change be decided before this one is kept.
        return await asyncio.shield(self._apply(changes))

    async def _apply(self, changes: Sequence[Change]) -> Sequence[ChangeResult]:
        async with self._lock:
            records, results = dict(self._contents.records), []
            now = self._clock()
            for change in changes:
                record, result = apply(records.get(change.route), change, now)
                results.append(result)
                if record is not None:
                    records[change.route] = record
            after = replace(self._contents, records=records)
            if any(records[route] is not record for route, record in self._contents.records.items()):
                await self._keep(after)
            return results

    async def obeyed(self) -> Mapping[str, Mapping[str, str]]:
        return {"file": {route: str(policy.revision) for route, policy in self.policies.items()}}

    async def hold(self) -> Hold | None:
        return self._contents.hold

    async def keep_hold(self, hold: Hold | None) -> None:
        await asyncio.shield(self._keep_hold(hold))

    async def _keep_hold(self, hold: Hold | None) -> None:
        async with self._lock:
            await self._keep(replace(self._contents, hold=hold))

    async def _keep(self, contents: Contents) -> None:
        try:
            await asyncio.to_thread(_write, self._path, contents)
        except OSError as error:
            raise DataPlaneUnavailable(
                f"The policy store {self._path} cannot be written ({error.strerror}), so nothing was changed. "
                "See to its disk, then try again."
            ) from error
        self._obey(contents)

    def _obey(self, contents: Contents) -> None:
        self._contents = contents
        self._policies = {route: record.policy for route, record in contents.records.items()}


@contextmanager
def sole_user(path: Path) -> Iterator[None]:
    """Holds the lock file while the block runs, until the process dies at the latest.

    ConfigError where another process holds it: two gateways on one file would each forget what the other was told.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise ConfigError(
                f"Another gateway keeps its policies in {path.parent}. End it, give this one a state directory of its "
                "own, or let both share a Redis by FAILOVER_REDIS_URL."
            ) from error
        yield


def first_record(route: str, shares: Distribution, epoch: str, now: datetime) -> RouteRecord:
    policy = TrafficPolicy(
        route=route,
        revision=Revision(epoch, 1),
        distribution=dict(shares),
        changed_by=ChangedBy(actor="configuration"),
        reason="the route's configured distribution",
        changed_at=now,
    )
    return RouteRecord(policy=policy)


def _read(path: Path) -> Contents:
    try:
        return _CONTENTS.validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise ConfigError(
            f"The policy store {path} cannot be read ({type(error).__name__}). Restore it from a backup, or move it "
            "away to begin anew with the configured distributions."
        ) from error


def _write(path: Path, contents: Contents) -> None:
    """Write all of it or nothing, also when the power fails."""
    part = path.with_suffix(".part")
    with part.open("wb") as file:
        file.write(_CONTENTS.dump_json(contents))
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
