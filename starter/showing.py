"""`failoverctl config`: whether a configuration can be used, and what it comes to."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from failover.config_file import LoadedConfig
from failover.distribution import render
from failover.units import count
from starter.configuration import load, named
from starter.output import as_json, table
from starter.settings import Settings


def run_check(settings: Settings, config: Path | None) -> int:
    loaded = load(named(settings, config))
    known = loaded.config
    print(
        f"{loaded.source} can be used: {count(len(known.providers), 'provider')}, {count(len(known.routes), 'route')}."
    )
    return 0


def run_show(settings: Settings, config: Path | None, *, json: bool) -> int:
    loaded = load(named(settings, config))
    rows = list(effective(loaded))
    if json:
        as_json("config", [{"key": key, "value": value, "origin": origin} for key, value, origin in rows])
    else:
        table(loaded.source, ("key", "value", "from"), [(key, _shown(value), origin) for key, value, origin in rows])
    return 0


def effective(loaded: LoadedConfig) -> Iterator[tuple[str, Any, str]]:
    """Every value: its key, the value as it is written in files, and "file:line" or "default"."""
    yield from _leaves(loaded, loaded.config, loaded.config.model_dump(mode="json"), ())


def _leaves(
    loaded: LoadedConfig, value: Any, written: Any, path: tuple[str | int, ...]
) -> Iterator[tuple[str, Any, str]]:
    inner = value if isinstance(value, dict) else dict(value) if isinstance(value, BaseModel) else {}
    if inner and path[-1:] != ("distribution",):
        for key, item in inner.items():
            yield from _leaves(loaded, item, written[key], (*path, key))
    else:
        shown = render(value) if path[-1:] == ("distribution",) else written
        yield ".".join(map(str, path)), shown, loaded.origin(path)


def _shown(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, list):
        return "[" + ", ".join(_shown(item) for item in value) + "]"
    return str(value) if value != {} else "none"
