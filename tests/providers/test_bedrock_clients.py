"""Bedrock's SDK clients are dear to make: few are, whatever time each call is given."""

from datetime import timedelta

from providers.bedrock import BedrockClient, BedrockEndpoint


async def test_few_clients_serve_every_timeout() -> None:
    """Each reads for at least as long as was asked for, and no more than twice as long."""
    endpoint = BedrockEndpoint(
        region="us-east-1", model="m", api="converse", url="http://127.0.0.1:9", credentials=("a", "b")
    )
    client = BedrockClient("bedrock", endpoint)
    for tenths in range(1, 600):
        asked = tenths / 10
        given = client._client("bedrock-runtime", timedelta(seconds=asked)).meta.config.read_timeout
        assert asked <= given <= max(2 * asked, 1)
    assert len(client._clients) == 7
    await client.aclose()
