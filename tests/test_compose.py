"""The compose file, as far as it can be held without an engine: schema, pins, ports, commands, variables."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import check_jsonschema
import jsonschema
import pytest
import yaml

from starter.configuration import load
from starter.settings import OWN_VARIABLES, VENDOR_VARIABLES

ROOT = Path(__file__).parents[1]
FILE = ROOT / "docker-compose.temporal.yml"
COMPOSE: dict[str, Any] = yaml.safe_load(FILE.read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = {name: service for name, service in SERVICES.items() if "build" in service}


SHIPPED = load(ROOT / "failover.yaml").config

AT_THE_DOOR = {sender.secret_env for sender in SHIPPED.webhooks.senders.values() if sender.secret_env} | {
    SHIPPED.notifications.slack.signing_secret_env
}
"""Secrets of the webhook server."""

KNOWN = {*OWN_VARIABLES, *VENDOR_VARIABLES, "TEMPORAL_ADDRESS", "TEMPORAL_NAMESPACE"}


def test_it_keeps_to_the_compose_specification() -> None:
    """The specification's own schema, as check-jsonschema ships it."""
    schema = Path(check_jsonschema.__file__).parent / "builtin_schemas" / "vendor" / "compose-spec.json"
    jsonschema.validate(COMPOSE, json.loads(schema.read_text()))


@pytest.mark.parametrize("name", SERVICES)
def test_every_image_is_pinned(name: str) -> None:
    """To a version of at least two numbers; never latest."""
    tag = SERVICES[name]["image"].rpartition(":")[2]
    assert tag[0].isdigit()
    assert "." in tag


def test_the_images_base_is_pinned() -> None:
    """In the Dockerfile too."""
    images = [line.split()[1] for line in (ROOT / "Dockerfile").read_text().splitlines() if line.startswith("FROM")]
    assert images
    assert all(image.rpartition(":")[2].count(".") >= 2 for image in images)


@pytest.mark.parametrize("name", SERVICES)
def test_published_ports_are_loopback_only(name: str) -> None:
    """Whoever wants more says so."""
    assert all(str(port).startswith("127.0.0.1:") for port in SERVICES[name].get("ports", []))


@pytest.mark.parametrize("name", OURS)
def test_our_variables_are_ones_that_our_settings_know(name: str) -> None:
    """A typing error would be refused at start."""
    assert set(OURS[name].get("environment", {})) <= KNOWN


@pytest.mark.parametrize("name", OURS)
def test_our_commands_parse(name: str) -> None:
    """Each with --help at its end: an unknown verb or flag would be an error before that."""
    command = OURS[name]["command"]
    program, *arguments = shlex.split(command) if isinstance(command, str) else command
    launch = {
        "failoverctl": [sys.executable, "-m", "starter"],
        "failover-worker": [sys.executable, "-m", "worker"],
        "python": [sys.executable],
    }[program]
    if program == "failoverctl":
        known = subprocess.run([*launch, *_verb(arguments), "--help"], capture_output=True, text=True, cwd=ROOT)
        flags = [argument.partition("=")[0] for argument in arguments if argument.startswith("--")]
        assert all(flag in known.stdout for flag in flags), known.stdout
    done = subprocess.run([*launch, *arguments, "--help"], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr


def _verb(arguments: list[str]) -> list[str]:
    return [argument for argument in arguments if not argument.startswith(("-", "/")) and argument.isalpha()][:2]


@pytest.mark.parametrize("name", ["gateway", "worker"])
def test_every_secret_that_the_configuration_names_arrives(name: str) -> None:
    """One that is left out would not be missed: without its token, Slack is the log."""
    named = set(re.findall(r"\w+_env: (\w+)", (ROOT / "failover.yaml").read_text()))
    assert {"SLACK_BOT_TOKEN", "LLAMA_API_KEY"} <= named
    assert named - AT_THE_DOOR <= set(OURS[name]["environment"])


def test_what_strangers_prove_themselves_by_is_known_at_the_door_alone() -> None:
    """Every secret of a sender, and nowhere else: who cannot be asked cannot tell."""
    assert set(OURS["webhooks"]["environment"]) >= AT_THE_DOOR
    assert all(not AT_THE_DOOR & set(OURS[name].get("environment", {})) for name in OURS if name != "webhooks")


@pytest.mark.parametrize("name", ["gateway", "worker"])
def test_googles_credentials_are_a_file_that_is_there(name: str) -> None:
    """The path of the host means nothing inside, and an empty one must stay empty."""
    alternative = OURS[name]["environment"]["GOOGLE_APPLICATION_CREDENTIALS"]
    inside = re.fullmatch(r"\$\{GOOGLE_APPLICATION_CREDENTIALS:\+(.+)\}", alternative)
    assert inside is not None
    assert f"${{GOOGLE_APPLICATION_CREDENTIALS:-/dev/null}}:{inside[1]}:ro" in OURS[name]["volumes"]


@pytest.mark.parametrize("name", ["postgresql", "temporal", "redis", "gateway", "worker", "webhooks", "simulator"])
def test_whoever_is_waited_for_is_asked_for_its_health(name: str) -> None:
    """And our own parts all are."""
    assert SERVICES[name]["healthcheck"]["test"]


def test_one_uv_makes_the_image_and_the_checkout() -> None:
    """The lock file is read by the version that wrote it."""
    pinned = re.search(r"UV_VERSION := (\S+)", (ROOT / "Makefile").read_text())
    assert pinned is not None
    assert f"ghcr.io/astral-sh/uv:{pinned[1]} " in (ROOT / "Dockerfile").read_text()


def test_secrets_have_no_default() -> None:
    """Without them nothing starts."""
    text = FILE.read_text()
    for secret in ("FAILOVER_API_TOKEN", "POSTGRES_PASSWORD"):
        assert f"${{{secret}:?" in text
        assert f"${{{secret}:-" not in text
