"""The world of a rehearsal: what its users get and its providers do, by the script, by load and by policy."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from failover.config.providers import Capacity
from failover.failure import FailureKind
from failover.policy import Mode
from failover.world import Fault, FaultKind, InForce, Script, World, in_force
from starter.configuration import load

CONFIG = load(Path(__file__).parents[2] / "failover.yaml").config
BEGAN = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
SHARES = {"bedrock": 7000, "google": 2000, "meta": 1000}
BEFORE = InForce(at=BEGAN, route="chat", distribution=SHARES)


def world(*faults: Fault, **capacity: int) -> World:
    providers = {
        name: provider.model_copy(update={"capacity": Capacity(requests_per_minute=capacity.get(name))})
        for name, provider in CONFIG.providers.items()
    }
    return World(CONFIG.model_copy(update={"providers": providers}), BEGAN, Script(faults=faults))


def test_on_a_good_day_everybody_gets_their_share() -> None:
    """600 a minute, divided by weight, all of them answered."""
    told = world().told([BEFORE], BEGAN, BEGAN + MINUTE, BEGAN + MINUTE)
    assert {one.provider: one.first_tries for one in told.providers} == {"bedrock": 420, "google": 120, "meta": 60}
    users = told.of_route("chat")
    assert users is not None
    assert (users.requests, users.lost, users.latency_p95) == (600, 0, timedelta(milliseconds=800))


def test_a_failed_try_is_tried_elsewhere_and_counted_at_the_provider() -> None:
    """A retry hides the outage from users, never from the counters."""
    down = Fault(provider="bedrock", fault=FaultKind.UNAVAILABLE, at=timedelta(0))
    told = world(down).told([BEFORE], BEGAN, BEGAN + MINUTE, BEGAN + MINUTE)
    bedrock, users = told.of_provider("bedrock")[0], told.of_route("chat")
    assert bedrock.failures == {FailureKind.SERVER_ERROR: bedrock.tries}
    assert bedrock.first_failure_at == BEGAN
    assert users is not None
    assert users.lost == 0


def test_where_all_fail_users_are_lost_and_under_degraded_service_they_get_templates() -> None:
    down = [Fault(provider=name, fault=FaultKind.UNAVAILABLE, at=timedelta(0)) for name in CONFIG.providers]
    users = world(*down).told([BEFORE], BEGAN, BEGAN + MINUTE, BEGAN + MINUTE).of_route("chat")
    assert users is not None
    assert users.failed == users.lost == users.requests > 590
    degraded = InForce(at=BEGAN, route="chat", distribution=SHARES, mode=Mode.DEGRADED)
    users = world(*down).told([degraded], BEGAN, BEGAN + MINUTE, BEGAN + MINUTE).of_route("chat")
    assert users is not None
    assert (users.failed, users.templates) == (0, users.lost)


def test_what_hangs_is_not_counted_before_it_is_given_up() -> None:
    """The gateway knows of a hanging try when its time is over."""
    hang = world(Fault(provider="bedrock", fault=FaultKind.HANG, at=timedelta(0)))
    soon, late = BEGAN + timedelta(seconds=20), BEGAN + MINUTE
    told = hang.told([BEFORE], BEGAN, soon, soon)
    assert told.of_provider("bedrock") == []
    users = told.of_route("chat")
    assert users is not None and (users.requests, users.pending) == (60, 140), "70 % of 200 wait"
    tries = hang.told([BEFORE], BEGAN, late, late).of_provider("bedrock")[0]
    assert tries.tries == 210  # half a minute's, at a try_timeout of 30 s
    assert tries.failures == {FailureKind.TIMEOUT: 210}


def test_more_than_a_provider_declares_is_throttled() -> None:
    """420 come to who takes 210: half of them are tried elsewhere."""
    told = world(bedrock=210).told([BEFORE], BEGAN, BEGAN + MINUTE, BEGAN + MINUTE)
    assert told.of_provider("bedrock")[0].failures == {FailureKind.THROTTLED: 210}


def test_what_one_throttles_can_be_too_much_for_the_next() -> None:
    """600 a minute for three who take 300 together: half of the users are lost, wherever they are tried."""
    one = world(bedrock=100, google=100, meta=100)
    users = one.told([BEFORE], BEGAN, BEGAN + MINUTE, BEGAN + MINUTE).of_route("chat")
    assert users is not None
    assert users.lost / users.requests == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize(
    ("kind", "latency", "wrong"), [(FaultKind.SLOW, 6000, False), (FaultKind.WRONG_ANSWERS, 800, True)]
)
def test_faults_that_are_no_failures(kind: FaultKind, latency: int, *, wrong: bool) -> None:
    condition = world(Fault(provider="meta", fault=kind, at=timedelta(0))).condition("meta", BEGAN)
    assert (condition.chance, condition.p95, condition.wrong) == (0, timedelta(milliseconds=latency), wrong)


def test_a_fault_begins_and_ends_where_the_script_says() -> None:
    one = world(Fault(provider="meta", fault=FaultKind.QUOTA, at=MINUTE, lasts=MINUTE))
    chances = [one.condition("meta", BEGAN + n * MINUTE).chance for n in (0, 1, 2)]
    assert chances == [0, 1, 0]
    assert one.edges() == [BEGAN + MINUTE, BEGAN + 2 * MINUTE]


@given(st.integers(1, 50), st.integers(0, 600), st.floats(1, 100))
def test_windows_add_up(minutes: int, cut: int, share: float) -> None:
    """Wherever a window is cut, its parts count what the whole does, but for rounding."""
    one = world(Fault(provider="bedrock", fault=FaultKind.THROTTLE, percent=share))
    moved = InForce(at=BEGAN + 2 * MINUTE, route="chat", distribution={"google": 9000, "meta": 1000, "bedrock": 0})
    until, middle = BEGAN + minutes * MINUTE, BEGAN + minutes * MINUTE * cut / 600
    late = until + 2 * MINUTE

    def requests(since: datetime, end: datetime) -> int:
        users = one.told([BEFORE, moved], since, end, late).of_route("chat")
        return users.requests if users else 0

    assert abs(requests(BEGAN, middle) + requests(middle, until) - requests(BEGAN, until)) <= 1


def test_what_was_first_stands_for_the_time_before_it() -> None:
    later = InForce(at=BEGAN + MINUTE, route="chat", distribution={"google": 10_000})
    assert in_force([BEFORE, later], BEGAN - MINUTE)["chat"] is BEFORE
    assert in_force([BEFORE, later], BEGAN + MINUTE)["chat"] is later


@pytest.mark.parametrize("wrong", [{"percent": 0}, {"fault": "tired"}, {"lasts": "0s"}, {"for": "20m"}])
def test_a_script_that_cannot_be_meant_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Fault.model_validate({"provider": "bedrock", "fault": "hang", **wrong})
