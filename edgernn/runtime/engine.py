"""Engines: each runs one graph of a bundle. onnxruntime is the device's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Protocol

import onnxruntime

from edgernn.contract import Array, GraphSpec, TensorSpec
from edgernn.errors import EngineError

__all__ = ["BundleEngine", "Engine", "OnnxEngine"]


class Engine(Protocol):
    """One loaded graph. It keeps nothing between calls, so that threads and streams may share it."""

    def run(self, feeds: Mapping[str, Array]) -> Sequence[Array]:
        """Outputs and next states in the order of the specification. Raises EngineError if the graph fails.

        feeds: an array for each name in `GraphSpec.input_names`, checked by the caller.
        """


class BundleEngine(Engine, Protocol):
    """The engine of one target's graph files: `OnnxEngine`, and on the host side those of `edgernn.engines`."""

    target: ClassVar[str]

    def __init__(self, graph: bytes, spec: GraphSpec) -> None:
        """Load the content of a graph file. Raises EngineError if it is damaged or does not fit `spec`."""


class OnnxEngine:
    """A graph in onnxruntime on the CPU, set up for streaming: one thread, no spinning, denormals flushed.

    Of the last, onnxruntime makes a setting of the thread that creates the first session of the process: from then on
    numbers below 1.2e-38 are zero there, in numpy too.
    """

    target: ClassVar[str] = "onnx"

    def __init__(self, graph: bytes, spec: GraphSpec) -> None:
        try:
            self._session = onnxruntime.InferenceSession(graph, _streaming_options(), ["CPUExecutionProvider"])
        except Exception as error:  # noqa: BLE001 - the library raises bare exceptions on damaged files
            raise EngineError(f"graph {spec.name} cannot be loaded: {_first_line(error)}") from None
        _check_signature(spec, "input", self._session.get_inputs(), spec.feeds)
        _check_signature(spec, "output", self._session.get_outputs(), spec.results)
        self._name = spec.name
        self._outputs = list(spec.output_names)

    def run(self, feeds: Mapping[str, Array]) -> Sequence[Array]:
        """Outputs and next states in the order of the specification. Raises EngineError if the graph fails."""
        try:
            arrays: list[Array] = self._session.run(self._outputs, feeds)
        except Exception as error:  # noqa: BLE001 - the library raises bare exceptions
            raise EngineError(f"graph {self._name} failed: {_first_line(error)}") from None
        return arrays


def _streaming_options() -> onnxruntime.SessionOptions:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.set_denormal_as_zero", "1")
    options.log_severity_level = 4
    return options


_ONNX_TYPES = {"float32": "float", "float64": "double"}


def _check_signature(spec: GraphSpec, kind: str, nodes: Sequence[Any], declared: Mapping[str, TensorSpec]) -> None:
    actual = {node.name: node for node in nodes}
    if actual.keys() != declared.keys():
        raise EngineError(
            f"graph {spec.name} has the {kind}s {', '.join(actual)}; its contract says {', '.join(declared)}"
        )
    for name, tensor in declared.items():
        expected = f"tensor({_ONNX_TYPES.get(tensor.dtype, tensor.dtype)})"
        if actual[name].type != expected:
            raise EngineError(f"graph {spec.name}: {kind} {name} is {actual[name].type}; its contract says {expected}")


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n", 1)[0]
