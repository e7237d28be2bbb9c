"""Who may do what, decided purely; and the tokens that people are known by."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from failover.config_file import parse
from failover.driving import Verb
from failover.errors import ConfigError
from failover.roles import NEEDS, Access, Act, Person, Role, by_proxy, by_slack, by_token, hashed

MAY = {
    Role.VIEW: {Act.LOOK},
    Role.START: {Act.LOOK, Act.START, Act.NOTE, Act.PAUSE, Act.RESUME, Act.RETRY, Act.SET_PERCENT, Act.ABORT},
    Role.APPROVE: {Act.LOOK, Act.APPROVE, Act.REJECT, Act.ABORT},
    Role.OVERRIDE: set(Act),
}


@pytest.mark.parametrize("act", Act)
@pytest.mark.parametrize("role", Role)
def test_every_role_may_do_what_it_is_for_and_nothing_else(role: Role, act: Act) -> None:
    """All of the table, every cell of it."""
    why = Person(name="anna", roles=frozenset({role})).why_not(act)
    assert (why is None) == (act in MAY[role])
    if why is not None:
        assert why.startswith("anna may not")
        assert f"the roles held are {role.value}" in why


def test_every_order_that_drives_a_run_needs_a_role() -> None:
    """A verb that is added without one would be a hole."""
    assert {verb.value for verb in Verb} <= {act.value for act in NEEDS}
    assert set(NEEDS) == set(Act)


def access(**more: Any) -> Access:
    operators = {
        "anna": {
            "roles": ["approve"],
            "token": hashed("anna's"),
            "slack_user": "U0ANNA",
            "proxy_name": "anna@example.com",
        },
        "ben": {"roles": ["view", "start"], "token": hashed("ben's")},
    }
    return Access.model_validate({"operators": operators} | more)


def test_a_token_is_known_by_its_hash() -> None:
    """The configuration holds nothing that opens a door."""
    assert by_token("anna's", access()) == Person(name="anna", roles=frozenset({Role.APPROVE}))
    assert by_token("ben's", access()) == Person(name="ben", roles=frozenset({Role.VIEW, Role.START}))
    assert by_token(hashed("anna's"), access()) is None
    assert by_token("", access()) is None
    assert "anna's" not in repr(access())
    assert hashed("anna's") not in repr(access())


def test_slack_members_are_known_by_their_id() -> None:
    """And nobody else is anybody."""
    found = by_slack("U0ANNA", access())
    assert found is not None and found.name == "anna"
    assert by_slack("U0OTHER", access()) is None


@pytest.mark.parametrize(
    ("peer", "named", "known"),
    [
        ("10.0.0.7", "anna@example.com", True),
        ("10.0.0.8", "anna@example.com", False),
        ("10.0.0.7", "ben", False),
        ("2001:db8::1", "anna@example.com", True),
        ("no address", "anna@example.com", False),
        (None, "anna@example.com", False),
    ],
)
def test_a_proxys_word_counts_only_from_where_it_stands(peer: str | None, named: str, known: bool) -> None:
    """The header of anybody else is a claim."""
    behind = access(proxy_header="X-Forwarded-User", proxy_networks=["10.0.0.7/32", "2001:db8::/32"])
    assert (by_proxy(named, peer, behind) is not None) == known
    assert by_proxy(named, peer, access()) is None


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"proxy_header": "X-User"}, "proxy_header needs proxy_networks"),
        ({"operators": {"a": {"roles": []}}}, "roles"),
        ({"operators": {"a": {"roles": ["root"]}}}, "roles"),
        ({"operators": {"a": {"roles": ["view"], "slack_user": "@anna"}}}, "slack_user"),
        (
            {"operators": {name: {"roles": ["view"], "slack_user": "U0ANNA"} for name in "ab"}},
            "two operators have the same slack_user",
        ),
        (
            {"operators": {name: {"roles": ["view"], "token": hashed("x")} for name in "ab"}},
            "two operators have the same token",
        ),
    ],
)
def test_access_that_cannot_be_meant_is_refused(change: dict[str, Any], said: str) -> None:
    """When it is loaded, by its key."""
    with pytest.raises(ValidationError, match=said):
        Access.model_validate(change)


def test_a_token_written_where_its_hash_belongs_is_not_repeated() -> None:
    """The complaint would stand in logs for longer than the mistake in the file."""
    text = (Path(__file__).parents[2] / "failover.yaml").read_text()
    text = text.replace("operators: {}", "operators: {anna: {roles: [view], token: fo_secret}}")
    with pytest.raises(ConfigError) as refused:
        parse(text, "failover.yaml")
    assert re.search(r"failover.yaml:\d+: access.operators.anna.token: ", str(refused.value))
    assert "fo_secret" not in str(refused.value)


def ctl(*arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "starter", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_the_token_command_prints_the_token_alone_and_the_lines_that_know_it() -> None:
    """On stdout and stderr: what is piped on is the token, what is read is the hash."""
    made = ctl("token", "anna", "--role", "approve", "--role", "view")
    assert made.returncode == 0
    token = made.stdout.strip()
    lines = made.stderr[made.stderr.index("  operators:") : made.stderr.index("The token")]
    found = by_token(token, Access.model_validate(yaml.safe_load(lines)))
    assert found == Person(name="anna", roles=frozenset({Role.APPROVE, Role.VIEW}))
    assert token not in made.stderr
    assert ctl("token", "anna").stdout.strip() != token


@pytest.mark.parametrize("arguments", [("anna", "--role", "root"), ("anna bell",)])
def test_a_token_for_what_cannot_be_meant_is_not_made(arguments: tuple[str, ...]) -> None:
    """Exit 2, what is allowed, and no token."""
    made = ctl("token", *arguments)
    assert (made.returncode, made.stdout) == (2, "")
    assert "view, start, approve, override" in made.stderr
