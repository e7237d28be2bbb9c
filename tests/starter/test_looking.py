"""One look at the whole stack: a part that cannot be asked never hides the others."""

from typing import Any

from temporalio.exceptions import ApplicationError

from failover.errors import Unavailable
from starter.looking import Questions, look


async def test_a_part_that_cannot_be_read_here_is_said_in_its_place() -> None:
    """Runs that are encrypted with a key that this machine has not."""

    async def nothing() -> Any:
        return []

    async def unreadable() -> Any:
        raise ApplicationError("no key 'k1' is here", type="MalformedInput")

    async def broken() -> Any:
        raise Unavailable("The gateway is gone.")

    seen = await look(
        Questions(
            verdicts=nothing,
            policies=broken,
            served=nothing,
            runs=unreadable,
            ended=nothing,
            watched=nothing,
            hold=nothing,
        )
    )
    assert str(seen.runs) == "What Temporal tells cannot be read here: no key 'k1' is here"
    assert str(seen.policies) == "The gateway is gone." and seen.verdicts == []
