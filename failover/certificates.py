"""Certificates: that a target was proved for one route, by which prompts and model, when, and until when that counts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from failover.readiness import Audit, Standing, Target, why_not_ready
from failover.units import roughly

REMEMBERED = timedelta(days=30)
"""How long one that counts no more is kept, so that people can see what became of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """The proof that one target was ready. `withdrawn`: a later audit found it was not, and why."""

    route: str
    target: str
    model: str
    suite: str
    digest: str
    issued: datetime
    expires: datetime
    audit: str
    withdrawn: str = ""
    withdrawn_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What a certificate must be of, to count: the model and prompts that are configured now."""

    model: str
    digest: str


def renewed(
    kept: Sequence[Certificate], audit: Audit, lifetime: timedelta, expiries: Mapping[str, datetime]
) -> list[Certificate]:
    """The certificates after an audit. `expiries`: provider → when its credentials end; no certificate outlives them.

    A target that is ready gets a new one, one that is not loses its own; one that is unproven keeps what it has, to its end.
    """
    after = {(one.route, one.target): one for one in kept if audit.finished - one.expires < REMEMBERED}
    for target in audit.targets:
        key, standing = (target.route, target.provider), audit.standing(target)
        if standing is Standing.READY:
            after[key] = _issued(audit, target, lifetime, expiries.get(target.provider))
        elif standing is Standing.NOT_READY and key in after and not after[key].withdrawn:
            why = why_not_ready(audit, target)[:500]
            after[key] = replace(after[key], withdrawn=why, withdrawn_at=audit.finished)
    return [after[key] for key in sorted(after)]


def _issued(audit: Audit, target: Target, lifetime: timedelta, expiry: datetime | None) -> Certificate:
    ends = audit.at + lifetime
    return Certificate(
        route=target.route,
        target=target.provider,
        model=target.model,
        suite=target.suite,
        digest=target.digest,
        issued=audit.at,
        expires=min(ends, expiry) if expiry else ends,
        audit=audit.id,
    )


def why_void(certificate: Certificate | None, wanted: Wanted, now: datetime) -> str | None:
    """Why a target does not count as certified; None where it does."""
    why = _why_no_proof(certificate, wanted)
    return why if why is not None or certificate is None else _why_over(certificate.expires, now)


def _why_no_proof(certificate: Certificate | None, wanted: Wanted) -> str | None:
    if certificate is None:
        return "it holds no certificate"
    if certificate.withdrawn:
        return f"its certificate was withdrawn: {certificate.withdrawn}"
    if certificate.model != wanted.model:
        return f"its certificate is of another model ({certificate.model})"
    if certificate.digest != wanted.digest:
        return f"its certificate is of other prompts ({certificate.digest}, now {wanted.digest})"
    return None


def _why_over(expires: datetime, now: datetime) -> str | None:
    if now < expires:
        return None
    return f"its certificate expired {roughly(now - expires)} ago"


@dataclass(frozen=True, slots=True, kw_only=True)
class Certification:
    """What automatic runs of a route are to heed. `lacking`: provider → why it is not certified; `expires`: until when the
    others are; `ask`: people decide where no certified target is known to be well."""

    ask: bool
    lacking: Mapping[str, str] = field(default_factory=dict)
    expires: Mapping[str, datetime] = field(default_factory=dict)

    def at(self, now: datetime) -> "Certification":
        """The certification as of a moment: a provider whose certificate is over lacks one."""
        over = {name: why for name, ends in self.expires.items() if (why := _why_over(ends, now)) is not None}
        return replace(self, lacking={**self.lacking, **over})

    def remark(self, providers: Sequence[str]) -> str:
        """What is to be said where these get traffic; "" where all are certified."""
        return "; ".join(
            f"{name} is taken without a certificate: {self.lacking[name]}" for name in providers if name in self.lacking
        )


def certification(route: str, kept: Sequence[Certificate], wanted: Mapping[str, Wanted], *, ask: bool) -> Certification:
    """Which of the wanted providers are certified for the route, and until when."""
    mine = {one.target: one for one in kept if one.route == route}
    why = {name: _why_no_proof(mine.get(name), want) for name, want in wanted.items()}
    return Certification(
        ask=ask,
        lacking={name: said for name, said in why.items() if said is not None},
        expires={name: mine[name].expires for name, said in why.items() if said is None},
    )


UNREADABLE = "the certificates cannot be read"


def uncertified(wanted: Mapping[str, Wanted], why: str, *, ask: bool) -> Certification:
    """A certification of nobody: no data is not good news."""
    return Certification(ask=ask, lacking=dict.fromkeys(wanted, why))
