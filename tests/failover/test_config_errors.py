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
        ["bad.yaml:9: failover_chains.bedrock names 'google' twice"],
    ),
    (
        "its own provider in a chain",
        "[google, meta]",
        "[bedrock, meta]",
        ["bad.yaml:9: failover_chains.bedrock names 'bedrock' twice"],
    ),
    ("an unknown provider in a chain", "[google, meta]", "[goggle]", ["'goggle'", "known: bedrock, google, meta"]),
    ("a chain of an unknown provider", "  bedrock: [google", "  azure: [google", ["'azure'", "known: bedrock"]),
    ("an unknown provider in a route", "meta: 10}", "mata: 10}", ["bad.yaml:7: routes.chat.distribution names 'mata'"]),
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
    ("an alias that leads back to itself", "routes:", "again: &a [*a]\nroutes:", ["an alias in this file leads back"]),
    (
        "a default route that is none",
        "detection:",
        "default_route: chet\ndetection:",
        ["bad.yaml:10: default_route is 'chet', which is no route (chat)."],
    ),
    (
        "fewer tokens than requests",
        "{kind: llama, model: llama}",
        "{kind: llama, model: llama, capacity: {requests_per_minute: 100, tokens_per_minute: 50}}",
        ["bad.yaml:4: providers.meta.capacity", "tokens_per_minute 50 is less than requests_per_minute 100"],
    ),
    (
        "an expectation that is no pattern",
        "  failure_threshold: 3",
        "  probe:\n    expect: '(pong'",
        ["bad.yaml:12: detection.probe.expect: '(pong' is not allowed", "no regular expression"],
    ),
    (
        "a memory too short to condemn anybody",
        "schedule_interval: 30s",
        "failure_memory: 10s",
        ["bad.yaml:10: detection", "failure_memory 10s forgets the first of 3", "longer than 10s"],
    ),
    (
        "a detection slower than promised",
        "failure_threshold: 3",
        "failure_threshold: 7",
        [
            "detection takes up to 35s (7 probes, 5s apart, the last with a timeout of 5s)",
            "kpis.detection promises 30s",
        ],
    ),
    (
        "a try longer than the request",
        "detection:",
        "gateway: {try_timeout: 90s}\ndetection:",
        ["bad.yaml:10: gateway", "try_timeout 90s is longer than request_timeout 1m"],
    ),
]


def under(section: str) -> str:
    """The good file with one more section of procedures."""
    return f"{GOOD}procedures:\n  {section}\n"


PROCEDURES = [
    ("canary: {percents: [50, 10, 100]}", ["procedures.canary.percents", "[50, 10, 100] must rise from step to step"]),
    ("canary: {percents: [0, 100]}", ["procedures.canary.percents", "[0, 100] must lie above 0"]),
    ("canary: {percents: []}", ["procedures.canary.percents", "there is no step"]),
    ("canary: {percents: [10, 50]}", ["procedures.canary.percents", "the last percent is 50; it must be 100"]),
    ("canary: {initial_percent: 0}", ["procedures.canary.initial_percent", "greater than 0"]),
    (
        "canary: {failure_threshold_percent: 99}",
        ["procedures.canary", "failure_threshold_percent 99 lies above success_threshold_percent 98"],
    ),
    ("failback: {percents: [10, 10, 100]}", ["procedures.failback.percents", "[10, 10, 100] must rise"]),
    ("failback: {percents: [10, 90]}", ["procedures.failback.percents", "it must be 100"]),
    (
        "failback: {watch_deadline: 10m}",
        ["procedures.failback", "watch_deadline 10m is over before recovery_watch 30m"],
    ),
    ("gradual: {phases: [[50, 30, 10]]}", ["procedures.gradual.phases", "[50, 30, 10] sums to 90 %, not to 100 %"]),
    ("gradual: {phases: [[40, 30, 20, 10]]}", ["procedures.gradual.phases", "and nobody else"]),
    ("gradual: {phases: [[25, 75], [50, 50]]}", ["procedures.gradual.phases", "[25, 50] must fall"]),
    ("gradual: {phases: [[50, 50], [10, 90]]}", ["procedures.gradual.phases", "leaves the failed provider 10 %"]),
    ("gradual: {phases: []}", ["procedures.gradual.phases", "there is no phase"]),
    ("gradual: {maximum_steps: 0}", ["procedures.gradual.maximum_steps", "greater than 0"]),
    ("gating: {window: 5s}", ["procedures.gating", "window 5s is shorter than sample_interval 10s"]),
    ("gating: {synthetic_per_sample: 21}", ["procedures.gating.synthetic_per_sample", "less than or equal to 20"]),
    (
        "immediate: {validate_timeout: 3s}",
        ["procedures.immediate", "validate_timeout 3s is over before 3 samples 2s apart are taken", "4s at least"],
    ),
]


@pytest.mark.parametrize(("section", "said"), PROCEDURES, ids=[section for section, _ in PROCEDURES])
def test_a_procedure_that_cannot_work_is_refused_when_it_is_loaded(section: str, said: list[str]) -> None:
    """Not at 3 a.m.: with its line, its key, its value and what is allowed."""
    with pytest.raises(ConfigError) as caught:
        parse(under(section), "bad.yaml")
    for words in ["bad.yaml:14: ", *said]:
        assert words in str(caught.value)


@pytest.mark.parametrize(
    "section",
    [
        "canary: {percents: [50, 100], failure_threshold_percent: 98}",
        "gradual: {phases: [[0, 100]]}",
        "failback: {recovery_watch: 0s, percents: [100]}",
        "gating: {window: 10s}",
    ],
)
def test_what_can_work_is_taken(section: str) -> None:
    """The bounds themselves are allowed."""
    assert parse(under(section), "good.yaml")


def test_a_promise_is_not_held_against_a_detection_that_is_switched_off() -> None:
    """Nor against a slower one that promises less."""
    slow = GOOD.replace("failure_threshold: 3", "failure_threshold: 7")
    assert parse(slow.replace("detection:", "detection:\n  enabled: false"), "good.yaml")
    assert parse(f"{slow}kpis: {{detection: 35s}}\n", "good.yaml")


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


READINESS = [
    (
        "a certificate that is over before it is renewed",
        "readiness: {interval: 24h, certificate_lifetime: 24h}\n",
        ["certificate_lifetime 1d is over before the next audit", "must be longer than interval, jitter and timeout"],
    ),
    (
        "certificates that nobody would ever give",
        "readiness: {enabled: false}\nROUTE",
        ["only_certified is demanded for chat, and readiness.enabled is false"],
    ),
]


@pytest.mark.parametrize(("what", "more", "said"), READINESS, ids=[one[0] for one in READINESS])
def test_readiness_that_cannot_be_meant(what: str, more: str, said: list[str]) -> None:
    """Is refused with what would be possible."""
    text = GOOD + more.replace("ROUTE", "")
    if "ROUTE" in more:
        text = text.replace("    distribution:", "    automation: {only_certified: true}\n    distribution:")
    with pytest.raises(ConfigError) as refused:
        parse(text, "bad.yaml")
    for words in said:
        assert words in str(refused.value)
