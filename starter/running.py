"""The place of a running stack: as settings say, else as the stack itself wrote down.

A running stack holds a lock in its state directory and describes itself in `stack.json`, there and (unless another live
stack is described there already) in `./.state`, so that commands started in the same directory find it.
"""

import fcntl
import json
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from activities.files import write_whole
from failover.errors import BadInput, Unavailable
from starter.settings import Settings

DEFAULT_HOME = Path(".state")
"""The directory where commands look for a stack when nothing else is said."""

NO_STACK = (
    "No running stack was found in {home}, and {variable} is not set. Start one with `failoverctl dev`, name its state "
    "directory with --state, or set {variable}."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Addresses:
    """What a ready stack tells. `temporal_ui`, `simulator` and `webhooks` are None where it has none of its own."""

    temporal: str
    temporal_ui: str | None
    gateway: str
    simulator: str | None
    worker: str
    task_queue: str
    namespace: str
    state: str
    webhooks: str | None = None

    def as_json(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


@dataclass(frozen=True, slots=True, kw_only=True)
class Stack:
    """A stack as a command sees it; what is None was neither set nor found."""

    home: Path
    temporal: str | None = None
    temporal_ui: str | None = None
    gateway: str | None = None
    simulator: str | None = None
    worker: str | None = None
    namespace: str | None = None
    state: Path | None = None
    config: Path | None = None
    api_token: str | None = field(default=None, repr=False)

    def need(self, what: str) -> str:
        """The address of a part; Unavailable with what to do where nobody said it."""
        address: str | None = getattr(self, what)
        if address is None:
            variable = "TEMPORAL_ADDRESS" if what == "temporal" else f"FAILOVER_{what.upper()}_URL"
            if self.state is not None:
                raise Unavailable(f"The running stack has no {what} of its own; set {variable} to name one.")
            raise Unavailable(NO_STACK.format(home=self.home, variable=variable))
        return address


def find(settings: Settings, state: Path | None = None) -> Stack:
    """The stack that commands speak to: settings first, then the description in the state directory."""
    home = state or settings.state or DEFAULT_HOME
    told = _described(home) or {}
    where = Path(told["state"]) if told else settings.state
    return Stack(
        home=home,
        temporal=settings.temporal_address or told.get("temporal"),
        temporal_ui=None if settings.temporal_address else told.get("temporal_ui"),
        gateway=settings.gateway_url or told.get("gateway"),
        simulator=settings.simulator_url or told.get("simulator"),
        worker=settings.worker_url or told.get("worker"),
        namespace=settings.environ.get("TEMPORAL_NAMESPACE") or told.get("namespace"),
        state=where,
        config=settings.config or (Path(told["config"]) if told else None),
        api_token=settings.api_token or (_token_in(where) if where else None),
    )


def _described(home: Path) -> dict[str, Any] | None:
    """The description of a live stack; one that a dead stack left behind counts for nothing."""
    try:
        told: dict[str, Any] = json.loads((home / "stack.json").read_text())
        return told if _is_held(Path(told["lock"])) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _is_held(lock: Path) -> bool:
    try:
        with lock.open("r") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return False
    except BlockingIOError:
        return True
    except OSError:
        return False


class Occupancy:
    """This process's hold on a state directory: one stack a directory."""

    def __init__(self, state: Path, lock: Any) -> None:
        self.state = state
        self._lock = lock
        self._written: list[Path] = []

    @classmethod
    def take(cls, state: Path) -> Self:
        """Take the directory; BadInput if another stack runs there, or it cannot be written."""
        try:
            state.mkdir(parents=True, exist_ok=True)
            lock = (state / "stack.lock").open("a+")
        except OSError as error:
            raise BadInput(f"The state directory {state} cannot be used: {error.strerror or error}.") from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            holder = lock.read().strip() or "unknown"
            lock.close()
            raise BadInput(
                f"A stack is already running on {state} (process {holder}); use it, end it, or give another --state."
            ) from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        _forget_the_dead(state.resolve())
        return cls(state.resolve(), lock)

    def describe(self, addresses: Addresses, config: Path) -> None:
        """Write down where everything is, for the other commands."""
        lock = str(self.state / "stack.lock")
        told = {**addresses.as_json(), "config": str(config.resolve()), "pid": os.getpid(), "lock": lock}
        for home in {self.state, DEFAULT_HOME.resolve()}:
            if home == self.state or _described(home) is None:
                write_atomically(home / "stack.json", told)
                self._written.append(home / "stack.json")

    def leave(self) -> None:
        for file in self._written:
            if _written_by_us(file):
                file.unlink(missing_ok=True)
        self._lock.close()


def _forget_the_dead(state: Path) -> None:
    """Remove what a killed stack told of this directory: its lock, ours now, would make it look alive."""
    for home in {state, DEFAULT_HOME.resolve()}:
        try:
            if json.loads((home / "stack.json").read_text())["lock"] == str(state / "stack.lock"):
                (home / "stack.json").unlink()
        except (OSError, ValueError, KeyError, TypeError):
            continue


def _written_by_us(file: Path) -> bool:
    try:
        return bool(json.loads(file.read_text())["pid"] == os.getpid())
    except (OSError, ValueError, KeyError):
        return False


def write_atomically(file: Path, content: Mapping[str, Any]) -> None:
    """Write all of it or nothing, so that whoever waits for the file never reads half."""
    write_whole(file, f"{json.dumps(content, indent=2)}\n".encode())


def api_token(state: Path) -> str:
    """The token kept in the state directory, made on first use; only its owner can read the file."""
    existing = _token_in(state)
    if existing:
        return existing
    token = secrets.token_urlsafe(24)
    descriptor = os.open(state / "api-token", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        os.fchmod(descriptor, 0o600)
        file.write(token)
    return token


def _token_in(state: Path) -> str | None:
    try:
        return (state / "api-token").read_text().strip() or None
    except OSError:
        return None
