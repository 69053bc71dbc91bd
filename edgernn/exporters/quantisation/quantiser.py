"""The base class of the quantisers of ONNX graphs: which constants are quantised, and why others are not.

Only the weights of products, convolutions, recurrent operators and embeddings are quantised. Constants with other uses
(an additive mask, a table of positions) are kept, since their values may mean anything.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import onnx
from onnx import helper

from edgernn.contract import Array, GraphSpec
from edgernn.exporters.capture.rewrite import Rewriter, attribute
from edgernn.exporters.quantisation.rounding import harm, round_closest
from edgernn.exporters.quantization import Quantization
from edgernn.exporters.target import NO_WEIGHT, Weight, is_matrix, weight_name

__all__ = ["Product", "Quantiser", "is_convolution", "matrices"]

_OPERANDS = {  # the inputs whose constants are weights, by operator
    "MatMul": (0, 1),
    "Gemm": (0, 1),
    "Conv": (1,),
    "ConvTranspose": (1,),
    "Gather": (0,),
    "GatherND": (0,),
    "LSTM": (1, 2),
    "GRU": (1, 2),
    "RNN": (1, 2),
}
_LAYOUT = {"Transpose", "Reshape", "Squeeze", "Unsqueeze", "Slice", "Split", "Concat", "Expand", "Identity", "Cast"}
_PLAIN = {"alpha": 1.0, "beta": 1.0, "transA": 0}
_INSIDE = "it is a constant inside of a branch or a loop"
_ARITHMETIC = {"float16": "fp16", "float32": "fp32", "float64": "fp64"}


@dataclass(frozen=True)
class Product:
    """output = x @ weight + bias, with weight (inputs, outputs), and the nodes that compute it."""

    x: str
    name: str
    weight: Array
    bias: Array | None
    output: str
    nodes: tuple[onnx.NodeProto, ...]


def matrices(constants: Mapping[str, Array]) -> dict[str, Array]:
    """Return those of `constants` that are floating-point tensors with at least two axes."""
    return {
        name: array for name, array in constants.items() if array.dtype.name in _ARITHMETIC and is_matrix(array.shape)
    }


def is_convolution(node: onnx.NodeProto) -> bool:
    """Return whether `node` is a convolution or transposed convolution."""
    return node.op_type in ("Conv", "ConvTranspose")


class Quantiser(ABC):
    """Traverses a graph and replaces the nodes that use constant matrices.

    bits: of a weight. half: whether weights are stored in half precision.
    """

    bits: int
    half = False

    def __init__(self, graph: Rewriter, spec: GraphSpec, quantization: Quantization) -> None:
        self._graph = graph
        self._spec = spec
        self._quantization = quantization
        self._weights: list[Weight] = []
        self._kept = dict(self._reasons())
        self._tied = {name for name in graph.readers if self._is_tied(name)}

    def run(self) -> tuple[Weight, ...]:
        """Rewrite the graph. Returns how each of its matrices is stored."""
        for name, reason in self._kept.items():
            self._note_kept(name, self._graph.constants[name], reason)
        for name, array in matrices(self._graph.inner_constants()).items():
            self._note_kept(name, array, _INSIDE)
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
            elif self._is_rounded_convolution(node):
                self._convolve(node)
            else:
                self._keep(node)
        self._graph.finish()
        return tuple(dict.fromkeys(self._weights))

    def _reasons(self) -> Iterator[tuple[str, str]]:
        """Yield the matrices that are not quantised, each with the reason."""
        weights = set(self._weights_of_products())
        for name, array in matrices(self._graph.constants).items():
            if kept := self._quantization.reason_to_keep(weight_name(name)):
                yield name, kept
            elif name not in weights:
                yield name, NO_WEIGHT
            elif harmed := harm(array, half=self.half):
                yield name, harmed

    def _weights_of_products(self) -> Iterator[str]:
        """Yield the names of weights, and of the constants that they are slices or rearrangements of."""
        for node in self._graph.all_nodes:
            places = range(len(node.input)) if node.op_type == "Einsum" else _OPERANDS.get(node.op_type, ())
            pending = [node.input[place] for place in places if place < len(node.input)]
            while pending:
                name = pending.pop()
                yield name
                maker = self._graph.makers.get(name)
                if maker is not None and maker.op_type in _LAYOUT:
                    pending.extend(maker.input)

    def _keep(self, node: onnx.NodeProto) -> None:
        """Keep `node`, but store its constants in fewer bits."""
        self._graph.keep(node)
        self._store_inputs(node)

    def _store_inputs(self, node: onnx.NodeProto) -> None:
        for name in self._graph.used_by(node):
            self._store(name)

    def _is_rounded_convolution(self, node: onnx.NodeProto) -> bool:
        """Return whether `node` is a convolution that is computed in integers."""
        return False

    def _convolve(self, node: onnx.NodeProto) -> None:
        """Write the convolution `node`."""
        raise NotImplementedError

    @abstractmethod
    def _multiply(self, product: Product) -> None:
        """Write the nodes that compute `product`."""

    @abstractmethod
    def _look_up(self, node: onnx.NodeProto) -> None:
        """Write the nodes that replace `node`, which looks up rows of an embedding."""

    def _store(self, name: str) -> None:
        """Store a constant in 8 bits, which are expanded when the graph is loaded."""
        array = self._matrix(name)
        if array is not None:
            self._store_bytes(name, array)

    def _store_bytes(self, name: str, array: Array, reason: str = "") -> None:
        axis, levels, scales = round_closest(array)
        stored = self._graph.constant(levels, f"{name}.int8")
        steps = self._graph.constant(scales.ravel(), f"{name}.scales")
        self._expand(name, array, "DequantizeLinear", [stored, steps], axis=axis)
        self._note(name, array, 8, f"each index of axis {axis}", _ARITHMETIC[array.dtype.name], reason)

    def _expand(self, name: str, array: Array, operator: str, inputs: list[str], **attributes: object) -> None:
        """Compute the constant `name` by `operator`, which returns single precision, and cast it to its own type."""
        if array.dtype == "float32":
            self._graph.expand(name, operator, inputs, **attributes)
            return
        single = self._graph.compute(f"{name}.single", operator, inputs, **attributes)
        self._graph.expand(name, "Cast", [single], to=helper.np_dtype_to_tensor_dtype(array.dtype))

    def _note(self, name: str, array: Array, bits: int, scales: str, arithmetic: str, reason: str = "") -> None:
        self._weights.append(Weight(weight_name(name), tuple(array.shape), bits, scales, arithmetic, reason))

    def _note_kept(self, name: str, array: Array, reason: str) -> None:
        self._note(name, array, 8 * array.dtype.itemsize, "none", _ARITHMETIC[array.dtype.name], reason)

    def _matrix(self, name: str) -> Array | None:
        """Return the constant `name`, if it is a weight matrix to quantise."""
        array = self._graph.constants.get(name)
        if array is None or name in self._kept or array.dtype.name not in _ARITHMETIC or not is_matrix(array.shape):
            return None
        return array

    def _single(self, name: str) -> Array | None:
        """Return the constant `name`, if it is a weight matrix to quantise in single precision with two axes."""
        array = self._matrix(name)
        return array if array is not None and array.dtype == "float32" and array.ndim == 2 else None

    def _is_lookup(self, node: onnx.NodeProto) -> bool:
        return node.op_type == "Gather" and attribute(node, "axis", 0) == 0 and self._single(node.input[0]) is not None

    def _is_tied(self, name: str) -> bool:
        """Return whether `name` is an embedding whose transpose is the weight of products, without any other use."""
        readers = self._graph.readers.get(name, [])
        lookups = [node for node in readers if self._is_lookup(node) and node.output[0] in self._graph.ranks]
        products = [node for node in readers if name in node.input[1:2] and attribute(node, "transB", 0)]
        products = [node for node in products if self._product(node) is not None]
        return bool(lookups and products) and len(lookups) + len(products) == len(readers)

    def _product(self, node: onnx.NodeProto) -> Product | None:
        """Return the product with a constant matrix, and the following sum, that `node` computes, or None."""
        if node.op_type not in ("MatMul", "Gemm"):
            return None
        weight, bias = self._single(node.input[1]), None
        if weight is None:
            return None
        if node.op_type == "Gemm":
            if any(attribute(node, key, usual) != usual for key, usual in _PLAIN.items()):
                return None
            weight = weight.T if attribute(node, "transB", 0) else weight
            if len(node.input) > 2:
                bias = self._bias(node.input[2], weight)
                if bias is None:
                    return None
        product = Product(node.input[0], node.input[1], weight, bias, node.output[0], (node,))
        return product if bias is not None else self._with_sum(product)

    def _with_sum(self, product: Product) -> Product:
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

    def _biases(self, product: Product) -> list[str]:
        name = f"{product.name.removesuffix('.weight')}.bias"
        return [] if product.bias is None else [self._graph.constant(product.bias, name)]
