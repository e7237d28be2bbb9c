"""What a configuration may not say, and what is said about it: file, line, key, value, what is allowed."""

import pytest

from failover.config_file import parse
from failover.errors import ConfigError

GOOD = """\
providers:
  bedrock: {kind: bedrock, model: claude, region: us-east-1}
  google: {kind: vertex, model: gemini, project: p, region: us-central1}
  meta: {kind: llama, model: llama}
routes:
  chat:
    distribution: {bedrock: 70, google: 20, meta: 10}
failover_chains:
  bedrock: [google, meta]
detection:
  failure_threshold: 3
  schedule_interval: 30s
"""

BAD = [
    (
        "a provider twice in a chain",
        "[google, meta]",
        "[google, google]",
        ["failover_chains.bedrock", "'google' twice"],
    ),
    (
        "its own provider in a chain",
        "[google, meta]",
        "[bedrock, meta]",
        ["failover_chains.bedrock", "'bedrock' twice"],
    ),
    ("an unknown provider in a chain", "[google, meta]", "[goggle]", ["'goggle'", "known: bedrock, google, meta"]),
    ("a chain of an unknown provider", "  bedrock: [google", "  azure: [google", ["'azure'", "known: bedrock"]),
    ("an unknown provider in a route", "meta: 10}", "mata: 10}", ["routes.chat.distribution", "'mata'"]),
    (
        "an unknown key",
        "failure_threshold: 3",
        "failure_treshold: 3",
        ["bad.yaml:11: detection.failure_treshold", "unknown key", "failure_threshold"],
    ),
    ("an unknown section", "detection:", "detektion:", ["bad.yaml:10: detektion", "unknown key", "detection"]),
    (
        "a distribution that sums to 90",
        "meta: 10}",
        "meta: 0}",
        ["bad.yaml:7: routes.chat.distribution", "sums to 90 %", "100 %"],
    ),
    ("three decimals", "meta: 10}", "meta: 10.001}", ["bad.yaml:7", "'meta'", "10.001", "two decimals"]),
    (
        "a negative share",
        "bedrock: 70, google: 20",
        "bedrock: 95, google: -5",
        ["bad.yaml:7", "-5", "between 0 and 100"],
    ),
    ("a share that is no number", "meta: 10}", "meta: lots}", ["bad.yaml:7", "'lots'"]),
    (
        "no duration",
        "schedule_interval: 30s",
        "schedule_interval: soon",
        ["bad.yaml:12: detection.schedule_interval", "'soon'", "90s or 5m"],
    ),
    (
        "a duration of nothing",
        "schedule_interval: 30s",
        "schedule_interval: 0s",
        ["bad.yaml:12: detection.schedule_interval", "'0s'", "greater than"],
    ),
    (
        "a number where none fits",
        "failure_threshold: 3",
        "failure_threshold: 0",
        ["bad.yaml:11: detection.failure_threshold", "0 is not allowed", "greater than 0"],
    ),
    ("words for a number", "failure_threshold: 3", "failure_threshold: three", ["bad.yaml:11", "'three'", "integer"]),
    (
        "an unknown kind",
        "kind: llama",
        "kind: lama",
        ["bad.yaml:4: providers.meta.kind", "'lama'", "'bedrock'", "'openai'"],
    ),
    ("a missing model", "kind: llama, model: llama", "kind: llama", ["bad.yaml:4: providers.meta.model", "required"]),
    (
        "openai without an endpoint",
        "kind: llama, model",
        "kind: openai, model",
        ["bad.yaml:4: providers.meta", "needs an endpoint"],
    ),
    ("vertex without a project", "project: p, ", "", ["bad.yaml:3: providers.google", "needs project and region"]),
    ("bedrock without a region", ", region: us-east-1", "", ["bad.yaml:2: providers.bedrock", "needs a region"]),
    ("a name that is no name", "  chat:", "  'chat room':", ["bad.yaml:6: routes.chat room", "pattern"]),
    (
        "a key that stands twice",
        "  failure_threshold: 3",
        "  failure_threshold: 3\n  failure_threshold: 4",
        ["bad.yaml:12", "'failure_threshold' stands twice"],
    ),
    (
        "a default route that is none",
        "detection:",
        "default_route: chet\ndetection:",
        ["default_route", "'chet'", "chat"],
    ),
]


@pytest.mark.parametrize(("old", "new", "said"), [case[1:] for case in BAD], ids=[case[0] for case in BAD])
def test_a_bad_value_is_named_with_its_place_and_what_is_allowed(old: str, new: str, said: list[str]) -> None:
    """The complaint names file, line, key, value and what would be right."""
    assert GOOD.count(old) >= 1
    with pytest.raises(ConfigError) as caught:
        parse(GOOD.replace(old, new, 1), "bad.yaml")
    for words in ["bad.yaml:", *said]:
        assert words in str(caught.value)


def test_the_good_one_is_good() -> None:
    """The file that the bad ones are made from has no fault of its own."""
    assert parse(GOOD, "good.yaml").config.detection.failure_threshold == 3


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("providers: [", "bad.yaml:1"),
        ("routes:\n  chat:\n\t- x\n", "bad.yaml:3"),
        ("just words", "mapping with at least providers and routes"),
        ("", "mapping with at least providers and routes"),
        ("- a\n- b\n", "mapping with at least providers and routes"),
        ("42: x\n", "42"),
        ("routes: {chat: {distribution: {a: 100}}}\n", "providers: this key is required"),
        ("providers: {}\nroutes: {}\n", "at least 1"),
    ],
    ids=["cut-off YAML", "tabs", "a word", "empty", "a list", "a number for a key", "no providers", "nothing in it"],
)
def test_what_is_no_configuration_at_all_is_said_to_be_none(text: str, said: str) -> None:
    """Broken YAML and other documents are refused with a sentence, never with a traceback."""
    with pytest.raises(ConfigError) as caught:
        parse(text, "bad.yaml")
    assert said in str(caught.value)


def test_every_complaint_is_told_at_once() -> None:
    """Two mistakes are two lines, so that one run of the check is enough."""
    text = GOOD.replace("failure_threshold: 3", "failure_threshold: 0").replace("30s", "soon")
    with pytest.raises(ConfigError) as caught:
        parse(text, "bad.yaml")
    assert len(str(caught.value).splitlines()) == 2


def test_a_value_knows_the_line_that_it_comes_from() -> None:
    """Effective values can be traced to their line, or are said to be defaults."""
    loaded = parse(GOOD, "good.yaml")
    assert loaded.origin(("detection", "failure_threshold")) == "good.yaml:11"
    assert loaded.origin(("detection", "failure_memory")) == "default"
