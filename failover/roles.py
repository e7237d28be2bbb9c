"""Who may do what: operators, how they are recognised, and which role each act needs. Pure: who asks brings the evidence."""

import hashlib
import hmac
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import Annotated, Self

from pydantic import BaseModel, Field, model_validator

from failover.section import STRICT, Name

HASHED = "sha256:"
"""What a token's hash begins with. Tokens are long and random, so one round of SHA-256 is as good as any."""


class Role(StrEnum):
    VIEW = "view"
    """See runs, plans and timelines."""
    START = "start"
    """Start procedures, and drive those that run: pause, resume, retry, set a percent, leave a note."""
    APPROVE = "approve"
    """Agree to a step that waits, or refuse it."""
    OVERRIDE = "override"
    """Everything, also what skips an approval, a gate or a wait: escalate, advance, starting without them."""


class Act(StrEnum):
    """What can be asked for; the verbs that drive a run among them."""

    LOOK = "look"
    START = "start"
    SKIP_APPROVALS = "start_without_approvals"
    NOTE = "note"
    PAUSE = "pause"
    RESUME = "resume"
    RETRY = "retry"
    SET_PERCENT = "set_percent"
    APPROVE = "approve"
    REJECT = "reject"
    ABORT = "abort"
    ADVANCE = "advance"
    ESCALATE = "escalate"


_STARTERS = frozenset({Role.START, Role.OVERRIDE})
_APPROVERS = frozenset({Role.APPROVE, Role.OVERRIDE})

NEEDS: Mapping[Act, frozenset[Role]] = {
    Act.LOOK: frozenset(Role),
    **dict.fromkeys((Act.START, Act.NOTE, Act.PAUSE, Act.RESUME, Act.RETRY, Act.SET_PERCENT), _STARTERS),
    Act.APPROVE: _APPROVERS,
    Act.REJECT: _APPROVERS,
    # Whoever may begin a run or agree to it may also end it: an abort puts back what was found.
    Act.ABORT: _STARTERS | _APPROVERS,
    # Whoever may only start must not drop what a route demands of everybody, by a word in the request.
    Act.SKIP_APPROVALS: frozenset({Role.OVERRIDE}),
    Act.ADVANCE: frozenset({Role.OVERRIDE}),
    Act.ESCALATE: frozenset({Role.OVERRIDE}),
}
"""Act → the roles of which any one will do."""


class Operator(BaseModel):
    """Somebody who may do something, and how each door recognises them."""

    model_config = STRICT

    roles: list[Role] = Field(min_length=1)
    token: Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")] | None = Field(default=None, repr=False)
    """What `failoverctl token` printed: the hash of the token, never the token."""
    slack_user: Annotated[str, Field(pattern=r"^[UW][A-Z0-9]{2,20}$")] | None = None
    """Slack's member id (profile → Copy member ID); names can be changed by their owners, ids cannot."""
    proxy_name: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    """What the trusted proxy writes into its header."""


class Access(BaseModel):
    """Who is who, at every door of the webhook server."""

    model_config = STRICT

    operators: dict[Name, Operator] = {}
    proxy_header: Annotated[str, Field(pattern=r"^[A-Za-z0-9-]+$")] | None = None
    """In which a trusted proxy names the person that it has recognised, such as X-Forwarded-User; None: no proxy."""
    proxy_networks: list[IPv4Network | IPv6Network] = []
    """Where that proxy's own connections come from; from anywhere else the header means nothing."""

    @model_validator(mode="after")
    def _means_one_person(self) -> Self:
        if self.proxy_header is not None and not self.proxy_networks:
            raise ValueError("proxy_header needs proxy_networks: whose word about who is asking is believed")
        for what in ("token", "slack_user", "proxy_name"):
            known = [value for one in self.operators.values() if (value := getattr(one, what)) is not None]
            if len(known) != len(set(known)):
                raise ValueError(f"two operators have the same {what}; each must mean one person")
        return self


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """A person who was recognised."""

    name: str
    roles: frozenset[Role]

    def why_not(self, act: Act) -> str | None:
        """Why they may not do this, with what they would need; None where they may."""
        if NEEDS[act] & self.roles:
            return None
        wanted = " or ".join(sorted(role.value for role in NEEDS[act]))
        held = ", ".join(sorted(role.value for role in self.roles))
        return f"{self.name} may not {act.value.replace('_', ' ')}: that needs the role {wanted}, and the roles held are {held}."


def hashed(token: str) -> str:
    """The form in which a token is kept."""
    return HASHED + hashlib.sha256(token.encode()).hexdigest()


def by_token(token: str, access: Access) -> Person | None:
    """The person whose token this is. Every operator's is compared, and each in constant time."""
    given, found = hashed(token), None
    for name, operator in access.operators.items():
        if operator.token is not None and hmac.compare_digest(operator.token, given):
            found = Person(name=name, roles=frozenset(operator.roles))
    return found


def by_slack(user: str, access: Access) -> Person | None:
    """The operator that a Slack member is."""
    return _first(access, lambda operator: operator.slack_user == user)


def by_proxy(header: str, peer: str | None, access: Access) -> Person | None:
    """The operator that the trusted proxy names; None if the connection is not the proxy's."""
    if access.proxy_header is None or not _from_proxy(peer, access):
        return None
    return _first(access, lambda operator: operator.proxy_name == header)


def _from_proxy(peer: str | None, access: Access) -> bool:
    try:
        address = ip_address(peer or "")
    except ValueError:
        return False
    return any(address in network for network in access.proxy_networks)


def _first(access: Access, is_it: Callable[[Operator], bool]) -> Person | None:
    return next(
        (
            Person(name=name, roles=frozenset(operator.roles))
            for name, operator in access.operators.items()
            if is_it(operator)
        ),
        None,
    )
