"""What is told outside of one incident: to whom, what comes next for each, and in which words."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from failover import kinds
from failover.config import Config
from failover.config.communications import AwsSupport, Cases, ChannelName, Communications, GoogleSupport, StatusPage
from failover.driving import Answer, Order
from failover.incident import Outcome, RunRecord
from failover.requests import Request
from failover.units import Duration

NAME = kinds.COMMUNICATIONS

CASES = (ChannelName.AWS_SUPPORT, ChannelName.GOOGLE_SUPPORT)

KEPT_OPEN = (ChannelName.STATUS_PAGE, *CASES)
"""What is opened there is known by a reference of theirs; without it nothing can be updated or closed."""

OVER = (Outcome.COMPLETED, Outcome.ROLLED_BACK)
"""Outcomes of which we know that service is good. After any other, nothing is called restored."""

MARK = "failover-runbook incident"

TEST_CASE = "TEST CASE - please ignore"

KEPT = 50
"""How much of what was said, and of what failed, is kept for each channel: the newest."""


class Stage(StrEnum):
    OPENED = "opened"
    UPDATED = "updated"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Incident:
    """What it is about; the run that opened it names it for good. `procedure` is a workflow type.

    `cause`: what is the matter, in words that a vendor may read; `models`: what each provider serves us, and where.
    `known_down`: the providers are known to fail, not only said to. `is_test`: nothing happened; somebody tries a channel.
    """

    workflow_id: str
    run_id: str
    procedure: str
    subject: str
    text: str
    at: datetime
    providers: Sequence[str] = ()
    cause: str = ""
    known_down: bool = False
    contacts: Mapping[str, str] = field(default_factory=dict)
    models: Mapping[str, str] = field(default_factory=dict)
    is_drill: bool = False
    is_test: bool = False

    @property
    def key(self) -> str:
        return f"{self.workflow_id}/{self.run_id}"

    @property
    def flag(self) -> str:
        """What stands before every headline where nothing really happened."""
        return "[TEST] " if self.is_test else "[DRILL] " if self.is_drill else ""

    @property
    def headline(self) -> str:
        return f"{self.flag}{self.procedure}: {self.subject}"

    @property
    def mark(self) -> str:
        """The text by which whatever was opened for this incident is found again."""
        return f"{MARK} {self.key}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """What the folder with the run's evidence is named by."""

    decided: datetime
    workflow_id: str
    run_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class News:
    """One thing to tell. `urgent`: somebody must act. `verified`: traffic is where it should be, as far as is proved.

    Of a closing: the outcome (None: nobody knows), the command for a person, and where the evidence lies.
    """

    stage: Stage
    text: str
    at: datetime
    number: int = 0
    urgent: bool = False
    verified: bool = False
    outcome: Outcome | None = None
    command: str | None = None
    kept: Kept | None = None

    @property
    def needs_person(self) -> bool:
        return self.urgent or self.outcome is Outcome.NEEDS_HUMAN

    @property
    def body(self) -> str:
        return f"{self.text}\nRun: {self.command}" if self.command else self.text


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One piece of news for one channel. `reference`: what the channel calls our incident, "" before it is opened there.

    `key` names it for good: delivering it twice is delivering it once, wherever the destination lets us.
    """

    channel: ChannelName
    incident: Incident
    news: News
    reference: str = ""
    providers: Sequence[str] = ()

    @property
    def key(self) -> str:
        return f"{self.incident.key}/{self.news.number}"


class Channel(Protocol):
    """A destination outside. Makes one attempt a call; raises ChannelFailed, and nothing of the vendor's."""

    async def deliver(self, delivery: Delivery) -> str:
        """Tell it, or find it told by an attempt before; → what the destination calls our incident, "" where nothing."""
        ...

    async def check(self) -> str:
        """What can be found out without telling anybody anything, in a sentence."""
        ...

    async def aclose(self) -> None: ...


class CaseVerb(StrEnum):
    """What people say of support cases that wait for a word."""

    APPROVE = "approve"
    DECLINE = "decline"


class Word(StrEnum):
    """What became of the question whether a case is opened."""

    NONE = ""
    ASKED = "asked"
    APPROVED = "approved"
    DECLINED = "declined"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """`text` is what was told, in our own words; a case's and a status page's words are the configuration's."""

    at: datetime
    stage: Stage
    number: int
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Missed:
    """What did not get through, and why. `given_up`: it is not tried any more."""

    at: datetime
    number: int
    why: str
    given_up: bool


@dataclass(slots=True, kw_only=True)
class ChannelState:
    """One channel's part in an incident. `done`: the number of the last news that is dealt with.

    `only_person`: it is told only when a person is needed, and then the end. `left_out`: why it is told nothing at all.
    """

    name: ChannelName
    providers: list[str] = field(default_factory=list)
    word: Word = Word.NONE
    word_by: str = ""
    only_person: bool = False
    left_out: str = ""
    leaves_open: bool = False
    done: int = 0
    reference: str = ""
    said: list[Said] = field(default_factory=list)
    missed: list[Missed] = field(default_factory=list)

    @property
    def waits_for_word(self) -> bool:
        return self.word is Word.ASKED

    @property
    def silent(self) -> bool:
        return bool(self.left_out) or self.word in (Word.DECLINED, Word.EXPIRED)

    def next_news(self, news: Sequence[News]) -> News | None:
        """What it is told next. The opening first; then the closing, or what is urgent, or only the newest: no backlog."""
        if self.silent or self.waits_for_word:
            return None
        left = [one for one in news if one.number > self.done and self._concerns(one)]
        if not left:
            return None
        if left[0].stage is Stage.OPENED:
            return left[0]
        if left[-1].stage is Stage.CLOSED:
            nothing_to_close = self.name in KEPT_OPEN and not self.reference
            return None if nothing_to_close else left[-1]
        return next((one for one in left if one.urgent), left[-1])

    def _concerns(self, news: News) -> bool:
        """A vendor is told how it began and how it ended; a page is for who is needed, and over once nobody is."""
        if self.name in CASES and self.reference and news.stage is Stage.UPDATED:
            return False
        may_be_paged = bool(self.said or self.missed)
        return news.needs_person or not self.only_person or (news.stage is Stage.CLOSED and may_be_paged)

    def was_told(self, news: News, reference: str, at: datetime) -> None:
        self.done, self.reference = news.number, reference or self.reference
        self.missed = [one for one in self.missed if one.given_up]
        if news.stage is Stage.CLOSED:
            stays = {ChannelName.STATUS_PAGE: news.outcome not in OVER, ChannelName.PAGERDUTY: news.needs_person}
            self.leaves_open = stays.get(self.name, False)
        self.said = [*self.said, Said(at=at, stage=news.stage, number=news.number, text=news.text)][-KEPT:]

    def was_missed(self, news: News, why: str, at: datetime, *, given_up: bool) -> None:
        if given_up:
            self.done = news.number
        known = [one for one in self.missed if one.number != news.number]
        self.missed = [*known, Missed(at=at, number=news.number, why=why, given_up=given_up)][-KEPT:]

    @property
    def trouble(self) -> str:
        """Why something is still on its way; "" where nothing is."""
        last = self.missed[-1] if self.missed else None
        return last.why if last and not last.given_up and last.number > self.done else ""


@dataclass(slots=True, kw_only=True)
class CommunicationsState:
    """All that a run of `Communications` knows, and what is kept of it. `over`: nothing more will be told.

    `ask_until`: when the cases that wait for a word are not opened any more.
    """

    incident: Incident
    channels: list[ChannelState]
    news: list[News] = field(default_factory=list)
    ask_until: datetime | None = None
    over: bool = False

    @property
    def closing(self) -> News | None:
        """How the incident ended, once it has."""
        return self.news[-1] if self.news and self.news[-1].stage is Stage.CLOSED else None

    @property
    def waiting(self) -> list[ChannelState]:
        """Cases that wait for a word."""
        return [state for state in self.channels if state.waits_for_word]

    def hear(self, news: News) -> None:
        """Add a thing to tell; none after the closing. Of a long incident the opening and the newest are kept."""
        if self.closing is not None:
            return
        number = self.news[-1].number + 1 if self.news else 1
        self.news.append(replace(news, number=number))
        if len(self.news) > KEPT:
            del self.news[1]

    def decide(self, channel: ChannelName | None, word: Word, by: str) -> Answer:
        """A word on the cases that wait for one."""
        meant = [state for state in self.waiting if channel in (None, state.name)]
        if not meant:
            about = f"no case at {channel.value}" if channel else "no case"
            return Answer(accepted=False, said=f"Refused: {about} waits for a word.")
        for state in meant:
            state.word, state.word_by = word, by
        names = ", ".join(state.name.value for state in meant)
        return Answer(accepted=True, said=f"{word.value.capitalize()}: {names}.")


class CommunicationsRequest(Request):
    """Tell of one incident. Only a run's own Herald starts it; durations are of the configuration."""

    state: CommunicationsState
    ask_for: Duration
    give_up_after: Duration
    timeout: Duration


class CaseWord(Order):
    """A word on the cases that wait for one: `channel` None means all of them."""

    channel: ChannelName | None = None


def plan(config: Config, incident: Incident) -> list[ChannelState]:
    """The channels that are told of it, or would be if it were no drill; empty if nothing outside is configured."""
    return [state for channel in configured(config) if (state := _state(config, channel, incident)) is not None]


def configured(config: Config) -> list[ChannelName]:
    """The channels that are switched on."""
    told = config.communications
    on = {
        ChannelName.STATUS_PAGE: told.status_page.kind != "off",
        ChannelName.AWS_SUPPORT: told.support.aws.open is not Cases.OFF,
        ChannelName.GOOGLE_SUPPORT: told.support.google.open is not Cases.OFF,
        ChannelName.PAGERDUTY: told.pagerduty.enabled,
        ChannelName.EMAIL: bool(told.email.to),
        ChannelName.WEBHOOK: told.webhook.url is not None,
    }
    return [name for name, is_on in on.items() if is_on]


def _state(config: Config, channel: ChannelName, incident: Incident) -> ChannelState | None:
    told = config.communications
    concerned = kinds.WORDS.get(incident.procedure, incident.procedure) in _about(told, channel)
    if not concerned and channel is not ChannelName.PAGERDUTY:
        return None
    providers = _providers(config, channel, incident) if channel in CASES else list(incident.providers)
    if channel in CASES and not providers:
        return None
    state = ChannelState(name=channel, providers=providers, only_person=not concerned)
    if incident.is_drill and channel not in told.in_drills:
        state.left_out = "it is a drill, and communications.in_drills does not name it"
    elif channel in CASES and (_case(told, channel).open is Cases.APPROVE or not incident.known_down):
        state.word = Word.ASKED
    return state


def _about(told: Communications, channel: ChannelName) -> Sequence[str]:
    return {
        ChannelName.STATUS_PAGE: told.status_page.about,
        ChannelName.AWS_SUPPORT: told.support.about,
        ChannelName.GOOGLE_SUPPORT: told.support.about,
        ChannelName.PAGERDUTY: told.pagerduty.about,
        ChannelName.EMAIL: told.email.about,
        ChannelName.WEBHOOK: told.webhook.about,
    }[channel]


def _case(told: Communications, channel: ChannelName) -> AwsSupport | GoogleSupport:
    return told.support.aws if channel is ChannelName.AWS_SUPPORT else told.support.google


def _providers(config: Config, channel: ChannelName, incident: Incident) -> list[str]:
    """Those of the incident's providers whose vendor is asked for help."""
    named = _case(config.communications, channel).providers
    kind = "bedrock" if channel is ChannelName.AWS_SUPPORT else "vertex"
    ours = named or [name for name, provider in config.providers.items() if provider.kind == kind]
    return [name for name in incident.providers if name in ours]


def question(waiting: Sequence[ChannelState], workflow_id: str) -> str:
    """What people are asked about the cases that wait for a word."""
    names = " and ".join(f"{state.name.value} about {', '.join(state.providers)}" for state in waiting)
    return f"Open a support case? {names}. To open: `failoverctl communications approve {workflow_id}`"


def news_of(record: RunRecord) -> News:
    """How the run ended."""
    assert record.moments.closed is not None
    return News(
        stage=Stage.CLOSED,
        text=f"{record.outcome.value}: {record.reason}",
        at=record.moments.closed,
        outcome=record.outcome,
        command=record.command,
        kept=Kept(decided=record.moments.decided, workflow_id=record.workflow_id, run_id=record.run_id),
    )


# Words


def public_status(delivery: Delivery) -> str:
    """The status in the words that status pages share: identified, monitoring or resolved."""
    news = delivery.news
    if news.stage is Stage.CLOSED and news.outcome in OVER:
        return "resolved"
    return "monitoring" if news.verified and news.stage is Stage.UPDATED else "identified"


def public_text(settings: StatusPage, delivery: Delivery) -> str:
    """What the public reads: the configuration's words, never ours."""
    news = delivery.news
    if news.stage is Stage.CLOSED:
        return settings.resolved if news.outcome in OVER else settings.unresolved
    if news.stage is Stage.OPENED:
        return settings.opened
    return settings.verified if news.verified else settings.updated


def case_subject(subject: str, incident: Incident) -> str:
    return f"{TEST_CASE}: {subject}" if incident.flag else subject


def case_body(body: str, delivery: Delivery) -> str:
    """The text of a new case: what the configuration says, what is the matter, and the mark by which it is found again.

    It says nothing of our routes and shares: they are no vendor's business.
    """
    incident = delivery.incident
    nothing = "Nothing is broken: this case tests how we would reach you. Please close it." if incident.flag else ""
    models = [f"{name}: {incident.models[name]}" for name in delivery.providers if name in incident.models]
    lines = [
        nothing,
        body,
        "",
        f"Since: {incident.at:%Y-%m-%d %H:%M:%S} UTC",
        f"Seen: {incident.cause or 'not said'}",
        *models,
    ]
    return "\n".join(lines).strip()[:7500] + f"\nReference: {note_mark(delivery)}"


def case_note(delivery: Delivery) -> str:
    """What is added to a case that is there: that it concerns us once more, or how it ended for us."""
    news, incident = delivery.news, delivery.incident
    if news.stage is not Stage.CLOSED:
        said = f"This concerns us still. Seen: {(incident.cause or 'not said')[:7000]}"
    elif news.outcome in OVER:
        said = "Our service is good again; whether the one that this case is about is well, we cannot say."
    else:
        said = "Our service is not known to be good again; people work on it."
    return f"{news.at:%Y-%m-%d %H:%M:%S} UTC: {said}\nReference: {note_mark(delivery)}"


def note_mark(delivery: Delivery) -> str:
    """The text by which this very note is found again."""
    return f"{delivery.incident.mark} #{delivery.news.number}."


def is_solved(delivery: Delivery, at_end: str) -> bool:
    """Whether the case is to be closed with this."""
    return at_end == "resolve" and delivery.news.stage is Stage.CLOSED and delivery.news.outcome in OVER


def mail_text(delivery: Delivery) -> str:
    """The body of an e-mail."""
    incident, news = delivery.incident, delivery.news
    contacts = [f"Contact for {name}: {contact}" for name, contact in incident.contacts.items()]
    lines = [
        news.body,
        *([f"Why: {incident.cause}"] if incident.cause and news.stage is Stage.OPENED else []),
        "",
        f"{news.stage.value.capitalize()} {news.at:%Y-%m-%d %H:%M:%S} UTC, run {incident.workflow_id}",
        *contacts,
        *([f"To look at it: failoverctl watch {incident.workflow_id}"] if incident.procedure in kinds.WORDS else []),
    ]
    return "\n".join(lines) + "\n"


def mail_subject(delivery: Delivery) -> str:
    """The subject, one line, the same to a whole thread but for what happened."""
    news = delivery.news
    what = news.outcome.value if news.outcome else news.stage.value
    return " ".join(f"{delivery.incident.headline} ({'ACT NOW, ' if news.needs_person else ''}{what})".split())[:200]
