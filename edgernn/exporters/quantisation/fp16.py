"""fp16: weights are stored in half precision, and products are computed in the network's precision."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import helper

from edgernn.exporters.quantisation.quantiser import Product, Quantiser

__all__ = ["Half"]


class Half(Quantiser):
    """Stores weights in half precision."""

    bits = 16
    half = True

    def _multiply(self, product: Product) -> None:
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
        if array.dtype != np.float16:
            stored = self._graph.constant(array.astype(np.float16), f"{name}.fp16")
            self._graph.expand(name, "Cast", [stored], to=helper.np_dtype_to_tensor_dtype(array.dtype))
        self._note(name, array, 16, "none", f"fp{8 * array.dtype.itemsize}")
