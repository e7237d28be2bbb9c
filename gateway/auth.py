"""The permission to change a policy: whoever holds the token has it."""

import secrets

from starlette.requests import Request


class Auth:
    """Bearer token, compared in constant time. Without a token only a server bound to loopback takes changes."""

    def __init__(self, token: str | None, *, loopback: bool) -> None:
        self._token = token
        self._loopback = loopback

    def why_not(self, request: Request) -> str | None:
        """Why this request may not change anything; None where it may."""
        if self._token is None:
            return None if self._loopback else "This gateway has no FAILOVER_API_TOKEN, so it takes no changes."
        given = request.headers.get("authorization", "")
        if secrets.compare_digest(given.encode(), f"Bearer {self._token}".encode()):
            return None
        return "Changing a policy needs the header Authorization: Bearer with the API token."
