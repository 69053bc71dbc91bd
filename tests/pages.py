"""The code blocks of the README and the pages, and how they are run.

A block is shown and not run if it has the language `text` (output), `console` (commands on another machine), or a
programming language other than Python. All other blocks are run from top to bottom, in one directory for each page.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
READ = ["README.md", *sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md"))]
SHOWN = {"text", "console", "kotlin", "swift", "c", "ts"}
OF_THE_SITE = {"{toctree}", "{eval-rst}"}
_BLOCK = re.compile(r"^( *)```([^\s`]*)\n(.*?)^ *```$", re.M | re.S)


@dataclass(frozen=True)
class Block:
    """One fenced block: its language, empty for commands, and its text without the indentation of a list."""

    language: str
    text: str

    @property
    def commands(self) -> list[str]:
        """The command lines, joined where they end in a backslash; comments are left out."""
        lines = self.text.replace("\\\n", " ").splitlines()
        return [" ".join(shlex.split(line, comments=True, posix=False)) for line in lines if line.split("#")[0].strip()]


def blocks(page: str) -> list[Block]:
    """The blocks of a page, in their order."""
    found = _BLOCK.findall((ROOT / page).read_text(encoding="utf-8"))
    return [Block(language, re.sub(rf"^{indent}", "", text, flags=re.M)) for indent, language, text in found]


def is_run(block: Block) -> bool:
    """Whether the lines of a block are carried out."""
    return block.language not in SHOWN | OF_THE_SITE
