"""What one look at the machine found."""

from typing import Literal

import msgspec

Status = Literal["ok", "missing", "broken"]


class Finding(msgspec.Struct, frozen=True):
    """One look. `needed`: without it `chaoskit run` cannot work here. `mend` is a command, empty when all is well."""

    name: str
    status: Status
    detail: str
    needed: bool
    mend: str = ""
