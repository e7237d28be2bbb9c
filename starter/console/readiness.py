"""What the page about being ready shows of the last audit; whoever keeps audits writes it down in this shape."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime


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
    """An audit as people read it. `stranded`: routes without a target that is known to work."""

    at: datetime
    score: float
    stranded: Sequence[str] = ()
    targets: Sequence[Target] = ()
    remarks: Sequence[Remark] = ()
