"""A provider's own status page, asked for its JSON."""

import json
from typing import Any

import httpx

from failover.errors import Unavailable

MOST_BYTES = 8 * 1024 * 1024
"""Google's list of a year of incidents is a few of them."""


class StatusPages:
    """GET and nothing else; no credentials are sent, and no redirect to another host is followed."""

    def __init__(self, timeout_seconds: float) -> None:
        self._timeout = timeout_seconds

    async def get(self, url: str) -> Any:
        """The JSON. Unavailable, without anything of the answer, where none comes."""
        try:
            async with (
                httpx.AsyncClient(timeout=self._timeout, follow_redirects=False) as http,
                http.stream("GET", url, headers={"Accept": "application/json"}) as answer,
            ):
                if answer.status_code != 200:
                    raise Unavailable(f"its status page answered {answer.status_code}")
                return json.loads(await _bounded(answer))
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise Unavailable(f"its status page did not answer ({type(error).__name__})") from error
        except (ValueError, RecursionError) as error:
            raise Unavailable("its status page did not answer in JSON") from error


async def _bounded(answer: httpx.Response) -> bytes:
    body = bytearray()
    async for chunk in answer.aiter_bytes():
        body += chunk
        if len(body) > MOST_BYTES:
            raise Unavailable(f"its status page answered with more than {MOST_BYTES} bytes")
    return bytes(body)
