"""The embedded data plane: OpenAI-compatible in, provider clients out, the traffic policy obeyed per request."""
