"""int4: blocks of inputs (32 by default) of an output channel share a scale, chosen for the smallest error.

Products and embeddings are computed by onnxruntime's own operators. Other weights are expanded to single precision when
the graph is loaded. The kernels of convolutions have 8 bits, since 4 bits lost too much accuracy.
"""

from __future__ import annotations

import numpy as np
import onnx

from edgernn.contract import Array
from edgernn.exporters.capture.rewrite import CONTRIB
from edgernn.exporters.quantisation.quantiser import Product, Quantiser, is_convolution
from edgernn.exporters.quantisation.rounding import pack, round_blocks

__all__ = ["Int4"]

_KERNELS = "convolutions have kernels of 8 bits"


class Int4(Quantiser):
    """Quantises weights in blocks to 4 bits."""

    bits = 4

    def _multiply(self, product: Product) -> None:
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
        arithmetic = "int8, dynamic quantisation per block"
        self._note(product.name, product.weight, 4, f"{block} inputs of each output", arithmetic)

    def _blocks(self, name: str, rows: Array) -> tuple[str, Array]:
        """Return `rows` as packed levels (rows, blocks, bytes), and the scales (rows, blocks)."""
        levels, scales = round_blocks(rows, self._quantization.block)
        return self._graph.constant(pack(levels.reshape(*scales.shape, -1)), f"{name}.int4"), scales

    def _look_up(self, node: onnx.NodeProto) -> None:
        name, output, block = node.input[0], node.output[0], self._quantization.block
        table = self._graph.constants[name]
        width = table.shape[1]
        if width % block == 0 and name in self._tied:
            stored, scales = self._blocks(name, table)
            blocks = self._gather(node, stored, scales[..., None], f"{output}.blocks")
            shape = self._graph.constant(np.array([0] * (self._graph.ranks[output] - 1) + [-1]), "shape")
            self._graph.add("Reshape", [blocks, shape], "", at=output)
        elif width % 2:
            rows = self._gather(node, *self._even(name, table), f"{output}.even")
            self._graph.add("Slice", [rows, *self._first_columns(width)], "", at=output)
        else:
            self._gather(node, *self._even(name, table), at=output)
        self._note(name, table, 4, f"{block} columns of each row", "fp32")

    def _gather(self, node: onnx.NodeProto, stored: str, scales: Array, name: str = "", at: str = "") -> str:
        """Add a node that looks up rows of packed levels, whose last axis is split into blocks."""
        steps = self._graph.constant(scales, f"{node.input[0]}.scales")
        inputs = [stored, node.input[1], steps]
        return self._graph.add(
            "GatherBlockQuantized", inputs, name, domain=CONTRIB, at=at, **self._split(scales.ndim - 1)
        )

    def _split(self, axis: int) -> dict[str, int]:
        return {"gather_axis": 0, "quantize_axis": axis, "block_size": self._quantization.block, "bits": 4}

    def _even(self, name: str, rows: Array) -> tuple[str, Array]:
        """Return `rows` as packed levels, two per byte, padded to an even number of columns, and the scales."""
        levels, scales = round_blocks(rows, self._quantization.block)
        return self._graph.constant(pack(levels[:, : rows.shape[1] + rows.shape[1] % 2]), f"{name}.int4"), scales

    def _first_columns(self, width: int) -> list[str]:
        """Return the inputs of a Slice that takes the first `width` indices of the last axis."""
        return [self._graph.constant(np.array([number]), "slice") for number in (0, width, -1)]

    def _store(self, name: str) -> None:
        array = self._matrix(name)
        if array is None:
            return
        if any(is_convolution(node) for node in self._graph.readers.get(name, [])):
            self._store_bytes(name, array, _KERNELS)
            return
        graph, width = self._graph, array.shape[-1]
        rows = array.reshape(-1, width).astype(np.float32)
        stored, scales = self._even(name, rows)
        ends = [graph.constant(np.array(number), "range") for number in (0, len(rows), 1)]
        places = graph.compute(f"{name}.places", "Range", ends)
        steps = graph.constant(scales, f"{name}.scales")
        expanded = graph.compute(
            f"{name}.even", "GatherBlockQuantized", [stored, places, steps], domain=CONTRIB, **self._split(1)
        )
        if width % 2:
            expanded = graph.compute(f"{name}.rows", "Slice", [expanded, *self._first_columns(width)])
        shape = graph.constant(np.array(array.shape), f"{name}.shape")
        self._expand(name, array, "Reshape", [expanded, shape])
        scheme = f"{self._quantization.block} columns of each row"
        self._note(name, array, 4, scheme, f"fp{8 * array.dtype.itemsize}")
