"""The embedded gateway as a data plane, and as the keeper of the automation hold, over its HTTP API."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, TypeVar

import httpx
from pydantic import TypeAdapter, ValidationError

from failover.automation import Hold
from failover.completion import Answer, Completion, FinishReason, Usage
from failover.drill import Fault
from failover.errors import DataPlaneUnavailable, ProviderError, RequestError
from failover.failure import Failure, FailureKind
from failover.policy import Change, ChangeResult, TrafficPolicy
from failover.telemetry import Telemetry

T = TypeVar("T")

TIMEOUT = timedelta(seconds=5)
"""The timeout of one call; activities try again."""

_POLICIES = TypeAdapter(list[TrafficPolicy])
_CHANGES = TypeAdapter(list[Change])
_RESULTS = TypeAdapter(list[ChangeResult])
_OBEYED = TypeAdapter(dict[str, dict[str, str]])
_TELEMETRY = TypeAdapter(Telemetry)
_HOLD: TypeAdapter[Hold | None] = TypeAdapter(Hold | None)


class GatewayPlane:
    """Reads, changes, observes and asks one gateway."""

    def __init__(self, url: str, *, token: str | None, context: Callable[[], Mapping[str, str]] | None = None) -> None:
        """`context`: headers that each call carries, made as it goes out; a trace's, where there is one."""
        self._url = url
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._http = httpx.AsyncClient(
            base_url=url,
            headers=headers,
            timeout=TIMEOUT.total_seconds(),
            trust_env=False,
            event_hooks={"request": [_carrying(context)]} if context else None,
        )

    async def read(self, routes: Sequence[str] | None = None) -> Sequence[TrafficPolicy]:
        # Many names would not fit into a URL: then all are read, and the wanted ones kept.
        params = [("route", route) for route in routes] if routes is not None and len(routes) <= 50 else []
        answer = await self._call("GET", "/policies", params=params)
        policies = self._understand(lambda: _POLICIES.validate_python(answer["policies"]))
        wanted = None if routes is None else set(routes)
        return [policy for policy in policies if wanted is None or policy.route in wanted]

    async def apply(self, changes: Sequence[Change]) -> Sequence[ChangeResult]:
        answer = await self._call(
            "POST", "/policies", json={"changes": _CHANGES.dump_python(list(changes), mode="json")}
        )
        return self._understand(lambda: _RESULTS.validate_python(answer["results"]))

    async def observe(
        self, *, window: timedelta | None = None, since: datetime | None = None, until: datetime | None = None
    ) -> Telemetry | None:
        params = {"window": str(window.total_seconds())} if window is not None else {}
        params |= {name: moment.isoformat() for name, moment in (("since", since), ("until", until)) if moment}
        answer = await self._call("GET", "/telemetry", params=params)
        return self._understand(lambda: _TELEMETRY.validate_python(answer))

    async def obeyed(self) -> Mapping[str, Mapping[str, str]]:
        answer = await self._call("GET", "/policies")
        return self._understand(lambda: _OBEYED.validate_python(answer["instances"]))

    async def ask(self, route: str, completion: Completion, *, timeout: timedelta) -> tuple[str, Answer]:
        return await self._chat(route, completion, timeout, {"X-Failover-Synthetic": "1"})

    async def probe(self, route: str, provider: str, completion: Completion, *, timeout: timedelta) -> Answer:
        headers = {"X-Failover-Synthetic": "1", "X-Failover-Only": provider}
        return (await self._chat(route, completion, timeout, headers))[1]

    async def use(self, route: str, completion: Completion, *, timeout: timedelta) -> Answer:
        return (await self._chat(route, completion, timeout, {}))[1]

    async def _chat(
        self, route: str, completion: Completion, timeout: timedelta, headers: Mapping[str, str]
    ) -> tuple[str, Answer]:
        body = {
            "model": route,
            "messages": [{"role": message.role.value, "content": message.text} for message in completion.messages],
            **({"max_tokens": completion.max_tokens} if completion.max_tokens else {}),
        }
        try:
            response = await self._http.post(
                "/v1/chat/completions", json=body, headers=dict(headers), timeout=timeout.total_seconds()
            )
            answer = response.json()
        except (httpx.HTTPError, ValueError) as error:
            raise _unanswered(route, FailureKind.NETWORK, str(error) or type(error).__name__) from error
        if not response.is_success:
            error_body = answer.get("error", {}) if isinstance(answer, dict) else {}
            kind = error_body.get("code")
            known = FailureKind(kind) if kind in set(FailureKind) else FailureKind.SERVER_ERROR
            raise _unanswered(route, known, str(error_body.get("message", response.status_code)))
        text = answer["choices"][0]["message"]["content"] or ""
        served_by = response.headers.get("X-Failover-Provider", "")
        return served_by, Answer(text=text, finish=FinishReason.STOP, usage=Usage())

    async def hold(self) -> Hold | None:
        answer = await self._call("GET", "/automation/hold")
        return self._understand(lambda: _HOLD.validate_python(answer["hold"]))

    async def keep_hold(self, hold: Hold | None) -> None:
        if hold is None:
            await self._call("DELETE", "/automation/hold")
        else:
            await self._call("PUT", "/automation/hold", json=_HOLD.dump_python(hold, mode="json"))

    async def inject(self, fault: Fault) -> datetime:
        body = {
            "kind": fault.kind,
            "drill": fault.drill,
            "seconds": fault.lasts.total_seconds(),
            "percent": fault.percent,
        }
        at = [
            (await self._call("PUT", f"/faults/{fault.route}/{provider}", json=body))["at"]
            for provider in fault.providers
        ]
        return self._understand(lambda: datetime.fromisoformat(at[0]))

    async def heal(self, route: str, drill: str) -> None:
        await self._call("DELETE", f"/faults/{route}", params={"drill": drill})

    async def aclose(self) -> None:
        await self._http.aclose()

    async def _call(self, method: str, path: str, **options: Any) -> Any:
        try:
            response = await self._http.request(method, path, **options)
        except httpx.HTTPError as error:
            why = str(error) or type(error).__name__
            raise DataPlaneUnavailable(f"The gateway at {self._url} does not answer ({why}).") from error
        if response.is_server_error:
            raise DataPlaneUnavailable(
                f"The gateway at {self._url} answered {response.status_code} to {method} {path}."
            )
        if response.is_error:
            raise RequestError(f"The gateway at {self._url} refused {method} {path}: {_sentence(response)}")
        return self._understand(response.json)

    def _understand(self, read: Callable[[], T]) -> T:
        try:
            return read()
        except (ValidationError, ValueError, KeyError, TypeError) as error:
            raise DataPlaneUnavailable(f"The gateway at {self._url} answered in no form that is known.") from error


def _sentence(response: httpx.Response) -> str:
    try:
        return str(response.json()["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return str(response.status_code)


def _unanswered(route: str, kind: FailureKind, detail: str) -> ProviderError:
    return ProviderError(Failure(kind=kind, provider=f"route {route}", detail=detail[:200]))


def _carrying(context: Callable[[], Mapping[str, str]]) -> Callable[[httpx.Request], Awaitable[None]]:
    async def carry(request: httpx.Request) -> None:
        request.headers.update(context())

    return carry
