"""Encoder of application/vnd.amazon.eventstream, which botocore can only read.

A message: total length and headers length (4 bytes each, big-endian), CRC32 of those 8 bytes, headers, payload, CRC32 of
all before it. A header: length of the name (1 byte), name, type 7 (string), length of the value (2 bytes), value.
"""

import json
import struct
from collections.abc import Mapping
from typing import Any
from zlib import crc32

MEDIA_TYPE = "application/vnd.amazon.eventstream"

_STRING_HEADER = 7
_PRELUDE_AND_CHECKSUMS = 16


def event(kind: str, payload: Mapping[str, Any]) -> bytes:
    """One event of a stream."""
    return _message({":event-type": kind, ":content-type": "application/json", ":message-type": "event"}, payload)


def exception(kind: str, payload: Mapping[str, Any]) -> bytes:
    """A failure in the middle of a stream: the HTTP status was 200 long ago."""
    headers = {":exception-type": kind, ":content-type": "application/json", ":message-type": "exception"}
    return _message(headers, payload)


def _message(headers: Mapping[str, str], payload: Mapping[str, Any]) -> bytes:
    head = b"".join(_header(name, value) for name, value in headers.items())
    body = json.dumps(payload, separators=(",", ":")).encode()
    prelude = struct.pack("!II", _PRELUDE_AND_CHECKSUMS + len(head) + len(body), len(head))
    message = prelude + struct.pack("!I", crc32(prelude)) + head + body
    return message + struct.pack("!I", crc32(message))


def _header(name: str, value: str) -> bytes:
    encoded = value.encode()
    return struct.pack("!B", len(name)) + name.encode() + struct.pack("!BH", _STRING_HEADER, len(encoded)) + encoded
