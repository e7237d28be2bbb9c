"""Suites of golden prompts: those that are shipped, and those that the configuration names."""

import importlib.resources
from collections.abc import Mapping
from pathlib import Path

from failover.config_file import LoadedConfig
from failover.errors import ConfigError
from failover.golden import Suite, parse_suite

SHIPPED = ("quick", "comprehensive")


def shipped_suite(name: str) -> Path:
    """The file of a suite that is shipped."""
    return Path(str(importlib.resources.files("starter") / "suites" / f"{name}.yaml"))


def suite_files(loaded: LoadedConfig) -> Mapping[str, Path]:
    """Name → file. One that the configuration names lies relative to it."""
    settings = loaded.config.detection.accuracy
    beside = Path(loaded.source).parent
    return {name: shipped_suite(name) for name in SHIPPED} | {
        name: beside / file for name, file in settings.suites.items()
    }


def load_suites(loaded: LoadedConfig) -> Mapping[str, Suite]:
    """Name → suite; ConfigError where one cannot be used, or the one to be asked is not there."""
    files, asked = suite_files(loaded), loaded.config.detection.accuracy.suite
    if asked not in files:
        raise ConfigError(
            f"detection.accuracy.suite is {asked!r}, which is no suite; there are {', '.join(sorted(files))}. "
            "Name a file for it under detection.accuracy.suites."
        )
    return {name: _load(name, file) for name, file in files.items()}


def _load(name: str, file: Path) -> Suite:
    try:
        suite = parse_suite(file.read_text(), str(file))
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no UTF-8 text"
        raise ConfigError(f"The golden prompts {file} cannot be read: {why}.") from error
    if suite.name != name:
        raise ConfigError(f"{file}: name: it is {suite.name!r}; detection.accuracy.suites calls this suite {name!r}.")
    return suite
