"""What people are told while an incident lasts: one thread an incident, its first message kept up to date."""

from dataclasses import dataclass
from typing import Any

from failover.health import Condition, Verdict
from failover.incident import Outcome, RunRecord

_SIGN = {
    Outcome.COMPLETED: ":white_check_mark:",
    Outcome.ROLLED_BACK: ":leftwards_arrow_with_hook:",
    Outcome.NEEDS_HUMAN: ":rotating_light:",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageRef:
    """Where a message is: enough to answer it or to change it."""

    channel: str
    id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class IncidentMessage:
    """One message. `key` names it for good: posting it twice is posting it once.

    Without `thread` it opens the incident's thread; with it, it is said there, and `headline` replaces the opening.
    """

    key: str
    text: str
    headline: str
    thread: MessageRef | None = None
    urgent: bool = False

    def blocks(self) -> list[dict[str, Any]]:
        """Slack's Block Kit form of the text."""
        return [{"type": "section", "text": {"type": "mrkdwn", "text": self.text[:2900]}}]

    def headline_blocks(self) -> list[dict[str, Any]]:
        return [{"type": "section", "text": {"type": "mrkdwn", "text": self.headline[:2900]}}]


def opening(key: str, subject: str, text: str, doing: str = "failing over") -> IncidentMessage:
    """A procedure has begun to move traffic."""
    headline = f":warning: *{subject}*: {doing}"
    return IncidentMessage(key=key, headline=headline, text=f"{headline}\n{text}", urgent=True)


def progress(key: str, subject: str, text: str, thread: MessageRef | None, *, urgent: bool = False) -> IncidentMessage:
    """Something that people want to know happened; `urgent`: somebody must act."""
    return IncidentMessage(key=key, headline=f":warning: *{subject}*: {text}", text=text, thread=thread, urgent=urgent)


def closing(key: str, record: RunRecord, thread: MessageRef | None) -> IncidentMessage:
    """How it ended, and the command for a person where one is needed."""
    headline = f"{_SIGN.get(record.outcome, ':warning:')} *{record.subject or record.provider}*: {record.outcome.value}"
    command = f"\nRun: `{record.command}`" if record.command else ""
    urgent = record.outcome is Outcome.NEEDS_HUMAN
    return IncidentMessage(
        key=key, headline=headline, text=f"{headline}\n{record.reason}{command}", thread=thread, urgent=urgent
    )


def verdict_changed(verdict: Verdict, text: str) -> IncidentMessage:
    """A provider is found to be otherwise than before; no run speaks for it."""
    sign = ":white_check_mark:" if verdict.condition is Condition.HEALTHY else ":warning:"
    headline = f"{sign} *{verdict.provider}* is {verdict.condition.value.replace('_', ' ')}"
    key = f"verdict/{verdict.provider}/{verdict.condition.value}/{verdict.at.isoformat()}"
    return IncidentMessage(key=key, headline=headline, text=f"{headline}: {text}")
