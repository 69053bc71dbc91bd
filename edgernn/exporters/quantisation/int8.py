"""int8: integer matrix products.

Weights have per-channel scales: one for each output. Activations are quantised to 8 bits too: with a static scale if
their bound is known (a state that the contract bounds, the rows of an embedding), else with dynamic quantisation, one
scale per row, so that a stream never depends on the other streams of its batch. Convolutions of a graph with
calibration inputs use static quantisation of calibrated ranges. Other weights are expanded to single precision when the
graph is loaded.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import onnx

from edgernn.contract import Array, GraphSpec
from edgernn.exporters.capture.rewrite import CONTRIB, Rewriter, attribute
from edgernn.exporters.quantisation.calibration import measure_ranges
from edgernn.exporters.quantisation.convolutions import Convolutions, between_convolutions
from edgernn.exporters.quantisation.quantiser import Product, Quantiser
from edgernn.exporters.quantisation.rounding import STEPS, TINY, round_channels
from edgernn.exporters.quantization import Quantization

__all__ = ["Int8"]

# The unsigned byte that stands for zero. Activations and matrices are unsigned, because onnxruntime multiplies unsigned
# by signed bytes with instructions that overflow on x86 processors without VNNI.
_ZERO = 128


@dataclass(frozen=True)
class _Rounded:
    """A tensor quantised to unsigned bytes with zero point 128; scales[k] belongs to element k of its last axis."""

    tensor: str
    scales: Array


class Int8(Quantiser):
    """Replaces products by integer products."""

    bits = 8

    def __init__(self, graph: Rewriter, spec: GraphSpec, quantization: Quantization) -> None:
        super().__init__(graph, spec, quantization)
        self._bounds = dict(self._bounded())
        self._rounded: dict[str, _Rounded | None] = {}
        self._kernels: dict[str, Array] = {}
        self._convolutions: Convolutions | None = None
        self._zero = graph.constant(np.array(_ZERO, np.uint8), "zero")
        self._one = graph.constant(np.array(1, np.float32), "one")

    def calibrate(self, model: onnx.ModelProto, examples: Sequence[Mapping[str, Array]]) -> None:
        """Calibrate the ranges of activations between convolutions, which then use static quantisation."""
        weights = {node.input[1] for node in self._graph.nodes if self._has_constants(node)}
        self._kernels = {name: array for name in weights if (array := self._matrix(name)) is not None}
        self._kernels = {name: array for name, array in self._kernels.items() if array.dtype == "float32"}
        if not self._kernels:
            return
        names = list(between_convolutions(self._graph, self._kernels))
        self._convolutions = Convolutions(self._graph, measure_ranges(model, names, examples))

    def _keep(self, node: onnx.NodeProto) -> None:
        if self._convolutions is None:
            super()._keep(node)
            return
        self._convolutions.keep(node)
        self._store_inputs(node)

    def _is_rounded_convolution(self, node: onnx.NodeProto) -> bool:
        return self._convolutions is not None and self._has_constants(node) and node.input[1] in self._kernels

    def _has_constants(self, node: onnx.NodeProto) -> bool:
        """Return whether `node` is a convolution whose weight and bias are constants."""
        return node.op_type == "Conv" and all(name in self._graph.constants for name in node.input[1:] if name)

    def _convolve(self, node: onnx.NodeProto) -> None:
        assert self._convolutions is not None
        weight = self._kernels[node.input[1]]
        self._convolutions.convolve(node, weight)
        self._note(node.input[1], weight, 8, "each output", "int8, static quantisation")

    def _multiply(self, product: Product) -> None:
        known = None if product.name in self._tied else self._known(product.x)
        if known is None:
            self._multiply_rows(product)
        else:
            # The scale of each input is folded into its row of the weights.
            self._multiply_bytes(product, known.tensor, product.weight * known.scales[:, None], at=product.output)
            self._note(product.name, product.weight, 8, "each output", "int8")

    def _multiply_rows(self, product: Product) -> None:
        add, x, output = self._graph.add, product.x, product.output
        axis = self._graph.constant(np.array([-1], np.int64), "axis")
        largest = add("ReduceMax", [add("Abs", [x], f"{x}.abs"), axis], f"{x}.largest")
        step = add("Mul", [largest, self._scalar(1 / STEPS)], f"{x}.step")
        step = add("Max", [step, self._scalar(TINY)], f"{x}.step")
        levels = add("Round", [add("Div", [x, step], f"{x}.levels")], f"{x}.levels")
        levels = add("Add", [levels, self._scalar(_ZERO)], f"{x}.levels")
        rounded = add("Cast", [levels], f"{x}.rounded", to=onnx.TensorProto.UINT8)
        plain = replace(product, bias=None)
        product_of_levels = self._multiply_bytes(plain, rounded, product.weight)
        if product.bias is None:
            add("Mul", [product_of_levels, step], "", at=output)
        else:
            unbiased = add("Mul", [product_of_levels, step], f"{output}.product")
            add("Add", [unbiased, *self._biases(product)], "", at=output)
        self._note(product.name, product.weight, 8, "each output", "int8, dynamic quantisation per row")

    def _multiply_bytes(self, product: Product, rounded: str, weight: Array, at: str = "") -> str:
        stored, steps = self._columns(product.name, weight)
        inputs = [rounded, stored, self._one, steps, self._zero, self._zero, *self._biases(product)]
        return self._graph.add("MatMulIntegerToFloat", inputs, f"{product.output}.levels", domain=CONTRIB, at=at)

    def _columns(self, name: str, weight: Array) -> tuple[str, str]:
        """Return the weights (inputs, outputs) of a product as levels, and the scales of the outputs."""
        levels, scales = round_channels(weight)
        return self._graph.constant(_unsigned(levels), f"{name}.int8"), self._graph.constant(
            scales.ravel(), f"{name}.scales"
        )

    def _look_up(self, node: onnx.NodeProto) -> None:
        if node.input[0] in self._tied:
            self._look_up_columns(node)
            return
        rows = self._known(node.output[0])
        assert rows is not None
        scales = self._graph.constant(rows.scales, f"{node.input[0]}.scales")
        zeros = self._graph.constant(np.full(len(rows.scales), _ZERO, np.uint8), f"{node.input[0]}.zeros")
        self._graph.add("DequantizeLinear", [rows.tensor, scales, zeros], "", at=node.output[0], axis=-1)

    def _look_up_columns(self, node: onnx.NodeProto) -> None:
        """Look up the rows of an embedding that is tied to the output projection, where they are columns."""
        add, (name, indices), output = self._graph.add, node.input, node.output[0]
        table = self._graph.constants[name]
        levels, scales = self._columns(name, table.T)
        columns = add("Gather", [levels, indices], f"{output}.levels", axis=1)
        columns = add("Cast", [columns], f"{output}.levels", to=onnx.TensorProto.FLOAT)
        columns = add("Sub", [columns, self._scalar(_ZERO)], f"{output}.levels")
        columns = add("Mul", [columns, add("Gather", [scales, indices], f"{output}.scales")], f"{output}.columns")
        add("Transpose", [columns], "", at=output, perm=[*range(1, self._graph.ranks[output]), 0])
        self._note(name, table, 8, "each row", "fp32")

    def _known(self, tensor: str) -> _Rounded | None:
        """Return `tensor` quantised to bytes, if its range is known statically."""
        if tensor not in self._rounded:
            self._rounded[tensor] = self._round_known(tensor)
        return self._rounded[tensor]

    def _round_known(self, tensor: str) -> _Rounded | None:
        add = self._graph.add
        node = self._graph.makers.get(tensor)
        if node is not None and self._is_lookup(node):
            if node.input[0] in self._tied:
                return None
            table = self._graph.constants[node.input[0]]
            levels, scales = round_channels(table)
            stored = self._graph.constant(_unsigned(levels), f"{node.input[0]}.int8")
            self._note(node.input[0], table, 8, "each column", "int8")
            return _Rounded(add("Gather", [stored, node.input[1]], f"{tensor}.rounded", axis=0), scales.ravel())
        if tensor in self._bounds:
            bound, size = self._bounds[tensor]
            step = np.array(bound / STEPS, np.float32)
            name = add("QuantizeLinear", [tensor, self._graph.constant(step, "step"), self._zero], f"{tensor}.rounded")
            return _Rounded(name, np.full(size, step))
        if node is None:
            return None
        if node.op_type == "Concat" and attribute(node, "axis", 0) in (-1, self._graph.ranks.get(tensor, 0) - 1):
            parts = [self._known(name) for name in node.input]
            known = [part for part in parts if part is not None]
            if len(known) < len(parts):
                return None
            name = add("Concat", [part.tensor for part in known], f"{tensor}.rounded", axis=-1)
            return _Rounded(name, np.concatenate([part.scales for part in known]))
        if self._moves_whole_rows(node):
            rows = self._known(node.input[0])
            if rows is None:
                return None
            arguments = {entry.name: onnx.helper.get_attribute_value(entry) for entry in node.attribute}
            name = add(node.op_type, [rows.tensor, *node.input[1:]], f"{tensor}.rounded", **arguments)
            return _Rounded(name, rows.scales)
        return None

    def _moves_whole_rows(self, node: onnx.NodeProto) -> bool:
        """Return whether `node` selects or rearranges along the first axis only, and preserves the last axis."""
        if self._graph.ranks.get(node.input[0], 0) < 2:
            return False
        if node.op_type == "Gather":
            return bool(attribute(node, "axis", 0) == 0)
        axes = self._graph.constants.get(node.input[1]) if len(node.input) > 1 else None
        return node.op_type in ("Squeeze", "Unsqueeze") and axes is not None and not np.any(axes)

    def _bounded(self) -> Iterator[tuple[str, tuple[float, int]]]:
        """Yield tensors that the contract bounds: states, and the parts that they are stacked from."""
        for state in self._spec.states:
            size = state.axes[-1] if state.axes else ""
            if state.magnitude is None or state.dtype != "float32" or isinstance(size, str):
                continue
            names = [state.input, state.output]
            while names:
                name = names.pop()
                yield name, (state.magnitude, size)
                node = self._graph.makers.get(name)
                if node is not None and self._stacks(node, len(state.axes)):
                    names.extend(node.input if node.op_type == "Concat" else node.input[:1])

    def _stacks(self, node: onnx.NodeProto, rank: int) -> bool:
        """Return whether `node` stacks states of `rank` along the first axis, which is not the last."""
        if rank < 2:
            return False
        if node.op_type == "Concat":
            return bool(attribute(node, "axis", 0) == 0)
        axes = self._graph.constants.get(node.input[1]) if node.op_type == "Unsqueeze" else None
        return axes is not None and axes.ravel().tolist() == [0]

    def _scalar(self, value: float) -> str:
        return self._graph.constant(np.array(value, np.float32), "constant")


def _unsigned(levels: Array) -> Array:
    """Return signed levels as unsigned bytes with the zero point 128."""
    return (levels.astype(np.int16) + _ZERO).astype(np.uint8)
