"""`failoverctl token`: a new token, and what the configuration must say to know it."""

import secrets
import sys
from collections.abc import Sequence

from pydantic import ValidationError

from failover.errors import RequestError
from failover.roles import Access, Role, hashed

PREFIX = "fo_"
"""The prefix by which scanners for leaked secrets, and people, know one when they see it."""


def run_token(name: str, roles: Sequence[str]) -> int:
    token = PREFIX + secrets.token_urlsafe(32)
    lines = f"    {name}:\n      roles: [{', '.join(roles)}]\n      token: {hashed(token)}"
    try:
        Access.model_validate({"operators": {name: {"roles": list(roles), "token": hashed(token)}}})
    except ValidationError as error:
        known = ", ".join(Role)
        raise RequestError(
            f"No token was made: a name is letters, digits, dot, dash and underscore, and the roles are {known}."
        ) from error
    # The token alone on stdout: it can be piped to where secrets are kept without passing anybody's eyes.
    print("Into failover.yaml, under access:\n", file=sys.stderr)
    print(f"  operators:\n{lines}\n", file=sys.stderr)
    print("The token, shown this once:", file=sys.stderr)
    sys.stderr.flush()
    print(token)
    return 0
