"""Engines, each of which runs one graph of a bundle. On the device the engine is onnxruntime."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, ClassVar, Protocol

import onnxruntime

from edgernn.contract import Array, GraphSpec, TensorSpec
from edgernn.errors import EngineError, few, first_line
from edgernn.execution import DEFAULT, Execution

__all__ = ["DEVICE_ENGINES", "NO_FILES", "BundleEngine", "Engine", "OnnxEngine", "OrtEngine"]

NO_FILES: Mapping[str, bytes] = MappingProxyType({})


class Engine(Protocol):
    """A loaded graph. It keeps nothing between calls, so threads and streams can share it."""

    def run(self, feeds: Mapping[str, Array]) -> Sequence[Array]:
        """Return outputs and next states in the order of the specification. Raises EngineError if the graph fails.

        feeds: an array for each name in `GraphSpec.input_names`, checked by the caller.
        """


class BundleEngine(Engine, Protocol):
    """The engine for the graph files of one target: `OnnxEngine`, or on the host side those of `edgernn.engines`."""

    target: ClassVar[str]

    def __init__(
        self, graph: bytes, spec: GraphSpec, execution: Execution = DEFAULT, files: Mapping[str, bytes] = NO_FILES
    ) -> None:
        """Load the content of a graph file. files: all files of its bundle, by name.

        Raises EngineError if it is damaged or does not fit `spec`, or if the engine cannot execute it as `execution`
        says.
        """


class OnnxEngine:
    """A graph in onnxruntime, set up for streaming: one thread of the CPU by default, no spinning, denormals flushed.

    onnxruntime flushes denormals in the thread that creates the first session of the process. In that thread numbers
    below 1.2e-38 are zero from then on, in numpy too.
    """

    target: ClassVar[str] = "onnx"

    def __init__(
        self, graph: bytes, spec: GraphSpec, execution: Execution = DEFAULT, files: Mapping[str, bytes] = NO_FILES
    ) -> None:
        providers = _providers(execution)
        try:
            self.session = onnxruntime.InferenceSession(graph, _streaming_options(execution.threads or 1), providers)
            inputs, outputs = map(_nodes, (self.session.get_inputs(), self.session.get_outputs()))
        except Exception as error:  # noqa: BLE001 - onnxruntime raises bare exceptions for damaged files
            raise EngineError(f"graph {spec.name} cannot be loaded: {first_line(error)}") from None
        if missing := [name for name in providers if name not in self.session.get_providers()]:
            raise EngineError(f"onnxruntime cannot start its provider {_short(missing[0])}: is its library installed?")
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
    """A graph in the ORT format, which minimal builds of ONNX Runtime and the full build both read."""

    target: ClassVar[str] = "ort"


DEVICE_ENGINES: dict[str, type[BundleEngine]] = {engine.target: engine for engine in (OnnxEngine, OrtEngine)}


def _providers(execution: Execution) -> list[str]:
    """The providers that `execution` names, as onnxruntime calls them, and the CPU. Raises EngineError for others."""
    available = {_short(name).lower(): name for name in onnxruntime.get_available_providers()}
    names = [_short(name) for name in (*execution.providers, "CPU")]
    if unknown := [name for name in names if name.lower() not in available]:
        known = ", ".join(map(_short, available.values()))
        raise EngineError(f"this onnxruntime has no provider {unknown[0][:40]!r}; it has {known}")
    return list(dict.fromkeys(available[name.lower()] for name in names))


def _short(provider: str) -> str:
    """The name of a provider without the ending that they all have."""
    return provider.removesuffix("ExecutionProvider")


def _streaming_options(threads: int) -> onnxruntime.SessionOptions:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
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
