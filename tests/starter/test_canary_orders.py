"""`canary` is four orders behind the runbook's one name: which is meant, and what each of them takes."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import pytest

from failover.errors import RequestError
from starter.procedures.canary_orders import TAKES, Meant, Order, Rollback, Sample, Start, Typed, Update, which_order

NOBODY = Meant(run=None, route=None, actor=None, comment="")


@pytest.mark.parametrize(
    ("typed", "order"),
    [
        (
            {"source_provider": "bedrock"},
            Start(source="bedrock", target=None, route=None, reason="", dry_run=False),
        ),
        (
            {"source_provider": "bedrock", "target_provider": "google", "traffic_percentage": "5", "duration": "300"},
            Start(source="bedrock", target="google", route=None, reason="", traffic="5", duration="300", dry_run=False),
        ),
        (
            {"source_provider": "bedrock", "synthetic": 0, "approval": ["each_step"], "dry_run": True},
            Start(
                source="bedrock", target=None, route=None, reason="", synthetic=0, approvals=["each_step"], dry_run=True
            ),
        ),
        ({"update_traffic": "25"}, Update(meant=NOBODY, percent="25")),
        (
            {"update_traffic": "25", "run": "canary/chat", "route": "chat", "actor": "anna", "reason": "slow"},
            Update(meant=Meant(run="canary/chat", route="chat", actor="anna", comment="slow"), percent="25"),
        ),
        ({"rollback": True}, Rollback(meant=NOBODY)),
        ({"validation_mode": True}, Sample(route=None, size=None, threshold=None)),
        (
            {"validation_mode": True, "sample_size": 100, "success_threshold": "95%", "route": "chat"},
            Sample(route="chat", size=100, threshold="95%"),
        ),
    ],
)
def test_which_order_is_meant(typed: Mapping[str, Any], order: Order) -> None:
    """By the one option that names it, with what it takes."""
    assert which_order(Typed(**typed)) == order


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ({}, "Give one of --source-provider"),
        ({"sample_size": 10}, "Give one of --source-provider"),
        ({"source_provider": "bedrock", "rollback": True}, "Give one of --source-provider"),
        ({"source_provider": "", "rollback": True}, "Give one of --source-provider"),
        ({"update_traffic": "25", "validation_mode": True}, "Give one of --source-provider"),
        ({"rollback": True, "dry_run": True}, "--dry-run goes with --source-provider, not with --rollback"),
        ({"update_traffic": "25", "dry_run": True}, "--dry-run goes with --source-provider, not with --update-traffic"),
        ({"update_traffic": "25", "step_duration": "60"}, "--step-duration goes with --source-provider"),
        ({"update_traffic": "25", "success_threshold": "9%"}, "goes with --source-provider or --validation-mode"),
        ({"rollback": True, "sample_size": 3}, "--sample-size goes with --validation-mode, not with --rollback"),
        ({"source_provider": "bedrock", "run": "canary/chat"}, "--run goes with --update-traffic or --rollback"),
        ({"validation_mode": True, "reason": "curious"}, "--reason goes with"),
    ],
)
def test_what_an_order_would_ignore_is_refused(typed: Mapping[str, Any], words: str) -> None:
    """Above all a --dry-run: whoever asks for a plan of a rollback must not get the rollback."""
    with pytest.raises(RequestError, match=words):
        which_order(Typed(**typed))


def test_every_option_is_taken_by_some_order() -> None:
    """One that none takes would be refused with all of them."""
    assert set(TAKES) | set().union(*TAKES.values()) == {field.name for field in fields(Typed)}
