"""Static quantisation of convolutions: their activations are quantised to 8 bits within calibrated ranges.

The graph declares it with pairs of QuantizeLinear and DequantizeLinear, which onnxruntime fuses to integer kernels.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import onnx
from onnx import helper

from edgernn.contract import Array
from edgernn.exporters.capture.rewrite import Rewriter, attribute
from edgernn.exporters.quantisation.calibration import Range
from edgernn.exporters.quantisation.rounding import STEPS, TINY, round_channels

__all__ = ["Convolutions", "between_convolutions"]

_BYTE = 255
# Weights use 7 of their 8 bits, because x86 processors without VNNI add two products of an activation and a weight in
# 16 bits: 2 * 255 * 63 fits, 2 * 255 * 127 overflows.
_STEPS = STEPS // 2
_SPATIAL = 2  # the first spatial axis, after batch and channels


def between_convolutions(graph: Rewriter, rounded: Mapping[str, Array]) -> Iterator[str]:
    """Yield the input and output activations of convolutions with weights in `rounded`, and sums of these.

    If a Clip follows a convolution, the output of the Clip is used.
    """
    inside: set[str] = set()
    for node in graph.nodes:
        if node.op_type == "Conv" and node.input[1] in rounded:
            yield from {_before_pad(graph, node.input[0])[0]} - inside
            inside.add(_before_pad(graph, node.input[0])[0])
        clipped = node.op_type == "Clip" and _is_rounded(graph, node.input[0], rounded)
        summed = node.op_type == "Add" and all(name in inside for name in node.input)
        plain = node.op_type == "Conv" and node.input[1] in rounded and not _clip_follows(graph, node.output[0])
        if (clipped or summed or plain) and node.output[0] not in inside:
            inside.add(node.output[0])
            yield node.output[0]


class Convolutions:
    """Writes the nodes of a graph, and quantises the activations that have `ranges` to 8 bits."""

    def __init__(self, graph: Rewriter, ranges: Mapping[str, Range]) -> None:
        self._graph, self._ranges = graph, ranges
        self._rounded: dict[str, str] = {}

    def keep(self, node: onnx.NodeProto) -> None:
        """Keep `node`, except for its inputs; a Clip is part of the convolution before it."""
        maker = self._graph.makers.get(node.input[0]) if node.input else None
        if node.op_type == "Clip" and maker is not None and maker.op_type == "Conv":
            self._graph.keep(node)
            return
        for place, name in enumerate(node.input):
            if name in self._ranges:
                node.input[place] = self._round(name)[0]
        self._graph.keep(node)

    def convolve(self, node: onnx.NodeProto, weight: Array) -> None:
        """Write the convolution `node` with quantised weight and bias."""
        x, pads = _before_pad(self._graph, node.input[0])
        given, scale = self._round(x)
        levels, scales = round_channels(weight, 0, _STEPS)
        name, scales = node.input[1], scales.ravel()
        stored = self._graph.constant(levels, f"{name}.int8")
        steps = self._graph.constant(scales, f"{name}.scales")
        matrix = self._graph.add("DequantizeLinear", [stored, steps], f"{name}.expanded", axis=0)
        inputs = [given, matrix]
        if len(node.input) > 2 and node.input[2]:
            inputs.append(self._bias(node.input[2], scale * scales))
        own = {entry.name: helper.get_attribute_value(entry) for entry in node.attribute}
        if pads is not None:
            usual = [0] * len(pads)
            own["pads"] = [more + old for more, old in zip(pads, own.get("pads", usual), strict=True)]
        self._graph.add("Conv", inputs, "", at=node.output[0], **own)

    def _bias(self, name: str, scales: Array) -> str:
        bias = self._graph.constants[name]
        limit = np.iinfo(np.int32)
        levels = np.clip(np.rint(bias.astype(np.float64) / scales), limit.min, limit.max).astype(np.int32)
        stored = self._graph.constant(levels, f"{name}.int32")
        steps = self._graph.constant(scales.astype(np.float32), f"{name}.scales")
        return self._graph.add("DequantizeLinear", [stored, steps], f"{name}.expanded", axis=0)

    def _round(self, name: str) -> tuple[str, np.float32]:
        """Return the tensor `name` quantised to 8 bits, and its scale."""
        low, high = self._ranges[name]
        scale = np.float32(max((high - low) / _BYTE, TINY))
        if name not in self._rounded:
            zero = self._graph.constant(np.array(round(-low / scale), np.uint8), f"{name}.zero")
            step = self._graph.constant(np.array(scale), f"{name}.scale")
            stored = self._graph.add("QuantizeLinear", [name, step, zero], f"{name}.rounded")
            self._rounded[name] = self._graph.add("DequantizeLinear", [stored, step, zero], f"{name}.expanded")
        return self._rounded[name], scale


def _is_rounded(graph: Rewriter, name: str, rounded: Mapping[str, Array]) -> bool:
    maker = graph.makers.get(name)
    return maker is not None and maker.op_type == "Conv" and maker.input[1] in rounded


def _clip_follows(graph: Rewriter, name: str) -> bool:
    readers = graph.readers.get(name, [])
    return len(readers) == 1 and readers[0].op_type == "Clip" and name not in graph.outputs


def _before_pad(graph: Rewriter, name: str) -> tuple[str, list[int] | None]:
    """Return the input of a Pad that adds zeros around images, and its pads in the order of a convolution's."""
    maker = graph.makers.get(name)
    if maker is None or maker.op_type != "Pad" or attribute(maker, "mode", b"constant") != b"constant":
        return name, None
    pads = graph.constants.get(maker.input[1])
    value = graph.constants.get(maker.input[2]) if len(maker.input) > 2 and maker.input[2] else np.zeros(1)
    if pads is None or value is None or np.any(value) or len(maker.input) > 3:
        return name, None
    before, after = np.split(pads, 2)
    if np.any(before[:_SPATIAL]) or np.any(after[:_SPATIAL]) or np.any(pads < 0):
        return name, None
    return maker.input[0], [*map(int, before[_SPATIAL:]), *map(int, after[_SPATIAL:])]
