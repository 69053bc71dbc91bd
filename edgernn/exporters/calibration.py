"""Calibration: the ranges of activations in an ONNX graph, measured on real inputs."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np
import onnx
import onnxruntime

from edgernn.contract import Array

__all__ = ["Range", "measure_ranges"]

Range = tuple[float, float]  # the lowest and the highest value


def measure_ranges(
    model: onnx.ModelProto, names: Collection[str], examples: Sequence[Mapping[str, Array]]
) -> dict[str, Range]:
    """The lowest and highest value of each of `names`, zero included, over all examples."""
    asked = onnx.ModelProto()
    asked.CopyFrom(model)
    del asked.graph.output[:]
    asked.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(asked.SerializeToString(), options, providers=["CPUExecutionProvider"])
    ranges = dict.fromkeys(names, (0.0, 0.0))
    for example in examples:
        results: list[Array] = session.run(list(names), dict(example))
        for name, array in zip(names, results, strict=True):
            low, high = ranges[name]
            ranges[name] = min(low, float(np.min(array))), max(high, float(np.max(array)))
    return ranges
