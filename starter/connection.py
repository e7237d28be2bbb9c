"""Connections that the commands make: to Temporal, and to the HTTP ends of the stack."""

import asyncio
import re
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, Self

import httpx
from temporalio.client import Client, Interceptor
from temporalio.converter import DataConverter
from temporalio.envconfig import ClientConfig
from temporalio.runtime import Runtime

from failover.errors import ConfigError, DataPlaneUnavailable, RequestError, TemporalUnavailable, Unavailable
from starter.running import Stack
from starter.settings import Settings
from workflows.payloads import data_converter, encrypting

TEMPORAL_PATIENCE = timedelta(seconds=10)


def temporal_environ(environ: Mapping[str, str], stack: Stack) -> dict[str, str]:
    """Temporal's settings for the stack's own server; the environment's, where they name a server."""
    if names_a_server(environ):
        return dict(environ)
    kept = {name: value for name, value in environ.items() if not name.startswith("TEMPORAL_")}
    return {**kept, "TEMPORAL_ADDRESS": stack.need("temporal"), "TEMPORAL_NAMESPACE": stack.namespace or "default"}


def names_a_server(environ: Mapping[str, str]) -> bool:
    """Whether Temporal's own settings say where it is: by an address, or by a file or a profile that holds one."""
    return any(environ.get(name) for name in ("TEMPORAL_ADDRESS", "TEMPORAL_CONFIG_FILE", "TEMPORAL_PROFILE"))


def connect_options(settings: Settings, stack: Stack) -> dict[str, Any]:
    """What the client is told by `temporalio.envconfig`: address, namespace, API key, TLS. ConfigError where it cannot be."""
    environ = temporal_environ(settings.environ, stack)
    try:
        # The file of whoever's home it is says nothing about a stack of ours.
        loaded = ClientConfig.load_client_connect_config(
            override_env_vars=environ, disable_file=not names_a_server(settings.environ)
        )
    except RuntimeError as error:
        raise ConfigError(f"Temporal's settings cannot be used: {_short(error)}") from error
    return dict(loaded)


async def connect(
    settings: Settings,
    stack: Stack,
    *,
    runtime: Runtime | None = None,
    lazy: bool = False,
    interceptors: Sequence[Interceptor] = (),
) -> Client:
    """Connect; TemporalUnavailable, with the address and what to do, if nobody answers; `lazy`: at the first call."""
    own, options = not names_a_server(settings.environ), connect_options(settings, stack)
    address = options.get("target_host", stack.temporal)
    try:
        async with asyncio.timeout(TEMPORAL_PATIENCE.total_seconds()):
            return await Client.connect(
                **options,
                data_converter=converter(settings),
                runtime=runtime,
                lazy=lazy,
                interceptors=list(interceptors),
            )
    except (RuntimeError, TimeoutError) as error:
        hint = "start a stack with `failoverctl dev`" if own else "check TEMPORAL_ADDRESS"
        why = "no answer" if isinstance(error, TimeoutError) else _refused(error) or _short(error)
        raise TemporalUnavailable(
            f"Temporal does not answer at {address} ({why}). Nothing was started; {hint}, then try again."
        ) from error


def converter(settings: Settings) -> DataConverter:
    """How everything of ours is written for Temporal: encrypted, where there are keys."""
    if not settings.codec_keys:
        return data_converter
    from starter.codec.encryption import AesGcm

    return encrypting(AesGcm(settings.codec_keys))


def _refused(error: BaseException) -> str | None:
    """The operating system's words within the transport's."""
    words = re.search(r'message: "([^"]+)"', str(error))
    return words[1].lower() if words else None


def _short(error: BaseException) -> str:
    return str(error).splitlines()[0][:160] if str(error) else type(error).__name__


class Http:
    """JSON over HTTP to one part of the stack, with sentences for errors."""

    def __init__(self, what: str, base_url: str, token: str | None = None) -> None:
        self._what = what
        self._base_url = base_url
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        # A proxy set for the world outside is no way to a part of the stack.
        self._client = httpx.AsyncClient(base_url=base_url, headers=headers, timeout=5, trust_env=False)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.aclose()

    async def get(self, path: str, **params: str) -> Any:
        return await self._call("GET", path, params=params)

    async def put(self, path: str, body: Any) -> Any:
        return await self._call("PUT", path, json=body)

    async def delete(self, path: str) -> Any:
        return await self._call("DELETE", path)

    async def _call(self, method: str, path: str, **options: Any) -> Any:
        unavailable = DataPlaneUnavailable if self._what == "gateway" else Unavailable
        try:
            response = await self._client.request(method, path, **options)
        except httpx.HTTPError as error:
            why = _short(error) or type(error).__name__
            raise unavailable(
                f"The {self._what} does not answer at {self._base_url} ({why}); is it running?"
            ) from error
        if response.is_success:
            return response.json() if response.content else None
        detail = _detail(response)
        if response.status_code < 500:
            raise RequestError(f"The {self._what} refused: {detail}")
        raise unavailable(f"The {self._what} answered {response.status_code} to {method} {path}: {detail}")


def _detail(response: httpx.Response) -> str:
    """The sentence in an error body, in whichever of our shapes."""
    try:
        body = response.json()
    except ValueError:
        return response.text[:300].strip() or response.reason_phrase
    error = body.get("error", body) if isinstance(body, dict) else body
    if isinstance(error, dict):
        return str(error.get("message") or error.get("detail") or error)
    return str(error)
