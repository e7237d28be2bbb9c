"""The wire shapes, byte for byte, against the golden files."""

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import pytest

from simulator.faults import FaultKind
from simulator.provider import ProviderKind


def _recorder() -> ModuleType:
    spec = importlib.util.spec_from_file_location("record_golden", Path(__file__).with_name("record_golden.py"))
    assert spec and spec.loader
    module = sys.modules["record_golden"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


recorder = _recorder()
EXCHANGES = {f"{exchange.kind}-{exchange.name}": exchange for exchange in recorder.exchanges()}


@pytest.mark.parametrize("name", EXCHANGES)
async def test_an_exchange_is_what_its_golden_file_says(name: str) -> None:
    """Status, headers that matter and body of every exchange are those recorded."""
    exchange = EXCHANGES[name]
    assert await recorder.perform(exchange) == json.loads(exchange.file.read_text())


def test_every_golden_file_is_checked() -> None:
    """No file is left over from an exchange that does not exist any more."""
    assert set(recorder.GOLDEN.rglob("*.json")) == {exchange.file for exchange in EXCHANGES.values()}


def test_every_kind_of_provider_is_pinned_with_every_fault() -> None:
    """A new fault or kind of provider comes with golden files."""
    wanted = {f"{kind}-{name}" for kind in ProviderKind for name in ("ok", "ok_stream", "list", *FaultKind)}
    assert wanted <= set(EXCHANGES)
