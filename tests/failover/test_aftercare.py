"""After-care: what there is to do after an incident, who settles it, and when people are told."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from failover import aftercare
from failover.aftercare import Assign, Care, FollowUpRequest, ItemOrder, ItemResult, ItemVerb, Phase, State
from failover.config.follow_up import FollowUp
from failover.incident import Outcome

CLOSED = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def request(**changes: Any) -> FollowUpRequest:
    told: dict[str, Any] = {
        "workflow_id": "failover/bedrock",
        "run_id": "0123456789",
        "procedure": "ImmediateFailover",
        "provider": "bedrock",
        "outcome": Outcome.COMPLETED,
        "routes": ["chat"],
        "decided": CLOSED - timedelta(minutes=1),
        "closed": CLOSED,
    }
    return FollowUpRequest(**(told | changes))


def care(**settings: Any) -> Care:
    chosen = FollowUp.model_validate(settings)
    return Care(items=aftercare.items(request(settings=chosen)), settings=chosen)


def word(item: str, comment: str = "", **more: Any) -> ItemOrder:
    return ItemOrder(actor="anna", item=item, comment=comment, **more)


def test_the_runbooks_after_care_is_three_and_three_and_nine_items() -> None:
    phases = [item.phase for item in care().items]
    assert [phases.count(phase) for phase in Phase] == [3, 3, 9]
    assert {item.phase: item.due - CLOSED for item in care().items} == {
        Phase.IMMEDIATE: timedelta(minutes=30),
        Phase.SHORT_TERM: DAY,
        Phase.LONG_TERM: 7 * DAY,
    }


@pytest.mark.parametrize(
    ("changes", "settings", "why"),
    [
        ({}, {}, None),
        ({}, {"enabled": False}, "follow_up.enabled is false"),
        ({}, {"procedures": ["canary"]}, "follow_up.procedures does not name ImmediateFailover"),
        ({"procedure": "Failback"}, {}, "follow_up.procedures does not name Failback"),
        ({"outcome": Outcome.SUPERSEDED}, {}, "another run took it over, and has a follow-up of its own"),
        ({"routes": []}, {}, "no traffic was moved"),
        ({"routes": [], "outcome": Outcome.NEEDS_HUMAN}, {}, None),
        ({"outcome": Outcome.ABORTED}, {}, None),
    ],
)
def test_which_runs_need_after_care(changes: dict[str, Any], settings: dict[str, Any], why: str | None) -> None:
    assert aftercare.why_none(request(**changes, settings=FollowUp.model_validate(settings))) == why


def test_the_product_tries_at_once_what_is_urgent_and_later_what_needs_to_be_seen_first() -> None:
    now = care()
    tried = []
    while (item := now.next_work(CLOSED)) is not None:
        tried.append(item.key)
        now.found(item.key, ItemResult(done=True, said="good"), CLOSED)
    assert tried == ["validation", "incident-report"]
    assert now.next_moment(CLOSED) == CLOSED + timedelta(minutes=15), "the status page is told meanwhile"
    now.found("status-page", ItemResult(done=True, said="told"), CLOSED)
    later = now.next_work(CLOSED + HOUR)
    assert later is not None and later.key == "performance-analysis"


def test_what_the_product_could_not_do_is_left_to_people_with_what_was_found() -> None:
    now = care()
    now.found("status-page", ItemResult(done=False, said="no status page is configured"), CLOSED)
    [item] = [item for item in now.items if item.key == "status-page"]
    assert (item.state, item.begins, item.note) == (State.OPEN, None, "no status page is configured")


def test_a_person_who_was_faster_than_the_product_is_not_overruled() -> None:
    now = care()
    now.take(ItemVerb.SKIP, word("validation", "there are no users at night"), CLOSED)
    now.found("validation", ItemResult(done=True, said="good"), CLOSED)
    assert (now.items[0].state, now.items[0].by) == (State.SKIPPED, "anna")


@pytest.mark.parametrize(
    ("verb", "order", "said"),
    [
        (ItemVerb.DONE, word("runbook-update", "added a contact"), "runbook-update is done."),
        (ItemVerb.SKIP, word("runbook-update", "nothing to add"), "runbook-update is skipped."),
        (
            ItemVerb.ASSIGN,
            Assign(actor="anna", item="runbook-update", owner="bert", due=CLOSED + DAY),
            "runbook-update is assigned to bert until 2026-02-01 12:00 UTC.",
        ),
    ],
)
def test_orders_that_are_obeyed(verb: ItemVerb, order: ItemOrder, said: str) -> None:
    answer = care().take(verb, order, CLOSED)
    assert (answer.accepted, answer.said) == (True, said)


@pytest.mark.parametrize(
    ("verb", "order", "said"),
    [
        (ItemVerb.SKIP, word("runbook-update"), "whoever skips an item says why (comment)"),
        (ItemVerb.REOPEN, word("runbook-update"), "runbook-update is open"),
        (ItemVerb.DONE, word("nonsense"), "there is no item 'nonsense'"),
        (ItemVerb.ASSIGN, Assign(actor="anna", item="runbook-update"), "say to whom (owner) or until when (due)"),
    ],
)
def test_orders_that_are_refused_change_nothing(verb: ItemVerb, order: ItemOrder, said: str) -> None:
    now = care()
    before = list(now.items)
    answer = now.take(verb, order, CLOSED)
    assert not answer.accepted and said in answer.said
    assert now.items == before


def test_a_settled_item_is_not_settled_twice_and_can_be_reopened() -> None:
    now = care()
    now.take(ItemVerb.DONE, word("validation"), CLOSED)
    again = now.take(ItemVerb.SKIP, word("validation", "no"), CLOSED)
    assert (again.accepted, again.said) == (
        False,
        "Refused: validation is done already, by anna; reopen it first.",
    )
    assert now.take(ItemVerb.REOPEN, word("validation"), CLOSED + HOUR).accepted
    assert now.items[0].begins == CLOSED + HOUR


def test_the_same_order_twice_is_one_order() -> None:
    now = care()
    first = now.take(ItemVerb.DONE, word("validation", id="x"), CLOSED)
    assert now.take(ItemVerb.DONE, word("validation", id="x"), CLOSED + HOUR) == first
    assert now.items[0].at == CLOSED


def test_people_are_told_when_something_is_due_and_then_once_a_day() -> None:
    now = care()
    assert now.reminder_at() == CLOSED + timedelta(minutes=30)
    now.reminded_at = CLOSED + timedelta(minutes=30)
    assert now.reminder_at() == CLOSED + timedelta(minutes=30) + DAY
    now.items = [replace(item, state=State.DONE) for item in now.items]
    assert now.reminder_at() is None


def test_parts_that_overtake_one_another_are_refused() -> None:
    with pytest.raises(ValidationError, match="short_term_within 10m is shorter than immediate_within 30m"):
        FollowUp.model_validate({"short_term_within": "10m", "short_term_after": "5m"})
    with pytest.raises(ValidationError, match="the analyses would be overdue before they are made"):
        FollowUp.model_validate({"short_term_after": "2d"})


def test_a_moment_without_a_zone_is_refused() -> None:
    with pytest.raises(ValidationError, match="timezone"):
        request(closed=datetime(2026, 1, 1))  # noqa: DTZ001
    with pytest.raises(ValidationError, match="timezone"):
        Assign(actor="anna", item="x", due=datetime(2026, 1, 1))  # noqa: DTZ001
