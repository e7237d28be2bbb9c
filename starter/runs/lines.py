"""A run as plain lines: one for each thing that happens, and the command for what it waits for."""

import sys
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import TextIO

from failover.distribution import render
from failover.incident import TimelineEntry
from starter.output import as_json_line
from starter.runs.situation import Look, commands, until, waits_for

NOBODY_WORKS = timedelta(seconds=10)


class Lines:
    """A view in lines, for pipes, logs, and commands that follow what they started."""

    def __init__(self, stream: TextIO | None = None, *, seen: Iterable[TimelineEntry] = ()) -> None:
        """`seen` is what the reader knows already."""
        self._stream = stream or sys.stderr
        self._seen = set(seen)
        self._waits = ""
        self._policies: dict[str, str] = {}
        self._began: datetime | None = None
        self._complained = False

    def show(self, look: Look) -> None:
        self._began = self._began or look.at
        for entry in look.timeline:
            if entry not in self._seen:
                self._seen.add(entry)
                self._say(f"  {entry.at:%H:%M:%S}  {entry.step}: {entry.text}")
        for policy in look.policies:
            shares = render(policy.distribution)
            if self._policies.get(policy.route, shares) != shares:
                self._say(f"  {look.at:%H:%M:%S}  route {policy.route} is at {shares}")
            self._policies[policy.route] = shares
        self._say_what_it_waits_for(look)
        self._complain(look)

    def close(self) -> None:
        pass

    def _say_what_it_waits_for(self, look: Look) -> None:
        now = look.situation
        waits = waits_for(now)
        if waits and waits != self._waits:
            bound = f" ({until(now)})" if until(now) else ""
            self._say(f"  {look.at:%H:%M:%S}  waits for {waits}{bound}")
            for command in commands(look.workflow_id, now):
                self._say(f"            {command}")
        self._waits = waits

    def _complain(self, look: Look) -> None:
        if self._seen or self._complained or self._began is None or look.at - self._began < NOBODY_WORKS:
            return
        self._complained = True
        self._say(
            "No worker has taken the run up yet: is one running? It starts as soon as one does; Ctrl-C leaves it."
        )

    def _say(self, text: str) -> None:
        print(text, file=self._stream, flush=True)


class JsonLines:
    """One JSON object a line, whenever something differs from the last."""

    def __init__(self) -> None:
        self._last: object = None

    def show(self, look: Look) -> None:
        told = (look.status, [*look.policies])
        if look.status is not None and told != self._last:
            self._last = told
            as_json_line("look", look)

    def close(self) -> None:
        pass
