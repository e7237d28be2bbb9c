"""Sessions: a signed cookie that holds a name and no secret, and the proof in every form that we made it."""

import base64
import hashlib
import hmac
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from cachetools import TTLCache

from failover.roles import Person, hashed
from starter.webhooks.guard import Guard

COOKIE = "failover_console"
SAID = "failover_console_said"
"""The cookie that carries one sentence over a redirect."""

REMEMBERED = 10_000
"""Sessions that were ended before their time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """Somebody logged in. `proof` goes into every form; `expires` None: the trusted proxy decides that."""

    person: Person
    id: str
    proof: str
    expires: datetime | None = None


class Signer:
    """Signs what a browser keeps for us. Every server that has the same key reads it."""

    def __init__(self, secret: str | None) -> None:
        # Without the stack's token, sessions last as long as the process.
        self._key = hmac.digest((secret or secrets.token_hex(32)).encode(), b"failover console", hashlib.sha256)

    def mac(self, *parts: str) -> str:
        return hmac.new(self._key, json.dumps(parts).encode(), hashlib.sha256).hexdigest()

    def sign(self, purpose: str, value: Mapping[str, Any]) -> str:
        body = base64.urlsafe_b64encode(json.dumps(value, separators=(",", ":")).encode()).decode().rstrip("=")
        return f"{body}.{self.mac(purpose, body)}"

    def read(self, purpose: str, text: str | None) -> dict[str, Any] | None:
        """What was signed for this purpose; None where it was not."""
        body, dot, mac = (text or "").partition(".")
        if not dot or not hmac.compare_digest(mac.encode(), self.mac(purpose, body).encode()):
            return None
        found: dict[str, Any] = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
        return found


class Sessions:
    """Begun by an operator's token, ended by time, by logging out, or by another token or none in the configuration."""

    def __init__(self, guard: Guard, signer: Signer, lifetime: timedelta) -> None:
        self._guard = guard
        self._signer = signer
        self._lifetime = lifetime
        self._ended: TTLCache[str, bool] = TTLCache(maxsize=REMEMBERED, ttl=lifetime.total_seconds())

    @property
    def seconds(self) -> int:
        """The seconds for which a browser keeps the cookie, also when a phone has closed it meanwhile."""
        return int(self._lifetime.total_seconds())

    def begin(self, token: str, now: datetime) -> str | None:
        """The cookie for whose token this is; None where it is nobody's."""
        person = self._guard.by_token(token)
        if person is None:
            return None
        told = {
            "name": person.name,
            "bound": self._bound(hashed(token)),
            "id": secrets.token_urlsafe(12),
            "expires": int((now + self._lifetime).timestamp()),
        }
        return self._signer.sign("session", told)

    def find(self, cookie: str | None, now: datetime) -> Session | None:
        """The session of a cookie, with the person and roles of the configuration now; None if it is not valid."""
        told = self._signer.read("session", cookie)
        if told is None or told["expires"] <= now.timestamp() or told["id"] in self._ended:
            return None
        kept = self._guard.kept(told["name"])
        if kept is None or not hmac.compare_digest(told["bound"], self._bound(kept[1])):
            return None
        expires = datetime.fromtimestamp(told["expires"], tz=now.tzinfo)
        return Session(person=kept[0], id=told["id"], proof=self._proof(kept[0], told["id"]), expires=expires)

    def of_proxy(self, person: Person) -> Session:
        """The session of a person whom the trusted proxy names at each request."""
        return Session(person=person, id="", proof=self._proof(person, "proxy"))

    def end(self, session: Session) -> None:
        if session.id:
            self._ended[session.id] = True

    def proved(self, session: Session, proof: str) -> bool:
        """Whether a form was made by us for this session."""
        return hmac.compare_digest(session.proof.encode(), proof.encode())

    def _proof(self, person: Person, id_: str) -> str:
        return self._signer.mac("form", person.name, id_)

    def _bound(self, token_hash: str) -> str:
        """A new token ends the sessions of the old one; the cookie must not tell its hash."""
        return self._signer.mac("token", token_hash)
