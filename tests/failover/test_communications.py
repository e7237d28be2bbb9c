"""Who is told what, and in which order: by the configuration and the news alone."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from failover.communications import (
    TEST_CASE,
    ChannelState,
    CommunicationsState,
    Delivery,
    Incident,
    News,
    Stage,
    Word,
    case_body,
    case_subject,
    configured,
    mail_subject,
    mail_text,
    plan,
    public_status,
    public_text,
)
from failover.config.communications import ChannelName, StatusPage
from failover.config_file import parse
from failover.errors import ConfigError
from failover.incident import Outcome
from failover.told import channel_line, lines_of

NOW = datetime(2026, 1, 31, 3, 0, tzinfo=UTC)

INCIDENT = Incident(
    workflow_id="failover/bedrock",
    run_id="r1",
    procedure="ImmediateFailover",
    subject="bedrock",
    text="70 % from bedrock to google",
    at=NOW,
    providers=["bedrock"],
    known_down=True,
)

EVERYTHING: dict[str, Any] = {
    "status_page": {"kind": "post", "url": "https://status.example.com/api/incidents"},
    "support": {"aws": {"open": "act"}, "google": {"open": "approve"}},
    "pagerduty": {"enabled": True},
    "email": {"to": ["oncall@example.com"]},
    "webhook": {"url": "https://example.com/hook"},
}


def config_of(communications: str = "{}") -> Any:
    return parse(
        f"""
providers:
  bedrock: {{kind: bedrock, model: m, region: us-east-1, emergency_contact: "1-800"}}
  google: {{kind: vertex, model: m, region: us-central1, project: p}}
routes:
  chat:
    distribution: {{bedrock: 70, google: 30}}
communications: {communications}
""",
        "test.yaml",
    )


def everything(**changes: Any) -> Any:
    import json

    return config_of(json.dumps(EVERYTHING | changes)).config


def news(*stages: Stage, **last: Any) -> list[News]:
    told = [News(stage=stage, text=f"news {n}", at=NOW, number=n) for n, stage in enumerate(stages, 1)]
    return [*told[:-1], replace(told[-1], **last)]


def names(states: Sequence[ChannelState]) -> list[str]:
    return [state.name.value for state in states]


def test_nothing_is_told_until_something_is_configured() -> None:
    config = config_of().config
    assert configured(config) == [] and plan(config, INCIDENT) == []


def test_one_line_switches_the_status_page_on() -> None:
    config = config_of("{status_page: {kind: post, url: https://status.matbakh.app/api/incidents}}").config
    assert names(plan(config, INCIDENT)) == ["status-page"]


def test_the_vendor_of_the_provider_that_fails_is_asked_and_no_other() -> None:
    """An emergency is everybody's."""
    assert names(plan(everything(), INCIDENT)) == ["status-page", "aws-support", "pagerduty", "email", "webhook"]
    emergency = replace(INCIDENT, procedure="MultiProviderEmergency", providers=["bedrock", "google"])
    states = {state.name: state for state in plan(everything(), emergency)}
    assert states[ChannelName.GOOGLE_SUPPORT].providers == ["google"]
    assert (states[ChannelName.AWS_SUPPORT].word, states[ChannelName.GOOGLE_SUPPORT].word) == (Word.NONE, Word.ASKED)


def test_a_provider_that_is_only_said_to_fail_gets_no_case_without_a_word() -> None:
    """A failover for maintenance wakes nobody at AWS."""
    states = {state.name: state for state in plan(everything(), replace(INCIDENT, known_down=False))}
    assert states[ChannelName.AWS_SUPPORT].word is Word.ASKED
    assert states[ChannelName.AWS_SUPPORT].next_news(news(Stage.OPENED)) is None


def test_a_drill_is_never_shown_to_the_public() -> None:
    states = {state.name: state for state in plan(everything(), replace(INCIDENT, is_drill=True))}
    assert states[ChannelName.STATUS_PAGE].next_news(news(Stage.OPENED)) is None
    assert "it is a drill" in channel_line(states[ChannelName.STATUS_PAGE])
    assert states[ChannelName.EMAIL].next_news(news(Stage.OPENED)) is not None


def test_a_procedure_that_is_not_named_pages_only_who_is_needed() -> None:
    states = {state.name: state for state in plan(everything(), replace(INCIDENT, procedure="Failback"))}
    page = states[ChannelName.PAGERDUTY]
    assert set(states) == {ChannelName.PAGERDUTY, ChannelName.EMAIL, ChannelName.WEBHOOK}
    assert page.next_news(news(Stage.OPENED, Stage.UPDATED)) is None
    needed = page.next_news(news(Stage.OPENED, Stage.CLOSED, outcome=Outcome.NEEDS_HUMAN))
    assert needed is not None and needed.number == 2


@pytest.mark.parametrize("outcome", [Outcome.COMPLETED, Outcome.ROLLED_BACK, Outcome.STOPPED, Outcome.HELD])
@pytest.mark.parametrize("got_through", [True, False])
def test_who_was_needed_is_told_when_nobody_is_any_more(outcome: Outcome, got_through: bool) -> None:
    """A question pages; the run's end takes the page back, even where nobody knows whether the page got through."""
    page = ChannelState(name=ChannelName.PAGERDUTY, only_person=True)
    asked = page.next_news(news(Stage.OPENED, Stage.UPDATED, urgent=True))
    assert asked is not None and asked.number == 2
    if got_through:
        page.was_told(asked, "r1", NOW)
    else:
        page.was_missed(asked, "It did not answer.", NOW, given_up=True)
    closing = page.next_news(news(Stage.OPENED, Stage.UPDATED, Stage.CLOSED, outcome=outcome))
    assert closing is not None and closing.stage is Stage.CLOSED


def test_who_was_never_needed_hears_of_no_end() -> None:
    page = ChannelState(name=ChannelName.PAGERDUTY, only_person=True)
    assert page.next_news(news(Stage.OPENED, Stage.UPDATED, Stage.CLOSED, outcome=Outcome.COMPLETED)) is None


@pytest.mark.parametrize(
    ("stages", "done", "reference", "urgent", "expected"),
    [
        ([Stage.OPENED], 0, "", None, 1),
        ([Stage.OPENED, Stage.UPDATED, Stage.CLOSED], 0, "", None, 1),
        ([Stage.OPENED, Stage.UPDATED, Stage.UPDATED], 1, "x", None, 3),
        ([Stage.OPENED, Stage.UPDATED, Stage.UPDATED], 1, "x", 2, 2),
        ([Stage.OPENED, Stage.UPDATED, Stage.CLOSED], 1, "x", 2, 3),
        ([Stage.OPENED, Stage.UPDATED, Stage.CLOSED], 3, "x", None, None),
        # The opening was given up, so there is nothing there that could be closed.
        ([Stage.OPENED, Stage.CLOSED], 1, "", None, None),
        ([Stage.OPENED, Stage.UPDATED], 1, "", None, 2),
    ],
)
def test_a_channel_that_lags_is_told_the_newest(
    stages: list[Stage], done: int, reference: str, urgent: int | None, expected: int | None
) -> None:
    """The opening first, then the closing, else what is urgent, else only the last: never a backlog."""
    state = ChannelState(name=ChannelName.STATUS_PAGE, done=done, reference=reference)
    told = [replace(one, urgent=one.number == urgent) for one in news(*stages)]
    following = state.next_news(told)
    assert (following.number if following else None) == expected


def test_a_vendor_is_told_the_beginning_and_the_end() -> None:
    case = ChannelState(name=ChannelName.AWS_SUPPORT, done=1, reference="case-1")
    assert case.next_news(news(Stage.OPENED, Stage.UPDATED)) is None
    closing = case.next_news(news(Stage.OPENED, Stage.UPDATED, Stage.CLOSED))
    assert closing is not None and closing.stage is Stage.CLOSED


def test_after_the_closing_nothing_is_heard_and_a_long_incident_stays_bounded() -> None:
    state = CommunicationsState(incident=INCIDENT, channels=[])
    for n in range(200):
        state.hear(News(stage=Stage.UPDATED if n else Stage.OPENED, text=str(n), at=NOW))
    state.hear(News(stage=Stage.CLOSED, text="end", at=NOW))
    state.hear(News(stage=Stage.UPDATED, text="late", at=NOW))
    assert state.closing is not None and state.closing.text == "end" and state.closing.number == 201
    assert state.news[0].stage is Stage.OPENED and len(state.news) == 50


def test_a_word_opens_or_leaves_what_waits_for_it_and_is_refused_otherwise() -> None:
    waiting = ChannelState(name=ChannelName.AWS_SUPPORT, word=Word.ASKED)
    state = CommunicationsState(incident=INCIDENT, channels=[waiting])
    assert not state.decide(ChannelName.GOOGLE_SUPPORT, Word.APPROVED, "anna").accepted
    assert state.decide(None, Word.APPROVED, "anna").accepted
    assert waiting.next_news(news(Stage.OPENED)) is not None
    assert not state.decide(None, Word.DECLINED, "bob").accepted


@pytest.mark.parametrize(
    ("said", "status", "text"),
    [
        ({"stage": Stage.OPENED}, "identified", StatusPage().opened),
        ({"stage": Stage.UPDATED}, "identified", StatusPage().updated),
        ({"stage": Stage.UPDATED, "verified": True}, "monitoring", StatusPage().verified),
        (
            {"stage": Stage.CLOSED, "outcome": Outcome.COMPLETED},
            "resolved",
            "AI service restored after provider failover",
        ),
        ({"stage": Stage.CLOSED, "outcome": Outcome.ROLLED_BACK}, "resolved", StatusPage().resolved),
        *(
            ({"stage": Stage.CLOSED, "outcome": outcome}, "identified", StatusPage().unresolved)
            for outcome in (Outcome.NEEDS_HUMAN, Outcome.ABORTED, Outcome.HELD, Outcome.SUPERSEDED, None)
        ),
    ],
)
def test_the_public_reads_only_words_of_the_configuration(said: dict[str, Any], status: str, text: str) -> None:
    """And that service is restored only where it is known to be."""
    delivery = Delivery(
        channel=ChannelName.STATUS_PAGE, incident=INCIDENT, news=News(text="secret internals", at=NOW, **said)
    )
    assert (public_status(delivery), public_text(StatusPage(), delivery)) == (status, text)


def test_a_case_says_what_the_runbook_says_and_by_what_it_is_found_again() -> None:
    delivery = Delivery(
        channel=ChannelName.AWS_SUPPORT, incident=INCIDENT, news=news(Stage.OPENED)[0], providers=["bedrock"]
    )
    body = case_body("Production AI service experiencing complete Bedrock outage", delivery)
    assert body.startswith("Production AI service experiencing complete Bedrock outage")
    assert "failover-runbook incident failover/bedrock/r1 #1." in body
    assert case_subject("Critical", INCIDENT) == "Critical"
    drill = replace(INCIDENT, is_drill=True)
    assert case_subject("Critical", drill) == f"{TEST_CASE}: Critical"
    assert case_body("x", replace(delivery, incident=drill)).startswith("Nothing is broken")


def test_an_email_says_first_whether_somebody_must_act() -> None:
    closing = news(Stage.CLOSED, outcome=Outcome.NEEDS_HUMAN, command="failoverctl restore chat --yes")[0]
    incident = replace(INCIDENT, contacts={"bedrock": "1-800"}, subject="bedrock\nBcc: x@y.z", is_drill=True)
    delivery = Delivery(channel=ChannelName.EMAIL, incident=incident, news=closing)
    subject = mail_subject(delivery)
    assert subject.startswith("[DRILL] ImmediateFailover") and "ACT NOW, NEEDS_HUMAN" in subject and "\n" not in subject
    assert "Run: failoverctl restore chat --yes" in mail_text(delivery) and "1-800" in mail_text(delivery)


def test_the_report_says_what_was_told_and_what_was_not() -> None:
    """Case ids, failures with their reasons, what is still tried, what a person must close."""
    opened, closing = news(Stage.OPENED, Stage.CLOSED, outcome=Outcome.ABORTED)
    page = ChannelState(name=ChannelName.STATUS_PAGE)
    page.was_told(opened, "inc-1", NOW)
    page.was_told(closing, "", NOW + timedelta(minutes=1))
    case = ChannelState(name=ChannelName.AWS_SUPPORT, word=Word.APPROVED, word_by="anna")
    case.was_told(opened, "case-12345-2026", NOW)
    pager = ChannelState(name=ChannelName.PAGERDUTY)
    pager.was_missed(opened, "PagerDuty refused it: 400.", NOW, given_up=True)
    mail = ChannelState(name=ChannelName.EMAIL)
    mail.was_missed(opened, "The mail server does not answer.", NOW, given_up=False)
    google = ChannelState(name=ChannelName.GOOGLE_SUPPORT, word=Word.EXPIRED)
    state = CommunicationsState(incident=INCIDENT, channels=[page, case, google, pager, mail])
    assert lines_of(state) == [
        "Status page: incident inc-1, opened 03:00:00, closed 03:01:00; left open: a person must close it.",
        "AWS Support: case-12345-2026, opened 03:00:00; approved by anna.",
        "Google Cloud Support: no case: nobody approved it in time.",
        "PagerDuty: nothing; NOT DELIVERED at 03:00:00: PagerDuty refused it: 400.",
        "E-mail: nothing yet; STILL BEING TRIED: The mail server does not answer.",
    ]
    mail.was_told(opened, "", NOW)
    assert "STILL" not in channel_line(mail)


@pytest.mark.parametrize(
    ("communications", "said"),
    [
        ("{status_page: {kind: post}}", "needs url"),
        ("{status_page: {kind: statuspage}}", "needs page_id"),
        ("{in_drills: [status-page]}", "never shown to the public"),
        ("{support: {aws: {providers: [bedrok]}}}", "'bedrok'"),
        ("{email: {to: ['a b@c']}}", "communications.email.to"),
        ("{webhook: {url: ftp://x}}", "communications.webhook.url"),
        ('{email: {to: [a@b.c], sender: "x@y\\nBcc: z@z"}}', "communications.email.sender"),
    ],
)
def test_a_configuration_that_cannot_work_is_refused_with_its_place(communications: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        config_of(communications)


def test_off_may_be_written_bare() -> None:
    """YAML reads it as false."""
    config = config_of("{status_page: {kind: off}, support: {aws: {open: off}}}").config
    assert configured(config) == []
