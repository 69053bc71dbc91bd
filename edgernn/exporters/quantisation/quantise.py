"""Quantise the weights of ONNX graphs, in the same way for every cell, since all cells consist of matrix products."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import onnx

from edgernn.contract import Array, GraphSpec
from edgernn.errors import ExportError
from edgernn.exporters.capture.rewrite import Rewriter
from edgernn.exporters.quantisation.fp16 import Half
from edgernn.exporters.quantisation.int4 import Int4
from edgernn.exporters.quantisation.int8 import Int8
from edgernn.exporters.quantisation.quantiser import Quantiser, matrices
from edgernn.exporters.quantization import Quantization
from edgernn.exporters.target import Weight, weight_name

__all__ = ["PRECISIONS", "quantise"]

PRECISIONS: dict[str, type[Quantiser]] = {"fp16": Half, "int8": Int8, "int4": Int4}


def quantise(
    model: onnx.ModelProto, spec: GraphSpec, quantization: Quantization, examples: Sequence[Mapping[str, Array]] = ()
) -> tuple[Weight, ...]:
    """Rewrite `model`, the graph of `spec`, in place. Returns how each of its matrices is stored, and why.

    examples: inputs for calibration; without them, convolutions are not computed in integers.
    Raises ExportError if a matrix is not quantised, without a reason.
    """
    if quantization.name not in PRECISIONS:
        return ()
    before = Rewriter(model)
    found = matrices({**before.inner_constants(), **before.constants})
    quantiser = PRECISIONS[quantization.name](before, spec, quantization)
    if isinstance(quantiser, Int8) and examples:
        quantiser.calibrate(model, examples)
    weights = quantiser.run()
    explained = {weight.name for weight in weights if weight.reason}
    changed = {weight.name for weight in weights if weight.bits <= quantiser.bits}
    after = Rewriter(model)
    left = {name for name, array in matrices(after.constants).items() if 8 * array.dtype.itemsize > quantiser.bits}
    for name in sorted(found, key=weight_name):
        if weight_name(name) not in explained and (name in left or weight_name(name) not in changed):
            raise ExportError(
                f"graph {spec.name}: the weights {weight_name(name)} were not quantised to {quantization.name}"
            )
    return weights
