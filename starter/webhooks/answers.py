"""How the webhook server answers: JSON, and a sentence where something was refused."""

import asyncio
from collections.abc import Mapping

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from failover.errors import BadInput, Unavailable

RETRY_AFTER = "5"
"""Seconds, for whoever is told to try again."""


class Refused(Exception):
    """An answer other than success, raised wherever it becomes clear; the message is for the sender."""

    def __init__(self, status: int, sentence: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(sentence)
        self.status = status
        self.headers = dict(headers or {})


def later(status: int, sentence: str, seconds: float) -> Refused:
    """A refusal for now, with the seconds after which to try again."""
    return Refused(status, sentence, {"Retry-After": str(max(1, round(seconds + 0.5)))})


def unknown(sentence: str) -> Refused:
    """A refusal of somebody whom we do not know."""
    return Refused(401, sentence, {"WWW-Authenticate": "Bearer"})


def sentence(status: int, text: str, headers: Mapping[str, str] | None = None) -> JSONResponse:
    return JSONResponse({"error": {"message": text}}, status_code=status, headers=dict(headers or {}))


async def _refused(_: Request, error: Exception) -> Response:
    assert isinstance(error, Refused)
    return sentence(error.status, str(error), error.headers)


async def _bad(_: Request, error: Exception) -> Response:
    return sentence(422, str(error))


async def _unavailable(_: Request, error: Exception) -> Response:
    return sentence(503, str(error), {"Retry-After": RETRY_AFTER})


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if error.status_code == 404:
        return sentence(404, f"There is no {request.url.path} here; /openapi.json says what there is.")
    return sentence(error.status_code, f"{request.method} is not how {request.url.path} is used.", error.headers)


async def _gone(_: Request, __: Exception) -> Response:
    return sentence(400, "The connection ended before the whole body had come.")


async def _broken(_: Request, __: Exception) -> Response:
    """Answer for a mistake of our own, which the server logs; nothing of it is told outside."""
    return sentence(500, "The server broke over this request; its log says how.")


HANDLERS = {
    Refused: _refused,
    BadInput: _bad,
    Unavailable: _unavailable,
    ClientDisconnect: _gone,
    HTTPException: _http,
    500: _broken,
}
"""The exception handlers of the application."""


DRAINED = 16
"""Times the limit: so much more of a body that is too long is read and thrown away, so that its sender gets our answer
and not a broken connection."""


BODY_PATIENCE = 30.0
"""Seconds for a whole body: whoever sends a byte now and then would hold a connection for ever."""


async def read_body(request: Request, most: int, patience: float = BODY_PATIENCE) -> bytes:
    """The whole body; 413 where it is longer, of which no more than the limit is ever kept; 408 where it does not come."""
    try:
        async with asyncio.timeout(patience):
            return await _read(request, most)
    except TimeoutError as error:
        sentence = f"The body did not come within {patience:g} s; send it again."
        raise Refused(408, sentence, {"Connection": "close"}) from error


async def _read(request: Request, most: int) -> bytes:
    body, length = bytearray(), 0
    async for chunk in request.stream():
        length += len(chunk)
        if length <= most:
            body += chunk
        elif length > DRAINED * most:
            break
    if length > most:
        raise Refused(413, f"The body is longer than {most} bytes (webhooks.max_body_bytes).", {"Connection": "close"})
    return bytes(body)
