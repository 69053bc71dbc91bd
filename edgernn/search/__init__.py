"""The search for recurrent cells: update formulas, their evolution, and the cells that are generated from them.

Importing this package does not import torch; `edgernn.search.search` does.
"""

from edgernn.search.formula import Formula, parse
from edgernn.search.settings import SearchSettings

__all__ = ["Formula", "SearchSettings", "parse"]
