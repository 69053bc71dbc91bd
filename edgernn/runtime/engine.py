"""Engines, each of which runs one graph of a bundle. On the device the engine is onnxruntime."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Protocol

import onnxruntime

from edgernn.contract import Array, GraphSpec, TensorSpec
from edgernn.errors import EngineError, few, first_line

__all__ = ["DEVICE_ENGINES", "BundleEngine", "Engine", "OnnxEngine", "OrtEngine"]


class Engine(Protocol):
    """A loaded graph. It keeps nothing between calls, so threads and streams can share it."""

    def run(self, feeds: Mapping[str, Array]) -> Sequence[Array]:
        """Return outputs and next states in the order of the specification. Raises EngineError if the graph fails.

        feeds: an array for each name in `GraphSpec.input_names`, checked by the caller.
        """


class BundleEngine(Engine, Protocol):
    """The engine for the graph files of one target: `OnnxEngine`, or on the host side those of `edgernn.engines`."""

    target: ClassVar[str]

    def __init__(self, graph: bytes, spec: GraphSpec) -> None:
        """Load a graph from the content of its file. Raises EngineError if it is damaged or does not fit `spec`."""


class OnnxEngine:
    """A graph in onnxruntime on the CPU, configured for streaming: one thread, no spinning, denormals flushed to zero.

    onnxruntime flushes denormals in the thread that creates the first session of the process. In that thread numbers
    below 1.2e-38 are zero from then on, in numpy too.
    """

    target: ClassVar[str] = "onnx"

    def __init__(self, graph: bytes, spec: GraphSpec) -> None:
        try:
            self.session = onnxruntime.InferenceSession(graph, _streaming_options(), ["CPUExecutionProvider"])
            inputs, outputs = map(_nodes, (self.session.get_inputs(), self.session.get_outputs()))
        except Exception as error:  # noqa: BLE001 - onnxruntime raises bare exceptions for damaged files
            raise EngineError(f"graph {spec.name} cannot be loaded: {first_line(error)}") from None
        _check_signature(spec, "input", inputs, spec.feeds)
        _check_signature(spec, "output", outputs, spec.results)
        self._name = spec.name
        self._outputs = list(spec.output_names)

    def run(self, feeds: Mapping[str, Array]) -> Sequence[Array]:
        """Return outputs and next states in the order of the specification. Raises EngineError if the graph fails."""
        try:
            arrays: list[Array] = self.session.run(self._outputs, feeds)
        except Exception as error:  # noqa: BLE001 - onnxruntime raises bare exceptions
            raise EngineError(f"graph {self._name} failed: {first_line(error)}") from None
        return arrays


class OrtEngine(OnnxEngine):
    """A graph in the ORT format, which minimal builds of ONNX Runtime Mobile and the full build both read."""

    target: ClassVar[str] = "ort"


DEVICE_ENGINES: dict[str, type[BundleEngine]] = {engine.target: engine for engine in (OnnxEngine, OrtEngine)}


def _streaming_options() -> onnxruntime.SessionOptions:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.set_denormal_as_zero", "1")
    # A graph must be one file, checked by its digest. Weights in other files would be loaded unchecked.
    options.add_session_config_entry("session.model_external_initializers_file_folder_path", _NOWHERE)
    options.log_severity_level = 4
    return options


_NOWHERE = "/nonexistent"
_ONNX_TYPES = {"float32": "float", "float64": "double"}


def _nodes(nodes: Sequence[Any]) -> dict[str, tuple[str, Any]]:
    """Return type and shape of each node by name. Reading a damaged name raises, since it may not be UTF-8."""
    return {node.name: (node.type, node.shape) for node in nodes}


def _check_signature(
    spec: GraphSpec, kind: str, actual: Mapping[str, tuple[str, Any]], declared: Mapping[str, TensorSpec]
) -> None:
    if actual.keys() != declared.keys():
        raise EngineError(f"graph {spec.name} has the {kind}s {few(actual)}; its contract says {few(declared)}")
    for name, tensor in declared.items():
        expected = f"tensor({_ONNX_TYPES.get(tensor.dtype, tensor.dtype)})"
        dtype, shape = actual[name]
        if dtype != expected:
            raise EngineError(f"graph {spec.name}: {kind} {name} is {dtype}; its contract says {expected}")
        fixed = zip(shape, tensor.axes, strict=False)
        if len(shape) != len(tensor.axes) or any(type(s) is type(a) is int and s != a for s, a in fixed):
            raise EngineError(f"graph {spec.name}: {kind} {name} is {shape}; its contract says {list(tensor.axes)}")
