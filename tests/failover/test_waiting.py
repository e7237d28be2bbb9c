"""Who waits where, and how fast they go: tables, and hypothesis on the promises."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from failover.waiting import (
    BURST,
    FIRST_PAUSE,
    LONGEST_PAUSE,
    LONGEST_WISH,
    MODEST,
    MOST,
    Bucket,
    Line,
    Pace,
    Place,
    Priority,
    Rate,
    Room,
    wait,
)


def line_of(*names: str, room: Room | None = None) -> "Line[str]":
    line: Line[str] = Line(room or Room(1000))
    for name in names:
        line.join(name, 1, Priority.NORMAL, line.arrive())
    return line


def drained(line: "Line[str]") -> list[str]:
    taken = []
    while (head := line.take()) is not None:
        taken.append(head[1])
        line.leave(head[0])
    return taken


# The line


def test_higher_classes_go_first_each_in_the_order_of_arriving() -> None:
    line: Line[str] = Line(Room(1000))
    for name, priority in (("l1", 2), ("n1", 1), ("h1", 0), ("l2", 2), ("h2", 0), ("n2", 1)):
        line.join(name, 1, Priority(priority), line.arrive())
    assert drained(line) == ["h1", "h2", "n1", "n2", "l1", "l2"]


def test_who_arrived_before_stands_before_whenever_they_join() -> None:
    """One that was tried at once, and failed, is not behind those who came meanwhile."""
    line: Line[str] = Line(Room(1000))
    first, second = line.arrive(), line.arrive()
    line.join("second", 1, Priority.NORMAL, second)
    line.join("first", 1, Priority.NORMAL, first)
    assert drained(line) == ["first", "second"]


def test_one_that_is_taken_is_not_taken_again_and_keeps_its_place() -> None:
    line = line_of("a", "b")
    taken = line.take()
    assert taken is not None and taken[1] == "a"
    assert len(line) == 2
    line.put_back(taken[0])
    line.put_back(taken[0])
    assert drained(line) == ["a", "b"]


def test_the_one_behind_a_place_is_taken_in_a_circle() -> None:
    """So that one who always fails blocks nobody."""
    line = line_of("a", "b")
    first = line.take()
    assert first is not None
    line.put_back(first[0])
    second = line.take(after=first[0])
    assert second is not None and second[1] == "b"
    line.put_back(second[0])
    again = line.take(after=second[0])
    assert again is not None and again[1] == "a"


def test_leaving_twice_changes_nothing() -> None:
    room = Room(10)
    line = line_of("a", "b", room=room)
    head = line.take()
    assert head is not None
    for _ in range(2):
        line.leave(head[0])
    line.put_back(head[0])
    assert (len(line), room.used, drained(line)) == (1, 1, ["b"])


@pytest.mark.parametrize(
    ("size", "at_most", "said"),
    [(1, 3, None), (1, 2, "2 requests wait already, of 2"), (9, 3, "hold 2 bytes, of 10"), (8, 3, None)],
)
def test_places_and_bytes_are_bounded(size: int, at_most: int, said: str | None) -> None:
    why = line_of("a", "b", room=Room(10)).why_not(size, at_most=at_most)
    assert (why is None) if said is None else (why is not None and said in why)


def test_lines_share_one_room() -> None:
    room = Room(10)
    line_of("a", "b", room=room)
    assert line_of(room=room).why_not(9, at_most=5) is not None


class Lines(RuleBasedStateMachine):
    """Whatever is joined, taken, put back and left, in whatever order."""

    def __init__(self) -> None:
        super().__init__()
        self.room = Room(40)
        self.line: Line[int] = Line(self.room)
        self.inside: dict[Place, int] = {}
        self.taken: list[Place] = []
        self.count = 0

    @rule(priority=st.sampled_from(Priority), size=st.integers(0, 12))
    def join(self, priority: Priority, size: int) -> None:
        if self.line.why_not(size, at_most=8) is None:
            self.count += 1
            place = self.line.join(self.count, size, priority, self.line.arrive())
            self.inside[place] = size

    @rule()
    def take(self) -> None:
        ready = sorted(set(self.inside) - set(self.taken))
        found = self.line.take()
        assert (found is None) == (not ready)
        if found is not None:
            assert found[0] == ready[0]
            self.taken.append(found[0])

    @precondition(lambda self: self.taken)
    @rule(data=st.data())
    def put_back(self, data: st.DataObject) -> None:
        place = data.draw(st.sampled_from(self.taken))
        self.taken.remove(place)
        self.line.put_back(place)

    @precondition(lambda self: self.inside)
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        place = data.draw(st.sampled_from(sorted(self.inside)))
        self.line.leave(place)
        del self.inside[place]
        if place in self.taken:
            self.taken.remove(place)

    @invariant()
    def nobody_is_lost_and_bounds_hold(self) -> None:
        assert len(self.line) == len(self.line.members()) == len(self.inside) <= 8
        assert self.room.used == sum(self.inside.values()) <= 40
        assert self.line.is_ready == bool(set(self.inside) - set(self.taken))


TestLines = Lines.TestCase


# The pace


def test_while_nobody_answers_one_is_tried_with_pauses_that_grow() -> None:
    pace, pauses = Pace(), []
    for _ in range(7):
        pace = pace.failed(0.0)
        pauses.append(pace.not_before)
        assert pace.limit == 1
    assert pauses[0] == FIRST_PAUSE
    assert pauses == sorted(pauses)
    assert pauses[-1] == LONGEST_PAUSE


def test_the_first_answer_lets_a_modest_number_go_and_each_one_more() -> None:
    pace = Pace().failed(0.0).answered()
    assert (pace.limit, pace.not_before) == (MODEST, 0.0)
    assert pace.answered().limit == MODEST + 1
    for _ in range(2 * MOST):
        pace = pace.answered()
    assert pace.limit == MOST


def test_each_failure_halves_down_to_one_and_then_pauses() -> None:
    pace, limits = Pace().answered(), []
    while pace.answering:
        pace = pace.failed(10.0)
        limits.append(pace.limit)
    assert limits == [8, 4, 2, 1, 1]
    assert pace.not_before == 10 + FIRST_PAUSE


@pytest.mark.parametrize("pace", [Pace(), Pace().answered()])
def test_a_provider_that_asks_to_be_left_alone_is(pace: Pace) -> None:
    """For as long as it says, within reason, also while others answer; a shorter wish later does not cut it."""
    assert pace.failed(100.0, 7.0).not_before == 107.0
    assert pace.failed(100.0, 9999.0).not_before == 100.0 + LONGEST_WISH
    assert pace.failed(100.0, 7.0).failed(101.0, 1.0).not_before >= 107.0


@pytest.mark.parametrize(
    ("pace", "under_way", "rate", "expected"),
    [
        (Pace(), 0, 0.0, 0.0),
        (Pace(), 1, 0.0, None),
        (Pace(not_before=12.0), 0, 0.0, 2.0),
        (Pace(not_before=9.0), 0, 0.0, 0.0),
        (Pace(not_before=12.0), 0, 5.0, 5.0),
        (Pace().answered(), MODEST - 1, 0.3, 0.3),
        (Pace().answered(), MODEST, 0.0, None),
    ],
)
def test_the_next_goes_when_pace_and_rate_both_allow_it(
    pace: Pace, under_way: int, rate: float, expected: float | None
) -> None:
    assert wait(pace, under_way, rate, 10.0) == expected


# The rate


@given(
    per_minute=st.integers(1, 60_000),
    steps=st.lists(st.floats(0, 5, allow_nan=False), min_size=1, max_size=200),
)
def test_who_waits_as_long_as_told_never_exceeds_the_declared_rate(per_minute: int, steps: list[float]) -> None:
    """Over any time: the rate, and what may go at once."""
    bucket, now, went = Bucket.of(per_minute, 0.0), 0.0, list[float]()
    for step in steps:
        now += step
        now += bucket.wait(now)
        assert bucket.wait(now) == 0
        bucket = bucket.spent(now)
        went.append(now)
    at_once = max(1.0, BURST * per_minute / 60)
    for index, start in enumerate(went):
        for later, end in enumerate(went[index:], start=1):
            assert later <= at_once + (end - start) * per_minute / 60 + 0.01


@given(per_minute=st.integers(1, 60_000), calls=st.integers(1, 300))
def test_a_queue_goes_as_fast_as_was_declared(per_minute: int, calls: int) -> None:
    """Nobody waits longer than the rate demands."""
    bucket, now = Bucket.of(per_minute, 0.0), 0.0
    for _ in range(calls):
        now += bucket.wait(now)
        bucket = bucket.spent(now)
    assert now <= (calls - 1) * 60 / per_minute + 0.01


def test_a_flood_is_not_punished_for_ever() -> None:
    """Calls that nobody held back put the bucket in debt, of a second's worth at most."""
    bucket = Bucket.of(600, 0.0)
    for _ in range(1000):
        bucket = bucket.spent(0.0)
    assert bucket.wait(0.0) == pytest.approx(1.1)


@given(st.lists(st.integers(1, 2000), min_size=20, max_size=100))
def test_declared_tokens_are_kept_to_though_they_are_told_after_each_answer(used: list[int]) -> None:
    """Nothing under way at once: what was taken never runs ahead of the rate by more than two answers."""
    rate, now, taken = Rate.declared(None, 60_000, 0.0), 0.0, 0
    for tokens in used:
        now += rate.wait(now)
        assert taken <= 1000 * now + 2 * 2000 + 100
        rate = rate.begun(now).used(tokens, now)
        taken += tokens


def test_undeclared_is_unlimited() -> None:
    rate = Rate.declared(None, None, 0.0)
    for _ in range(100):
        rate = rate.begun(0.0).used(1000, 0.0)
    assert rate.wait(0.0) == 0.0


def test_both_rates_hold() -> None:
    """Whichever is spent is waited for."""
    rate = Rate.declared(60, 60_000, 0.0).begun(0.0)
    assert rate.wait(0.0) == pytest.approx(1.0)
    assert rate.used(5000, 0.0).wait(0.0) == pytest.approx(4.9, abs=0.2)
