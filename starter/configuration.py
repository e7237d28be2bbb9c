"""The configuration of this deployment: which file is meant, and what it says."""

import importlib.resources
from pathlib import Path

from failover.config import Config
from failover.config.providers import SIMULATOR
from failover.config_file import LoadedConfig, parse
from failover.errors import BadInput, ConfigError
from starter.running import Stack
from starter.settings import Settings

USUAL_FILE = Path("failover.yaml")


def load(path: Path) -> LoadedConfig:
    """Load a configuration; ConfigError if the file cannot be read or says what it may not."""
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no UTF-8 text"
        raise ConfigError(f"The configuration {path} cannot be read: {why}.") from error
    return parse(text, str(path))


def in_force(settings: Settings, stack: Stack, config: Path | None = None) -> LoadedConfig:
    """What a command goes by: the file that it names, else that of the running stack, else as `named` finds one."""
    return load(config or stack.config or named(settings, None))


def named(settings: Settings, config: Path | None) -> Path:
    """The file that a command means; BadInput where none is named and none is there."""
    found = at_hand(settings, config)
    if found is None:
        raise BadInput("There is no failover.yaml here; name a configuration with --config, or set FAILOVER_CONFIG.")
    return found


def at_hand(settings: Settings, config: Path | None) -> Path | None:
    """The file that is named, else that of the environment, else the usual one of this directory; None without any."""
    return config or settings.config or (USUAL_FILE if USUAL_FILE.is_file() else None)


def demo_config() -> Path:
    """The configuration that is run when none is named: three simulated providers."""
    return Path(str(importlib.resources.files("starter") / "configs" / "demo.yaml"))


def simulated(config: Config) -> dict[str, str]:
    """Provider → kind, of those that the configuration points at the simulator."""
    return {key: provider.kind for key, provider in config.providers.items() if provider.endpoint == SIMULATOR}
