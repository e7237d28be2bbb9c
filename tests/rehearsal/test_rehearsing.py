"""Whole procedures in virtual time: the real worker over a scripted world, on a server whose clock leaps."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest
from temporalio.testing import WorkflowEnvironment

from failover.config import Config
from failover.config.automation import Level
from failover.config.routes import ApprovalPoint, Approvals
from failover.policy import Mode
from failover.rehearsal import Rehearsed
from failover.roles import Operator, Role
from failover.world import Fault, FaultKind, Script
from starter.rehearsal.people import Answer
from starter.rehearsal.running import Procedure, Wanted, rehearse, usual_script


def wanted(config: Config, procedure: Procedure, *faults: Fault, **more: Any) -> Wanted:
    """Of bedrock on chat, with the procedure's usual fault where none is named."""
    script = Script(faults=faults) if faults else usual_script(procedure, config, "bedrock", None)
    wide = procedure in (Procedure.IMMEDIATE, Procedure.EMERGENCY)
    return Wanted(
        **{"procedure": procedure, "provider": "bedrock", "route": None if wide else "chat", "script": script, **more}
    )


def shares(told: Rehearsed, provider: str) -> list[int]:
    """Of chat over time, without repetitions."""
    found = [one.distribution.get(provider, 0) for one in told.policies]
    return [one for number, one in enumerate(found) if number == 0 or one != found[number - 1]]


def since_fault(told: Rehearsed, step: str) -> float:
    """Seconds from the fault (after a minute) to the first entry of a step."""
    at = next(entry.at for entry in told.timeline if entry.step == step)
    return (at - told.began).total_seconds() - 60


def with_route(config: Config, **changes: Any) -> Config:
    return config.model_copy(update={"routes": {"chat": config.routes["chat"].model_copy(update=changes)}})


def with_operators(config: Config, **roles: Role) -> Config:
    operators = {name: Operator(roles=[role]) for name, role in roles.items()}
    return config.model_copy(update={"access": config.access.model_copy(update={"operators": operators})})


async def test_an_immediate_failover_from_fault_to_good_users(
    environment: WorkflowEnvironment, shipped: Config
) -> None:
    """A hanging provider: found after 15 s, left at once, as the automation would; what follows is said, not left open."""
    told = await rehearse(
        environment, shipped, wanted(shipped, Procedure.IMMEDIATE, Fault(provider="bedrock", fault=FaultKind.HANG))
    )
    assert told.outcome == "COMPLETED", told.reason
    assert shares(told, "bedrock") == [7000, 0]
    assert since_fault(told, "detect") == pytest.approx(15, abs=0.1)
    record = told.record
    assert record is not None
    assert (record.trigger.value, record.requested_by) == ("automatic", "health-check")
    # Six more seconds at least: three good samples two seconds apart. How long this machine works counts too.
    kpis = {one.name: one.value for one in told.kpis()}
    assert kpis["detection"] == pytest.approx(15, abs=0.1)
    assert kpis["total"] is not None
    assert kpis["total"] > 15 + 2 * 2
    assert kpis["request loss"] == 0
    assert [one.split(":")[0] for one in told.follows] == ["A failback of chat would begin"]
    # It went on for longer than this rehearsal shows: nothing of it is left on the server.
    assert told.users[0].requests == pytest.approx(600 * told.took.total_seconds() / 60, abs=2)


async def test_a_failback_of_three_quarters_of_an_hour(
    environment: WorkflowEnvironment, shipped: Config, record_property: Any
) -> None:
    """Down for ten more minutes, watched for thirty, asked about, returned in five steps of three minutes."""
    down = Fault(provider="bedrock", fault=FaultKind.UNAVAILABLE, at=timedelta(0), lasts=timedelta(minutes=10))
    told = await rehearse(environment, shipped, wanted(shipped, Procedure.FAILBACK, down, answer=Answer.APPROVE))
    assert told.outcome == "COMPLETED", told.reason
    assert shares(told, "bedrock") == [0, 700, 1750, 3500, 5250, 7000]
    assert timedelta(minutes=55) <= told.took < timedelta(minutes=65)
    record_property("wall_seconds", round(told.wall_seconds, 1))
    asked = told.asked[0]
    assert (asked.run, asked.step, asked.answer) == ("failback/chat", "step-1", "approve")
    assert timedelta(minutes=40) <= asked.at - told.began
    assert asked.who == []  # nobody is named in the shipped configuration


async def test_an_approval_that_nobody_answers(environment: WorkflowEnvironment, shipped: Config) -> None:
    """Who could have, by when, and that silence is a no: no traffic moves."""
    points = Approvals(points=[ApprovalPoint.FIRST_SHIFT], deadline=timedelta(minutes=20))
    config = with_operators(with_route(shipped, approvals=points), anna=Role.APPROVE, ben=Role.VIEW, cleo=Role.OVERRIDE)
    told = await rehearse(environment, config, wanted(config, Procedure.CANARY, answer=Answer.NOBODY))
    assert (told.outcome, shares(told, "bedrock")) == ("REJECTED", [7000])
    (asked,) = told.asked
    assert (asked.who, asked.answer, asked.default) == (["anna", "cleo"], None, "it counts as rejected")
    assert asked.deadline is not None
    assert asked.deadline - asked.at == pytest.approx(timedelta(minutes=20), abs=timedelta(seconds=1))
    assert asked.reminders == 2  # after one minute and after five
    assert timedelta(minutes=21) <= told.took < timedelta(minutes=23)
    assert told.waited() == pytest.approx(timedelta(minutes=20), abs=timedelta(seconds=1))


async def test_as_many_people_as_must_agree_do(environment: WorkflowEnvironment, shipped: Config) -> None:
    points = Approvals(points=[ApprovalPoint.FIRST_SHIFT], quorum=2)
    config = with_operators(with_route(shipped, approvals=points), anna=Role.APPROVE, ben=Role.APPROVE)
    told = await rehearse(environment, config, wanted(config, Procedure.CANARY, answer=Answer.APPROVE))
    assert told.outcome == "COMPLETED", told.reason
    said = [entry.text for entry in told.timeline]
    assert any("anna" in text and "ben" in text for text in said), said


async def test_a_canary_whose_target_fails_is_rolled_back(environment: WorkflowEnvironment, shipped: Config) -> None:
    """The exit that the gates are for; the target's fault comes in the middle of the first hold."""
    bad = Fault(provider="google", fault=FaultKind.UNAVAILABLE, at=timedelta(minutes=3))
    told = await rehearse(environment, shipped, wanted(shipped, Procedure.CANARY, bad, target="google"))
    assert told.outcome == "ROLLED_BACK", told.reason
    assert shares(told, "google") == [2000, 2350, 2000]


async def test_an_emergency_ends_once_a_provider_is_back(environment: WorkflowEnvironment, shipped: Config) -> None:
    """Twenty minutes of nobody: degraded service, and normal service again."""
    told = await rehearse(environment, shipped, wanted(shipped, Procedure.EMERGENCY))
    assert told.outcome == "COMPLETED", told.reason
    modes = [one.mode for one in told.policies]
    assert (modes[0], Mode.DEGRADED in modes, modes[-1]) == (Mode.NORMAL, True, Mode.NORMAL)
    assert timedelta(minutes=21) < told.took < timedelta(minutes=30)
    assert max(point.lost_percent for point in told.curve) == 100


async def test_what_is_never_over_is_ended_and_said_so(environment: WorkflowEnvironment, shipped: Config) -> None:
    """The same server goes on with the next rehearsal afterwards."""
    for_good = [Fault(provider=name, fault=FaultKind.UNAVAILABLE) for name in shipped.providers]
    endless = wanted(shipped, Procedure.EMERGENCY, *for_good, limit=timedelta(hours=2))
    told = await rehearse(environment, shipped, endless)
    assert (told.outcome, told.reason) == ("NOT_OVER", "It was not over after 2h of virtual time.")
    again = await rehearse(environment, shipped, wanted(shipped, Procedure.IMMEDIATE))
    assert again.outcome == "COMPLETED"


@pytest.mark.parametrize("everywhere", [True, False])
async def test_certificates_are_no_part_of_the_model(
    environment: WorkflowEnvironment, shipped: Config, everywhere: bool
) -> None:
    """Nobody audits a rehearsed target; a configuration that demands certificates is not held back for want of one."""
    demanded = {"only_certified": True, "without_certificate": "ask"}
    if everywhere:
        automation = shipped.detection.automation.model_copy(update=demanded)
        config = shipped.model_copy(
            update={"detection": shipped.detection.model_copy(update={"automation": automation})}
        )
    else:
        config = with_route(shipped, automation=shipped.routes["chat"].automation.model_copy(update=demanded))
    told = await rehearse(environment, config, wanted(config, Procedure.IMMEDIATE))
    assert told.outcome == "COMPLETED", told.reason
    assert shares(told, "bedrock") == [7000, 0]


async def test_automation_that_proposes_asks_before_it_starts(
    environment: WorkflowEnvironment, shipped: Config
) -> None:
    """The question is part of what is predicted, and its answer what decides."""
    levels = shipped.detection.automation.model_copy(update={"unavailable": Level.PROPOSE})
    config = shipped.model_copy(update={"detection": shipped.detection.model_copy(update={"automation": levels})})
    outcomes: dict[Answer, tuple[str, Sequence[int]]] = {}
    for answer in (Answer.APPROVE, Answer.NOBODY):
        told = await rehearse(environment, config, wanted(config, Procedure.IMMEDIATE, answer=answer))
        assert told.asked[0].run == "proposal/failover/bedrock"
        outcomes[answer] = (told.outcome, shares(told, "bedrock"))
    assert outcomes == {Answer.APPROVE: ("COMPLETED", [7000, 0]), Answer.NOBODY: ("REJECTED", [7000])}


async def test_a_slow_provider_is_left_gradually_by_itself(environment: WorkflowEnvironment, shipped: Config) -> None:
    slow = Fault(provider="bedrock", fault=FaultKind.SLOW)
    told = await rehearse(environment, shipped, wanted(shipped, Procedure.GRADUAL, slow))
    assert told.outcome == "COMPLETED", told.reason
    assert told.record is not None
    assert told.record.trigger.value == "automatic"
    assert shares(told, "bedrock")[-1] == 0


async def test_what_would_start_by_itself_is_said_where_it_is_not_what_is_rehearsed(
    environment: WorkflowEnvironment, shipped: Config
) -> None:
    throttled = Fault(provider="bedrock", fault=FaultKind.THROTTLE, percent=50)
    told = await rehearse(environment, shipped, wanted(shipped, Procedure.IMMEDIATE, throttled))
    assert told.notes == [
        "By itself the configuration would start a gradual failover for a provider that is throttled."
    ]


async def test_a_quiet_route_takes_longer_to_verify_in_virtual_time_only(
    environment: WorkflowEnvironment, shipped: Config
) -> None:
    """Thirty requests a minute: the ten seconds of verify_timeout pass, and the run's heartbeats outlast them."""
    rehearsal = shipped.rehearsal.model_copy(update={"requests_per_minute": 30})
    config = shipped.model_copy(update={"rehearsal": rehearsal})
    told = await rehearse(environment, config, wanted(config, Procedure.IMMEDIATE))
    assert told.outcome == "COMPLETED", told.reason
    kpis = {one.name: one.value for one in told.kpis()}
    assert kpis["execution"] is not None
    assert kpis["execution"] >= 10
