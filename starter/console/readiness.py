"""What the page about being ready shows of the last audit; whoever keeps audits writes it down in this shape."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from failover.findings import Health
from failover.readiness import Audit, Standing
from starter.readiness import Held


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Whether a failover of the route to the provider would work. `level`: good, doubt or bad."""

    route: str
    provider: str
    standing: str
    level: str
    certificate: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Remark:
    """Something that is not as it should be, and what to do about it."""

    where: str
    level: str
    said: str
    repair: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Sheet:
    """An audit as people read it. `stranded`: routes without a target that is known to work, and for whom."""

    at: datetime
    score: float
    stranded: Sequence[str] = ()
    targets: Sequence[Target] = ()
    remarks: Sequence[Remark] = ()


_LEVELS = {Standing.READY: "good", Standing.UNPROVEN: "doubt", Standing.NOT_READY: "bad"}
_HEALTH = {Health.WARNING: "doubt", Health.UNKNOWN: "doubt", Health.FAILED: "bad"}


def sheet_of(audit: Audit, certificates: Sequence[Held]) -> Sheet:
    """An audit and the certificates that are kept, as the page shows them."""
    held = {(one.certificate.route, one.certificate.target): one for one in certificates}
    return Sheet(
        at=audit.finished,
        score=audit.score,
        stranded=audit.gaps(),
        targets=[
            Target(
                route=one.route,
                provider=one.provider,
                standing=audit.standing(one).value,
                level=_LEVELS[audit.standing(one)],
                certificate=_certificate(held.get((one.route, one.provider))),
            )
            for one in audit.targets
        ],
        remarks=[
            Remark(
                where=f"{where}: {check}" if where else str(check),
                level=_HEALTH[one.health],
                said=one.said,
                repair=one.repair,
            )
            for where, check, one in audit.every()
            if one.health is not Health.OK
        ],
    )


def _certificate(held: Held | None) -> str:
    if held is None:
        return "none"
    return f"void: {held.void}" if held.void else f"until {held.certificate.expires:%Y-%m-%d %H:%M} UTC"
