"""The run on record that `--run` means: by its workflow id, by its run id, or by the beginning of that."""

from collections.abc import Sequence

from failover.errors import RequestError
from failover.incident import RunRecord

LISTED = 10
"""The most candidates that are told."""


def run_ids(records: Sequence[RunRecord], run: str) -> set[str]:
    """The run ids that are meant: several have one workflow id, none is unknown. A whole id comes before a beginning.

    RequestError where a beginning fits several runs.
    """
    whole = {record.run_id for record in records if run in (record.workflow_id, record.run_id)}
    if whole or not run:
        return whole
    begun = {record.run_id: record for record in records if record.run_id.startswith(run)}
    if len(begun) > 1:
        told = [f"{one.run_id} ({one.workflow_id}, {one.moments.decided:%Y-%m-%d %H:%M:%S})" for one in begun.values()]
        more = f" and {len(told) - LISTED} more" if len(told) > LISTED else ""
        raise RequestError(f"--run {run} is the beginning of {', '.join(told[:LISTED])}{more}; write more of it.")
    return set(begun)
