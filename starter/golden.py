"""Suites of golden prompts: those that are shipped, and those that the configuration names."""

import importlib.resources
from collections.abc import Mapping
from pathlib import Path

from pydantic import ValidationError

from failover.config import Config
from failover.config_file import LoadedConfig
from failover.errors import ConfigError
from failover.golden import Suite, parse_suite, prompt_set

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
    for route, name in suites_of_routes(loaded.config).items():
        if name not in files:
            own = loaded.config.routes[route].readiness.suite is not None
            key = f"routes.{route}.readiness.suite" if own else "readiness.suite"
            raise ConfigError(
                f"{key} is {name!r}, which is no suite; there are {', '.join(sorted(files))}. "
                "Name a file for it under detection.accuracy.suites."
            )
    return {name: _load(name, file) for name, file in files.items()}


def suites_of_routes(config: Config) -> dict[str, str]:
    """Route → the suite by which it is decided whether a target could serve it."""
    return {name: route.readiness.suite or config.readiness.suite for name, route in config.routes.items()}


def load_prompt_sets(loaded: LoadedConfig) -> dict[str, Suite]:
    """Route → its golden prompts, as it uses models; ConfigError where a suite cannot be meant for a route."""
    suites = load_suites(loaded)
    named = suites_of_routes(loaded.config)
    return {name: _prompt_set(loaded, name, suites[suite]) for name, suite in named.items()}


def _prompt_set(loaded: LoadedConfig, route: str, suite: Suite) -> Suite:
    try:
        return prompt_set(suite, loaded.config.routes[route].readiness)
    except ValidationError as error:
        why = error.errors(include_url=False, include_input=False)[0]["msg"].removeprefix("Value error, ")
        raise ConfigError(
            f"{loaded.source}: routes.{route}.readiness: the suite {suite.name!r} cannot be asked as this route uses "
            f"models: {why}. Name a suite whose examples are of the route's form."
        ) from error


def _load(name: str, file: Path) -> Suite:
    try:
        suite = parse_suite(file.read_text(), str(file))
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no UTF-8 text"
        raise ConfigError(f"The golden prompts {file} cannot be read: {why}.") from error
    if suite.name != name:
        raise ConfigError(f"{file}: name: it is {suite.name!r}; detection.accuracy.suites calls this suite {name!r}.")
    return suite
