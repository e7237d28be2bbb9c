"""What every section of `failover.yaml` keeps to."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

STRICT = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)
"""Unknown keys are errors, values never change after loading."""

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$")]
"""A key that people give: letters, digits, dot, dash and underscore; 63 characters at most."""

Count = Annotated[int, Field(gt=0)]


Bytes = Annotated[int, Field(ge=0)]

Text = Annotated[str, Field(min_length=1, max_length=20_000)]
"""What users read."""


class Section(BaseModel):
    """Base of every section: unknown keys are errors, values never change after loading."""

    model_config = STRICT


def refuse(why: str | None) -> None:
    """Raise ValueError with the reason, if there is one: pydantic turns it into a complaint with its place."""
    if why is not None:
        raise ValueError(why)
