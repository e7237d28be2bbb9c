"""Providers: who answers, through which client, and what it can take."""

from datetime import date
from typing import Literal, Self

from pydantic import model_validator

from failover.section import Count, Section

SIMULATOR = "simulator"
"""The endpoint that stands for the built-in provider simulator."""


class Capacity(Section):
    requests_per_minute: Count | None = None
    tokens_per_minute: Count | None = None

    @model_validator(mode="after")
    def _sane(self) -> Self:
        requests, tokens = self.requests_per_minute, self.tokens_per_minute
        if requests is not None and tokens is not None and tokens < requests:
            raise ValueError(
                f"tokens_per_minute {tokens} is less than requests_per_minute {requests}, and a request takes a token at least"
            )
        return self


class Provider(Section):
    kind: Literal["bedrock", "vertex", "llama", "openai"]
    """Which client speaks to it; `openai` is any OpenAI-compatible endpoint."""
    model: str
    """The vendor's model id, or one of `model_aliases`."""
    region: str | None = None
    project: str | None = None
    """Vertex only: the Google Cloud project."""
    endpoint: str | None = None
    """Base URL; None: the vendor's own; "simulator": the built-in simulator."""
    api: Literal["converse", "invoke"] = "converse"
    """Bedrock only: which runtime call the model needs."""
    transport: Literal["rest", "grpc"] = "rest"
    """Vertex only."""
    api_key_env: str | None = None
    """Name of the environment variable that holds the API key (llama, openai); never the key itself."""
    streaming: bool = True
    """Whether the model can stream; probes use a stream where it can."""
    capacity: Capacity = Capacity()
    credentials_expire: date | Literal["never"] | None = None
    """The day on which the credentials end, where nobody can ask the vendor; None: not known."""
    context_tokens: Count | None = None
    """The model's context window; None: what is published of it, where it is known."""
    emergency_contact: str | None = None

    @model_validator(mode="after")
    def _needs(self) -> Self:
        simulated = self.endpoint == SIMULATOR
        if self.kind == "openai" and not self.endpoint:
            raise ValueError("a provider of kind openai needs an endpoint, such as https://api.openai.com/v1")
        if self.kind == "vertex" and not simulated and not (self.project and self.region):
            raise ValueError("a provider of kind vertex needs project and region")
        if self.kind == "bedrock" and not simulated and not self.region:
            raise ValueError("a provider of kind bedrock needs a region")
        return self
