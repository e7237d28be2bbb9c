"""Steady users, by the official client, at a real OpenAI-compatible endpoint with faults."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from starter.demo.users import Got, Users
from starter.embedded.processes import ready, start

MODEL = "small"


@pytest.fixture
async def endpoint(tmp_path: Path) -> AsyncIterator[dict[str, Any]]:
    file = tmp_path / "ready.json"
    command = [sys.executable, "-m", "simulator", "--provider=ai=openai", f"--model=ai={MODEL}", f"--ready-file={file}"]
    child = await start("simulator", command, log=tmp_path / "log", environ=os.environ)
    yield await ready(child, file, timedelta(seconds=20))
    await child.stop(timedelta(seconds=5))


async def asked(endpoint: dict[str, Any], fault: dict[str, Any] | None) -> Users:
    if fault:
        async with httpx.AsyncClient() as client:
            answer = await client.put(f"{endpoint['control']}/faults/ai", content=json.dumps(fault))
            assert answer.status_code == 200, answer.text
    users = Users(endpoint["providers"]["ai"]["url"], MODEL, rate=50)
    async with users.coming(), asyncio.timeout(10):
        while len(users.asked) < 12:
            await asyncio.sleep(0.02)
    return users


@pytest.mark.parametrize(
    ("fault", "whole", "streamed"),
    [
        (None, Got.OK, Got.OK),
        ({"kind": "server_error"}, Got.ERROR, Got.ERROR),
        ({"kind": "empty"}, Got.EMPTY, Got.EMPTY),
        ({"kind": "stream_cut"}, Got.OK, Got.CUT),
        ({"kind": "stream_error"}, Got.OK, Got.CUT),
        ({"kind": "refused"}, Got.ERROR, Got.ERROR),
    ],
    ids=lambda value: value["kind"] if isinstance(value, dict) else None,
)
async def test_what_a_user_got_is_told_apart(
    endpoint: dict[str, Any], fault: dict[str, Any] | None, whole: Got, streamed: Got
) -> None:
    """An answer, one without text, a stream that broke off and an error are four things; one in four is streamed."""
    users = await asked(endpoint, fault)
    assert {one.got for one in users.asked if not one.streamed} == {whole}
    assert {one.got for one in users.asked if one.streamed} == {streamed}


async def test_users_come_at_their_rate_and_their_experience_adds_up(endpoint: dict[str, Any]) -> None:
    """Requests, bad answers and P95 of a time are those of the requests begun in it."""
    began = datetime.now(UTC)
    users = await asked(endpoint, None)
    felt = users.experience(began)
    assert felt.requests == len(users.asked) and felt.bad_percent == 0
    assert felt.p95 is not None and felt.p95 < timedelta(seconds=2)
    assert users.experience(began, until=began).requests == 0
    gaps = [later.at - one.at for one, later in zip(users.asked, users.asked[1:], strict=False)]
    assert sum(gaps, timedelta()) / len(gaps) < timedelta(milliseconds=80)
