"""The event-stream encoder, read back by botocore's own decoder."""

import json
from typing import Any

from botocore.eventstream import EventStreamBuffer

from simulator import eventstream


def test_botocore_reads_what_the_encoder_writes() -> None:
    """Headers, payload and both checksums survive, also when messages arrive in odd pieces."""
    stream = eventstream.event("delta", {"text": "Zürich ☂"}) + eventstream.exception("gone", {"message": "no more"})
    buffer = EventStreamBuffer()
    read: list[Any] = []
    for start in range(0, len(stream), 7):
        buffer.add_data(stream[start : start + 7])
        read += list(buffer)
    assert [message.headers[":message-type"] for message in read] == ["event", "exception"]
    assert read[0].headers[":event-type"] == "delta"
    assert read[1].headers[":exception-type"] == "gone"
    assert json.loads(read[0].payload) == {"text": "Zürich ☂"}
