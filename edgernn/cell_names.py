"""The names of recurrent cells, as settings have them. Importing this module does not import torch."""

from __future__ import annotations

import re
from typing import NamedTuple

__all__ = ["CELLS", "USER_CELL", "UserCell"]

CELLS = (  # the names of `models.cells.CELLS`
    *("lstm", "gru", "elman", "elman-relu"),
    *("mut1", "mut2", "mut3", "nas", "mingru", "minlstm", "mogrifier"),
)
USER_CELL = r"(?s:(?P<file>.+\.py):(?P<kind>[A-Za-z_]\w*)(@(?P<digest>[0-9a-f]{64}))?)"


class UserCell(NamedTuple):
    """A cell in a Python file of the user: FILE.py:CLASS.

    digest: the SHA-256 of the file's text, which follows after an @ in the settings of a run, where `file` has no
    directory; empty in what a user types.
    """

    file: str
    kind: str
    digest: str = ""

    def __str__(self) -> str:
        return f"{self.file}:{self.kind}" + (f"@{self.digest}" if self.digest else "")

    @classmethod
    def parse(cls, name: str) -> UserCell | None:
        """Return the cell that `name` describes, or None if it has another form."""
        match = re.fullmatch(USER_CELL, name)
        return None if match is None else cls(match["file"], match["kind"], match["digest"] or "")
