"""The gateway as one application: users' door, operators' door, metrics and health."""

import random
import time
from collections.abc import Mapping
from datetime import timedelta

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from failover.config import Config
from failover.errors import DataPlaneUnavailable
from failover.ports import ProviderClient
from gateway.auth import Auth
from gateway.cache import AnswerCache
from gateway.counters import Counters, utc_now
from gateway.failed_tries import FailedTries
from gateway.faults import Faults
from gateway.faults_api import FaultsApi
from gateway.hold_api import HoldApi
from gateway.metrics import Metrics
from gateway.openai_api import OpenAiApi
from gateway.openai_shapes import ApiError
from gateway.policies_api import PoliciesApi
from gateway.queue import Queues
from gateway.rates import Rates
from gateway.routing import Router
from gateway.sources import Sources
from gateway.store import PolicyStore


def create_app(
    config: Config,
    clients: Mapping[str, ProviderClient],
    store: PolicyStore,
    *,
    token: str | None,
    loopback: bool = True,
    rng: random.Random | None = None,
) -> Starlette:
    """A gateway over these clients and this store. `loopback`: whether only this machine can reach it.

    Its `state.close` is to be called when it is told to end: it sends home who waits in a queue, at once, and after the
    given patience whoever still waits for a provider.
    """
    metrics, auth = Metrics(config, store), Auth(token, loopback=loopback)
    counters = Counters(metrics.ended)
    rates = Rates(config.capacities(), time.monotonic)
    dice = rng or random.Random()
    faults = Faults(time.monotonic, dice)
    router = Router(config, clients, store, counters, FailedTries(metrics), rates, faults, utc_now, dice)
    cache = AnswerCache(config.gateway.cache.max_bytes)
    queues = Queues(config.gateway.queue.max_bytes, router, store, metrics)
    metrics.watch(cache, queues)
    sources = Sources(router, store, cache, queues, counters, metrics, utc_now)
    users = OpenAiApi(sources, store, auth, config.gateway.max_body_bytes, config.providers, remembers=cache.is_on)
    operators = PoliciesApi(store, counters, auth, config.providers)
    hold = HoldApi(store, auth)
    breaking = FaultsApi(faults, store, auth, config)

    async def scrape(_: Request) -> Response:
        return Response(generate_latest(metrics.registry), media_type=CONTENT_TYPE_LATEST)

    async def healthz(_: Request) -> Response:
        return JSONResponse({"alive": True})

    async def readyz(_: Request) -> Response:
        missing = sorted(set(config.routes) - set(store.policies))
        return JSONResponse({"ready": not missing, "routes_without_policy": missing}, 503 if missing else 200)

    app = Starlette(
        routes=[
            Route("/v1/chat/completions", users.chat, methods=["POST"]),
            Route("/v1/models", users.models),
            Route("/v1/models/{model:path}", users.model),
            Route("/policies", operators.list, methods=["GET"]),
            Route("/policies", operators.post, methods=["POST"]),
            Route("/policies/{route}", operators.read, methods=["GET"]),
            Route("/policies/{route}", operators.put, methods=["PUT"]),
            Route("/telemetry", operators.telemetry),
            Route("/automation/hold", hold.read, methods=["GET"]),
            Route("/automation/hold", hold.put, methods=["PUT"]),
            Route("/automation/hold", hold.delete, methods=["DELETE"]),
            Route("/faults", breaking.show, methods=["GET"]),
            Route("/faults/{route}/{provider}", breaking.put, methods=["PUT"]),
            Route("/faults/{route}", breaking.delete, methods=["DELETE"]),
            Route("/metrics", scrape),
            Route("/healthz", healthz),
            Route("/readyz", readyz),
        ],
        exception_handlers={404: _not_found, 405: _not_found, 500: _broken, DataPlaneUnavailable: _unavailable},
    )

    def close(patience: timedelta) -> None:
        queues.close()
        users.close(patience)

    app.state.close = close
    return app


async def _unavailable(_: Request, error: Exception) -> Response:
    return JSONResponse({"error": {"message": str(error)}}, status_code=503, headers={"Retry-After": "1"})


async def _broken(_: Request, __: Exception) -> Response:
    """Answer for a mistake of our own, which the server logs; nothing of it is told outside."""
    return ApiError(500, "The gateway broke over this request; its log says how.", code="internal_error").response()


async def _not_found(request: Request, error: Exception) -> Response:
    """Answer in OpenAI's form, since its clients show that."""
    status = getattr(error, "status_code", 404)
    message = f"There is no {request.method} {request.url.path} here."
    return ApiError(status, message, code="not_found").response()
