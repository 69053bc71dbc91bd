"""Quantised weights of ONNX graphs: one path for every cell, since every cell is made of matrix products.

int8: each output channel of a matrix has a scale, and products are computed in integers. Activations are quantised to 8
      bits too: within a bound where one is known beforehand (a state that the contract bounds, the rows of an
      embedding), else with a scale for each row, so that a stream never depends on its neighbours in a batch.
      Convolutions of a graph that comes with real inputs are computed in integers too, within ranges of activations
      that are measured on these.
int4: blocks of inputs of an output channel, 32 unless asked otherwise, share a scale, the one of the smallest squared
      error.
fp16: weights are stored in half precision and multiplied in single.

Embeddings are rounded like other weights, and one that the output uses too is stored once. Constants with two axes or
more that no product takes (those of convolutions, say) are stored at 8 bits, at 16 for fp16, and used in single
precision. Vectors, biases among them, stay as they are.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import onnx

from edgernn.contract import Array, GraphSpec
from edgernn.errors import ExportError
from edgernn.exporters.calibration import measure_ranges
from edgernn.exporters.convolutions import Convolutions, between_convolutions
from edgernn.exporters.quantization import Quantization
from edgernn.exporters.rewrite import CONTRIB, Rewriter, attribute
from edgernn.exporters.rounding import STEPS, TINY, pack, round_blocks, round_channels
from edgernn.exporters.target import Weight, is_matrix, weight_name

__all__ = ["PRECISIONS", "quantise"]

_ZERO = 128  # the unsigned byte that stands for zero
_SINGLE = 32  # bits


def quantise(
    model: onnx.ModelProto, spec: GraphSpec, quantization: Quantization, examples: Sequence[Mapping[str, Array]] = ()
) -> tuple[Weight, ...]:
    """Rewrite `model`, the graph of `spec`, in place. Returns how each of its weight matrices is stored.

    examples: inputs on which the ranges of activations are measured, without which convolutions are not of integers.
    Raises ExportError if one of the matrices is still there in single precision.
    """
    if quantization.name not in PRECISIONS:
        return ()
    single = (tensor for tensor in model.graph.initializer if tensor.data_type == onnx.TensorProto.FLOAT)
    matrices = {tensor.name for tensor in single if is_matrix(tensor.dims)}
    quantiser = PRECISIONS[quantization.name](Rewriter(model), spec, quantization)
    if isinstance(quantiser, _Int8) and examples:
        quantiser.calibrate(model, examples)
    weights = quantiser.run()
    changed = {weight.name for weight in weights if weight.bits < _SINGLE}
    after = {tensor.name for tensor in model.graph.initializer}
    for name in sorted(matrices, key=weight_name):
        if not quantization.keeps(weight_name(name)) and (name in after or weight_name(name) not in changed):
            raise ExportError(
                f"graph {spec.name}: the weights {weight_name(name)} were not quantised to {quantization.name}"
            )
    return weights


@dataclass(frozen=True)
class _Product:
    """output = x @ weight + bias, with weight (inputs, outputs), and the nodes that computed it."""

    x: str
    name: str
    weight: Array
    bias: Array | None
    output: str
    nodes: tuple[onnx.NodeProto, ...]


class _Quantiser(ABC):
    """Goes through a graph and replaces the nodes that use constant matrices."""

    def __init__(self, graph: Rewriter, spec: GraphSpec, quantization: Quantization) -> None:
        self._graph = graph
        self._spec = spec
        self._quantization = quantization
        self._weights: list[Weight] = []
        self._tied = {name for name in graph.readers if self._is_tied(name)}

    def run(self) -> tuple[Weight, ...]:
        """Rewrite the graph."""
        replaced: set[int] = set()
        for node in self._graph.nodes:
            if id(node) in replaced:
                continue
            product = self._product(node)
            if product is not None:
                self._multiply(product)
                replaced.update(map(id, product.nodes))
            elif self._is_lookup(node):
                self._look_up(node)
            elif self._is_convolution(node):
                self._convolve(node)
            else:
                self._keep(node)
        self._graph.finish()
        return tuple(dict.fromkeys(self._weights))

    def _keep(self, node: onnx.NodeProto) -> None:
        """Leave `node` as it is, but store its constants in fewer bits."""
        self._graph.keep(node)
        self._store_inputs(node)

    def _store_inputs(self, node: onnx.NodeProto) -> None:
        for name in node.input:
            self._note_kept(name)
            self._store(name)

    def _is_convolution(self, node: onnx.NodeProto) -> bool:
        """Whether `node` is a convolution that is computed in integers."""
        return False

    def _convolve(self, node: onnx.NodeProto) -> None:
        """Write the convolution `node`."""
        raise NotImplementedError

    @abstractmethod
    def _multiply(self, product: _Product) -> None:
        """Write the nodes that compute `product`."""

    @abstractmethod
    def _look_up(self, node: onnx.NodeProto) -> None:
        """Write the nodes that look up rows of an embedding, as `node` did."""

    def _store(self, name: str) -> None:
        """Store a constant at 8 bits, which is expanded when the graph is loaded."""
        array = self._matrix(name)
        if array is None:
            return
        axis = next(axis for axis, size in enumerate(array.shape) if size > 1)
        levels, scales = round_channels(array, axis)
        stored = self._graph.constant(levels, f"{name}.int8")
        steps = self._graph.constant(scales.ravel(), f"{name}.scales")
        self._graph.expand(name, "DequantizeLinear", [stored, steps], axis=axis)
        self._note(name, array, 8, f"each index of axis {axis}", "fp32")

    def _note(self, name: str, array: Array, bits: int, scales: str, arithmetic: str) -> None:
        self._weights.append(Weight(weight_name(name), tuple(array.shape), bits, scales, arithmetic))

    def _note_kept(self, name: str) -> None:
        array = self._any_matrix(name)
        if array is not None and self._quantization.keeps(weight_name(name)):
            self._note(name, array, _SINGLE, "none", "fp32")

    def _matrix(self, name: str) -> Array | None:
        """The constant `name`, if it is a weight matrix that is quantised."""
        return None if self._quantization.keeps(weight_name(name)) else self._any_matrix(name)

    def _any_matrix(self, name: str) -> Array | None:
        array = self._graph.constants.get(name)
        return array if array is not None and array.dtype == np.float32 and is_matrix(array.shape) else None

    def _is_lookup(self, node: onnx.NodeProto) -> bool:
        if node.op_type != "Gather" or attribute(node, "axis", 0) != 0:
            return False
        table = self._matrix(node.input[0])
        return table is not None and table.ndim == 2

    def _is_tied(self, name: str) -> bool:
        """Whether `name` is an embedding whose transpose is the weights of products, and that has no other use."""
        readers = self._graph.readers.get(name, [])
        lookups = [node for node in readers if self._is_lookup(node) and node.output[0] in self._graph.ranks]
        products = [node for node in readers if name in node.input[1:2] and attribute(node, "transB", 0)]
        products = [node for node in products if self._product(node) is not None]
        return bool(lookups and products) and len(lookups) + len(products) == len(readers)

    def _product(self, node: onnx.NodeProto) -> _Product | None:
        """The product with a constant matrix that `node` computes, with the sum after it, or None."""
        if node.op_type not in ("MatMul", "Gemm"):
            return None
        weight, bias = self._matrix(node.input[1]), None
        if weight is None or weight.ndim != 2:
            return None
        if node.op_type == "Gemm":
            if any(attribute(node, key, usual) != usual for key, usual in _PLAIN.items()):
                return None
            weight = weight.T if attribute(node, "transB", 0) else weight
            if len(node.input) > 2:
                bias = self._bias(node.input[2], weight)
                if bias is None:
                    return None
        product = _Product(node.input[0], node.input[1], weight, bias, node.output[0], (node,))
        return product if bias is not None else self._with_sum(product)

    def _with_sum(self, product: _Product) -> _Product:
        readers = self._graph.readers.get(product.output, [])
        if len(readers) != 1 or readers[0].op_type != "Add" or product.output in self._graph.outputs:
            return product
        other = next((name for name in readers[0].input if name != product.output), "")
        bias = self._bias(other, product.weight)
        if bias is None:
            return product
        return replace(product, bias=bias, output=readers[0].output[0], nodes=(*product.nodes, readers[0]))

    def _bias(self, name: str, weight: Array) -> Array | None:
        bias = self._graph.constants.get(name)
        return bias if bias is not None and bias.shape == weight.shape[1:] else None

    def _biases(self, product: _Product) -> list[str]:
        name = f"{product.name.removesuffix('.weight')}.bias"
        return [] if product.bias is None else [self._graph.constant(product.bias, name)]


_PLAIN = {"alpha": 1.0, "beta": 1.0, "transA": 0}


@dataclass(frozen=True)
class _Rounded:
    """A tensor quantised to bytes with the zero point 128; scales[k] is the scale of element k of its last axis."""

    tensor: str
    scales: Array


class _Int8(_Quantiser):
    """Products of integers."""

    def __init__(self, graph: Rewriter, spec: GraphSpec, quantization: Quantization) -> None:
        super().__init__(graph, spec, quantization)
        self._bounds = dict(self._bounded())
        self._rounded: dict[str, _Rounded | None] = {}
        self._kernels: dict[str, Array] = {}
        self._convolutions: Convolutions | None = None
        self._steps = STEPS // 2 if quantization.reduce_range else STEPS
        self._zero = graph.constant(np.array(_ZERO, np.uint8), "zero")
        self._one = graph.constant(np.array(1, np.float32), "one")

    def calibrate(self, model: onnx.ModelProto, examples: Sequence[Mapping[str, Array]]) -> None:
        """Measure the ranges of activations between convolutions, which are then computed in integers."""
        weights = {node.input[1] for node in self._graph.nodes if node.op_type == "Conv"}
        self._kernels = {name: array for name in weights if (array := self._matrix(name)) is not None}
        if not self._kernels:
            return
        names = list(between_convolutions(self._graph, self._kernels))
        self._convolutions = Convolutions(self._graph, measure_ranges(model, names, examples), self._steps)

    def _keep(self, node: onnx.NodeProto) -> None:
        if self._convolutions is None:
            super()._keep(node)
            return
        self._convolutions.keep(node)
        self._store_inputs(node)

    def _is_convolution(self, node: onnx.NodeProto) -> bool:
        return self._convolutions is not None and node.op_type == "Conv" and node.input[1] in self._kernels

    def _convolve(self, node: onnx.NodeProto) -> None:
        assert self._convolutions is not None
        weight = self._kernels[node.input[1]]
        self._convolutions.convolve(node, weight)
        self._note(node.input[1], weight, 8, "each output", "int8, within measured ranges")

    def _multiply(self, product: _Product) -> None:
        known = None if product.name in self._tied else self._known(product.x)
        if known is None:
            self._multiply_rows(product)
        else:
            # The scale of each input is multiplied into its row of the weights.
            self._multiply_bytes(product, known.tensor, product.weight * known.scales[:, None], at=product.output)
            self._note(product.name, product.weight, 8, "each output", "int8")

    def _multiply_rows(self, product: _Product) -> None:
        add, x, output = self._graph.add, product.x, product.output
        axis = self._graph.constant(np.array([-1], np.int64), "axis")
        largest = add("ReduceMax", [add("Abs", [x], f"{x}.abs"), axis], f"{x}.largest")
        step = add("Mul", [largest, self._single(1 / STEPS)], f"{x}.step")
        step = add("Max", [step, self._single(TINY)], f"{x}.step")
        levels = add("Round", [add("Div", [x, step], f"{x}.levels")], f"{x}.levels")
        levels = add("Add", [levels, self._single(_ZERO)], f"{x}.levels")
        rounded = add("Cast", [levels], f"{x}.rounded", to=onnx.TensorProto.UINT8)
        plain = replace(product, bias=None)
        product_of_levels = self._multiply_bytes(plain, rounded, product.weight)
        if product.bias is None:
            add("Mul", [product_of_levels, step], "", at=output)
        else:
            unbiased = add("Mul", [product_of_levels, step], f"{output}.product")
            add("Add", [unbiased, *self._biases(product)], "", at=output)
        self._note(product.name, product.weight, 8, "each output", "int8, rounded row by row")

    def _multiply_bytes(self, product: _Product, rounded: str, weight: Array, at: str = "") -> str:
        stored, steps = self._columns(product.name, weight)
        inputs = [rounded, stored, self._one, steps, self._zero, "", *self._biases(product)]
        return self._graph.add("MatMulIntegerToFloat", inputs, f"{product.output}.levels", domain=CONTRIB, at=at)

    def _columns(self, name: str, weight: Array) -> tuple[str, str]:
        """The weights (inputs, outputs) of a product as levels, and the scales of its outputs."""
        levels, scales = round_channels(weight, steps=self._steps)
        return self._graph.constant(levels, f"{name}.int8"), self._graph.constant(scales.ravel(), f"{name}.scales")

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
        """Rows of an embedding are columns of the weights that the output multiplies with."""
        add, (name, indices), output = self._graph.add, node.input, node.output[0]
        table = self._graph.constants[name]
        levels, scales = self._columns(name, table.T)
        columns = add("Gather", [levels, indices], f"{output}.levels", axis=1)
        columns = add("Cast", [columns], f"{output}.levels", to=onnx.TensorProto.FLOAT)
        columns = add("Mul", [columns, add("Gather", [scales, indices], f"{output}.scales")], f"{output}.columns")
        add("Transpose", [columns], "", at=output, perm=[*range(1, self._graph.ranks[output]), 0])
        self._note(name, table, 8, "each row", "fp32")

    def _known(self, tensor: str) -> _Rounded | None:
        """`tensor` quantised to bytes, if its range is known beforehand."""
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
            stored = self._graph.constant((levels.astype(np.int16) + _ZERO).astype(np.uint8), f"{node.input[0]}.int8")
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
        """Whether `node` takes or rearranges its input along the first axis, and the last one stays what it was."""
        if self._graph.ranks.get(node.input[0], 0) < 2:
            return False
        if node.op_type == "Gather":
            return bool(attribute(node, "axis", 0) == 0)
        axes = self._graph.constants.get(node.input[1]) if len(node.input) > 1 else None
        return node.op_type in ("Squeeze", "Unsqueeze") and axes is not None and not np.any(axes)

    def _bounded(self) -> Iterator[tuple[str, tuple[float, int]]]:
        """Tensors that the contract bounds: states, and the parts that they are stacked from."""
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
        """Whether `node` stacks a state of `rank` along its first axis, which is not its last."""
        if rank < 2:
            return False
        if node.op_type == "Concat":
            return bool(attribute(node, "axis", 0) == 0)
        axes = self._graph.constants.get(node.input[1]) if node.op_type == "Unsqueeze" else None
        return axes is not None and axes.ravel().tolist() == [0]

    def _single(self, value: float) -> str:
        return self._graph.constant(np.array(value, np.float32), "constant")


class _Int4(_Quantiser):
    """Blocks of weights, in onnxruntime's own operators."""

    def _multiply(self, product: _Product) -> None:
        inputs, outputs = product.weight.shape
        block = self._quantization.block
        stored, scales = self._blocks(product.name, product.weight.T)
        steps = self._graph.constant(scales.reshape(-1), f"{product.name}.scales")
        self._graph.add(
            "MatMulNBits",
            [product.x, stored, steps, *(["", "", *self._biases(product)] if product.bias is not None else [])],
            "",
            domain=CONTRIB,
            at=product.output,
            K=inputs,
            N=outputs,
            bits=4,
            block_size=block,
            accuracy_level=4,
        )
        self._note(product.name, product.weight, 4, f"{block} inputs of each output", "int8, rounded block by block")

    def _blocks(self, name: str, rows: Array) -> tuple[str, Array]:
        """`rows` as levels (rows, blocks, bytes), and the scales (rows, blocks)."""
        levels, scales = round_blocks(rows, self._quantization.block)
        return self._graph.constant(pack(levels.reshape(*scales.shape, -1)), f"{name}.int4"), scales

    def _look_up(self, node: onnx.NodeProto) -> None:
        name, output, block = node.input[0], node.output[0], self._quantization.block
        table = self._graph.constants[name]
        width = table.shape[1]
        if width % 2:  # two numbers share a byte
            self._graph.keep(node)
            self._store(name)
        elif width % block == 0 and name in self._tied:
            stored, scales = self._blocks(name, table)
            blocks = self._gather(node, stored, scales[..., None], f"{output}.blocks")
            shape = self._graph.constant(np.array([0] * (self._graph.ranks[output] - 1) + [-1]), "shape")
            self._graph.add("Reshape", [blocks, shape], "", at=output)
            self._note(name, table, 4, f"{block} columns of each row", "fp32")
        else:
            levels, scales = round_blocks(table, block)
            stored = self._graph.constant(pack(levels[:, :width]), f"{name}.int4")
            self._gather(node, stored, scales, at=output)
            self._note(name, table, 4, f"{block} columns of each row", "fp32")

    def _gather(self, node: onnx.NodeProto, stored: str, scales: Array, name: str = "", at: str = "") -> str:
        """Write the node that looks up rows of packed levels, whose last axis is split into blocks."""
        steps = self._graph.constant(scales, f"{node.input[0]}.scales")
        axes = {"gather_axis": 0, "quantize_axis": scales.ndim - 1}
        inputs, block = [stored, node.input[1], steps], self._quantization.block
        return self._graph.add(
            "GatherBlockQuantized", inputs, name, domain=CONTRIB, at=at, **axes, block_size=block, bits=4
        )


class _Half(_Quantiser):
    """Half precision on disk."""

    def _multiply(self, product: _Product) -> None:
        for node in product.nodes:
            self._graph.keep(node)
        self._store(product.name)

    def _look_up(self, node: onnx.NodeProto) -> None:
        self._graph.keep(node)
        self._store(node.input[0])

    def _store(self, name: str) -> None:
        array = self._matrix(name)
        if array is None:
            return
        stored = self._graph.constant(array.astype(np.float16), f"{name}.fp16")
        self._graph.expand(name, "Cast", [stored], to=onnx.TensorProto.FLOAT)
        self._note(name, array, 16, "none", "fp32")


PRECISIONS: dict[str, type[_Quantiser]] = {"fp16": _Half, "int8": _Int8, "int4": _Int4}
