"""Write the tables of options in the documentation from the settings classes that declare them.

python docs/write_options.py           rewrite the pages
python docs/write_options.py --check   exit with status 1 if a page would change

A table stands between `<!-- options: train NAME -->` and `<!-- end -->`; `evaluate NAME`, `run NAME`, `cells language`,
`compare language` and `search language` have tables too.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from edgernn.cli.cells import CellsSettings
from edgernn.cli.options import option_table
from edgernn.cli.train import shown_default
from edgernn.comparison.settings import ComparisonSettings
from edgernn.runtime.pipelines import PIPELINES
from edgernn.search import SearchSettings
from edgernn.tasks import TASKS

_TABLE = re.compile(r"(<!-- options: (\w+) (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def written(page: str) -> str:
    """The text of a page with every table as the settings say."""
    return _TABLE.sub(lambda found: f"{found[1]}\n{_table(found[2], found[3])}\n{found[4]}", page)


def _table(command: str, task: str) -> str:
    if command == "train":
        return option_table(*TASKS[task].settings, shown=lambda declared: shown_default(TASKS[task], declared))
    kinds = {
        "evaluate": TASKS[task].evaluation,
        "run": PIPELINES[task].options,
        "cells": CellsSettings,
        "compare": ComparisonSettings,
        "search": SearchSettings,
    }
    return option_table(kinds[command])


def main() -> int:
    """Rewrite or check every page: 0 where nothing is left to change."""
    changed = 0
    for path in sorted(Path(__file__).parent.glob("*.md")):
        page = path.read_text(encoding="utf-8")
        if written(page) != page:
            changed += 1
            if "--check" not in sys.argv:
                path.write_text(written(page), encoding="utf-8")
    return int(changed > 0 and "--check" in sys.argv)


if __name__ == "__main__":
    sys.exit(main())
