"""The search attributes of our runs, made known to Temporal."""

from collections.abc import Collection
from typing import Any, cast

from temporalio.api.operatorservice.v1 import AddSearchAttributesRequest, ListSearchAttributesRequest
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from workflows.journal import SEARCH_ATTRIBUTES


async def register_search_attributes(client: Client) -> None:
    """Add what is missing; a start that names an attribute which is not registered would be retried for ever."""
    wanted = {key.name: cast(Any, key.indexed_value_type.value) for key in SEARCH_ATTRIBUTES}
    known = await _known_search_attributes(client)
    missing = {name: kind for name, kind in wanted.items() if name not in known}
    if missing:
        request = AddSearchAttributesRequest(namespace=client.namespace, search_attributes=missing)
        await client.operator_service.add_search_attributes(request)


async def _known_search_attributes(client: Client) -> Collection[str]:
    request = ListSearchAttributesRequest(namespace=client.namespace)
    try:
        return set((await client.operator_service.list_search_attributes(request)).custom_attributes)
    except RPCError as error:
        if error.status is RPCStatusCode.UNIMPLEMENTED:  # the time-skipping test server
            return set()
        raise
