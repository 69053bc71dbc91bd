"""The search for recurrent cells: update formulas, their evolution, and the cells that are generated from them."""

from edgernn.search.formula import Formula, parse

__all__ = ["Formula", "parse"]
