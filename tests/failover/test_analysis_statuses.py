"""What status pages say: Statuspage's two forms, Google's list, and nonsense."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from failover.analysis.statuses import read_status, then

T0 = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)

SUMMARY = {
    "page": {"name": "Vendor"},
    "status": {"indicator": "major", "description": "Partial System Outage"},
    "components": [
        {"name": "Inference API", "status": "partial_outage"},
        {"name": "Web console", "status": "operational"},
    ],
    "incidents": [
        {
            "name": "Elevated errors",
            "impact": "major",
            "status": "investigating",
            "created_at": "2026-01-31T11:59:00.000Z",
            "resolved_at": None,
            "components": [{"name": "Inference API"}],
        },
        {
            "name": "Console slow",
            "impact": "minor",
            "created_at": "2026-01-31T11:00:00Z",
            "resolved_at": "2026-01-31T11:30:00Z",
            "components": [{"name": "Web console"}],
        },
    ],
}

GOOGLE = [
    {
        "begin": "2026-01-31T11:50:00+00:00",
        "end": "2026-01-31T12:40:00+00:00",
        "external_desc": "Gemini requests fail",
        "status_impact": "SERVICE_OUTAGE",
        "affected_products": [{"title": "Vertex Gemini API"}],
    },
    {"begin": "2026-01-31T11:50:00+00:00", "external_desc": "Spanner", "affected_products": [{"title": "Spanner"}]},
]


@pytest.mark.parametrize(
    ("told", "about", "said", "names"),
    [
        (SUMMARY, None, "Partial System Outage", ["Elevated errors", "Console slow"]),
        (SUMMARY, "inference", "Inference API: partial outage", ["Elevated errors"]),
        ({"incidents": SUMMARY["incidents"]}, None, "", ["Elevated errors", "Console slow"]),
        (GOOGLE, "Vertex", "", ["Gemini requests fail"]),
    ],
)
def test_what_is_meant_is_read(told: Any, about: str | None, said: str, names: list[str]) -> None:
    status = read_status("vendor", told, about, T0)
    assert (status.said, [one.name for one in status.troubles], status.why_not) == (said, names, "")


def test_only_what_was_so_at_that_time_counts() -> None:
    status = read_status("vendor", SUMMARY, None, T0)
    assert [one.name for one in then(status, T0, T0 + timedelta(minutes=5))] == ["Elevated errors"]
    early = T0 - timedelta(hours=1)
    assert [one.name for one in then(status, early, early + timedelta(minutes=5))] == ["Console slow"]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["status", "incidents", "components", "name", "begin", "x"]), inner, max_size=4
        )
    ),
    max_leaves=12,
)


@given(JSON)
def test_whatever_a_page_says_is_borne(told: Any) -> None:
    """What nobody understands is said to be that."""
    status = read_status("vendor", told, None, T0)
    if not isinstance(told, (dict, list)):
        assert status.why_not == "its status page answers in no form that we know"
