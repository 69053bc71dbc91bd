"""Shape inference on a graph whose sizes are partly known."""

from __future__ import annotations

import math
from collections.abc import Mapping

import onnx
from onnx import helper

from edgernn.exporters.adoption.graph import OpenGraph, elements, initializers

__all__ = ["Shapes"]

_FEW, _LIKELY = 8, 1 << 14  # largest number of elements of a constant shape, and the largest size that is tried from it
_SMALL = 1024  # largest number of elements of constants whose values are kept for shape inference


class Shapes:
    """The shapes of a graph's tensors, by inference. Large constants are replaced by their shapes, for speed."""

    def __init__(self, graph: OpenGraph) -> None:
        self._ports = graph.inputs
        self._model = onnx.ModelProto()
        self._model.CopyFrom(graph.model)
        body = self._model.graph
        del body.value_info[:]
        kept: list[onnx.TensorProto] = []
        large: list[onnx.TensorProto] = []
        for tensor in graph.model.graph.initializer:
            (large if math.prod(tensor.dims) > _SMALL else kept).append(tensor)
        del body.initializer[:]
        body.initializer.extend(kept)
        body.input.extend(helper.make_tensor_value_info(t.name, t.data_type, list(t.dims)) for t in large)
        sizes = {size for tensor in (*kept, *large) for size in tensor.dims}
        for tensor in initializers(graph.model.graph).values():  # for example, the target shapes of Reshape
            if tensor.data_type == onnx.TensorProto.INT64 and math.prod(tensor.dims) <= _FEW:
                values = elements(tensor)
                sizes.update([] if values is None else values.ravel().tolist())
        self.likely_sizes = sorted(size for size in sizes if 1 < size <= _LIKELY)

    def infer(self, sizes: Mapping[str, int]) -> dict[str, tuple[int | None, ...]]:
        """Return the inferred shapes of tensors, given `sizes` of named axes; None for unknown sizes."""
        for value in self._model.graph.input:
            if value.name in self._ports:
                port = self._ports[value.name]
                axes = [sizes.get(axis) if isinstance(axis, str) else axis for axis in port.known_axes]
                value.CopyFrom(helper.make_tensor_value_info(port.name, port.kind, axes))
        try:
            inferred = onnx.shape_inference.infer_shapes(self._model, data_prop=True)
        except Exception:  # noqa: BLE001 - any failure means that nothing is known
            return {}
        values = (*inferred.graph.value_info, *inferred.graph.output)
        return {
            value.name: tuple(dim.dim_value if dim.dim_value > 0 else None for dim in value.type.tensor_type.shape.dim)
            for value in values
            if value.type.tensor_type.HasField("shape")
        }

    def given(self, sizes: Mapping[str, int]) -> int:
        """Return the total number of elements of the inputs; axes that are not in `sizes` count as 1."""
        axes = (port.known_axes for port in self._ports.values())
        return sum(math.prod(sizes.get(a, 1) if isinstance(a, str) else a for a in each) for each in axes)

    def elements(self, sizes: Mapping[str, int]) -> int:
        """Return the total number of elements of all tensors, as far as it can be inferred."""
        made = (math.prod(size or 1 for size in shape) for shape in self.infer(sizes).values())
        return self.given(sizes) + sum(made)
