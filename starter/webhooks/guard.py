"""The guard of the doors: senders prove themselves, operators by token or a trusted proxy; and how often they may."""

import hmac
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

from starlette.requests import Request

from failover.config import Config
from failover.roles import Act, Person, Role, by_proxy, by_token, hashed
from failover.senders import Sender
from failover.signatures import (
    bearer_of,
    why_not_basic,
    why_not_bearer,
    why_not_generic,
    why_not_grafana,
    why_not_pagerduty,
)
from starter.webhooks.answers import Refused, later, unknown
from starter.webhooks.memory import Rate

HOLDER = "api-token"
"""Name of whoever holds the stack's own token (FAILOVER_API_TOKEN), who may do everything."""


class Guard:
    """Recognises, and refuses. `secrets` are the environment's, by name; nothing of them is ever told."""

    def __init__(self, config: Config, secrets: Mapping[str, str], api_token: str | None) -> None:
        self._config = config
        self._secrets = secrets
        self._api_token = api_token
        settings = config.webhooks
        self._rate = Rate(settings.requests_per_second, settings.burst)
        self._refusals = Rate(settings.refusals_per_minute / 60, settings.refusals_per_minute)

    def permit(self, request: Request, act: Act) -> Person:
        """The operator who asks, where they may do that. Refused: 401 for nobody, 403 for somebody who may not."""
        person = self._operator(request)
        if person is None:
            raise self.refusal(
                request, "Nobody whom we know asks: send Authorization: Bearer with an operator's token."
            )
        self.allow(person, act)
        return person

    def allow(self, person: Person, act: Act) -> None:
        """Raise Refused: 403 if somebody recognised may not do that, 503 if they ask too often."""
        self.pace(person.name)
        if (why := person.why_not(act)) is not None:
            raise Refused(403, f"{why[0].upper()}{why[1:]}")

    def sender(self, name: str, sender: Sender, request: Request, body: bytes) -> str:
        """Check a delivery → the operator whose token proves it, "" if the sender's secret does. SNS proves itself elsewhere."""
        why = self._why_not(sender, request.headers, body)
        operator = "" if why is None else self._starter(sender, request)
        if why is not None and not operator:
            raise self.refusal(request, f"This delivery is refused: {why}.")
        self.pace(name)
        return operator

    def refusal(self, request: Request, sentence: str) -> Refused:
        """A 401, and 429 for whoever has had too many. Only those who prove nothing are held off: an attacker behind the
        same proxy as a sender must not be able to silence its alerts."""
        wait = self._refusals.take(_address(request))
        if wait:
            return later(429, "Too many requests from there were refused; wait, and send the right credentials.", wait)
        return unknown(sentence)

    def pace(self, name: str) -> None:
        """Refuse with 503 past the rate: Alertmanager and Datadog send again after 5xx only."""
        wait = self._rate.take(name)
        if wait:
            raise later(503, f"{name} sends more than is taken (webhooks.requests_per_second); send it again.", wait)

    def kept(self, name: str) -> tuple[Person, str] | None:
        """A person who has proved a token before, with its hash as it is known now; None if there is none any more."""
        if name == HOLDER:
            holder = Person(name=HOLDER, roles=frozenset({Role.OVERRIDE}))
            return (holder, hashed(self._api_token)) if self._api_token else None
        operator = self._config.access.operators.get(name)
        if operator is None or operator.token is None:
            return None
        return Person(name=name, roles=frozenset(operator.roles)), operator.token

    def secrets_of(self, sender: Sender) -> list[str]:
        return self._secrets.get(sender.secret_env or "", "").split()

    def _operator(self, request: Request) -> Person | None:
        token = bearer_of(request.headers)
        return self.by_proxy(request) if token is None else self.by_token(token)

    def by_proxy(self, request: Request) -> Person | None:
        """The person that the trusted proxy names; None if it names nobody that we know, or another says so."""
        header = self._config.access.proxy_header
        named = request.headers.get(header) if header else None
        peer = request.client.host if request.client else None
        return by_proxy(named, peer, self._config.access) if named else None

    def by_token(self, token: str) -> Person | None:
        """The person whose token this is."""
        if self._api_token and hmac.compare_digest(token.encode(), self._api_token.encode()):
            return Person(name=HOLDER, roles=frozenset({Role.OVERRIDE}))
        return by_token(token, self._config.access)

    def _starter(self, sender: Sender, request: Request) -> str:
        """The operator whose token is as good as a bearer's own."""
        token = bearer_of(request.headers)
        person = self.by_token(token) if token is not None and sender.how == "bearer" else None
        return person.name if person is not None and person.why_not(Act.START) is None else ""

    def _why_not(self, sender: Sender, headers: Mapping[str, str], body: bytes) -> str | None:
        secrets, window, now = self.secrets_of(sender), self._config.webhooks.replay_window, datetime.now(UTC)
        if not secrets and sender.how != "bearer":
            return f"its secret ({sender.secret_env}) is not set at this server"
        checks: Mapping[str, Callable[[], str | None]] = {
            "bearer": lambda: why_not_bearer(headers, secrets),
            "basic": lambda: why_not_basic(headers, sender.user, secrets),
            "pagerduty": lambda: why_not_pagerduty(headers, body, secrets),
            "grafana": lambda: why_not_grafana(headers, body, secrets, sender.timestamp_header, window, now),
            "generic": lambda: why_not_generic(headers, body, secrets, window, now),
            "deploy": lambda: why_not_generic(headers, body, secrets, window, now),
        }
        return checks[sender.kind if sender.how == "signature" else sender.how]()


def _address(request: Request) -> str:
    return request.client.host if request.client else "unknown"
