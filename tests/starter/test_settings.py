"""Settings: read once, complained about at once."""

import pytest

from failover.errors import ConfigError
from starter.settings import Settings


def test_an_empty_environment_is_fine() -> None:
    """Nothing has to be set: the stack and the defaults decide."""
    settings = Settings.from_env({})
    assert (settings.gateway_url, settings.api_token, settings.log_level, settings.worker_port) == (
        None,
        None,
        "info",
        0,
    )


def test_what_is_set_is_taken() -> None:
    """Addresses, paths and choices come from their variables; a trailing slash does not matter."""
    settings = Settings.from_env(
        {
            "FAILOVER_GATEWAY_URL": "http://gateway:8080/",
            "FAILOVER_REDIS_URL": "redis://cache:6379",
            "FAILOVER_STATE": "/var/lib/failover",
            "FAILOVER_LOG_FORMAT": "JSON",
            "FAILOVER_LOG_LEVEL": "debug",
            "FAILOVER_WORKER_PORT": "9090",
            "TEMPORAL_ADDRESS": "temporal:7233",
        }
    )
    assert settings.gateway_url == "http://gateway:8080"
    assert settings.redis_url == "redis://cache:6379"
    assert str(settings.state) == "/var/lib/failover"
    assert (settings.log_format, settings.log_level, settings.worker_port) == ("json", "debug", 9090)
    assert settings.temporal_address == "temporal:7233"


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("FAILOVER_GATWAY_URL", "http://x", "did you mean FAILOVER_GATEWAY_URL?"),
        ("FAILOVER_QQQ", "x", "known are FAILOVER_API_TOKEN"),
        ("FAILOVER_GATEWAY_URL", "gateway:8080", "begins with http:// or https://"),
        ("FAILOVER_REDIS_URL", "http://x", "begins with redis:// or rediss:// or unix://"),
        ("FAILOVER_LOG_FORMAT", "xml", "'xml'; it must be json or console"),
        ("FAILOVER_LOG_LEVEL", "loud", "debug, info, warning or error"),
        ("FAILOVER_WORKER_PORT", "http", "a port is a number"),
        ("FAILOVER_WORKER_PORT", "70000", "65535"),
    ],
)
def test_a_mistake_is_named(name: str, value: str, said: str) -> None:
    """A misspelt variable or a value that cannot be meant stops the start, with what is allowed."""
    with pytest.raises(ConfigError, match=name) as caught:
        Settings.from_env({name: value})
    assert said in str(caught.value)


def test_no_secret_is_shown() -> None:
    """Neither the token nor the environment appears when settings are printed or complained about."""
    secret = "sk-very-secret"
    shown = repr(Settings.from_env({"FAILOVER_API_TOKEN": secret, "OPENAI_API_KEY": secret}))
    assert secret not in shown
    with pytest.raises(ConfigError) as caught:
        Settings.from_env({"FAILOVER_REDIS_URL": f"x:{secret}@host"})
    assert secret not in str(caught.value)
