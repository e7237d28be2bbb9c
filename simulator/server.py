"""The simulator: every provider on a port of its own, and one port to control them."""

import asyncio
import importlib
import socket
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from starlette.types import ASGIApp

from simulator import bedrock, llama, openai, vertex
from simulator.control import control_app
from simulator.faults import Fault, FaultKind, FaultRejected
from simulator.listener import Listener, reserve
from simulator.provider import ProviderKind, SimulatedProvider

if TYPE_CHECKING:
    from simulator.vertex_grpc import PredictionPort

DEFAULT_SEED = 7
DEFAULT_LATENCY = timedelta(milliseconds=5)

_APPS: Mapping[ProviderKind, Callable[[SimulatedProvider], ASGIApp]] = {
    ProviderKind.BEDROCK: bedrock.app,
    ProviderKind.VERTEX: vertex.app,
    ProviderKind.LLAMA: llama.app,
    ProviderKind.OPENAI: openai.app,
}
_BASE_PATHS = {ProviderKind.LLAMA: "/v1", ProviderKind.OPENAI: "/v1"}


class UnknownProvider(FaultRejected):
    """A provider key that this simulator does not have."""


class Endpoint:
    """One provider with its ports. Opening and closing them is serialised: a fault may end while another begins."""

    def __init__(self, provider: SimulatedProvider, listener: Listener, host: str) -> None:
        self.provider = provider
        self.listener = listener
        self.grpc_target: str | None = None
        self._host = host
        self._grpc: PredictionPort | None = None
        self._grpc_reservation: socket.socket | None = None
        self._lock = asyncio.Lock()
        self._changes = 0
        self._endings: set[asyncio.Task[None]] = set()

    async def add_grpc(self, port: int) -> None:
        """Adds the second transport; its vendor messages are imported here, off the event loop."""
        module = await asyncio.to_thread(importlib.import_module, "simulator.vertex_grpc")
        self._grpc_reservation = reserve(self._host, port)
        address = f"{self._host}:{self._grpc_reservation.getsockname()[1]}"
        self._grpc = module.PredictionPort(self.provider, address)
        self.grpc_target = address

    async def open(self) -> None:
        await self.listener.open()
        if self._grpc:
            await self._grpc.open()

    async def close(self) -> None:
        await self.listener.close()
        if self._grpc:
            await self._grpc.close()

    async def release(self) -> None:
        for ending in self._endings:
            ending.cancel()
        async with self._lock:
            await self.close()
            await self.listener.release()
            if self._grpc_reservation:
                self._grpc_reservation.close()

    async def set_fault(self, fault: Fault | None) -> None:
        """Puts the fault in force, or none, and has the ports follow before it returns."""
        async with self._lock:
            await self._replace(fault)

    async def _replace(self, fault: Fault | None) -> None:
        was_refusing = self.provider.fault is not None and self.provider.fault.kind is FaultKind.REFUSED
        refuses = fault is not None and fault.kind is FaultKind.REFUSED
        self.provider.set_fault(fault)
        self._changes += 1
        if refuses and not was_refusing:
            await self.close()
        elif was_refusing and not refuses:
            await self.open()
        if fault and fault.lifetime:
            ending = asyncio.create_task(self._end_after(fault.lifetime, self._changes))
            self._endings.add(ending)
            ending.add_done_callback(self._endings.discard)

    async def _end_after(self, lifetime: timedelta, change: int) -> None:
        """Ends the fault that came with `change`, unless another one has replaced it by then."""
        await asyncio.sleep(lifetime.total_seconds())
        async with self._lock:
            if self._changes == change:
                await self._replace(None)


class Simulator:
    """All providers of one process. Use it as an async context manager, or `start` and `stop` it.

    Raises PortInUse on start when a wanted port is taken.
    """

    def __init__(
        self,
        providers: Mapping[str, str],
        *,
        seed: int = DEFAULT_SEED,
        grpc: bool = False,
        latency: timedelta = DEFAULT_LATENCY,
        host: str = "127.0.0.1",
        advertised: str | None = None,
        ports: Mapping[str, int] | None = None,
        grpc_ports: Mapping[str, int] | None = None,
        control_port: int = 0,
        models: Mapping[str, Sequence[str]] | None = None,
        knows: Mapping[str, str] | None = None,
    ) -> None:
        self._providers = {
            key: SimulatedProvider(
                key, ProviderKind(kind), seed=seed, latency=latency, extra_models=tuple((models or {}).get(key, ()))
            )
            for key, kind in providers.items()
        }
        for provider in self._providers.values():
            provider.knows = dict(knows or {})
        self._host = host
        self._advertised = advertised or ("127.0.0.1" if host == "0.0.0.0" else host)
        self._ports = ports or {}
        self._grpc_ports = grpc_ports or {}
        self._with_grpc = grpc
        self._control_port = control_port
        self._endpoints: dict[str, Endpoint] = {}
        self._control: Listener | None = None

    async def start(self) -> None:
        try:
            for key, provider in self._providers.items():
                await self._add(key, provider)
            for endpoint in self._endpoints.values():
                await endpoint.open()
            self._control = Listener(control_app(self), host=self._host, port=self._control_port)
            await self._control.open()
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Ends every listener and connection, and gives the ports back."""
        if self._control:
            await self._control.release()
        await asyncio.gather(*(endpoint.release() for endpoint in self._endpoints.values()))
        self._endpoints, self._control = {}, None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    @property
    def control_url(self) -> str:
        assert self._control, "the simulator is not running"
        return self._url(self._control)

    @property
    def urls(self) -> dict[str, str]:
        """Base URL of each provider, as its client wants it."""
        return {
            key: self._url(endpoint.listener) + _BASE_PATHS.get(endpoint.provider.kind, "")
            for key, endpoint in self._endpoints.items()
        }

    @property
    def grpc_targets(self) -> dict[str, str]:
        """host:port of each provider that speaks gRPC."""
        return {key: one.grpc_target for key, one in self._endpoints.items() if one.grpc_target}

    def addresses(self) -> dict[str, Any]:
        """Everything that a client must know, as in the ready file."""
        providers: dict[str, dict[str, Any]] = {}
        for key, url in self.urls.items():
            endpoint = self._endpoints[key]
            providers[key] = {"kind": endpoint.provider.kind.value, "url": url}
            if endpoint.provider.kind is ProviderKind.VERTEX:
                providers[key]["grpc"] = endpoint.grpc_target
        return {"control": self.control_url, "providers": providers}

    async def set_fault(self, provider: str, fault: Fault) -> None:
        """Replaces whatever fault the provider has. Raises UnknownProvider."""
        await self._endpoint(provider).set_fault(fault)

    async def clear_fault(self, provider: str) -> None:
        """Clear the fault that the provider has. Raises UnknownProvider."""
        await self._endpoint(provider).set_fault(None)

    async def clear_faults(self) -> None:
        for endpoint in self._endpoints.values():
            await endpoint.set_fault(None)

    def faults(self) -> dict[str, dict[str, object] | None]:
        """Provider → its fault in force, or None."""
        return {key: provider.fault.as_json() if provider.fault else None for key, provider in self._providers.items()}

    def stats(self) -> dict[str, dict[str, Any]]:
        return {key: provider.counters.as_json() for key, provider in self._providers.items()}

    def reset_stats(self) -> None:
        for provider in self._providers.values():
            provider.reset_counters()

    async def _add(self, key: str, provider: SimulatedProvider) -> None:
        listener = Listener(_APPS[provider.kind](provider), host=self._host, port=self._ports.get(key, 0))
        endpoint = self._endpoints[key] = Endpoint(provider, listener, self._host)
        if self._with_grpc and provider.kind is ProviderKind.VERTEX:
            await endpoint.add_grpc(self._grpc_ports.get(key, 0))

    def _endpoint(self, provider: str) -> Endpoint:
        if provider not in self._endpoints:
            known = ", ".join(self._providers)
            raise UnknownProvider(f"There is no provider {provider!r}; this simulator has: {known}.")
        return self._endpoints[provider]

    def _url(self, listener: Listener) -> str:
        return f"http://{self._advertised}:{listener.port}"
