"""What can be told of the credentials that a provider is called with; never anything of the credentials themselves."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """`kind` in words. `lasting`: they never expire; `renews`: whoever gave them gives new ones by itself before they do.

    `expires_at` None: nobody can ask. `problem`: why they cannot even be found or renewed, in a sentence.
    """

    kind: str
    expires_at: datetime | None = None
    renews: bool = False
    lasting: bool = False
    problem: str = ""
