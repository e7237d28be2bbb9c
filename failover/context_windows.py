"""Context windows that vendors publish, by the beginning of a model's id; `providers.*.context_tokens` goes before."""

from collections.abc import Mapping

KNOWN: Mapping[str, int] = {
    "anthropic.claude-3": 200_000,
    "anthropic.claude-sonnet-4": 200_000,
    "anthropic.claude-opus-4": 200_000,
    "amazon.nova-micro": 128_000,
    "amazon.nova-lite": 300_000,
    "amazon.nova-pro": 300_000,
    "meta.llama3-1": 128_000,
    "meta.llama3-3": 128_000,
    "gemini-2.5": 1_048_576,
    "gemini-2.0-flash": 1_048_576,
    "llama-3.3": 128_000,
    "gpt-4o": 128_000,
    "gpt-4.1": 1_047_576,
}
"""Tokens, question and answer together."""

_REGIONAL = ("us.", "eu.", "apac.", "global.")
"""What an inference profile of Bedrock puts before the model's id."""


def window_of(model: str) -> int | None:
    """The window of a model, in tokens; None if nothing is known of it."""
    name = model.lower().rsplit("/", 1)[-1]
    for region in _REGIONAL:
        name = name.removeprefix(region)
    known = [start for start in KNOWN if name.startswith(start)]
    return KNOWN[max(known, key=len)] if known else None
