"""Deploys that people, CI and senders note, kept beside the evidence."""

from datetime import datetime, timedelta
from pathlib import Path

from activities.json_lines import JsonLines
from failover.analysis.case import Deploy
from failover.analysis.deploys import DeployNote, is_repeated
from failover.errors import Unavailable

FILE = "deploys.jsonl"


class DeployLog:
    """The deploys of one state directory."""

    def __init__(self, state: Path, max_bytes: int, window: timedelta) -> None:
        self._lines = JsonLines(state / FILE, Deploy, max_bytes)
        self._window = window

    def note(self, note: DeployNote, by: str, now: datetime) -> tuple[Deploy, bool]:
        """→ the deploy, and whether it is new; what comes twice counts once. RequestError, or Unavailable without a disk."""
        deploy = note.noted(now, by)
        try:
            new = self._lines.append(
                deploy, unless=lambda kept: is_repeated(deploy, kept, self._window, timed=note.at is not None)
            )
        except OSError as error:
            raise Unavailable(
                f"The deploy could not be kept ({error.strerror}); see to the disk, then note it again."
            ) from error
        return deploy, new

    def read(self) -> list[Deploy]:
        return list(self._lines.read())
