"""What every section of `failover.yaml` keeps to."""

from typing import Annotated

from pydantic import ConfigDict, Field

STRICT = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)
"""Unknown keys are errors, values never change after loading."""

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$")]
"""A key that people give: letters, digits, dot, dash and underscore; 63 characters at most."""

Count = Annotated[int, Field(gt=0)]
