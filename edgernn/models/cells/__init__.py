"""Recurrent cells: one layer each, with a step in primitive operations and a sequence path on the same weights.

The step is exported. It consists of matrix products, sums, sigmoids, tanhs and the like, which every target and
precision supports. The sequence path is used in training: torch's fused kernel for the cell if there is one, else a
loop over steps, in which only the products of the state remain.

base        the interface, and the product with a weight matrix
classic     the simple recurrent network, the LSTM and the GRU
evolved     MUT1, MUT2, MUT3 and the NAS cell
minimal     minGRU and minLSTM
mogrifier   the Mogrifier LSTM
user        cells from files of the user
"""

from edgernn.models.cells.base import Cell, CellState, Linear, ProjectedCell
from edgernn.models.cells.classic import GRU, LSTM, Elman, ElmanReLU
from edgernn.models.cells.evolved import MUT1, MUT2, MUT3, NAS
from edgernn.models.cells.minimal import MinGRU, MinLSTM
from edgernn.models.cells.mogrifier import Mogrifier
from edgernn.models.cells.user import find_loaded

__all__ = ["CELLS", "Cell", "CellState", "Linear", "ProjectedCell", "cell_class"]

CELLS: dict[str, type[Cell]] = {
    "lstm": LSTM,
    "gru": GRU,
    "elman": Elman,
    "elman-relu": ElmanReLU,
    "mut1": MUT1,
    "mut2": MUT2,
    "mut3": MUT3,
    "nas": NAS,
    "mingru": MinGRU,
    "minlstm": MinLSTM,
    "mogrifier": Mogrifier,
}


def cell_class(name: str) -> type[Cell]:
    """Return the cell of a name in `CELLS`, or of one that `user.load_cell` returned.

    Raises ConfigError for a cell from a file that is not loaded.
    """
    return CELLS[name] if name in CELLS else find_loaded(name)
