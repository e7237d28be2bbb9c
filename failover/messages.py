"""What people are told while an incident lasts: one thread an incident, its first message kept up to date."""

import json
from dataclasses import dataclass
from typing import Any

from failover.health import Condition, Verdict
from failover.incident import Outcome, RunRecord
from failover.readiness import News

_SIGN = {
    Outcome.COMPLETED: ":white_check_mark:",
    Outcome.PASSED: ":white_check_mark:",
    Outcome.ROLLED_BACK: ":leftwards_arrow_with_hook:",
    Outcome.NEEDS_HUMAN: ":rotating_light:",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageRef:
    """The place of a message: enough to answer it or to change it."""

    channel: str
    id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """The approval that a message asks for: enough for a button to mean this one and no other."""

    run: str
    step: str
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class IncidentMessage:
    """One message. `key` names it for good: posting it twice is posting it once.

    Without `thread` it opens the incident's thread; with it, it is said there, and `headline` replaces the opening.
    `asks`: it asks for an approval, by buttons where the destination has such; `settles`: what was asked is decided, and is no
    longer to be answered wherever it was asked.
    """

    key: str
    text: str
    headline: str
    thread: MessageRef | None = None
    urgent: bool = False
    asks: Asked | None = None
    settles: Asked | None = None
    drill: bool = False
    """Whether nothing is really wrong: nobody is to be woken, and no case opened but as a test."""

    def blocks(self) -> list[dict[str, Any]]:
        """Slack's Block Kit form of the text, with buttons where it asks."""
        return [section(escaped(self.text)), *([buttons(self.asks)] if self.asks else [])]

    def headline_blocks(self) -> list[dict[str, Any]]:
        return [section(escaped(self.headline))]


BUTTONS = "failover.approval"
"""The block that holds the buttons of an approval; each button's action id is this, a dot, and its verb."""


def section(text: str) -> dict[str, Any]:
    """A paragraph of Block Kit; the text is Slack's own markup."""
    return {"type": "section", "text": {"type": "mrkdwn", "text": text[:2900]}}


def settled(text: str, said: str, asked: Asked | None = None) -> list[dict[str, Any]]:
    """A message that asked, and what became of it; with its buttons only while it still asks. Both are escaped already."""
    note = {"type": "context", "elements": [{"type": "mrkdwn", "text": said[:1900]}]}
    return [section(text), note, *([buttons(asked)] if asked else [])]


def escaped(text: str) -> str:
    """Text in which nothing is markup that Slack acts on: an alert must not be able to call a whole channel."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def buttons(asked: Asked) -> dict[str, Any]:
    """Approve, Reject and Abort, as a block of Block Kit."""
    value = json.dumps({"run": asked.run, "step": asked.step, "digest": asked.digest})
    approve = _button("approve", "Approve", value, style="primary")
    sure = _confirm("Abort the run?", "What was found before it is put back, and verified.", "Abort", "Leave it")
    return {
        "type": "actions",
        "block_id": BUTTONS,
        "elements": [
            approve,
            _button("reject", "Reject", value),
            _button("abort", "Abort", value, style="danger", confirm=sure),
        ],
    }


def _button(verb: str, text: str, value: str, **more: Any) -> dict[str, Any]:
    label = {"type": "plain_text", "text": text}
    return {"type": "button", "action_id": f"{BUTTONS}.{verb}", "text": label, "value": value, **more}


def _confirm(title: str, text: str, yes: str, no: str) -> dict[str, Any]:
    plain = {"title": title, "text": text, "confirm": yes, "deny": no}
    return {name: {"type": "plain_text", "text": said} for name, said in plain.items()}


def marked(subject: str) -> str:
    """What a drill is about, so that nobody takes it for an incident."""
    return f"DRILL: {subject}"


def opening(key: str, subject: str, text: str, doing: str = "failing over", *, drill: bool = False) -> IncidentMessage:
    """A procedure has begun to move traffic."""
    headline = f":warning: *{subject}*: {doing}"
    return IncidentMessage(key=key, headline=headline, text=f"{headline}\n{text}", urgent=not drill, drill=drill)


def progress(
    key: str,
    subject: str,
    text: str,
    thread: MessageRef | None,
    *,
    urgent: bool = False,
    asks: Asked | None = None,
    settles: Asked | None = None,
    drill: bool = False,
) -> IncidentMessage:
    """A message that something happened which people want to know; `urgent`: somebody must act."""
    headline = f":warning: *{subject}*: {text}"
    said = marked(text) if drill else text
    return IncidentMessage(
        key=key, headline=headline, text=said, thread=thread, urgent=urgent, asks=asks, settles=settles, drill=drill
    )


def closing(key: str, record: RunRecord, thread: MessageRef | None) -> IncidentMessage:
    """How it ended, and the command for a person where one is needed."""
    about = record.subject or record.provider
    subject = marked(about) if record.is_drill else about
    headline = f"{_SIGN.get(record.outcome, ':warning:')} *{subject}*: {record.outcome.value}"
    command = f"\nRun: `{record.command}`" if record.command else ""
    urgent = record.outcome is Outcome.NEEDS_HUMAN
    return IncidentMessage(
        key=key,
        headline=headline,
        text=f"{headline}\n{record.reason}{command}",
        thread=thread,
        urgent=urgent,
        drill=record.is_drill,
    )


def verdict_changed(verdict: Verdict, text: str) -> IncidentMessage:
    """A provider is found to be otherwise than before; no run speaks for it."""
    sign = ":white_check_mark:" if verdict.condition is Condition.HEALTHY else ":warning:"
    headline = f"{sign} *{verdict.provider}* is {verdict.condition.value.replace('_', ' ')}"
    key = f"verdict/{verdict.provider}/{verdict.condition.value}/{verdict.at.isoformat()}"
    return IncidentMessage(key=key, headline=headline, text=f"{headline}: {text}")


def readiness_changed(key: str, news: News) -> IncidentMessage:
    """What has changed since people were last told how ready the deployment is."""
    headline = f"{':rotating_light:' if news.urgent else ':clipboard:'} *{news.headline}*"
    return IncidentMessage(key=key, headline=headline, text=f"{headline}\n{news.text}", urgent=news.urgent)
