"""Every order at every stage: taken, or refused with a sentence and with what would be taken now."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from failover.config.routes import ApprovalPoint, Approvals
from failover.driving import (
    KEPT_ANSWERS,
    Abort,
    Answer,
    ApprovalRequest,
    Decide,
    Driving,
    Order,
    Question,
    SetPercent,
    Stage,
    Verb,
    as_of_now,
    ask_approval,
    next_reminder,
    wants,
    wants_before_return,
)
from failover.gates import Action, Decision
from tests.failover.conftest import NOW

DEADLINE = NOW + timedelta(minutes=30)


def order(verb: Verb, actor: str = "anna", **said: Any) -> Order:
    told = {"actor": actor, **said}
    match verb:
        case Verb.APPROVE | Verb.REJECT:
            return Decide.model_validate({"step": "step-1", "digest": "abc", **told})
        case Verb.ABORT:
            return Abort.model_validate(told)
        case Verb.SET_PERCENT:
            return SetPercent.model_validate({"percent": 25, **told})
    return Order.model_validate(told)


def asking(**settings: Any) -> ApprovalRequest:
    approvals = Approvals.model_validate(settings)
    return ask_approval(ApprovalPoint.FULL, "step-1", "abc", "May it?", "rita", approvals, NOW)


def given_by(*people: str) -> ApprovalRequest:
    return replace(asking(), granted=dict.fromkeys(people, ""))


def in_doubt(*, failed: bool = False) -> Question:
    return Question(failed=failed, step="step-1", text="Inconclusive", asked_at=NOW, deadline=DEADLINE, default="hold")


ALWAYS = {Verb.ABORT, Verb.PAUSE, Verb.ESCALATE}
DECIDE = {Verb.APPROVE, Verb.REJECT}

TAKEN: dict[str, tuple[dict[str, Any], set[Verb]]] = {
    "starting": ({"stage": Stage.STARTING}, ALWAYS),
    "writing": ({"stage": Stage.WRITING}, ALWAYS),
    "holding": ({"stage": Stage.HOLDING}, ALWAYS | {Verb.ADVANCE, Verb.SET_PERCENT}),
    "waiting for orders": ({"stage": Stage.ORDERS}, ALWAYS | {Verb.ADVANCE, Verb.SET_PERCENT}),
    "watching": ({"stage": Stage.WATCHING}, ALWAYS | {Verb.ADVANCE}),
    "putting back": ({"stage": Stage.PUTTING_BACK}, {Verb.ABORT}),
    "closed": ({"stage": Stage.CLOSED}, set()),
    "aborting": ({"stage": Stage.HOLDING, "abort": Abort(actor="otto")}, set()),
    "paused in a hold": ({"stage": Stage.HOLDING, "paused": True}, {Verb.ABORT, Verb.ESCALATE, Verb.RESUME}),
    "an approval before the first step": ({"stage": Stage.STARTING, "approval": asking()}, ALWAYS | DECIDE),
    "an approval between steps": ({"stage": Stage.HOLDING, "approval": asking()}, ALWAYS | DECIDE),
    "an approval in a pause": (
        {"stage": Stage.HOLDING, "approval": asking(), "paused": True},
        {Verb.ABORT, Verb.ESCALATE, Verb.RESUME} | DECIDE,
    ),
    "an approval that is given": ({"stage": Stage.HOLDING, "approval": given_by("otto")}, ALWAYS),
    "an approval that is refused": (
        {"stage": Stage.HOLDING, "approval": replace(asking(), rejected_by="otto")},
        ALWAYS,
    ),
    "an approval to go back": (
        {"stage": Stage.HOLDING, "approval": replace(asking(), point=ApprovalPoint.DOUBTFUL_ROLLBACK)},
        {Verb.ABORT, Verb.PAUSE} | DECIDE,
    ),
    "in doubt in a hold": (
        {"stage": Stage.HOLDING, "question": in_doubt()},
        ALWAYS | {Verb.ADVANCE, Verb.RETRY, Verb.SET_PERCENT},
    ),
    "in doubt about a write": (
        {"stage": Stage.WRITING, "question": in_doubt()},
        ALWAYS | {Verb.ADVANCE, Verb.RETRY, Verb.SET_PERCENT},
    ),
    "in doubt in a pause": (
        {"stage": Stage.HOLDING, "question": in_doubt(), "paused": True},
        {Verb.ABORT, Verb.ESCALATE, Verb.RESUME},
    ),
    "escalated": (
        {"stage": Stage.HOLDING, "escalated": True},
        {Verb.ABORT, Verb.PAUSE, Verb.ADVANCE, Verb.SET_PERCENT},
    ),
}

REFUSED: dict[tuple[str, Verb], str] = {
    ("starting", Verb.APPROVE): "nothing waits for an approval",
    ("holding", Verb.REJECT): "nothing waits for an approval",
    ("starting", Verb.ADVANCE): "there is no wait that could be ended",
    ("writing", Verb.SET_PERCENT): "a percent can be set once the canary holds",
    ("holding", Verb.RETRY): "no step has failed or is in doubt",
    ("holding", Verb.RESUME): "the run is not paused",
    ("paused in a hold", Verb.PAUSE): "the run is paused already",
    ("paused in a hold", Verb.ADVANCE): "the run is paused, and nothing moves; resume it first",
    ("in doubt in a pause", Verb.RETRY): "resume it first",
    ("paused in a hold", Verb.SET_PERCENT): "resume it first",
    ("an approval between steps", Verb.ADVANCE): "step-1 waits for an approval, and no other order replaces that",
    ("an approval between steps", Verb.SET_PERCENT): "no other order replaces that",
    ("escalated", Verb.ESCALATE): "the run goes straight to its last step already",
    ("putting back", Verb.PAUSE): "the run is putting back what it found",
    ("closed", Verb.ABORT): "the run is over",
    ("an approval that is given", Verb.APPROVE): "it is approved already",
    ("an approval that is refused", Verb.APPROVE): "otto has rejected it already",
    ("an approval to go back", Verb.ESCALATE): "approve it, reject it, or abort",
    ("an approval to go back", Verb.ADVANCE): "no other order replaces that",
    ("aborting", Verb.ABORT): "the run is being aborted, as otto ordered",
}

EVERYTHING = [(situation, verb) for situation in TAKEN for verb in Verb]


@pytest.mark.parametrize(("situation", "verb"), EVERYTHING, ids=[f"{verb.value} {where}" for where, verb in EVERYTHING])
def test_every_order_in_every_situation(situation: str, verb: Verb) -> None:
    """Taken as the table says, or refused with why; either answer names what would be taken next."""
    state, taken = TAKEN[situation]
    driving = Driving(**state)
    assert set(driving.accepted_now()) == {one.value for one in taken}
    answer = driving.take(verb, order(verb), NOW)
    assert answer.accepted is (verb in taken)
    assert answer.said.startswith("Refused: ") is not answer.accepted
    assert REFUSED.get((situation, verb), "") in answer.said
    assert answer.accepted_now == driving.accepted_now()
    assert driving.orders == int(answer.accepted)
    if not answer.accepted:
        assert replace(driving, answers={}) == Driving(**state)


@pytest.mark.parametrize("verb", Verb)
def test_a_procedure_takes_only_what_it_knows(verb: Verb) -> None:
    """And says so of the rest."""
    driving = Driving(verbs=[Verb.ABORT], stage=Stage.HOLDING)
    answer = driving.take(verb, order(verb), NOW)
    assert answer.accepted is (verb is Verb.ABORT)
    assert answer.accepted or answer.said == f"Refused: this procedure knows no {verb.value}"


@pytest.mark.parametrize(
    ("verb", "told", "state", "becomes"),
    [
        (Verb.PAUSE, {}, {}, {"paused": True}),
        (Verb.RESUME, {}, {"paused": True}, {"paused": False}),
        (Verb.ADVANCE, {}, {}, {"advance": True}),
        (Verb.ESCALATE, {}, {"paused": True}, {"escalated": True, "paused": False}),
        (Verb.RETRY, {}, {"question": in_doubt()}, {"retry": True}),
        (Verb.SET_PERCENT, {"percent": 12.5}, {}, {"percent": 12.5}),
        (Verb.ABORT, {"mode": "hold"}, {}, {"abort": Abort(actor="anna", mode="hold")}),
    ],
)
def test_what_an_order_leaves_for_the_run_to_act_on(
    verb: Verb, told: dict[str, Any], state: dict[str, Any], becomes: dict[str, Any]
) -> None:
    """Noted, not done: the loop acts."""
    driving = Driving(stage=Stage.HOLDING, **state)
    assert driving.take(verb, order(verb, **told), NOW).accepted
    assert {name: getattr(driving, name) for name in becomes} == becomes


def test_an_id_makes_a_repetition_harmless() -> None:
    """The first answer again, whatever has happened since, and nothing is done twice."""
    driving = Driving(stage=Stage.HOLDING)
    first = driving.take(Verb.PAUSE, order(Verb.PAUSE, id="p1"), NOW)
    driving.take(Verb.RESUME, order(Verb.RESUME), NOW)
    assert driving.take(Verb.PAUSE, order(Verb.PAUSE, id="p1"), NOW) is first
    assert (driving.paused, driving.orders) == (False, 2)
    assert driving.take(Verb.PAUSE, order(Verb.PAUSE, id="p2"), NOW).accepted


def test_an_id_is_of_one_verb_and_a_refusal_is_remembered_too() -> None:
    """The same id on another order is another order."""
    driving = Driving(stage=Stage.HOLDING)
    refused = driving.take(Verb.RESUME, order(Verb.RESUME, id="x"), NOW)
    assert not refused.accepted
    assert driving.take(Verb.PAUSE, order(Verb.PAUSE, id="x"), NOW).accepted
    assert driving.take(Verb.RESUME, order(Verb.RESUME, id="x"), NOW) is refused


def test_only_so_many_answers_are_kept() -> None:
    """The newest; what a run carries is bounded."""
    driving = Driving(stage=Stage.HOLDING)
    for number in range(KEPT_ANSWERS + 5):
        driving.take(Verb.ADVANCE, order(Verb.ADVANCE, id=str(number)), NOW)
    assert len(driving.answers) == KEPT_ANSWERS
    assert driving.answered(Verb.ADVANCE, order(Verb.ADVANCE, id="4")) is None
    assert driving.answered(Verb.ADVANCE, order(Verb.ADVANCE, id="5")) is not None


def approve(driving: Driving, actor: str, at: datetime = NOW, verb: Verb = Verb.APPROVE, **said: Any) -> Answer:
    return driving.take(verb, order(verb, actor, **said), at)


def waiting(**settings: Any) -> Driving:
    return Driving(stage=Stage.STARTING, approval=asking(**settings))


@pytest.mark.parametrize(
    ("settings", "told", "said"),
    [
        ({}, {"step": "step-2"}, "the approval that waits is for step-1, not step-2"),
        ({}, {"digest": "abd"}, "the plan has the digest abc, not abd: it is another plan than the one approved"),
        ({}, {"at": DEADLINE}, "the deadline was 00:30:00 UTC"),
        ({}, {"at": DEADLINE + timedelta(days=1)}, "the deadline was"),
        ({"approver_is_not_requester": True}, {"actor": "rita"}, "this route wants somebody else's approval"),
        ({"approver_is_not_requester": True}, {"actor": " RITA "}, "this route wants somebody else's approval"),
        ({}, {"actor": "rita"}, None),
        ({"approver_is_not_requester": True}, {"actor": "rita", "verb": Verb.REJECT}, None),
        ({}, {"at": DEADLINE - timedelta(microseconds=1)}, None),
    ],
    ids=[
        "another step",
        "another plan",
        "at the deadline",
        "long after",
        "oneself",
        "oneself, spelt otherwise",
        "oneself, where that is allowed",
        "rejecting one's own",
        "just in time",
    ],
)
def test_an_approval_is_of_this_step_of_this_plan_in_time_and_by_somebody_who_may(
    settings: dict[str, Any], told: dict[str, Any], said: str | None
) -> None:
    """Anything else is refused with why, and grants nothing."""
    driving = waiting(**settings)
    answer = approve(driving, **{"actor": "anna", **told})
    assert answer.accepted is (said is None)
    assert said is None or said in answer.said
    assert driving.approval is not None
    assert driving.approval.agreed is (said is None and told.get("verb") is not Verb.REJECT)


def test_a_quorum_is_of_different_people() -> None:
    """Two are needed: the same one twice is one, however spelt."""
    driving = waiting(quorum=2)
    assert approve(driving, "anna", comment="looks good").said == "Approved step-1; 1 more must agree."
    twice = approve(driving, "Anna ")
    assert not twice.accepted
    assert "2 different people are needed" in twice.said
    assert driving.approval is not None
    assert not driving.approval.agreed
    assert approve(driving, "otto").said == "Approved step-1."
    assert driving.approval.agreed
    assert driving.approval.granted == {"anna": "looks good", "otto": ""}


def test_after_enough_agreed_nothing_more_is_taken() -> None:
    """Double, and a rejection that comes too late, are told so."""
    driving = waiting()
    approve(driving, "anna")
    assert approve(driving, "otto").said == "Refused: it is approved already"
    assert approve(driving, "otto", verb=Verb.REJECT).said == "Refused: it is approved already"


def test_one_rejection_is_enough() -> None:
    """Also after others agreed, while the quorum is not there; nobody overrules it."""
    driving = waiting(quorum=2)
    approve(driving, "anna")
    assert approve(driving, "otto", verb=Verb.REJECT).accepted
    assert approve(driving, "emma").said == "Refused: otto has rejected it already"
    assert driving.approval is not None
    assert not driving.approval.agreed


@given(st.lists(st.tuples(st.sampled_from([*DECIDE]), st.sampled_from(["anna", "otto", "emma", "rita"])), max_size=8))
def test_in_whatever_order_people_decide_it_is_one_answer(orders: list[tuple[Verb, str]]) -> None:
    """Agreed by two different people who did not ask, or rejected by one: never both, and the first to come decides."""
    driving = waiting(quorum=2, approver_is_not_requester=True)
    expected, granted, over = None, set[str](), False
    for verb, actor in orders:
        approve(driving, actor, verb=verb)
        if over:
            continue
        if verb is Verb.REJECT:
            expected, over = False, True
        elif actor != "rita":
            granted.add(actor)
            expected, over = (True, True) if len(granted) == 2 else (expected, False)
    assert driving.approval is not None
    assert driving.approval.agreed is (expected is True)
    assert bool(driving.approval.rejected_by) is (expected is False)


@pytest.mark.parametrize(("reminders", "due"), [(0, 1), (1, 5), (2, None)])
def test_an_unanswered_request_is_told_again(reminders: int, due: int | None) -> None:
    """After one minute, and after five, in whatever order they are written; then often enough."""
    settings = Approvals(remind_after=[timedelta(minutes=5), timedelta(minutes=1)])
    asked = replace(asking(), reminders=reminders)
    assert next_reminder(asked, settings) == (None if due is None else NOW + timedelta(minutes=due))


POINTS = ApprovalPoint


@pytest.mark.parametrize(
    ("points", "first", "between", "last"),
    [
        ([], None, None, None),
        ([POINTS.FIRST_SHIFT], POINTS.FIRST_SHIFT, None, None),
        ([POINTS.FULL], None, None, POINTS.FULL),
        ([POINTS.EACH_STEP], POINTS.EACH_STEP, POINTS.EACH_STEP, POINTS.EACH_STEP),
        ([POINTS.FIRST_SHIFT, POINTS.FULL], POINTS.FIRST_SHIFT, None, POINTS.FULL),
        ([POINTS.DOUBTFUL_ROLLBACK], None, None, None),
    ],
)
def test_where_people_are_asked(
    points: list[ApprovalPoint],
    first: ApprovalPoint | None,
    between: ApprovalPoint | None,
    last: ApprovalPoint | None,
) -> None:
    """Before the first shift, before each step, before all of it; an emergency asks nobody."""
    settings = Approvals(points=points)
    found = [
        wants(settings, first=is_first, last=is_last, emergency=False)
        for is_first, is_last in ((True, False), (False, False), (False, True))
    ]
    assert found == [first, between, last]
    assert wants(settings, first=True, last=True, emergency=True) is None


def test_a_plan_of_one_step_is_asked_once() -> None:
    """First and last at the same time."""
    both = Approvals(points=[POINTS.FULL, POINTS.FIRST_SHIFT])
    assert wants(both, first=True, last=True, emergency=False) is POINTS.FIRST_SHIFT


@pytest.mark.parametrize(
    ("points", "emergency", "asks"),
    [
        ([], False, False),
        ([POINTS.EACH_STEP, POINTS.FULL], False, False),
        ([POINTS.DOUBTFUL_ROLLBACK], False, True),
        ([POINTS.FULL, POINTS.DOUBTFUL_ROLLBACK], False, True),
        ([POINTS.DOUBTFUL_ROLLBACK], True, False),
    ],
)
def test_where_people_are_asked_before_the_way_back(points: list[ApprovalPoint], emergency: bool, asks: bool) -> None:
    """By that point alone; an emergency asks nobody."""
    assert wants_before_return(Approvals(points=points), emergency=emergency) is asks


@pytest.mark.parametrize(
    ("failed", "action", "text", "fails"),
    [
        (False, Action.ASK, "as it is now", False),
        (False, Action.FAIL, "as it is now", True),
        (False, Action.PROCEED, "Inconclusive", False),
        (True, Action.ASK, "as it is now", True),
        (True, Action.FAIL, "as it is now", True),
        (True, Action.PROCEED, "It failed, and does well now: as it is now", True),
        (True, Action.HASTEN, "Inconclusive", True),
    ],
)
def test_a_question_says_what_is_so_now(failed: bool, action: Action, text: str, fails: bool) -> None:
    """Once something has failed, good news does not unsay it: a person decides."""
    now = as_of_now(in_doubt(failed=failed), Decision(action=action, reason="as it is now"))
    assert (now.text, now.failed) == (text, fails)


@pytest.mark.parametrize(("reminders", "due"), [(0, 1), (1, 5), (2, None)])
def test_an_unanswered_question_is_told_again(reminders: int, due: int | None) -> None:
    """As a request for an approval is."""
    asked = replace(in_doubt(), reminders=reminders)
    assert next_reminder(asked, Approvals()) == (None if due is None else NOW + timedelta(minutes=due))
