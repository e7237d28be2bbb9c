"""Templates, and what every page is given. Everything that is written into them is text: it is escaped by default."""

import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.responses import HTMLResponse, Response

from failover.answer import Answer, Case
from failover.config import Config
from failover.driving import Verb
from failover.roles import Act
from failover.troubles import Need
from starter.console.answering import worded
from starter.console.pictures import Button, Fillings, RunCard, bars, buttons, cards, run_card, run_cards, who_may
from starter.console.sessions import Session
from starter.looking import Seen
from starter.runs.memory import OpenRun

ANSWERS: Mapping[Need, tuple[Verb, ...]] = {
    Need.APPROVAL: (Verb.APPROVE, Verb.REJECT),
    Need.ANSWER: (Verb.RESUME, Verb.RETRY, Verb.ADVANCE, Verb.ABORT),
    Need.ORDERS: (Verb.SET_PERCENT, Verb.ABORT),
    Need.RESUME: (Verb.RESUME, Verb.ABORT),
}
"""Orders that give a run what it waits for, the likeliest first."""


_SHARE = re.compile(r"([^,:]+):([\d.]+)")


def clock(at: datetime) -> str:
    """UTC; the page's script says beside it how long ago or ahead that is."""
    return f"{at.astimezone(UTC):%H:%M:%S} UTC"


def day(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def spell(value: timedelta) -> str:
    """ "2 h 05 min", "3 min 20 s", "8.2 s"."""
    seconds = value.total_seconds()
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s"


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """The session of a page. `key` makes a form that is sent twice the same order; `said`: what became of the last."""

    session: Session
    key: str = field(default_factory=lambda: secrets.token_urlsafe(9))
    said: Mapping[str, Any] | None = None


class Pages:
    """Renders; decides nothing."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self.fillings = Fillings(config)
        share = rf"\b(?:{'|'.join(map(re.escape, config.providers))}):\d+(?:\.\d+)?\b"
        self._shares = re.compile(rf"{share}(?:,{share})*")
        self._templates = Environment(
            loader=PackageLoader("starter.console"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates.filters |= {"clock": clock, "day": day, "spell": spell, "plain": self._plain}
        self._templates.globals |= {"config": config}

    def render(self, template: str, page: Page | None = None, /, **context: Any) -> str:
        known = {
            "page": page,
            "session": page.session if page else None,
            "person": page.session.person if page else None,
        }
        return self._templates.get_template(template).render(**known, may=partial(_may, page), **context)

    def _plain(self, text: str) -> str:
        """A run's own sentence, with shares as people write them: "bedrock:50,google:50" → "bedrock 50 %, google 50 %"."""
        return self._shares.sub(lambda found: ", ".join(_SHARE.sub("\\1 \\2\u00a0%", found[0]).split(",")), text)

    def respond(self, template: str, page: Page | None = None, /, status: int = 200, **context: Any) -> Response:
        return HTMLResponse(self.render(template, page, **context), status_code=status)

    def now_parts(self, page: Page, seen: Seen) -> dict[str, str]:
        """The parts of the first page, by their ids; each is sent again when it has changed."""
        found = seen.answer
        needed, may = self._needed(found, seen, page)
        parts: dict[str, dict[str, Any]] = {
            "answer": {"answer": found, "words": worded(found), "needed": needed, "who_may": may},
            "runs": {"runs": _without(run_cards(seen, page.session.person), found, needed), "seen": seen},
            "routes": {"bars": bars(seen, self.fillings), "seen": seen},
            "providers": {"cards": cards(seen, self._config, self.fillings), "seen": seen},
            "checks": {"seen": seen},
        }
        return {name: self.render(f"parts/{name}.html", page, **context) for name, context in parts.items()}

    def run_parts(self, page: Page, run: OpenRun, outcome: str) -> dict[str, str]:
        card = run_card(run, page.session.person)
        parts: dict[str, dict[str, Any]] = {
            "run": {"run": card, "outcome": outcome, "whole": True},
            "timeline": {"events": [(entry.at, entry.step, entry.text) for entry in reversed(run.look.timeline)]},
        }
        return {name: self.render(f"parts/{name}.html", page, **context) for name, context in parts.items()}

    def _needed(self, found: Answer, seen: Seen, page: Page) -> tuple[Sequence[Button], Sequence[str]]:
        """The buttons that give what is waited for; where this person may press none of them, who may."""
        if found.waits is None:
            allowed = page.session.person.why_not(Act.START) is None
            return [], [] if allowed or found.case is not Case.TROUBLE else who_may(Act.START, self._config)
        verbs = ANSWERS[found.waits.need]
        run = next(run for run in _runs(seen) if run.workflow_id == found.run)
        mine = {button.verb: button for button in buttons(run, page.session.person)}
        needed = [mine[verb.value] for verb in verbs if verb.value in mine]
        return needed, [] if needed else who_may(Act(verbs[0].value), self._config)


def _may(page: Page | None, act: str) -> bool:
    return page is not None and page.session.person.why_not(Act(act)) is None


def _without(runs: Sequence[RunCard], found: Answer, needed: Sequence[Button]) -> Sequence[RunCard]:
    """What stands in the answer already is not said again below: people would look for the difference."""
    if found.waits is None:
        return runs
    above = {button.verb for button in needed}
    return [
        replace(run, waiting="", deadline=None, buttons=[one for one in run.buttons if one.verb not in above])
        if run.run == found.run
        else run
        for run in runs
    ]


def _runs(seen: Seen) -> Sequence[OpenRun]:
    return seen.runs if isinstance(seen.runs, Sequence) else []
