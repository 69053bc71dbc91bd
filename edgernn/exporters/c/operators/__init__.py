"""One function for each operator of ONNX: how it becomes a view, an element-wise expression or a call of a kernel.

Operators of onnxruntime's own domain begin with "ms.".

movement      views, and copies in another order
elementwise   each element from those with the same index
products      products with matrices
reductions    sums, means and largest elements along axes, softmax, normalisation
convolutions  convolutions and pooling, in single precision and in integers
recurrent     LSTM and GRU, step by step
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from edgernn.contract import Array
from edgernn.errors import ExportError
from edgernn.exporters.c.folding import FoldedGraph
from edgernn.exporters.c.fusing import fuse
from edgernn.exporters.c.operators.common import Operator, UnsupportedError
from edgernn.exporters.c.operators.convolutions import CONVOLUTIONS
from edgernn.exporters.c.operators.elementwise import ELEMENTWISE
from edgernn.exporters.c.operators.movement import MOVEMENT
from edgernn.exporters.c.operators.products import PRODUCTS
from edgernn.exporters.c.operators.recurrent import RECURRENT
from edgernn.exporters.c.operators.reductions import REDUCTIONS
from edgernn.exporters.c.program import Program

__all__ = ["OPERATORS", "lower"]

OPERATORS: dict[str, Operator] = {**MOVEMENT, **ELEMENTWISE, **PRODUCTS, **REDUCTIONS, **CONVOLUTIONS, **RECURRENT}


def lower(graph: FoldedGraph, initial: Mapping[str, Array] = MappingProxyType({})) -> Program:
    """Return the program of a graph. initial: the first values of states that do not begin as zeros.

    Raises ExportError that names all operators without a kernel.
    """
    program, refused = Program(graph), []
    for node in graph.nodes:
        operator = OPERATORS.get(node.operator)
        try:
            if operator is None:
                raise UnsupportedError
            operator(node, program)
        except UnsupportedError as error:
            refused.append(f"{node}{': ' if str(error) else ''}{error}")
            for output in filter(None, node.outputs):  # so that the operators that follow are checked too
                program.make(output)
    if refused:
        raise ExportError(f"graph {graph.spec.name} has operators that C has no kernel for: {'; '.join(refused)}")
    for name, values in initial.items():
        program.initial[name] = program.store(f"initial.{name}", values)
    for name in graph.spec.output_names:
        program.copy(program.result(name), program.place(name), program.shape(name).count, name)
    fuse(program)
    return program
