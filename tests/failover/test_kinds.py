"""The procedures: names, and the ids of their runs."""

from failover import kinds


def test_an_id_says_what_a_run_is_about() -> None:
    """Running systems, dashboards and people know runs by these: none may change."""
    about = {name: kinds.run_id(name, "x") for name in kinds.WORDS if name != kinds.EMERGENCY}
    assert about == {
        kinds.IMMEDIATE: "failover/x",
        kinds.GRADUAL: "gradual/x",
        kinds.CANARY: "canary/x",
        kinds.FAILBACK: "failback/x",
        kinds.SERVICE: "service/x",
        kinds.PROPOSAL: "proposal/x",
    }
    assert kinds.run_id(kinds.EMERGENCY) == "emergency"
