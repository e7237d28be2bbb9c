"""The exchanges that pin the simulator's wire shapes, and the recorder of their golden files.

`python tests/simulator/record_golden.py` records all files anew: read the difference before committing it.
Every exchange runs against a simulator of its own, so that ids and counts never depend on the order of the cases.
"""

import asyncio
import base64
import json
import struct
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from simulator.faults import FaultKind, parse_fault
from simulator.server import Simulator

GOLDEN = Path(__file__).parent / "golden"
PROMPT = "Reply with only the word 'pong'."
SIGV4 = (
    "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20250615/eu-west-1/bedrock/aws4_request, "
    "SignedHeaders=host;x-amz-date, Signature=0000"
)
CREDENTIALS = {"bedrock": SIGV4}
GEMINI = "/v1/projects/p1/locations/europe-west4/publishers/google/models/gemini-2.5-flash"
CLAUDE = "/model/anthropic.claude-3-5-sonnet-20241022-v2%3A0"
HEADERS_THAT_MATTER = ("content-type", "x-amzn-errortype", "x-amzn-requestid", "retry-after", "www-authenticate")
BEDROCK_COUNTS = ("x-amzn-bedrock-content-type", "x-amzn-bedrock-input-token-count")


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """One request, and the fault it meets. `seconds`: how long a silent server is waited for."""

    kind: str
    name: str
    method: str = "POST"
    path: str
    body: dict[str, Any] | None = None
    fault: str | None = None
    options: dict[str, Any] = field(default_factory=dict)
    with_credentials: bool = True
    seconds: float = 5.0

    @property
    def file(self) -> Path:
        return GOLDEN / self.kind / f"{self.name}.json"


def exchanges() -> Iterator[Exchange]:
    """Every kind of provider with: ok, stream, list, no credentials, a bad body, and each fault."""
    for kind, (whole, stream, listing) in _REQUESTS.items():
        yield Exchange(kind=kind, name="ok", **whole)
        yield Exchange(kind=kind, name="ok_stream", **stream)
        yield Exchange(kind=kind, name="list", **listing)
        yield Exchange(kind=kind, name="no_credentials", with_credentials=False, **whole)
        yield Exchange(kind=kind, name="malformed", path=whole["path"], body={})
        yield from _faults(kind, whole, stream, listing)
    yield from _more_of_bedrock()
    yield Exchange(kind="vertex", name="ok_stream_sse", path=f"{GEMINI}:streamGenerateContent?alt=sse", body=_GEMINI)
    quoting: dict[str, Any] = {"fault": "throttled", "options": {"rate": 100, "retry_after": 7}}
    for kind, (whole, _, _) in _REQUESTS.items():
        yield Exchange(kind=kind, name="throttled_retry_after", **whole, **quoting)


async def perform(exchange: Exchange) -> dict[str, Any]:
    """The exchange as it goes over the wire now: request, and answer or failure."""
    async with Simulator({"here": exchange.kind}) as simulator:
        if exchange.fault:
            await simulator.set_fault("here", parse_fault(exchange.fault, exchange.options))
        base = simulator.urls["here"].removesuffix("/v1")
        recorded: dict[str, Any] = {"fault": {"kind": exchange.fault, **exchange.options} if exchange.fault else None}
        recorded["request"] = _request(exchange)
        async with httpx.AsyncClient(base_url=base, timeout=exchange.seconds) as client:
            try:
                answer = await client.request(
                    exchange.method, exchange.path, headers=recorded["request"]["headers"], json=exchange.body
                )
            except httpx.TransportError as error:
                return recorded | {"answer": None, "failure": type(error).__name__}
        return recorded | {"answer": _answer(answer)}


def _faults(kind: str, whole: Any, stream: Any, listing: Any) -> Iterator[Exchange]:
    for fault in FaultKind:
        request, seconds = whole, 5.0
        options: dict[str, Any] = {}
        if fault in (FaultKind.STREAM_CUT, FaultKind.STREAM_ERROR):
            request = stream
        elif fault is FaultKind.CONTROL_PLANE_DOWN:
            request = listing
        elif fault is FaultKind.THROTTLED:
            options = {"rate": 100}
        elif fault is FaultKind.SLOW:
            options = {"milliseconds": 20}
        elif fault is FaultKind.HANG:
            seconds = 0.2
        yield Exchange(kind=kind, name=fault.value, fault=fault.value, options=options, seconds=seconds, **request)
    unavailable = {"status": 503}
    yield Exchange(kind=kind, name="server_error_503", fault="server_error", options=unavailable, **whole)
    yield Exchange(kind=kind, name="region_down_list", fault="region_down", **listing)
    yield Exchange(kind=kind, name="empty_stream", fault="empty", **stream)
    yield Exchange(kind=kind, name="garbage_stream", fault="garbage", **stream)


def _more_of_bedrock() -> Iterator[Exchange]:
    invoke: dict[str, Any] = {"path": f"{CLAUDE}/invoke", "body": _ANTHROPIC}
    stream: dict[str, Any] = {"path": f"{CLAUDE}/invoke-with-response-stream", "body": _ANTHROPIC}
    yield Exchange(kind="bedrock", name="ok_invoke", **invoke)
    yield Exchange(kind="bedrock", name="ok_invoke_stream", **stream)
    yield Exchange(kind="bedrock", name="quota_invoke", fault="quota", **invoke)
    yield Exchange(kind="bedrock", name="stream_cut_invoke", fault="stream_cut", **stream)
    yield Exchange(kind="bedrock", name="stream_error_invoke", fault="stream_error", **stream)


def _request(exchange: Exchange) -> dict[str, Any]:
    headers = {"content-type": "application/json"} if exchange.body is not None else {}
    if exchange.with_credentials:
        headers["authorization"] = CREDENTIALS.get(exchange.kind, "Bearer simulated")
    return {"method": exchange.method, "path": exchange.path, "headers": headers, "body": exchange.body}


def _answer(answer: httpx.Response) -> dict[str, Any]:
    headers = {name: answer.headers[name] for name in HEADERS_THAT_MATTER + BEDROCK_COUNTS if name in answer.headers}
    recorded: dict[str, Any] = {"status": answer.status_code, "headers": headers}
    if headers["content-type"].startswith("application/vnd.amazon.eventstream") and not answer.text.startswith("<"):
        return recorded | {"messages": [_message(message) for message in _split(answer.content)]}
    return recorded | {"body": answer.text}


def _split(content: bytes) -> Iterator[bytes]:
    while content:
        (length,) = struct.unpack("!I", content[:4])
        yield content[:length]
        content = content[length:]


def _message(message: bytes) -> dict[str, str]:
    (headers_length,) = struct.unpack("!I", message[4:8])
    payload = message[12 + headers_length : -4].decode()
    return {"payload": payload, "base64": base64.b64encode(message).decode()}


_GEMINI: dict[str, Any] = {"contents": [{"role": "user", "parts": [{"text": PROMPT}]}]}
_ANTHROPIC: dict[str, Any] = {
    "anthropic_version": "bedrock-2023-05-31",
    "max_tokens": 16,
    "messages": [{"role": "user", "content": PROMPT}],
}
_CONVERSE: dict[str, Any] = {"messages": [{"role": "user", "content": [{"text": PROMPT}]}]}
_CHAT: dict[str, Any] = {"messages": [{"role": "user", "content": PROMPT}]}
_LLAMA = _CHAT | {"model": "Llama-3.3-70B-Instruct"}
_OPENAI = _CHAT | {"model": "gpt-4o-mini"}
_STREAMED: dict[str, Any] = {"stream": True, "stream_options": {"include_usage": True}}

# kind → (whole, stream, list)
_REQUESTS: dict[str, tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = {
    "bedrock": (
        {"path": f"{CLAUDE}/converse", "body": _CONVERSE},
        {"path": f"{CLAUDE}/converse-stream", "body": _CONVERSE},
        {"method": "GET", "path": "/foundation-models"},
    ),
    "vertex": (
        {"path": f"{GEMINI}:generateContent?$alt=json;enum-encoding=int", "body": _GEMINI},
        {"path": f"{GEMINI}:streamGenerateContent", "body": _GEMINI},
        {"method": "GET", "path": "/v1beta1/publishers/google/models"},
    ),
    "llama": (
        {"path": "/v1/chat/completions", "body": _LLAMA},
        {"path": "/v1/chat/completions", "body": _LLAMA | {"stream": True}},
        {"method": "GET", "path": "/v1/models"},
    ),
    "openai": (
        {"path": "/v1/chat/completions", "body": _OPENAI},
        {"path": "/v1/chat/completions", "body": _OPENAI | _STREAMED},
        {"method": "GET", "path": "/v1/models"},
    ),
}


async def record() -> int:
    """Writes every golden file → how many there are; a file of no exchange any more is removed."""
    wanted = {exchange.file: exchange for exchange in exchanges()}
    for stale in set(GOLDEN.rglob("*.json")) - set(wanted):
        stale.unlink()
    for file, exchange in wanted.items():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(await perform(exchange), indent=2, ensure_ascii=False) + "\n")
    return len(wanted)


if __name__ == "__main__":
    sys.stdout.write(f"{asyncio.run(record())} golden files recorded\n")
